//! The pool as its users see it.

use crate::ThreadPoolBuilder;
use crate::crew::{AtExit, Crew, Job, Settings, WhenFull};
use crate::handle::Weak;
use concurrent_futures_core::task::{closure, refuse_limits, refuse_priority, spawned};
use concurrent_futures_core::{
    BuildError, Executor, Future, Handle, OnDrop, Refusal, Shutdown, ShutdownTimeout, Stats, Task, TaskError,
};
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Runs tasks on threads of this process.
///
/// Threads start on demand, up to the number that was asked for; an idle one is used before a new one is started, and the one
/// that went idle last before the others. With an [`idle_timeout`](ThreadPoolBuilder::idle_timeout) idle ones end; the number
/// can be changed by [`resize`](Self::resize). Nothing is encoded: functions and arguments are run in place. A task may wait for another task of its own pool: one that nobody has
/// started is run by the waiter, and otherwise a substitute thread works while it waits. (A `block_on` of a foreign runtime
/// inside a task cannot be seen: wrap it in [`worker::blocking`](concurrent_futures_core::worker::blocking).)
///
/// The methods of every executor are in [`ExecutorExt`](concurrent_futures_core::ExecutorExt); [`spawn`](Self::spawn) and
/// [`borrow_scope`](Self::borrow_scope) are what only threads can do.
///
/// # The end
///
/// Dropping the pool waits until all submitted work is done ([`OnDrop`] chooses something else), unless it has been shut down
/// before: then what was said there holds. [`shutdown`](Executor::shutdown) with `wait` returns when all accepted work is
/// done, what it held is released, and the threads have ended; without, it returns at once, the work is done all the same, and
/// the end of the process waits for it. From a task of this very pool both return at once, since a task cannot wait for
/// itself; that goes for a drop there, too. [`shutdown_timeout`](Executor::shutdown_timeout) waits for a limited time, and then
/// tells which tasks run still and which have not started; a thread cannot be stopped from outside, so they go on. A task that calls [`std::process::exit`] ends the process at once, unless `main`
/// has returned and waits for that very pool: then they wait for each other for ever.
///
/// # Panics
///
/// A panic of a task is its future's error, with message, location and payload; the thread lives on. With `panic = "abort"`
/// it ends the program.
///
/// ```
/// use concurrent_futures_core::{Executor, ExecutorExt};
/// use concurrent_futures_thread::ThreadPoolExecutor;
///
/// let pool = ThreadPoolExecutor::new(4)?;
/// let squares: Result<Vec<u64>, _> = pool.map(|x: u64| x * x, 0..5).collect();
/// assert_eq!(squares.unwrap(), [0, 1, 4, 9, 16]);
/// # Ok::<(), concurrent_futures_core::BuildError>(())
/// ```
pub struct ThreadPoolExecutor {
    crew: Arc<Crew>,
    on_drop: OnDrop,
}

impl ThreadPoolExecutor {
    /// A pool of at most `max_workers` threads.
    ///
    /// # Errors
    /// Zero workers.
    ///
    /// ```
    /// use concurrent_futures_core::ExecutorExt;
    /// use concurrent_futures_thread::ThreadPoolExecutor;
    ///
    /// let pool = ThreadPoolExecutor::new(2)?;
    /// assert_eq!(pool.submit(|(a, b)| a + b, (1, 2)).result().unwrap(), 3);
    /// assert!(ThreadPoolExecutor::new(0).is_err());
    /// # Ok::<(), concurrent_futures_core::BuildError>(())
    /// ```
    pub fn new(max_workers: usize) -> Result<Self, BuildError> {
        Self::builder().max_workers(max_workers).build()
    }

    /// For all other settings; see [`ThreadPoolBuilder`].
    pub fn builder() -> ThreadPoolBuilder {
        ThreadPoolBuilder::default()
    }

    /// Submits a closure, which may capture and return what cannot be encoded.
    ///
    /// Waits for room when the queue is bounded and full. Never fails: the future of a refused task holds the refusal.
    ///
    /// ```
    /// use concurrent_futures_thread::ThreadPoolExecutor;
    /// use std::sync::{Arc, Mutex};
    ///
    /// let pool = ThreadPoolExecutor::new(2)?;
    /// let log = Arc::new(Mutex::new(vec![]));
    /// let shared = log.clone();
    /// pool.spawn(move || shared.lock().unwrap().push("from a worker")).result().unwrap();
    /// assert_eq!(*log.lock().unwrap(), ["from a worker"]);
    /// # Ok::<(), concurrent_futures_core::BuildError>(())
    /// ```
    pub fn spawn<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> Future<T> {
        let (task, future) = closure(f);
        self.submit_task(task);
        future
    }

    /// Submits a future, which may be any that can move between threads: an async block, say. It is polled by whichever worker is
    /// free when it has been woken, and has none while it waits, so many more can wait at once than there are threads.
    ///
    /// It is work of the pool until it is done, also after [`shutdown`](Executor::shutdown): one that is never woken again is pending
    /// until it is cancelled ([`cancel`](Future::cancel) drops it where it waits; `shutdown` with `cancel_futures`
    /// does that to all) or aborted. Waits for room and is refused as [`spawn`](Self::spawn); tasks that wait need no room. For
    /// functions, and on other executors:
    /// [`submit_async`](concurrent_futures_core::ExecutorExt::submit_async).
    ///
    /// ```
    /// use concurrent_futures_core::{ExecutorExt, Promise};
    /// use concurrent_futures_thread::ThreadPoolExecutor;
    ///
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let (promise, answer) = Promise::pair();
    /// let waiting = pool.spawn_async(async move { answer.await.map(|x: u32| x + 1) });
    /// assert_eq!(pool.submit(|x: u32| x, 1).result().unwrap(), 1); // the only thread is free
    /// promise.set_result(41).unwrap();
    /// assert_eq!(waiting.result().unwrap().unwrap(), 42);
    /// # Ok::<(), concurrent_futures_core::BuildError>(())
    /// ```
    pub fn spawn_async<F>(&self, future: F) -> Future<F::Output>
    where
        F: std::future::Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (task, outcome) = spawned(future);
        self.submit_task(task);
        outcome
    }

    /// From now on, at most `max_workers` threads run tasks at once.
    ///
    /// A larger pool takes up what is queued at once. In a smaller one, a thread that is too many finishes what it runs, takes
    /// nothing new, and ends half a second later if the pool has not grown again. As many are kept as
    /// [`min_workers`](ThreadPoolBuilder::min_workers) says, but no more than `max_workers`. Returns at once.
    ///
    /// # Errors
    /// Zero workers; or a thread that is to be kept cannot be started.
    ///
    /// ```
    /// use concurrent_futures_core::Executor;
    /// use concurrent_futures_thread::ThreadPoolExecutor;
    ///
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// pool.resize(4)?;
    /// assert_eq!(pool.num_workers(), 4);
    /// assert!(pool.resize(0).is_err());
    /// # Ok::<(), concurrent_futures_core::BuildError>(())
    /// ```
    pub fn resize(&self, max_workers: usize) -> Result<(), BuildError> {
        self.crew.resize(max_workers)
    }

    /// Starts all the threads that the pool may have now, and waits until each is ready for tasks: its initializer has
    /// returned. (In a task of this very pool it does not wait.)
    ///
    /// With an [`idle_timeout`](ThreadPoolBuilder::idle_timeout), those that get nothing to do end again.
    ///
    /// # Errors
    /// A thread cannot be started, or the pool takes no tasks: it is shut down, or an initializer failed.
    ///
    /// ```
    /// use concurrent_futures_core::Executor;
    /// use concurrent_futures_thread::ThreadPoolExecutor;
    ///
    /// let pool = ThreadPoolExecutor::new(3)?;
    /// assert_eq!(pool.stats().workers, 0);
    /// pool.warm_up()?;
    /// assert_eq!(pool.stats().workers, 3);
    /// # Ok::<(), concurrent_futures_core::BuildError>(())
    /// ```
    pub fn warm_up(&self) -> Result<(), BuildError> {
        self.crew.warm_up()
    }

    pub(crate) fn with(settings: Settings, on_drop: OnDrop) -> Result<Self, BuildError> {
        let pool = ThreadPoolExecutor { crew: Crew::new(settings), on_drop };
        pool.crew.start_those_to_keep()?;
        Ok(pool)
    }

    pub(crate) fn crew(&self) -> &Arc<Crew> {
        &self.crew
    }
}

impl Executor for ThreadPoolExecutor {
    fn submit_task(&self, task: Task) {
        submit(&self.crew, task);
    }

    fn try_submit_task(&self, task: Task) -> Result<(), (Task, Refusal)> {
        offer(&self.crew, task, WhenFull::Refuse)
    }

    fn submit_task_timeout(&self, task: Task, limit: Duration) -> Result<(), (Task, Refusal)> {
        offer(&self.crew, task, wait_at_most(limit))
    }

    fn num_workers(&self) -> usize {
        self.crew.max_workers()
    }

    fn shutdown(&self, how: Shutdown) {
        self.crew.shut_down(how, AtExit::Wait);
    }

    fn shutdown_timeout(&self, how: Shutdown, limit: Duration) -> Result<(), ShutdownTimeout> {
        self.crew.shut_down_timeout(how, limit)
    }

    fn handle(&self) -> Handle {
        Handle::new(Weak::of(&self.crew))
    }

    fn stats(&self) -> Stats {
        self.crew.stats()
    }
}

/// Never fails: a refused task resolves with the refusal.
pub(crate) fn submit(crew: &Arc<Crew>, task: Task) {
    if let Err((task, why)) = offer(crew, task, WhenFull::Wait) {
        task.fail(TaskError::from(why));
    }
}

#[cold]
fn refuse_what_cannot_be(crew: &Crew, task: &Task) -> Result<(), Refusal> {
    if !crew.settings.sorted {
        refuse_priority(task)?;
    }
    refuse_limits(task)
}

/// An end that no clock can tell is no end.
pub(crate) fn wait_at_most(limit: Duration) -> WhenFull {
    Instant::now().checked_add(limit).map_or(WhenFull::Wait, WhenFull::WaitUntil)
}

pub(crate) fn offer(crew: &Arc<Crew>, task: Task, when_full: WhenFull) -> Result<(), (Task, Refusal)> {
    // Most tasks ask for nothing.
    if task.has_policy()
        && let Err(why) = refuse_what_cannot_be(crew, &task)
    {
        return Err((task, why));
    }
    task.set_home(crew.id);
    crew.submit(Job::Task(task), when_full).map_err(|(job, why)| match job {
        Job::Task(task) => (task, why),
        Job::Scoped(_) | Job::Poll(_) => unreachable!("the job that comes back is the one that was given"),
    })
}

// A panic of the user's never leaves the pool half-changed: no code of theirs runs under its lock.
impl UnwindSafe for ThreadPoolExecutor {}
impl RefUnwindSafe for ThreadPoolExecutor {}

impl Drop for ThreadPoolExecutor {
    fn drop(&mut self) {
        if self.crew.is_closed() {
            return;
        }
        match self.on_drop {
            OnDrop::CancelPending => self.crew.shut_down(Shutdown::WAIT.cancel_futures(), AtExit::Wait),
            OnDrop::Kill => self.crew.shut_down(Shutdown::NO_WAIT.cancel_futures(), AtExit::Leave),
            _ => self.crew.shut_down(Shutdown::WAIT, AtExit::Wait),
        }
    }
}

impl fmt::Debug for ThreadPoolExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPoolExecutor")
            .field("thread_name_prefix", &self.crew.settings.prefix)
            .field("max_workers", &self.num_workers())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
