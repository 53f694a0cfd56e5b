//! What waits in the queue of a pool.

use super::desk::Desk;
use crate::scope::Ledger;
use concurrent_futures_core::{Refusal, Task, TaskError};
use std::sync::Arc;

pub(crate) enum Job {
    Task(Task),
    /// Leave to run one task of a scope, whichever is next there: the scope keeps its tasks itself, so that its end can see
    /// to them.
    Scoped(Arc<Ledger>),
}

impl Job {
    pub(crate) fn run(self, desk: &Desk) {
        match self {
            Job::Task(task) => {
                desk.begin(&task);
                // False: cancelled, or run in place by a worker that waited for it.
                let _ = task.run();
            }
            Job::Scoped(ledger) => ledger.run_next(Some(desk)),
        }
    }

    /// Callbacks run here.
    pub(crate) fn cancel(self) {
        match self {
            // False: cancelled before, or run in place by a worker that waited for it.
            Job::Task(task) => _ = task.cancel(),
            Job::Scoped(ledger) => ledger.cancel_next(),
        }
    }

    pub(crate) fn refuse(self, why: Refusal) {
        match self {
            Job::Task(task) => task.fail(TaskError::from(why)),
            Job::Scoped(ledger) => ledger.refuse_next(why),
        }
    }

    pub(crate) fn priority(&self) -> i32 {
        match self {
            Job::Task(task) => task.priority(),
            Job::Scoped(_) => 0,
        }
    }
}
