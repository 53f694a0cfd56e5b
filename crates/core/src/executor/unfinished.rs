//! What a shutdown with a limit of time has left behind.

use crate::TaskId;
use std::error::Error;
use std::fmt;
use std::time::Duration;

/// A task that was not done when [`shutdown_timeout`](super::Executor::shutdown_timeout) gave up waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnfinishedTask {
    /// Its number; its future has the same.
    pub id: TaskId,
    /// Its name, if it has one.
    pub name: Option<Box<str>>,
    /// Whether it had started.
    pub running: bool,
}

impl UnfinishedTask {
    /// For authors of executors.
    ///
    /// ```
    /// use concurrent_futures_core::{Promise, UnfinishedTask};
    ///
    /// let task = UnfinishedTask::new(Promise::<u8>::pair().1.id(), Some("render".into()), true);
    /// assert!(task.to_string().starts_with("`render`"));
    /// ```
    pub fn new(id: TaskId, name: Option<Box<str>>, running: bool) -> Self {
        UnfinishedTask { id, name, running }
    }
}

impl fmt::Display for UnfinishedTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "`{name}`")?,
            None => write!(f, "{}", self.id)?,
        }
        f.write_str(if self.running { " (running)" } else { " (queued)" })
    }
}

/// [`shutdown_timeout`](super::Executor::shutdown_timeout) did not see the end: these tasks were not done in time, and go
/// on in the background.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShutdownTimeout {
    limit: Duration,
    tasks: Vec<UnfinishedTask>,
}

impl ShutdownTimeout {
    /// For authors of executors. No tasks: only workers had not ended, or nobody knows.
    ///
    /// ```
    /// use concurrent_futures_core::ShutdownTimeout;
    ///
    /// assert!(ShutdownTimeout::new(std::time::Duration::from_secs(1), Vec::new()).tasks().is_empty());
    /// ```
    pub fn new(limit: Duration, tasks: Vec<UnfinishedTask>) -> Self {
        ShutdownTimeout { limit, tasks }
    }

    /// How long was waited.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// What was not done.
    pub fn tasks(&self) -> &[UnfinishedTask] {
        &self.tasks
    }
}

/// So many are named; of the others only the number is.
const NAMED: usize = 8;

impl fmt::Display for ShutdownTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the executor has not ended in {:?}; ", self.limit)?;
        if self.tasks.is_empty() {
            return f.write_str("its workers have not, or it does not say what they do");
        }
        write!(f, "{} tasks are not done: ", self.tasks.len())?;
        for (n, task) in self.tasks.iter().take(NAMED).enumerate() {
            if n > 0 {
                f.write_str(", ")?;
            }
            task.fmt(f)?;
        }
        if self.tasks.len() > NAMED {
            f.write_str(", ...")?;
        }
        Ok(())
    }
}

impl Error for ShutdownTimeout {}
