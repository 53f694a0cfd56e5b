//! Ends tasks whose time is up.
//!
//! One thread for the process, started with the first timeout. It holds no lock while it resolves a task and runs no code
//! of the user's: callbacks, and the destructor of an argument that was never used, go to the callback service.

use crate::cell::{Place, Ref, state};
use crate::error::{TaskError, TaskErrorKind};
use crate::{TaskId, service};
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

struct Timer {
    state: Mutex<State>,
    sooner: Condvar,
}

struct State {
    due: BTreeMap<(Instant, TaskId), (Ref, Duration)>,
    started: bool,
}

static TIMER: Timer =
    Timer { state: Mutex::new(State { due: BTreeMap::new(), started: false }), sooner: Condvar::new() };

/// Fails the task when `limit` has passed from now, unless it is done by then.
pub(crate) fn start(task: &Ref, limit: Duration) {
    let Some(at) = Instant::now().checked_add(limit) else { return };
    schedule(task, at, limit);
}

/// Fails the task at `at`, unless it is done by then. `limit` is what the error says.
pub(crate) fn schedule(task: &Ref, at: Instant, limit: Duration) {
    let Some(meta) = task.meta() else { return };
    {
        let mut due = meta.due.lock();
        if due.is_some_and(|earlier| earlier <= at) {
            return;
        }
        let mut state = TIMER.state.lock();
        if let Some(later) = due.replace(at) {
            state.due.remove(&(later, task.id()));
        }
        state.due.insert((at, task.id()), (task.clone(), limit));
        state.staff();
    }
    TIMER.sooner.notify_one();
    // Whoever resolves it forgets the timer when it begins to: it must not have missed this one.
    if state::phase(task.state()) >= state::WRITING {
        forget(task);
    }
}

/// The task is done: its timer need not hold it any longer.
pub(crate) fn forget(task: &Ref) {
    let at = task.meta().and_then(|meta| meta.due.lock().take());
    if let Some(at) = at {
        let held = TIMER.state.lock().due.remove(&(at, task.id()));
        drop(held);
    }
}

impl State {
    fn staff(&mut self) {
        if !self.started {
            let thread = std::thread::Builder::new().name("cf-timer".into()).spawn(|| TIMER.serve());
            // Without a thread, the next timeout tries again.
            self.started = thread.is_ok();
        }
    }
}

impl Timer {
    fn serve(&self) -> ! {
        let mut state = self.state.lock();
        loop {
            let now = Instant::now();
            match state.due.first_key_value() {
                None => self.sooner.wait(&mut state),
                Some((&(at, _), _)) if at > now => {
                    self.sooner.wait_until(&mut state, at);
                }
                Some(_) => {
                    let Some((_, (task, limit))) = state.due.pop_first() else { continue };
                    drop(state);
                    expire(task, limit);
                    state = self.state.lock();
                }
            }
        }
    }
}

fn expire(task: Ref, limit: Duration) {
    let why = TaskError::new(TaskErrorKind::TimedOut(limit));
    if task.is_running() {
        // The runner owns the work: nothing of the user's is dropped here.
        let _ = task.fail(why, true, Place::Service);
    } else if !task.is_done() {
        let home = task.home();
        let job = move || {
            // What has been started meanwhile fails too, and its late result is dropped; if somebody was faster, their
            // outcome stands.
            if !task.fail_unstarted(why.clone(), Place::Service) {
                let _ = task.fail(why, true, Place::Service);
            }
        };
        service::run_urgent(home, Box::new(job));
    }
}
