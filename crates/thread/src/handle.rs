//! A handle that does not keep the pool alive.

use crate::crew::{AtExit, Crew, WhenFull};
use crate::pool::{offer, submit, wait_at_most};
use concurrent_futures_core::{Executor, Handle, Refusal, Shutdown, ShutdownTimeout, Stats, Task, TaskError};
use std::fmt;
use std::sync::{Arc, Weak as WeakArc};
use std::time::Duration;

/// What [`Handle`] wraps for a thread pool.
#[derive(Clone)]
pub(crate) struct Weak {
    crew: WeakArc<Crew>,
    /// For when it is gone.
    max_workers: usize,
}

impl Weak {
    pub(crate) fn of(crew: &Arc<Crew>) -> Self {
        Weak { crew: Arc::downgrade(crew), max_workers: crew.settings.size.max_workers }
    }
}

impl Executor for Weak {
    fn submit_task(&self, task: Task) {
        match self.crew.upgrade() {
            Some(crew) => submit(&crew, task),
            None => task.fail(TaskError::from(Refusal::ShutDown)),
        }
    }

    fn try_submit_task(&self, task: Task) -> Result<(), (Task, Refusal)> {
        match self.crew.upgrade() {
            Some(crew) => offer(&crew, task, WhenFull::Refuse),
            None => Err((task, Refusal::ShutDown)),
        }
    }

    fn submit_task_timeout(&self, task: Task, limit: Duration) -> Result<(), (Task, Refusal)> {
        match self.crew.upgrade() {
            Some(crew) => offer(&crew, task, wait_at_most(limit)),
            None => Err((task, Refusal::ShutDown)),
        }
    }

    fn num_workers(&self) -> usize {
        self.crew.upgrade().map_or(self.max_workers, |crew| crew.max_workers())
    }

    fn shutdown(&self, how: Shutdown) {
        if let Some(crew) = self.crew.upgrade() {
            crew.shut_down(how, AtExit::Wait);
        }
    }

    fn shutdown_timeout(&self, how: Shutdown, limit: Duration) -> Result<(), ShutdownTimeout> {
        self.crew.upgrade().map_or(Ok(()), |crew| crew.shut_down_timeout(how, limit))
    }

    fn handle(&self) -> Handle {
        Handle::new(self.clone())
    }

    fn stats(&self) -> Stats {
        self.crew.upgrade().map_or_else(Stats::default, |crew| crew.stats())
    }
}

impl fmt::Debug for Weak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("ThreadPoolHandle");
        match self.crew.upgrade() {
            Some(crew) => out.field("thread_name_prefix", &crew.settings.prefix).finish_non_exhaustive(),
            None => out.field("ended", &true).finish(),
        }
    }
}
