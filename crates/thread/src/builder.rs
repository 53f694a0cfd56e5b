//! Settings of a pool.

use crate::ThreadPoolExecutor;
use crate::crew::{Initializer, Settings, Size};
use concurrent_futures_core::{BuildError, InitResult, OnDrop};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Settings of a [`ThreadPoolExecutor`], before it is made by [`build`](Self::build).
///
/// ```
/// use concurrent_futures_core::{ExecutorExt, OnDrop};
/// use concurrent_futures_thread::ThreadPoolExecutor;
///
/// let pool = ThreadPoolExecutor::builder()
///     .max_workers(2)
///     .thread_name_prefix("render")
///     .on_drop(OnDrop::CancelPending)
///     .build()?;
/// let name = pool.spawn(|| std::thread::current().name().map(String::from)).result().unwrap();
/// assert_eq!(name.as_deref(), Some("render_0"));
/// # Ok::<(), concurrent_futures_core::BuildError>(())
/// ```
#[must_use = "no pool is made before `.build()`"]
#[derive(Default)]
pub struct ThreadPoolBuilder {
    max_workers: Option<usize>,
    min_workers: usize,
    idle_timeout: Option<Duration>,
    prefix: Option<String>,
    stack_size: Option<usize>,
    queue_bound: Option<usize>,
    priority_queue: bool,
    on_drop: OnDrop,
    initializer: Option<Initializer>,
}

impl ThreadPoolBuilder {
    /// How many threads run tasks at once. Without it, as in Python: four more than the CPUs that this process may use (the
    /// cgroup's quota counts), at most 32.
    pub fn max_workers(mut self, n: usize) -> Self {
        self.max_workers = Some(n);
        self
    }

    /// How many threads are started when the pool is made, and kept however little there is to do. Without it, none.
    ///
    /// ```
    /// use concurrent_futures_core::Executor;
    /// use concurrent_futures_thread::ThreadPoolExecutor;
    /// use std::time::Duration;
    ///
    /// let pool = ThreadPoolExecutor::builder()
    ///     .max_workers(8)
    ///     .min_workers(2)
    ///     .idle_timeout(Duration::from_secs(10)) // six of the eight end when they have had nothing to do for so long
    ///     .build()?;
    /// assert_eq!(pool.stats().workers, 2);
    /// # Ok::<(), concurrent_futures_core::BuildError>(())
    /// ```
    pub fn min_workers(mut self, n: usize) -> Self {
        self.min_workers = n;
        self
    }

    /// A thread that has had nothing to do for so long ends, down to [`min_workers`](Self::min_workers). Without it, threads
    /// stay until the pool's end.
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.idle_timeout = Some(limit);
        self
    }

    /// What the names of the threads begin with; an underscore and a number from 0 follow. Without it,
    /// `ThreadPoolExecutor-` and a number that grows with each pool.
    pub fn thread_name_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// Has `f` called with a clone of `args` in each thread, before its first task.
    ///
    /// Should it panic or return an error, the pool is broken: what is queued and what comes is refused with the reason, what
    /// runs is finished.
    ///
    /// ```
    /// use concurrent_futures_core::{ExecutorExt, Refusal};
    /// use concurrent_futures_thread::ThreadPoolExecutor;
    ///
    /// fn connect(address: String) -> Result<(), String> {
    ///     Err(format!("nobody at {address}"))
    /// }
    /// let pool = ThreadPoolExecutor::builder().initializer(connect, "home".to_string()).build()?;
    /// let error = pool.submit(|x: u8| x, 1).result().unwrap_err();
    /// assert!(matches!(error.refusal(), Some(Refusal::Broken(why)) if why.contains("nobody at home")));
    /// # Ok::<(), concurrent_futures_core::BuildError>(())
    /// ```
    pub fn initializer<A, R>(mut self, f: fn(A) -> R, args: A) -> Self
    where
        A: Clone + Send + 'static,
        R: InitResult + 'static,
    {
        self.initializer = Some(Initializer::new(f, args));
        self
    }

    /// The stack of each thread, in bytes. Without it, what `std` gives (2 MiB, or `RUST_MIN_STACK`).
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// How many tasks may wait for a worker: when there are so many, `submit` waits for room and `try_submit` is refused.
    /// Without it, any number.
    ///
    /// A task that submits to its own pool does not wait: it would wait for itself. A task that was
    /// cancelled keeps its place until a worker comes to it.
    pub fn queue_bound(mut self, tasks: usize) -> Self {
        self.queue_bound = Some(tasks);
        self
    }

    /// Whether tasks of a higher [priority](concurrent_futures_core::TaskBuilder::priority) run first; those of the same
    /// priority run in the order in which they came. Without it, a task that asks for a priority is refused.
    ///
    /// ```
    /// use concurrent_futures_core::ExecutorExt;
    /// use concurrent_futures_thread::ThreadPoolExecutor;
    ///
    /// let pool = ThreadPoolExecutor::builder().max_workers(1).priority_queue(true).build()?;
    /// let urgent = pool.task(|x: u8| x, 1).priority(10).submit();
    /// assert_eq!(urgent.result().unwrap(), 1);
    /// # Ok::<(), concurrent_futures_core::BuildError>(())
    /// ```
    pub fn priority_queue(mut self, sorted: bool) -> Self {
        self.priority_queue = sorted;
        self
    }

    /// What dropping the pool does, if it has not been shut down before. Without it, it waits for all work.
    pub fn on_drop(mut self, what: OnDrop) -> Self {
        self.on_drop = what;
        self
    }

    /// Makes the pool. Its threads are started when there is work for them, but for [`min_workers`](Self::min_workers).
    ///
    /// # Errors
    /// Zero workers, more to keep than there may be, threads to keep that cannot be started, a queue without room, a name with a zero byte, or a stack that this system does not give.
    ///
    /// ```
    /// use concurrent_futures_thread::ThreadPoolExecutor;
    ///
    /// let error = ThreadPoolExecutor::builder().max_workers(0).build().unwrap_err();
    /// assert_eq!(error.to_string(), "max_workers must be at least 1: with 0 no task would ever run");
    /// ```
    pub fn build(self) -> Result<ThreadPoolExecutor, BuildError> {
        let settings = Settings {
            size: Size {
                max_workers: self.max_workers.unwrap_or_else(|| default_workers().max(self.min_workers)),
                min_workers: self.min_workers,
                idle_timeout: self.idle_timeout,
            },
            prefix: self.prefix.unwrap_or_else(default_prefix),
            stack_size: self.stack_size,
            bound: self.queue_bound,
            sorted: self.priority_queue,
            initializer: self.initializer,
        };
        check(&settings)?;
        ThreadPoolExecutor::with(settings, self.on_drop)
    }
}

impl fmt::Debug for ThreadPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPoolBuilder")
            .field("max_workers", &self.max_workers)
            .field("min_workers", &self.min_workers)
            .field("idle_timeout", &self.idle_timeout)
            .field("thread_name_prefix", &self.prefix)
            .field("stack_size", &self.stack_size)
            .field("queue_bound", &self.queue_bound)
            .field("priority_queue", &self.priority_queue)
            .field("on_drop", &self.on_drop)
            .finish_non_exhaustive()
    }
}

fn check(settings: &Settings) -> Result<(), BuildError> {
    let invalid = |message: &str| Err(BuildError::invalid(message));
    settings.size.check()?;
    if settings.bound == Some(0) {
        return invalid("queue_bound must be at least 1: with room for 0 tasks none could be submitted");
    }
    if settings.prefix.contains('\0') {
        return invalid("thread_name_prefix must not contain a zero byte: the system's names end at it");
    }
    match settings.stack_size {
        None => Ok(()),
        Some(0) => invalid("stack_size must be at least 1: a thread cannot run without a stack"),
        Some(bytes) => probe_stack(bytes),
    }
}

/// What the system gives is known only by asking: a thread that cannot be started now fails the pool, not its first task.
fn probe_stack(bytes: usize) -> Result<(), BuildError> {
    let probe = thread::Builder::new().stack_size(bytes).spawn(|| ());
    let probe = probe.map_err(|error| {
        BuildError::system(format!("a thread with stack_size {bytes} cannot be started; ask for less"), error)
    })?;
    probe
        .join()
        .map_err(|_| BuildError::invalid(format!("a thread with stack_size {bytes} does not run; ask for more")))
}

/// Python's rule: a few more threads than CPUs, for tasks that wait for input and output.
fn default_workers() -> usize {
    (num_cpus::get() + 4).min(32)
}

fn default_prefix() -> String {
    static POOLS: AtomicU64 = AtomicU64::new(0);
    format!("ThreadPoolExecutor-{}", POOLS.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_size_follows_pythons_rule() {
        let workers = default_workers();
        assert!((5..=32).contains(&workers), "{workers}");
        assert_eq!(workers, (num_cpus::get() + 4).min(32));
    }

    #[test]
    fn default_prefixes_differ() {
        assert_ne!(default_prefix(), default_prefix());
        assert!(default_prefix().starts_with("ThreadPoolExecutor-"));
    }
}
