//! The executor over processes. `README.md` beside this file has the states and why nothing is lost.

mod builder;
#[cfg(test)]
mod hostile;
mod inner;
mod intake;
mod item;
mod limits;
mod member;
mod news;
mod seat;
mod settling;
mod setup;
mod state;
mod stops;
mod supervisor;
#[cfg(feature = "chaos")]
mod trouble;
mod watch;

pub use self::builder::ProcessPoolBuilder;

use self::inner::{Inner, Patience};
use concurrent_futures_core::{BuildError, Executor, Handle, OnDrop, Refusal, Shutdown, ShutdownTimeout, Stats, Task};
use rustix::process::Signal;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Runs tasks in worker processes: an [`Executor`] whose tasks can crash, hang, leak or be killed without harm to this
/// program or to each other.
///
/// A worker is this program, started again; nothing has to be set up for that, and `main` does not run in it. A task is a
/// plain function and its argument, which travels as bytes, as does the result. Workers are started when there is work, and
/// used again. They have no standard input; what they print goes where this program's output goes.
///
/// A worker that dies fails the task that it had started, and no other: what it had been given to do next goes to another
/// worker, and it is replaced. A panic of a task does not cost the worker. A worker that does not start what it was given (it
/// has been stopped by a signal, say) keeps no task for longer than some seconds: others get it, and the worker is replaced.
///
/// `cancel` is exact: a task for which it returns `true` has not started and never will. `running` is true only for a task
/// that a worker has started.
///
/// A task that has run out of time, or is [aborted](concurrent_futures_core::Future::abort), resolves at once; behind it, it is
/// asked to return ([`should_stop`](concurrent_futures_core::task::Current::should_stop)), then its worker gets SIGTERM, then
/// SIGKILL, with the pauses of the task's [`Grace`](concurrent_futures_core::Grace). The worker is replaced, what waited behind
/// the task goes to others, and no other worker is touched. A worker whose task returns in time lives on. A task whose
/// argument has channel handles in it is never attempted again, whatever its `retries`: they are gone with the first attempt.
///
/// Tasks have no priorities here; a task that asks for one is refused.
///
/// # Drop
///
/// Dropping the pool waits until all its work is done and its workers have ended, unless the builder's
/// [`on_drop`](ProcessPoolBuilder::on_drop) says otherwise. A pool that was shut down with [`Shutdown::NO_WAIT`], that has
/// not ended within a [`shutdown_timeout`](Executor::shutdown_timeout), or whose workers were terminated or killed, is left
/// to its end: nothing waits for that but the end of the program.
///
/// # Examples
///
/// ```
/// use concurrent_futures_core::ExecutorExt;
/// use concurrent_futures_process::ProcessPoolExecutor;
///
/// fn crash(_: ()) {
///     std::process::abort()
/// }
///
/// let pool = ProcessPoolExecutor::new(2)?;
/// let crash = pool.submit(crash, ());
/// let sum: u64 = pool.map(|x: u64| x * x, 0..100).sum::<Result<_, _>>()?;
/// assert_eq!(sum, 328_350);
/// assert_eq!(crash.result().unwrap_err().death().unwrap().signal(), Some("SIGABRT"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ProcessPoolExecutor {
    inner: Arc<Inner>,
    on_drop: OnDrop,
}

impl ProcessPoolExecutor {
    /// A pool of at most `max_workers` processes.
    ///
    /// ```
    /// use concurrent_futures_process::ProcessPoolExecutor;
    ///
    /// assert!(ProcessPoolExecutor::new(0).is_err());
    /// ```
    ///
    /// # Errors
    /// As [`ProcessPoolBuilder::build`].
    pub fn new(max_workers: usize) -> Result<Self, BuildError> {
        Self::builder().max_workers(max_workers).build()
    }

    /// A pool with more to say about it.
    pub fn builder() -> ProcessPoolBuilder {
        ProcessPoolBuilder::new()
    }

    /// The processes of the workers that live now, in ascending order.
    ///
    /// ```
    /// use concurrent_futures_core::ExecutorExt;
    /// use concurrent_futures_process::ProcessPoolExecutor;
    ///
    /// let pool = ProcessPoolExecutor::new(1)?;
    /// let pid = pool.submit(|()| std::process::id(), ()).result()?;
    /// assert_eq!(pool.worker_pids(), [pid]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn worker_pids(&self) -> Vec<u32> {
        self.inner.worker_pids()
    }

    /// Allows `max_workers` processes from now on. More come when there is work for them. If there are too many, those leave
    /// that have nothing to do, then those that are not up yet, then the others when the task that they run is done; what
    /// they had been given to do next goes to others. A smaller number than the builder's
    /// [`min_workers`](ProcessPoolBuilder::min_workers) is also what is kept.
    ///
    /// ```
    /// use concurrent_futures_core::{Executor, ExecutorExt};
    /// use concurrent_futures_process::ProcessPoolExecutor;
    ///
    /// let pool = ProcessPoolExecutor::new(1)?;
    /// pool.resize(2)?;
    /// assert_eq!(pool.num_workers(), 2);
    /// assert_eq!(pool.submit(|x: u64| x + 1, 1).result()?, 2);
    /// assert!(pool.resize(0).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The number is zero, or the pool takes no tasks any more.
    pub fn resize(&self, max_workers: usize) -> Result<(), BuildError> {
        if max_workers == 0 {
            return Err(BuildError::invalid("a pool needs at least 1 worker; `shutdown` ends it"));
        }
        self.inner.resize(max_workers).map_err(|why| BuildError::invalid(why.to_string()))
    }

    /// Starts as many workers as may run, and waits until all of them are ready: then no task waits for one to start. They
    /// stay as other workers do.
    ///
    /// ```
    /// use concurrent_futures_process::ProcessPoolExecutor;
    ///
    /// let pool = ProcessPoolExecutor::new(2)?;
    /// pool.warm_up()?;
    /// assert_eq!(pool.worker_pids().len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The pool breaks or is shut down meanwhile, or its workers cannot be started.
    pub fn warm_up(&self) -> Result<(), BuildError> {
        self.inner.warm_up().map_err(|why| BuildError::invalid(why.to_string()))
    }

    /// Sends SIGTERM to every worker, cancels what has not started, and takes no more tasks. Does not wait. The tasks that
    /// ran fail; one that ignores the signal is finished.
    ///
    /// ```
    /// use concurrent_futures_core::{Executor, ExecutorExt};
    /// use concurrent_futures_process::ProcessPoolExecutor;
    ///
    /// let pool = ProcessPoolExecutor::new(1)?;
    /// let endless = pool.submit::<(), ()>(|()| loop { std::thread::park() }, ());
    /// while !endless.running() {
    ///     std::thread::yield_now();
    /// }
    /// pool.terminate_workers();
    /// let error = endless.result().unwrap_err();
    /// assert!(error.death().unwrap().by_pool());
    /// assert!(pool.submit(|()| (), ()).result().unwrap_err().is_refused());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn terminate_workers(&self) {
        self.inner.force(Signal::TERM);
    }

    /// As [`terminate_workers`](Self::terminate_workers), with SIGKILL, which no task can ignore.
    ///
    /// ```
    /// use concurrent_futures_process::ProcessPoolExecutor;
    ///
    /// let pool = ProcessPoolExecutor::new(1)?;
    /// pool.kill_workers(); // nothing has been started: only the pool is closed
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn kill_workers(&self) {
        self.inner.force(Signal::KILL);
    }
}

impl Executor for ProcessPoolExecutor {
    fn submit_task(&self, task: Task) {
        self.inner.submit(task);
    }

    fn try_submit_task(&self, task: Task) -> Result<(), (Task, Refusal)> {
        self.inner.try_submit(task, Patience::None)
    }

    fn submit_task_timeout(&self, task: Task, limit: Duration) -> Result<(), (Task, Refusal)> {
        self.inner.try_submit(task, Patience::of(limit))
    }

    fn num_workers(&self) -> usize {
        self.inner.num_workers()
    }

    fn shutdown(&self, how: Shutdown) {
        self.inner.shutdown(how);
    }

    fn shutdown_timeout(&self, how: Shutdown, limit: Duration) -> Result<(), ShutdownTimeout> {
        self.inner.shutdown_timeout(how.cancel_futures, limit)
    }

    fn handle(&self) -> Handle {
        Handle::new(Distant { pool: Arc::downgrade(&self.inner), workers: self.num_workers() })
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }
}

impl Drop for ProcessPoolExecutor {
    fn drop(&mut self) {
        if self.inner.is_left() {
            return;
        }
        let how = match self.on_drop {
            OnDrop::CancelPending => Shutdown::WAIT.cancel_futures(),
            OnDrop::Kill => {
                self.kill_workers();
                Shutdown::WAIT
            }
            _ => Shutdown::WAIT,
        };
        self.inner.shutdown(how);
    }
}

impl fmt::Debug for ProcessPoolExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessPoolExecutor")
            .field("max_workers", &self.num_workers())
            .field("start_method", &self.inner.settings.start_method)
            .field("data_path", &self.inner.settings.data_path)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// A handle's view of a pool that it does not keep alive.
#[derive(Debug)]
struct Distant {
    pool: Weak<Inner>,
    /// How many workers there were when the handle was made; what it says when the pool is gone.
    workers: usize,
}

impl Executor for Distant {
    fn submit_task(&self, task: Task) {
        match self.pool.upgrade() {
            Some(pool) => pool.submit(task),
            None => task.fail(Refusal::ShutDown.into()),
        }
    }

    fn try_submit_task(&self, task: Task) -> Result<(), (Task, Refusal)> {
        match self.pool.upgrade() {
            Some(pool) => pool.try_submit(task, Patience::None),
            None => Err((task, Refusal::ShutDown)),
        }
    }

    fn submit_task_timeout(&self, task: Task, limit: Duration) -> Result<(), (Task, Refusal)> {
        match self.pool.upgrade() {
            Some(pool) => pool.try_submit(task, Patience::of(limit)),
            None => Err((task, Refusal::ShutDown)),
        }
    }

    fn num_workers(&self) -> usize {
        self.pool.upgrade().map_or(self.workers, |pool| pool.num_workers())
    }

    fn shutdown(&self, how: Shutdown) {
        if let Some(pool) = self.pool.upgrade() {
            pool.shutdown(how);
        }
    }

    fn shutdown_timeout(&self, how: Shutdown, limit: Duration) -> Result<(), ShutdownTimeout> {
        self.pool.upgrade().map_or(Ok(()), |pool| pool.shutdown_timeout(how.cancel_futures, limit))
    }

    fn handle(&self) -> Handle {
        Handle::new(Distant { pool: self.pool.clone(), workers: self.workers })
    }

    fn stats(&self) -> Stats {
        self.pool.upgrade().map_or_else(Stats::default, |pool| pool.stats())
    }
}
