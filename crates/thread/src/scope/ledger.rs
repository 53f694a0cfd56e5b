//! The tasks of one scope, and the promise that none of them outlives it.

use crate::crew::{Desk, unfinished};
use concurrent_futures_core::worker::{blocking, current_pool};
use concurrent_futures_core::{Panic, PoolId, Refusal, Task, TaskError, TaskId, UnfinishedTask};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a scope, its handles and the pool share.
///
/// The pool's queue holds a permission (`Job::Scoped`) for each task, not the task: a permission may stay in the queue after
/// the scope's end, a task may not. Whoever has a permission runs the task that is first here.
#[derive(Default)]
pub(crate) struct Ledger {
    state: Mutex<State>,
    /// Nothing is unreleased any more; or there is something to run for who waits for that.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Task>,
    /// Tasks that were added and whose last use by a runner is not over yet. What they borrow must live until this is zero.
    unreleased: usize,
    /// The end of the scope sleeps, and would run a task.
    helper_sleeps: bool,
    numbers: u64,
    /// Panics that nobody has asked for, by the number of the task.
    panics: Vec<(u64, String)>,
}

/// Counts a task as released when it is dropped, which is after the task is.
struct Release<'a>(&'a Ledger);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.unreleased -= 1;
        if state.unreleased == 0 {
            self.0.changed.notify_all();
        }
    }
}

impl Ledger {
    /// A number for the next task, by which its panic is known.
    pub(super) fn number(&self) -> u64 {
        let mut state = self.state.lock();
        state.numbers += 1;
        state.numbers
    }

    pub(super) fn add(&self, task: Task) {
        let mut state = self.state.lock();
        state.unreleased += 1;
        state.waiting.push_back(task);
        if state.helper_sleeps {
            self.changed.notify_all();
        }
    }

    /// The pool gave no permission for the task `id`: it is refused. Should another permission have taken it meanwhile, there
    /// is one task more than there are permissions, and the last is refused instead.
    pub(super) fn refuse(&self, id: TaskId, why: Refusal) {
        let mut state = self.state.lock();
        let last = state.waiting.len().checked_sub(1);
        let task = match state.waiting.iter().position(|task| task.id() == id).or(last) {
            Some(position) => state.waiting.remove(position),
            None => None,
        };
        drop(state);
        self.finish_with(task, |task| task.fail(TaskError::from(why)));
    }

    // ---- with a permission

    /// By a worker that comes from the queue at its `desk`.
    pub(crate) fn run_next(&self, desk: Option<&Desk>) {
        self.finish_with(self.next(), |task| {
            if let Some(desk) = desk {
                desk.begin(&task);
            }
            let _ = task.run();
        });
    }

    pub(crate) fn cancel_next(&self) {
        self.finish_with(self.next(), |task| _ = task.cancel());
    }

    pub(crate) fn refuse_next(&self, why: Refusal) {
        self.finish_with(self.next(), |task| task.fail(TaskError::from(why)));
    }

    /// What nobody has taken.
    pub(crate) fn waiting(&self) -> Vec<UnfinishedTask> {
        self.state.lock().waiting.iter().filter(|task| !task.is_done()).map(unfinished).collect()
    }

    fn next(&self) -> Option<Task> {
        self.state.lock().waiting.pop_front()
    }

    fn finish_with(&self, task: Option<Task>, finish: impl FnOnce(Task)) {
        if let Some(task) = task {
            let _release = Release(self);
            finish(task);
        }
    }

    // ---- the end of the scope

    /// Returns when no runner uses any task of the scope any more. Does not unwind.
    ///
    /// A worker of the pool that waits here runs what nobody has started: all these tasks are awaited.
    pub(super) fn settle(&self, pool: PoolId) {
        let helps = current_pool() == Some(pool);
        let mut state = self.state.lock();
        while state.unreleased > 0 {
            if helps && !state.waiting.is_empty() {
                drop(state);
                // Tasks contain their own panics; what is left is the waker of a foreign runtime, and the hook has printed it.
                if let Err(payload) = catch_unwind(AssertUnwindSafe(|| self.run_next(None))) {
                    std::mem::forget(payload);
                }
            } else {
                drop(state);
                blocking(|| self.sleep(helps));
            }
            state = self.state.lock();
        }
    }

    fn sleep(&self, helps: bool) {
        let mut state = self.state.lock();
        while state.unreleased > 0 && (!helps || state.waiting.is_empty()) {
            state.helper_sleeps = helps;
            self.changed.wait(&mut state);
            state.helper_sleeps = false;
        }
    }

    // ---- panics

    pub(super) fn note_panic(&self, number: u64, panic: &Panic) {
        self.state.lock().panics.push((number, panic.to_string()));
    }

    /// Somebody has got the panic of this task.
    pub(super) fn forget_panic(&self, number: u64) {
        self.state.lock().panics.retain(|(of, _)| *of != number);
    }

    /// The first panic that nobody has asked for, and how many more there are.
    pub(super) fn ignored_panic(&self) -> Option<(String, usize)> {
        let panics = std::mem::take(&mut self.state.lock().panics);
        let more = panics.len().checked_sub(1)?;
        panics.into_iter().next().map(|(_, panic)| (panic, more))
    }
}
