//! What a worker may use, as the pool tells it.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Limits of a worker, or of one task. `None`: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limits {
    /// Bytes of private writable memory, mapped, whether used or not.
    pub memory: Option<u64>,
    pub cpu_time: Option<Duration>,
    pub open_files: Option<u64>,
}

/// What holds for a worker as long as it lives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rules {
    pub limits: Limits,
    /// The niceness, not a change of it.
    pub nice: Option<i32>,
    /// The CPUs on which it may run; empty: as its parent.
    pub cpus: Vec<usize>,
    /// After a task that leaves more than this resident it ends.
    pub max_memory: Option<u64>,
}
