//! Ends tasks, and attempts of tasks, whose time is up.
//!
//! One thread for the process, started with the first timeout. It holds no lock while it resolves a task and runs no code
//! of the user's: callbacks, and the destructor of an argument that was never used, go to the callback service.

use crate::cell::{Place, Ref, state};
use crate::error::{TaskError, TaskErrorKind};
use crate::task::{Due, Stop};
use crate::{TaskId, service};
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

struct Timer {
    state: Mutex<State>,
    sooner: Condvar,
}

struct State {
    due: BTreeMap<(Instant, TaskId), Ref>,
    started: bool,
}

static TIMER: Timer =
    Timer { state: Mutex::new(State { due: BTreeMap::new(), started: false }), sooner: Condvar::new() };

/// Has the timer look at the task when the first of its limits is reached. To be called again when a limit has changed.
pub(crate) fn watch(task: &Ref) {
    let Some(meta) = task.meta() else { return };
    {
        let mut progress = meta.progress.lock();
        let limits = progress.attempt_end.into_iter().chain(meta.deadline.map(|deadline| deadline.at));
        let Some(at) = limits.min() else { return };
        if progress.due.is_some_and(|earlier| earlier <= at) {
            return;
        }
        let mut state = TIMER.state.lock();
        if let Some(later) = progress.due.replace(at) {
            state.due.remove(&(later, task.id()));
        }
        state.due.insert((at, task.id()), task.clone());
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
    let at = task.meta().and_then(|meta| meta.progress.lock().due.take());
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
                    let Some(((at, _), task)) = state.due.pop_first() else { continue };
                    drop(state);
                    look(&task, at);
                    // Not with the lock held: if everybody else has let go of it, its destructors run here, and one of
                    // them may be of another task with a limit.
                    drop(task);
                    state = self.state.lock();
                }
            }
        }
    }
}

/// The timer's look at a task, for which it was due at `at`.
fn look(task: &Ref, at: Instant) {
    let Some(meta) = task.meta() else { return };
    meta.progress.lock().due.take_if(|due| *due == at);
    match meta.look(Instant::now()) {
        Due::Nothing => watch(task),
        Due::Attempt(attempt) => {
            task.stop_attempt(attempt);
            watch(task);
        }
        Due::Task { limit, attempt } => expire(task.clone(), limit, attempt),
    }
}

fn expire(task: Ref, limit: Duration, attempt: u32) {
    // One for each try: an error that somebody else holds too cannot be told whose it is.
    let why = move || TaskError::new(TaskErrorKind::TimedOut(limit));
    if task.is_running() {
        // The runner owns the work: nothing of the user's is dropped here.
        let _ = task.fail_and_stop(why(), Stop::Timeout, attempt, Place::Service);
    } else if !task.is_done() {
        let home = task.home();
        let job = move || {
            // What has been started meanwhile fails too, and its late result is dropped; if somebody was faster, their
            // outcome stands.
            if !task.fail_unstarted(why(), Place::Service) {
                let _ = task.fail_and_stop(why(), Stop::Timeout, attempt, Place::Service);
            }
        };
        service::run_urgent(home, Box::new(job));
    }
}

#[cfg(all(test, not(concurrent_futures_loom)))]
mod tests {
    use super::*;
    use crate::cell::Work;
    use crate::task::{Deadline, Meta};
    use std::sync::mpsc;

    /// Work whose destructor gives the timer something to do.
    struct Heir(Ref, mpsc::Sender<()>);

    impl Work for Heir {
        type Out = ();

        fn run(self, _cell: &Ref) -> Result<(), TaskErrorKind> {
            Ok(())
        }
    }

    impl Drop for Heir {
        fn drop(&mut self) {
            watch(&self.0);
            // The test may have given up.
            let _ = self.1.send(());
        }
    }

    fn due_now() -> Option<Box<Meta>> {
        Meta { deadline: Some(Deadline::new(Instant::now())), ..Meta::default() }.boxed()
    }

    #[test]
    fn the_last_to_let_go_of_a_task_may_be_the_timer() {
        let (tell, told) = mpsc::channel();
        let (heir, _) = Ref::of_work(Heir(Ref::empty::<()>().0, tell.clone()), due_now());
        let (task, future) = Ref::of_work(Heir(heir, tell), due_now());
        // Started, by somebody who is gone now: its work goes with the cell.
        assert!(task.claim());
        drop(future);
        // With the lock held: the timer must not look before this thread has let go of it.
        let mut state = TIMER.state.lock();
        state.due.insert((Instant::now(), task.id()), task);
        state.staff();
        drop(state);
        TIMER.sooner.notify_one();
        told.recv_timeout(Duration::from_secs(60)).expect("the timer stands still");
    }
}
