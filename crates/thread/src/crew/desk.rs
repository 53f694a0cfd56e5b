//! What a worker is on, for who asks what is not done yet.

use concurrent_futures_core::task::Poll;
use concurrent_futures_core::{Task, TaskId, UnfinishedTask};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// On a cache line of its own: its worker writes to it for each task.
#[repr(align(128))]
pub(crate) struct Desk {
    id: AtomicU64,
    /// Of the last task that had one, with that task's number.
    name: Mutex<Option<(TaskId, Box<str>)>>,
}

/// No task has this number: they are counted from 0.
const NOTHING: u64 = u64::MAX;

impl Desk {
    pub(super) fn new() -> Self {
        Desk { id: AtomicU64::new(NOTHING), name: Mutex::new(None) }
    }

    /// A plain store for a task without a name.
    pub(crate) fn begin(&self, task: &Task) {
        if task.has_policy()
            && let Some(name) = task.name()
        {
            *self.name.lock() = Some((task.id(), name.into()));
        }
        self.id.store(task.id().get(), Ordering::Release);
    }

    pub(crate) fn begin_poll(&self, poll: &Poll) {
        let task = poll.task().unfinished();
        *self.name.lock() = task.name.map(|name| (task.id, name));
        self.id.store(task.id.get(), Ordering::Release);
    }

    pub(crate) fn end(&self) {
        self.id.store(NOTHING, Ordering::Release);
    }

    pub(super) fn task(&self) -> Option<UnfinishedTask> {
        let number = self.id.load(Ordering::Acquire);
        if number == NOTHING {
            return None;
        }
        let id = TaskId::from_raw(number);
        let name = self.name.lock().as_ref().filter(|(of, _)| *of == id).map(|(_, name)| name.clone());
        Some(UnfinishedTask::new(id, name, true))
    }
}
