//! What waits in the queue of a pool.

use super::desk::Desk;
use crate::scope::Ledger;
use concurrent_futures_core::task::Poll;
use concurrent_futures_core::{Refusal, Task, TaskError};
use std::sync::Arc;

pub(crate) enum Job {
    Task(Task),
    /// Leave to run one task of a scope, whichever is next there: the scope keeps its tasks itself, so that its end can see
    /// to them.
    Scoped(Arc<Ledger>),
    /// An async task that has begun, and was woken. In a box, so that the others need no more room.
    Poll(Box<Poll>),
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
            Job::Poll(poll) => {
                desk.begin_poll(&poll);
                poll.run();
            }
        }
    }

    /// Callbacks run here.
    pub(crate) fn cancel(self) {
        match self {
            // False: cancelled before, or run in place by a worker that waited for it.
            Job::Task(task) => _ = task.cancel(),
            Job::Scoped(ledger) => ledger.cancel_next(),
            // False: it was cancelled before.
            Job::Poll(poll) => _ = poll.task().cancel(),
        }
    }

    pub(crate) fn refuse(self, why: Refusal) {
        match self {
            Job::Task(task) => task.fail(TaskError::from(why)),
            Job::Scoped(ledger) => ledger.refuse_next(why),
            Job::Poll(poll) => poll.task().fail(TaskError::from(why)),
        }
    }

    pub(crate) fn priority(&self) -> i32 {
        match self {
            Job::Task(task) => task.priority(),
            Job::Scoped(_) => 0,
            Job::Poll(poll) => poll.priority(),
        }
    }
}
