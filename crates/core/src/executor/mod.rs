//! What runs tasks.

mod builder;
mod context;
mod ext;
mod on_drop;
mod serial;
mod unfinished;

pub use builder::{TaskBuilder, TasksBuilder};

pub(crate) use builder::hand_over;
pub use context::WithContext;
pub use ext::ExecutorExt;
pub use on_drop::OnDrop;
pub use serial::SerialExecutor;
pub use unfinished::{ShutdownTimeout, UnfinishedTask};

use crate::error::Refusal;
use crate::task::Task;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

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

    /// Takes a task, waiting at most `limit` for room in a bounded queue. An executor without a bound never waits; the
    /// provided method does not wait either.
    ///
    /// # Errors
    /// As [`try_submit_task`](Self::try_submit_task); [`Refusal::Full`] when there was no room in time.
    fn submit_task_timeout(&self, task: Task, limit: Duration) -> Result<(), (Task, Refusal)> {
        let _ = limit;
        self.try_submit_task(task)
    }

    /// How many workers it may use at once; at least 1.
    fn num_workers(&self) -> usize;

    /// Takes no more tasks; may be called again, with other words.
    fn shutdown(&self, how: Shutdown);

    /// As [`shutdown`](Self::shutdown), but waits at most `limit`, whatever `how` says about waiting. What is not done by
    /// then goes on in the background; the pools have stronger words for it.
    ///
    /// The provided method does not wait: it reports an executor that has workers which are not idle.
    ///
    /// ```
    /// use concurrent_futures_core::{Executor, SerialExecutor, Shutdown};
    /// use std::time::Duration;
    ///
    /// assert!(SerialExecutor::new().shutdown_timeout(Shutdown::WAIT, Duration::from_secs(1)).is_ok());
    /// ```
    ///
    /// # Errors
    /// Not everything was done in time; the error lists what was not.
    fn shutdown_timeout(&self, how: Shutdown, limit: Duration) -> Result<(), ShutdownTimeout> {
        self.shutdown(Shutdown { wait: false, ..how });
        let stats = self.stats();
        if stats.queued == 0 && stats.idle >= stats.workers {
            Ok(())
        } else {
            Err(ShutdownTimeout::new(limit, Vec::new()))
        }
    }

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

            fn submit_task_timeout(&self, task: Task, limit: Duration) -> Result<(), (Task, Refusal)> {
                (**self).submit_task_timeout(task, limit)
            }

            fn num_workers(&self) -> usize {
                (**self).num_workers()
            }

            fn shutdown(&self, how: Shutdown) {
                (**self).shutdown(how);
            }

            fn shutdown_timeout(&self, how: Shutdown, limit: Duration) -> Result<(), ShutdownTimeout> {
                (**self).shutdown_timeout(how, limit)
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
    /// Cancel everything that has not started, and async tasks that wait, where they wait without a worker.
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

    fn submit_task_timeout(&self, task: Task, limit: Duration) -> Result<(), (Task, Refusal)> {
        self.0.submit_task_timeout(task, limit)
    }

    fn num_workers(&self) -> usize {
        self.0.num_workers()
    }

    fn shutdown(&self, how: Shutdown) {
        self.0.shutdown(how);
    }

    fn shutdown_timeout(&self, how: Shutdown, limit: Duration) -> Result<(), ShutdownTimeout> {
        self.0.shutdown_timeout(how, limit)
    }

    fn handle(&self) -> Handle {
        self.clone()
    }

    fn stats(&self) -> Stats {
        self.0.stats()
    }
}

const fn _object_safe(_: &dyn Executor) {}
