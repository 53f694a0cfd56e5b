//! The executor that runs each task where it is submitted.

use super::{Executor, Handle, Shutdown, Stats};
use crate::error::{Refusal, TaskError};
use crate::task::{Task, refuse_limits};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// Runs each task at submission, in the calling thread: for tests and debugging.
///
/// Every future is done when `submit` returns. Nothing is encoded. Dropping it waits for nothing, since nothing is pending.
///
/// ```
/// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
///
/// let ex = SerialExecutor::new();
/// let squares: Result<Vec<u64>, _> = ex.map(|x: u64| x * x, 1..=4).collect();
/// assert_eq!(squares.unwrap(), [1, 4, 9, 16]);
/// ```
#[derive(Debug, Default)]
pub struct SerialExecutor {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    shut_down: AtomicBool,
    finished: AtomicU64,
}

impl SerialExecutor {
    /// A new one.
    pub fn new() -> Self {
        Self::default()
    }
}

impl State {
    fn run(&self, task: Task) -> Result<(), (Task, Refusal)> {
        if self.shut_down.load(Ordering::Acquire) {
            return Err((task, Refusal::ShutDown));
        }
        if let Err(refusal) = refuse_limits(&task) {
            return Err((task, refusal));
        }
        task.run();
        self.finished.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn stats(&self) -> Stats {
        Stats::new(1, 1, 0, self.finished.load(Ordering::Relaxed))
    }
}

impl Executor for SerialExecutor {
    fn submit_task(&self, task: Task) {
        submit(&self.state, task);
    }

    fn try_submit_task(&self, task: Task) -> Result<(), (Task, Refusal)> {
        self.state.run(task)
    }

    fn num_workers(&self) -> usize {
        1
    }

    fn shutdown(&self, _how: Shutdown) {
        self.state.shut_down.store(true, Ordering::Release);
    }

    fn handle(&self) -> Handle {
        Handle::new(WeakSerial(Arc::downgrade(&self.state)))
    }

    fn stats(&self) -> Stats {
        self.state.stats()
    }
}

fn submit(state: &State, task: Task) {
    if let Err((task, why)) = state.run(task) {
        task.fail(TaskError::from(why));
    }
}

#[derive(Debug, Clone)]
struct WeakSerial(Weak<State>);

impl Executor for WeakSerial {
    fn submit_task(&self, task: Task) {
        match self.0.upgrade() {
            Some(state) => submit(&state, task),
            None => task.fail(TaskError::from(Refusal::ShutDown)),
        }
    }

    fn try_submit_task(&self, task: Task) -> Result<(), (Task, Refusal)> {
        match self.0.upgrade() {
            Some(state) => state.run(task),
            None => Err((task, Refusal::ShutDown)),
        }
    }

    fn num_workers(&self) -> usize {
        1
    }

    fn shutdown(&self, _how: Shutdown) {
        if let Some(state) = self.0.upgrade() {
            state.shut_down.store(true, Ordering::Release);
        }
    }

    fn handle(&self) -> Handle {
        Handle::new(self.clone())
    }

    fn stats(&self) -> Stats {
        self.0.upgrade().map_or_else(Stats::default, |state| state.stats())
    }
}
