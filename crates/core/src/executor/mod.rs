//! What runs tasks.

mod builder;
mod context;
mod ext;
mod on_drop;
mod serial;

pub use builder::{TaskBuilder, TasksBuilder};

pub(crate) use builder::hand_over;
pub use context::WithContext;
pub use ext::ExecutorExt;
pub use on_drop::OnDrop;
pub use serial::SerialExecutor;

use crate::error::Refusal;
use crate::task::Task;
use std::fmt;
use std::sync::Arc;

/// Runs tasks: what an author of an executor implements. Users call the methods of [`ExecutorExt`].
///
/// Object-safe: `&dyn Executor`, `Box<dyn Executor>` and `Arc<dyn Executor>` are executors too, as are `&E`, `Box<E>` and
/// `Arc<E>`. See [`Task`] for an example of an executor.
pub trait Executor: fmt::Debug + Send + Sync {
    /// Takes a task. Never fails: a refused task resolves with the refusal. Waits for room when the queue is bounded and full.
    fn submit_task(&self, task: Task);

    /// Takes a task without waiting.
    ///
    /// # Errors
    /// Gives the very task back, not run, with the reason.
    fn try_submit_task(&self, task: Task) -> Result<(), (Task, Refusal)>;

    /// How many workers it may use at once; at least 1.
    fn num_workers(&self) -> usize;

    /// Takes no more tasks; may be called again, with other words.
    fn shutdown(&self, how: Shutdown);

    /// A handle that does not keep the executor alive.
    fn handle(&self) -> Handle;

    /// What it does at the moment.
    fn stats(&self) -> Stats {
        Stats::default()
    }
}

macro_rules! forward {
    ($($owner:ty),*) => {$(
        impl<E: Executor + ?Sized> Executor for $owner {
            fn submit_task(&self, task: Task) {
                (**self).submit_task(task);
            }

            fn try_submit_task(&self, task: Task) -> Result<(), (Task, Refusal)> {
                (**self).try_submit_task(task)
            }

            fn num_workers(&self) -> usize {
                (**self).num_workers()
            }

            fn shutdown(&self, how: Shutdown) {
                (**self).shutdown(how);
            }

            fn handle(&self) -> Handle {
                (**self).handle()
            }

            fn stats(&self) -> Stats {
                (**self).stats()
            }
        }
    )*};
}

forward!(&E, Box<E>, Arc<E>);

/// How to shut down: whether to wait for the work, and what becomes of what has not started.
///
/// ```
/// use concurrent_futures_core::{Executor, SerialExecutor, Shutdown};
///
/// SerialExecutor::new().shutdown(Shutdown::WAIT.cancel_futures());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shutdown {
    /// Return only when all accepted work is done and the workers have ended.
    pub wait: bool,
    /// Cancel everything that has not started.
    pub cancel_futures: bool,
}

impl Shutdown {
    /// Finish all accepted work, and wait for it.
    pub const WAIT: Self = Shutdown { wait: true, cancel_futures: false };
    /// Return at once; accepted work is still done in the background.
    pub const NO_WAIT: Self = Shutdown { wait: false, cancel_futures: false };

    /// And cancel everything that has not started.
    #[must_use]
    pub const fn cancel_futures(mut self) -> Self {
        self.cancel_futures = true;
        self
    }
}

/// What an executor does at the moment. The numbers are not taken at one instant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Workers that live.
    pub workers: usize,
    /// Workers that have nothing to do.
    pub idle: usize,
    /// Tasks that wait for a worker.
    pub queued: usize,
    /// Tasks that were taken and have ended, in whatever way.
    pub finished: u64,
}

impl Stats {
    /// All four numbers; for authors of executors.
    ///
    /// ```
    /// assert_eq!(concurrent_futures_core::Stats::new(4, 1, 0, 10).idle, 1);
    /// ```
    pub const fn new(workers: usize, idle: usize, queued: usize, finished: u64) -> Self {
        Stats { workers, idle, queued, finished }
    }
}

/// A clonable handle to an executor that does not keep it alive: for callbacks, chains and threads that outlive a block.
///
/// After the executor's end its tasks are refused.
///
/// ```
/// use concurrent_futures_core::{Executor, ExecutorExt, SerialExecutor};
///
/// let ex = SerialExecutor::new();
/// let handle = ex.handle();
/// assert_eq!(handle.submit(|x: u8| x + 1, 1).result().unwrap(), 2);
/// drop(ex);
/// assert!(handle.submit(|x: u8| x + 1, 1).result().unwrap_err().is_refused());
/// ```
#[derive(Clone, Debug)]
pub struct Handle(Arc<dyn Executor>);

impl Handle {
    /// Wraps an executor that does not own its workers (a weak reference to one that does); for authors of executors.
    pub fn new(executor: impl Executor + 'static) -> Self {
        Handle(Arc::new(executor))
    }
}

impl Executor for Handle {
    fn submit_task(&self, task: Task) {
        self.0.submit_task(task);
    }

    fn try_submit_task(&self, task: Task) -> Result<(), (Task, Refusal)> {
        self.0.try_submit_task(task)
    }

    fn num_workers(&self) -> usize {
        self.0.num_workers()
    }

    fn shutdown(&self, how: Shutdown) {
        self.0.shutdown(how);
    }

    fn handle(&self) -> Handle {
        self.clone()
    }

    fn stats(&self) -> Stats {
        self.0.stats()
    }
}

const fn _object_safe(_: &dyn Executor) {}
