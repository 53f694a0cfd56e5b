//! The end of a pool, and waiting for it.

use super::Inner;
use crate::pool::item::Item;
use crate::pool::state::After;
use crate::sys::pidfd;
use concurrent_futures_core::{
    Refusal, Shutdown, ShutdownTimeout, Task, exit, wait_for_callbacks, wait_for_callbacks_until, worker,
};
use parking_lot::{Condvar, Mutex, MutexGuard};
use rustix::process::Signal;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle, ThreadId};
use std::time::{Duration, Instant};

/// How far the end of the pool has come.
#[derive(Debug, Default)]
pub(super) struct Ending {
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Progress {
    supervisor: Supervisor,
    /// The supervisor has done all that it had to do: its thread ends.
    near: bool,
}

#[derive(Debug, Default)]
enum Supervisor {
    /// It is at work.
    Alive(JoinHandle<()>),
    /// A thread waits until the supervisor's thread is gone.
    Joining(ThreadId),
    /// Everything is gone.
    #[default]
    Gone,
}

impl Ending {
    /// The supervisor is at work.
    pub(super) fn begin(&self, supervisor: JoinHandle<()>) {
        self.progress.lock().supervisor = Supervisor::Alive(supervisor);
    }

    /// Said by the supervisor's thread as its last words.
    pub(super) fn is_near(&self) {
        self.progress.lock().near = true;
        self.changed.notify_all();
    }

    /// Returns when the supervisor's thread is gone. `false`: not in time.
    fn wait(&self, until: Option<Instant>) -> bool {
        let mut progress = self.progress.lock();
        let supervisor = match &progress.supervisor {
            Supervisor::Alive(thread) => thread.thread().id(),
            Supervisor::Joining(supervisor) => *supervisor,
            Supervisor::Gone => return true,
        };
        if supervisor == thread::current().id() {
            // A destructor of the user's has ended up here; the supervisor cannot wait for itself.
            return true;
        }
        if let Some(until) = until {
            while !progress.near {
                if self.changed.wait_until(&mut progress, until).timed_out() && !progress.near {
                    return false;
                }
            }
        }
        if let Supervisor::Alive(_) = progress.supervisor
            && let Supervisor::Alive(thread) =
                std::mem::replace(&mut progress.supervisor, Supervisor::Joining(supervisor))
        {
            // Its panics are caught inside.
            MutexGuard::unlocked(&mut progress, || drop(thread.join()));
            progress.supervisor = Supervisor::Gone;
            self.changed.notify_all();
        }
        while matches!(progress.supervisor, Supervisor::Joining(_)) {
            self.changed.wait(&mut progress);
        }
        true
    }
}

impl Inner {
    /// Takes no more tasks. Idempotent, and safe to call from several threads.
    pub(in crate::pool) fn shutdown(self: &Arc<Self>, how: Shutdown) {
        self.close(how.cancel_futures);
        if how.wait {
            self.wait();
        } else {
            self.leave();
        }
    }

    /// The same, with a limit to the waiting. What is not done in time is left to its end.
    pub(in crate::pool) fn shutdown_timeout(
        self: &Arc<Self>,
        cancel: bool,
        limit: Duration,
    ) -> Result<(), ShutdownTimeout> {
        self.close(cancel);
        match Instant::now().checked_add(limit) {
            Some(until) if !self.wait_until(until) => {
                self.leave();
                Err(ShutdownTimeout::new(limit, self.lock().unfinished()))
            }
            Some(_) => Ok(()),
            None => {
                self.wait();
                Ok(())
            }
        }
    }

    fn close(&self, cancel: bool) {
        self.closed.store(true, Ordering::SeqCst);
        let mut after = After::default();
        let items = self.lock().close(cancel, &mut after);
        self.finish(after);
        if cancel {
            self.resolve(items, |task| {
                task.cancel();
            });
        }
    }

    /// Only the end of the process waits for it from now on.
    fn leave(self: &Arc<Self>) {
        if !self.left.swap(true, Ordering::AcqRel) {
            let pool = Arc::downgrade(self);
            exit::wait_for(move || {
                if let Some(pool) = pool.upgrade() {
                    pool.wait();
                }
            });
        }
    }

    /// Takes no more tasks, and fails those that have not started.
    pub(in crate::pool) fn break_down(&self, why: &str) {
        self.closed.store(true, Ordering::SeqCst);
        let mut after = After::default();
        let items = self.lock().break_down(why, &mut after);
        self.finish(after);
        self.resolve(items, |task| task.fail(Refusal::Broken(why.into()).into()));
    }

    /// The supervisor is gone before its time: nothing that is still in the pool can come to an end.
    pub(in crate::pool) fn abandon(&self) {
        let items = self.lock().wreck();
        let why: Box<str> = "its supervisor is gone".into();
        self.resolve(items, |task| task.fail(Refusal::Broken(why.clone()).into()));
    }

    /// Resolves tasks that were taken out of the state.
    pub(in crate::pool) fn resolve(&self, items: Vec<Item>, how: impl Fn(Task)) {
        for item in items {
            how(item.task);
        }
        let mut after = After::default();
        self.lock().resolved(&mut after);
        self.finish(after);
    }

    /// Ends all workers by a signal, cancels what has not started, and takes no more tasks. Does not wait.
    pub(in crate::pool) fn force(self: &Arc<Self>, signal: Signal) {
        let processes = {
            let mut state = self.lock();
            state.forced = Some(signal);
            state.doom()
        };
        self.shutdown(Shutdown::NO_WAIT.cancel_futures());
        for process in processes {
            // The signal is one that exists, and the process our own: all that can happen is that it is gone.
            let _ = pidfd::signal(&process.pidfd, signal);
        }
    }

    /// Whether somebody has shut it down without waiting.
    pub(in crate::pool) fn is_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }

    /// Returns when everything is gone: tasks, callbacks, workers, fork server, supervisor.
    fn wait(&self) {
        worker::blocking(|| self.ending.wait(None));
        wait_for_callbacks(self.id);
    }

    /// `false`: not in time.
    fn wait_until(&self, until: Instant) -> bool {
        worker::blocking(|| self.ending.wait(Some(until))) && wait_for_callbacks_until(self.id, until)
    }
}
