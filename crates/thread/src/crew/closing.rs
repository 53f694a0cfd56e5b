//! The end of a pool: shut down, or broken.

use super::parker::Parker;
use super::state::State;
use super::{Crew, Job};
use crate::scope::Ledger;
use concurrent_futures_core::task::AsyncTask;
use concurrent_futures_core::worker::{blocking, current_pool};
use concurrent_futures_core::{
    Refusal, Shutdown, ShutdownTimeout, Task, TaskError, UnfinishedTask, exit, wait_for_callbacks,
    wait_for_callbacks_until,
};
use parking_lot::Mutex;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Once, Weak};
use std::time::{Duration, Instant};

/// Whether the end of the process is to wait for what is left.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtExit {
    Wait,
    Leave,
}

impl Crew {
    pub(crate) fn shut_down(self: &Arc<Self>, how: Shutdown, at_exit: AtExit) {
        let mut state = self.lock();
        state.close();
        let cancelled = if how.cancel_futures { self.drain(&mut state) } else { Vec::new() };
        let waiting = if how.cancel_futures { state.waiting() } else { Vec::new() };
        let sleepers = self.end(&mut state);
        let is_empty = state.threads() == 0 && !state.has_waiting();
        drop(state);
        wake(sleepers);
        for job in cancelled {
            job.cancel();
        }
        for task in waiting {
            task.cancel();
        }
        // A worker cannot wait for itself.
        let is_worker = current_pool() == Some(self.id);
        if how.wait && !is_worker {
            blocking(|| {
                self.join();
                wait_for_callbacks(self.id);
            });
        } else if !is_empty && at_exit == AtExit::Wait {
            wait_at_exit(self);
        }
    }

    /// The same, but waits for `limit` at most; a worker, which cannot wait for itself, not at all.
    ///
    /// # Errors
    /// What is not done then.
    pub(crate) fn shut_down_timeout(
        self: &Arc<Self>,
        mut how: Shutdown,
        limit: Duration,
    ) -> Result<(), ShutdownTimeout> {
        let until = Instant::now().checked_add(limit);
        let is_worker = current_pool() == Some(self.id);
        how.wait = until.is_none();
        self.shut_down(how, AtExit::Wait);
        let has_ended = !is_worker
            && until
                .is_none_or(|until| blocking(|| self.join_until(until)) && wait_for_callbacks_until(self.id, until));
        if has_ended { Ok(()) } else { Err(ShutdownTimeout::new(limit, self.unfinished())) }
    }

    /// What runs, and what waits, in order.
    fn unfinished(&self) -> Vec<UnfinishedTask> {
        let state = self.lock();
        let mut tasks: Vec<_> = state.desks().filter_map(|desk| desk.task()).collect();
        let polled: Vec<_> = tasks.iter().map(|task| task.id).collect();
        tasks.extend(state.waiting().iter().map(AsyncTask::unfinished).filter(|task| !polled.contains(&task.id)));
        let mut scopes: Vec<Arc<Ledger>> = Vec::new();
        for job in state.queue.jobs() {
            match job {
                Job::Task(task) if task.is_done() => {}
                Job::Task(task) => tasks.push(unfinished(task)),
                Job::Scoped(ledger) if scopes.iter().any(|known| Arc::ptr_eq(known, ledger)) => {}
                Job::Scoped(ledger) => scopes.push(Arc::clone(ledger)),
                Job::Poll(_) => {}
            }
        }
        drop(state);
        for scope in scopes {
            tasks.extend(scope.waiting());
        }
        tasks
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().is_closed()
    }

    /// Takes no more jobs and fails those in the queue; what runs is finished.
    pub(super) fn break_down(&self, why: &str) {
        let mut state = self.lock();
        state.break_down(why);
        let orphans = self.drain(&mut state);
        // There may be no worker left that could go on with them.
        let waiting = state.waiting();
        let sleepers = self.end(&mut state);
        drop(state);
        wake(sleepers);
        for orphan in orphans {
            orphan.refuse(Refusal::Broken(why.into()));
        }
        for task in waiting {
            task.fail(TaskError::from(Refusal::Broken(why.into())));
        }
    }

    /// Tells everybody that nothing comes any more.
    fn end(&self, state: &mut State) -> Vec<Arc<Parker>> {
        self.work.0.store(true, Ordering::Relaxed);
        self.room.notify_all();
        state.wake_all()
    }
}

pub(super) fn wake(sleepers: Vec<Arc<Parker>>) {
    for sleeper in sleepers {
        sleeper.wake();
    }
}

/// Pools that the end of the process waits for.
static LEFT: Mutex<Vec<Weak<Crew>>> = Mutex::new(Vec::new());

/// A task in the queue. Somebody who waits for it may run it.
pub(crate) fn unfinished(task: &Task) -> UnfinishedTask {
    UnfinishedTask::new(task.id(), task.name().map(Into::into), task.is_running())
}

fn wait_at_exit(crew: &Arc<Crew>) {
    static REGISTER: Once = Once::new();
    let mut left = LEFT.lock();
    // Workers keep their crew: where it is gone, so are they.
    left.retain(|crew| crew.strong_count() > 0);
    left.push(Arc::downgrade(crew));
    drop(left);
    REGISTER.call_once(|| exit::wait_for(join_all));
}

fn join_all() {
    while let Some(crew) = { LEFT.lock().pop() } {
        if let Some(crew) = crew.upgrade() {
            crew.join();
            wait_for_callbacks(crew.id);
        }
    }
}
