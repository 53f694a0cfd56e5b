//! The jobs of a pool that are not done.

use crate::{AbortHandle, Future, Refusal, TaskId, worker};
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Who is still to be waited for, and aborted. A job is in the list from its submission until its outcome arrives.
pub(super) struct Jobs {
    state: Mutex<State>,
    /// The last ticket was given back.
    idle: Condvar,
}

struct State {
    phase: Phase,
    unfinished: BTreeMap<TaskId, AbortHandle>,
    /// One for each job that is not done and for each callback that has not run.
    tickets: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// No new jobs; what was begun goes on.
    Closed,
    /// All was done.
    Joined,
    Terminated,
}

/// Something that `join` waits for until this is dropped.
pub(super) struct Ticket(Arc<Jobs>);

impl Jobs {
    pub(super) fn new() -> Arc<Self> {
        let state = State { phase: Phase::Running, unfinished: BTreeMap::new(), tickets: 0 };
        Arc::new(Jobs { state: Mutex::new(state), idle: Condvar::new() })
    }

    /// Whether new work is taken.
    pub(super) fn admit(&self) -> Result<(), Refusal> {
        match self.state.lock().phase {
            Phase::Running => Ok(()),
            _ => Err(Refusal::ShutDown),
        }
    }

    /// Whether work that was begun goes on.
    pub(super) fn admit_more(&self) -> Result<(), Refusal> {
        match self.state.lock().phase {
            Phase::Running | Phase::Closed => Ok(()),
            Phase::Joined | Phase::Terminated => Err(Refusal::ShutDown),
        }
    }

    /// A job, which has been submitted.
    pub(super) fn track<T: Send + 'static>(self: &Arc<Self>, future: Future<T>) -> Future<T> {
        if future.done() {
            return future;
        }
        let ticket = self.ticket();
        let id = future.id();
        let is_late = {
            let mut state = self.state.lock();
            let is_late = state.phase == Phase::Terminated;
            if !is_late {
                state.unfinished.insert(id, future.abort_handle());
            }
            is_late
        };
        // After it is in the list: it may be done meanwhile, and this is what takes it out.
        future.add_done_callback(move |_| {
            let handle = ticket.0.state.lock().unfinished.remove(&id);
            drop(handle);
        });
        if is_late {
            // Terminated since it was admitted.
            future.abort();
        }
        future
    }

    pub(super) fn ticket(self: &Arc<Self>) -> Ticket {
        self.state.lock().tickets += 1;
        Ticket(Arc::clone(self))
    }

    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        if state.phase == Phase::Running {
            state.phase = Phase::Closed;
        }
    }

    /// Aborts all. Callbacks run here.
    pub(super) fn terminate(&self) {
        let unfinished = {
            let mut state = self.state.lock();
            state.phase = Phase::Terminated;
            std::mem::take(&mut state.unfinished)
        };
        // From the newest: what would start next goes last.
        for handle in unfinished.into_values().rev() {
            handle.abort();
        }
    }

    pub(super) fn wait_for_all(&self) -> Result<(), StillRunning> {
        if self.state.lock().phase == Phase::Running {
            return Err(StillRunning(()));
        }
        worker::blocking(|| {
            let mut state = self.state.lock();
            while state.tickets > 0 {
                self.idle.wait(&mut state);
            }
            if state.phase == Phase::Closed {
                state.phase = Phase::Joined;
            }
        });
        Ok(())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.tickets -= 1;
        let is_last = state.tickets == 0;
        drop(state);
        if is_last {
            self.0.idle.notify_all();
        }
    }
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Jobs").field("phase", &state.phase).field("unfinished", &state.unfinished.len()).finish()
    }
}

/// [`Pool::join`](super::Pool::join) was called on a pool that takes jobs still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StillRunning(());

impl fmt::Display for StillRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the pool is still running; call `close` or `terminate` before `join`")
    }
}

impl Error for StillRunning {}
