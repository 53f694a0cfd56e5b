//! What a task's worker has to know beside the call: who it is, how long it may take, what it may use.
//!
//! It travels as the body of a `NOTES` frame just before the `TASK` frame, and only for tasks that have any of it.

use crate::limits::Limits;
use crate::sys::clock;
use concurrent_futures_core::Task;
use serde::{Deserialize, Serialize};
use std::io;
use std::time::Duration;

/// The notes on one attempt of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Notes {
    pub name: Option<String>,
    /// From 1.
    pub attempt: u32,
    /// For this attempt, from its start.
    pub timeout: Option<Duration>,
    /// For all attempts, on the clock of [`clock::monotonic`].
    pub deadline: Option<u64>,
    pub limits: Limits,
    /// The offset of the task's `retry_if` in the image.
    pub judge: Option<u64>,
}

impl Notes {
    /// Those on a task on which nothing is to be said.
    pub(crate) const NONE: Notes = Notes {
        name: None,
        attempt: 1,
        timeout: None,
        deadline: None,
        limits: Limits { memory: None, cpu_time: None, open_files: None },
        judge: None,
    };

    /// The notes on the next attempt of a task; `None`: nothing is to be said.
    pub(crate) fn on(task: &Task, judge: Option<u64>) -> Option<Notes> {
        if !task.has_policy() {
            return None;
        }
        let limits = task.limits();
        Some(Notes {
            name: task.name().map(str::to_owned),
            attempt: task.attempts() + 1,
            timeout: task.timeout(),
            deadline: task.deadline().map(clock::monotonic),
            limits: Limits { memory: limits.memory, cpu_time: limits.cpu_time, open_files: limits.open_files },
            judge,
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        // Nothing in it has an encoding that could fail.
        postcard::to_allocvec(self).expect("plain data can be encoded")
    }

    /// In the worker.
    pub(crate) fn decode(bytes: &[u8]) -> io::Result<Notes> {
        postcard::from_bytes(bytes).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_come_back() {
        let notes = Notes {
            name: Some("näme".into()),
            attempt: 3,
            timeout: Some(Duration::from_millis(1500)),
            deadline: Some(u64::MAX),
            limits: Limits { memory: Some(1 << 40), cpu_time: None, open_files: Some(0) },
            judge: Some(7),
        };
        for notes in [notes, Notes::NONE] {
            assert_eq!(Notes::decode(&notes.encode()).unwrap(), notes);
        }
        assert!(Notes::decode(b"").is_err());
    }
}
