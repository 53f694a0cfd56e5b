//! An executor whose tasks run when the test says so, in the test's thread.

use concurrent_futures_core::{Executor, Handle, Refusal, Shutdown, Task, TaskError};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// Keeps its tasks until it is told to run them.
#[derive(Clone, Debug, Default)]
pub struct Manual(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Task>,
    shut_down: bool,
}

impl Manual {
    pub fn new() -> Self {
        Self::default()
    }

    /// How many tasks are in the queue, cancelled ones included.
    pub fn queued(&self) -> usize {
        self.0.lock().unwrap().queue.len()
    }

    /// Takes the task at `index` out of the queue; 0 is the oldest.
    pub fn take(&self, index: usize) -> Task {
        self.0.lock().unwrap().queue.remove(index).expect("so many tasks were submitted")
    }

    /// Runs the task at `index`, if there is one: what was over before it came here is not there.
    pub fn run_any(&self, index: usize) {
        let task = self.0.lock().unwrap().queue.remove(index);
        task.map(Task::run);
    }

    /// Runs the oldest task; false when it was cancelled.
    pub fn run_next(&self) -> bool {
        self.take(0).run()
    }

    /// Runs all tasks, those that they submit included; how many ran.
    pub fn run_all(&self) -> usize {
        let mut ran = 0;
        while self.queued() > 0 {
            ran += usize::from(self.run_next());
        }
        ran
    }
}

impl Executor for Manual {
    fn submit_task(&self, task: Task) {
        if let Err((task, why)) = self.try_submit_task(task) {
            task.fail(TaskError::from(why));
        }
    }

    fn try_submit_task(&self, task: Task) -> Result<(), (Task, Refusal)> {
        let mut state = self.0.lock().unwrap();
        if state.shut_down {
            return Err((task, Refusal::ShutDown));
        }
        state.queue.push_back(task);
        Ok(())
    }

    fn num_workers(&self) -> usize {
        2
    }

    fn shutdown(&self, how: Shutdown) {
        self.0.lock().unwrap().shut_down = true;
        if how.cancel_futures {
            while self.queued() > 0 {
                self.take(0).cancel();
            }
        }
        if how.wait {
            self.run_all();
        }
    }

    fn handle(&self) -> Handle {
        Handle::new(self.clone())
    }
}
