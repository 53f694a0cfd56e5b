//! Making a pool of processes.

use super::ProcessPoolExecutor;
use super::inner::{Inner, Settings};
use super::limits;
use super::setup::SetupCall;
use super::state::Limits;
use crate::boot;
use crate::launch::StartMethod;
use crate::limits::Rules;
use crate::link::DataPath;
use concurrent_futures_core::{BuildError, InitResult, OnDrop, Portable, TaskError};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Settles how a [`ProcessPoolExecutor`] works; made by [`ProcessPoolExecutor::builder`].
///
/// ```
/// use concurrent_futures_core::ExecutorExt;
/// use concurrent_futures_process::{ProcessPoolExecutor, StartMethod};
///
/// let pool = ProcessPoolExecutor::builder()
///     .max_workers(2)
///     .start_method(StartMethod::Spawn)
///     .max_tasks_per_child(100)
///     .worker_name_prefix("hash")
///     .build()?;
/// assert_eq!(pool.submit(|x: u64| x * x, 12).result()?, 144);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "there is no pool before `.build()`"]
pub struct ProcessPoolBuilder {
    max_workers: Option<usize>,
    min_workers: usize,
    idle_timeout: Option<Duration>,
    max_tasks_per_child: Option<usize>,
    queue_bound: Option<usize>,
    max_deaths_per_task: Option<u32>,
    max_restarts: Option<(usize, Duration)>,
    initializer_timeout: Option<Duration>,
    start_method: StartMethod,
    data_path: DataPath,
    prefix: Option<String>,
    capture: bool,
    pub(super) rules: Rules,
    /// `cpu_affinity` was called, maybe with no CPU at all.
    pub(super) pinned: bool,
    on_drop: OnDrop,
    initializer: Option<Result<SetupCall, TaskError>>,
    preload: Option<Result<SetupCall, TaskError>>,
    #[cfg(feature = "chaos")]
    chaos: Option<crate::chaos::Chaos>,
}

impl ProcessPoolBuilder {
    pub(super) fn new() -> Self {
        ProcessPoolBuilder {
            max_workers: None,
            min_workers: 0,
            idle_timeout: None,
            max_tasks_per_child: None,
            queue_bound: None,
            max_deaths_per_task: None,
            max_restarts: None,
            initializer_timeout: None,
            start_method: StartMethod::default(),
            data_path: DataPath::default(),
            prefix: None,
            capture: false,
            rules: Rules::default(),
            pinned: false,
            on_drop: OnDrop::default(),
            initializer: None,
            preload: None,
            #[cfg(feature = "chaos")]
            chaos: None,
        }
    }

    /// How many workers may run at once. The default is the number of CPUs that this process may use, as its affinity and
    /// its cgroup allow; not more than [`cpu_affinity`](Self::cpu_affinity) names.
    pub fn max_workers(mut self, n: usize) -> Self {
        self.max_workers = Some(n);
        self
    }

    /// So many workers are started with the pool and kept, also when there is nothing to do. The default is 0: the first
    /// worker starts with the first task.
    ///
    /// ```
    /// use concurrent_futures_core::Executor;
    /// use concurrent_futures_process::ProcessPoolExecutor;
    /// use std::time::Duration;
    ///
    /// let pool = ProcessPoolExecutor::builder()
    ///     .min_workers(1)
    ///     .max_workers(8)
    ///     .idle_timeout(Duration::from_secs(30))
    ///     .build()?;
    /// assert_eq!(pool.num_workers(), 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn min_workers(mut self, n: usize) -> Self {
        self.min_workers = n;
        self
    }

    /// A worker that has had nothing to do for so long ends, as long as more than
    /// [`min_workers`](Self::min_workers) are there. The one that worked last gets the next task, so a pool shrinks to what
    /// its load needs. Without this, workers stay until the pool ends.
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.idle_timeout = Some(limit);
        self
    }

    /// Runs in every worker before its first task. `f` returns nothing, or a `Result` whose error (like a panic) breaks the
    /// pool: what is queued and what comes is refused with the reason, what runs is finished.
    ///
    /// ```
    /// use concurrent_futures_core::ExecutorExt;
    /// use concurrent_futures_process::ProcessPoolExecutor;
    /// use std::sync::atomic::{AtomicU32, Ordering};
    ///
    /// static LEVEL: AtomicU32 = AtomicU32::new(0);
    ///
    /// let pool = ProcessPoolExecutor::builder()
    ///     .max_workers(1)
    ///     .initializer(|level: u32| LEVEL.store(level, Ordering::Relaxed), 7)
    ///     .build()?;
    /// assert_eq!(pool.submit(|()| LEVEL.load(Ordering::Relaxed), ()).result()?, 7);
    /// assert_eq!(LEVEL.load(Ordering::Relaxed), 0, "it ran in the worker");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn initializer<A: Portable, R: InitResult>(mut self, f: fn(A) -> R, args: A) -> Self {
        self.initializer = Some(SetupCall::new(f, args));
        self
    }

    /// Runs once in the fork server, before it forks the first worker: what it loads into statics is there in all workers,
    /// and its memory is shared until somebody writes to it. With [`StartMethod::Spawn`] it runs in every worker, before the
    /// initializer. It must not leave threads behind: they would be missing in the forks, so the pool spawns its workers
    /// then, and says so on standard error. Seeds of random generators and hash keys that it leaves are the same in all
    /// workers.
    pub fn preload<A: Portable, R: InitResult>(mut self, f: fn(A) -> R, args: A) -> Self {
        self.preload = Some(SetupCall::preload(f, args));
        self
    }

    /// After so many tasks a worker ends and is replaced by a fresh one.
    pub fn max_tasks_per_child(mut self, n: usize) -> Self {
        self.max_tasks_per_child = Some(n);
        self
    }

    /// How workers are started.
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.start_method = method;
        self
    }

    /// What carries tasks and results between the pool and its workers.
    pub fn data_path(mut self, path: DataPath) -> Self {
        self.data_path = path;
        self
    }

    /// The workers are called `<prefix>-<n>` in `ps` and `top`. The default is `cf-pool<n>`.
    pub fn worker_name_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// So many tasks may wait in the queue: then `submit` waits for room, and `try_submit` is refused. What workers have
    /// been given to do next is not in the queue any more. Without a bound, neither ever happens.
    pub fn queue_bound(mut self, n: usize) -> Self {
        self.queue_bound = Some(n);
        self
    }

    /// A task of which so many workers have died is given up, however many retries it has left; its error says
    /// [how many](concurrent_futures_core::Death::deaths). Workers that the pool has ended itself (for a timeout, say) do not
    /// count. Without this, only the task's own retries count.
    ///
    /// ```
    /// use concurrent_futures_core::ExecutorExt;
    /// use concurrent_futures_process::ProcessPoolExecutor;
    ///
    /// let pool = ProcessPoolExecutor::builder().max_workers(1).max_deaths_per_task(2).build()?;
    /// let poison = pool.task::<(), ()>(|()| std::process::abort(), ()).retries(100).submit();
    /// assert_eq!(poison.result().unwrap_err().death().unwrap().deaths(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_deaths_per_task(mut self, n: u32) -> Self {
        self.max_deaths_per_task = Some(n);
        self
    }

    /// When more than `n` workers die within `per`, the pool breaks: what is queued and what comes is refused with the
    /// reason, what runs is finished. Workers that the pool has ended itself, or that have left because they were told to, do
    /// not count. Without this a worker is replaced however often that happens. (Workers that die before they are ready are
    /// always limited.)
    ///
    /// ```
    /// use concurrent_futures_core::ExecutorExt;
    /// use concurrent_futures_process::ProcessPoolExecutor;
    /// use std::time::Duration;
    ///
    /// let pool =
    ///     ProcessPoolExecutor::builder().max_workers(1).max_restarts(2, Duration::from_secs(60)).build()?;
    /// let crash = |()| std::process::abort();
    /// for _ in 0..3 {
    ///     assert!(pool.submit::<(), ()>(crash, ()).result().unwrap_err().is_worker_death());
    /// }
    /// assert!(pool.submit(|x: u64| x, 1).result().unwrap_err().is_refused());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_restarts(mut self, n: usize, per: Duration) -> Self {
        self.max_restarts = Some((n, per));
        self
    }

    /// A worker that is not ready so long after it was asked for is killed, and the pool breaks as it does when an
    /// initializer fails: preload and initializer included, this is the time that they may take. Without this, a pool whose
    /// initializer hangs waits for it.
    ///
    /// ```
    /// use concurrent_futures_process::ProcessPoolExecutor;
    /// use std::time::Duration;
    ///
    /// let pool = ProcessPoolExecutor::builder()
    ///     .max_workers(1)
    ///     .initializer::<_, ()>(|()| loop { std::thread::park() }, ())
    ///     .initializer_timeout(Duration::from_millis(50))
    ///     .build()?;
    /// assert!(pool.warm_up().unwrap_err().to_string().contains("not ready within 50ms"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn initializer_timeout(mut self, limit: Duration) -> Self {
        self.initializer_timeout = Some(limit);
        self
    }

    /// Catches what each task writes to standard output and standard error: it is then not seen there, but with the outcome,
    /// by `future.output()` and `error.output()`; and the death of a worker says its last lines. Of each stream of a task the
    /// last megabyte is kept. What is printed before the first task, or between tasks, is lost or belongs to the next one;
    /// programs that a task starts are caught too. Workers get one task at a time then, so very short tasks take longer.
    /// A task that runs out of time or is aborted fails at once: its error has no output, and its future has some only when
    /// its worker is gone.
    ///
    /// The default is not to: workers print where this process does.
    ///
    /// ```
    /// use concurrent_futures_core::ExecutorExt;
    /// use concurrent_futures_process::ProcessPoolExecutor;
    ///
    /// fn stumble(_: ()) {
    ///     print!("so far");
    ///     panic!("and no further");
    /// }
    ///
    /// let pool = ProcessPoolExecutor::builder().max_workers(1).capture_output(true).build()?;
    /// let error = pool.submit(stumble, ()).result().unwrap_err();
    /// assert_eq!(error.output().unwrap().stdout_text(), "so far");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn capture_output(mut self, on: bool) -> Self {
        self.capture = on;
        self
    }

    /// What dropping the pool does.
    pub fn on_drop(mut self, what: OnDrop) -> Self {
        self.on_drop = what;
        self
    }

    /// Makes trouble for the workers, to see whether the program that uses the pool bears it; see [`Chaos`](crate::Chaos).
    #[cfg(feature = "chaos")]
    pub fn chaos(mut self, chaos: crate::chaos::Chaos) -> Self {
        self.chaos = Some(chaos);
        self
    }

    /// Makes the pool. The fork server is started now, workers when there is work.
    ///
    /// # Errors
    /// A number is zero; `min_workers` is more than `max_workers`; the argument of the initializer or the preload cannot be encoded; this process may not have workers
    /// (it runs with raised privileges, or is itself a worker of a worker of …); the system refuses.
    pub fn build(self) -> Result<ProcessPoolExecutor, BuildError> {
        boot::check().map_err(|refusal| BuildError::invalid(refusal.to_string()))?;
        let at_least_one = |n: Option<usize>, what: &str| match n {
            Some(0) => Err(BuildError::invalid(format!("{what} must be at least 1"))),
            other => Ok(other),
        };
        let setup = |call: Option<Result<SetupCall, TaskError>>, what: &str| {
            call.transpose().map_err(|e| BuildError::invalid(format!("the {what} cannot be sent to workers: {e}")))
        };
        let max_workers = at_least_one(self.max_workers, "max_workers")?;
        let workers = max_workers.unwrap_or_else(|| limits::cpus(&self.rules));
        if self.min_workers > workers {
            let words = format!("min_workers ({}) is more than max_workers ({workers})", self.min_workers);
            return Err(BuildError::invalid(words));
        }
        let settings = Settings {
            limits: Limits {
                workers,
                min_workers: self.min_workers,
                idle_timeout: self.idle_timeout,
                tasks: at_least_one(self.max_tasks_per_child, "max_tasks_per_child")?,
            },
            deaths_per_task: match self.max_deaths_per_task {
                Some(0) => return Err(BuildError::invalid("max_deaths_per_task must be at least 1")),
                other => other,
            },
            restarts: self.max_restarts,
            ready_within: self.initializer_timeout,
            queue_bound: at_least_one(self.queue_bound, "queue_bound")?,
            start_method: self.start_method,
            data_path: self.data_path,
            prefix: self.prefix.unwrap_or_else(default_prefix),
            capture: self.capture,
            rules: limits::check(self.rules, self.pinned)?,
            initializer: setup(self.initializer, "initializer")?,
            preload: setup(self.preload, "preload")?,
            #[cfg(feature = "chaos")]
            chaos: self.chaos.map(|chaos| chaos.check().map(|()| chaos)).transpose()?,
        };
        Ok(ProcessPoolExecutor { inner: Inner::start(settings)?, on_drop: self.on_drop })
    }
}

fn default_prefix() -> String {
    static POOLS: AtomicU64 = AtomicU64::new(0);
    format!("cf-pool{}", POOLS.fetch_add(1, Ordering::Relaxed))
}

impl fmt::Debug for ProcessPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessPoolBuilder")
            .field("max_workers", &self.max_workers)
            .field("min_workers", &self.min_workers)
            .field("idle_timeout", &self.idle_timeout)
            .field("max_tasks_per_child", &self.max_tasks_per_child)
            .field("queue_bound", &self.queue_bound)
            .field("start_method", &self.start_method)
            .field("data_path", &self.data_path)
            .field("capture", &self.capture)
            .field("rules", &self.rules)
            .field("on_drop", &self.on_drop)
            .finish_non_exhaustive()
    }
}
