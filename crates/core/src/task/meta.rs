//! What was asked for one task beyond its function and argument.

use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// An instant, and how long that was when it was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    pub(crate) limit: Duration,
}

impl Deadline {
    pub(crate) fn new(at: Instant) -> Self {
        Deadline { at, limit: at.saturating_duration_since(Instant::now()) }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Meta {
    pub(crate) name: Option<Box<str>>,
    /// For one attempt, from its start.
    pub(crate) timeout: Option<Duration>,
    /// From outside: whatever happens, it is resolved by then.
    pub(crate) deadline: Option<Deadline>,
    pub(crate) priority: i32,
    /// When the timer will look at it.
    pub(crate) due: Mutex<Option<Instant>>,
}

impl Meta {
    /// `None` when nothing was asked for: most tasks need no box.
    pub(crate) fn boxed(self) -> Option<Box<Meta>> {
        let plain = self.name.is_none() && self.timeout.is_none() && self.deadline.is_none() && self.priority == 0;
        (!plain).then(|| Box::new(self))
    }

    pub(crate) fn has_timer(&self) -> bool {
        self.timeout.is_some() || self.deadline.is_some()
    }
}

impl Clone for Meta {
    fn clone(&self) -> Self {
        Meta {
            name: self.name.clone(),
            timeout: self.timeout,
            deadline: self.deadline,
            priority: self.priority,
            due: Mutex::new(None),
        }
    }
}
