//! Async tasks that wait: work of the pool that has no worker.

use super::closing::wake;
use super::{Crew, Job};
use concurrent_futures_core::TaskId;
use concurrent_futures_core::task::{AsyncTask, Host, Poll};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Host for Crew {
    fn wait(self: Arc<Self>, task: AsyncTask) {
        // The job that has begun it is over soon, and is not the end of a task.
        self.continued.fetch_add(1, Ordering::Relaxed);
        self.lock().add_waiting(task);
    }

    /// Also when no job is taken any more, and without looking at the bound: it has been taken.
    fn poll(self: Arc<Self>, poll: Poll) {
        self.continued.fetch_add(1, Ordering::Relaxed);
        let job = match self.submit_quietly(Job::Poll(Box::new(poll))) {
            Ok(()) => return,
            Err(job) => job,
        };
        self.enqueue(self.lock(), job);
    }

    fn end(self: Arc<Self>, id: TaskId) {
        let mut state = self.lock();
        let (task, is_last) = state.remove_waiting(id);
        state.finished += 1;
        let sleepers = if is_last { state.wake_all() } else { Vec::new() };
        if is_last {
            self.ended.notify_all();
        }
        drop(state);
        // It may be the last that has the future.
        drop(task);
        wake(sleepers);
    }
}
