//! `multiprocessing.Pool` over any executor.
//!
//! A pool adds nothing to how tasks are run: it keeps a list of its jobs that are not done ([`jobs`]), so that `join` can wait
//! for them and `terminate` can abort them, and gives Python's names to what executors do.

mod async_result;
mod builder;
mod imap;
mod jobs;
mod piece;
mod tasks;
mod workers;

pub use async_result::{AsyncResult, NotReady};
pub use builder::PoolBuilder;
pub use imap::{Imap, ImapUnordered, NextTimedOut};
pub use jobs::StillRunning;
pub use tasks::PoolTasks;

use crate::{BuildError, Executor, ExecutorExt, Future, Portable, TaskError};
use jobs::Jobs;
use std::fmt;
use std::sync::Arc;
use workers::Workers;

/// Python's `multiprocessing.Pool`: the same names and the same steps, over worker processes ([`new`](Self::new)), threads
/// ([`threads`](Self::threads)), or any other executor ([`over`](Self::over)).
///
/// For programs that come from Python, or whose work is a batch with a beginning and an end. A pool is a handle: a clone is the
/// same pool. What it does not have, its [`executor`](Self::executor) does.
///
/// # The end
///
/// [`close`](Self::close) and [`join`](Self::join) do all that was asked for. [`terminate`](Self::terminate) stops at once: what
/// is not done then has an error as its result, also for those who wait for it, and worker processes are killed.
/// Dropping the last handle terminates, as leaving Python's `with` does: results that somebody wants are to be taken before, or
/// `close` and `join` to be called. (An executor does the opposite: its drop waits for its work.) When worker processes were
/// terminated by the drop, it waits until they are gone. Threads cannot be stopped from outside: what runs there is
/// [asked](crate::task::Current::should_stop) to, nobody waits for it, and the end of the program does not either.
///
/// A job that is given to a pool after `close` or `terminate` has a refusal as its result.
///
/// # Failures
///
/// A worker that dies fails the one job that it was at; it is replaced, and all others go on. A callback that panics is contained.
/// No job is ever lost: whatever happens, its result is there in the end, or an error that says why not.
///
/// ```
/// use concurrent_futures::multiprocessing::Pool;
///
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// let pool = Pool::new(2)?;
/// let one = pool.apply_async(square, 7).callback(|value| println!("there is {value}"));
/// assert_eq!(pool.map(square, 1..=4)?, [1, 4, 9, 16]);
/// assert_eq!(one.get()?, 49);
/// pool.close();
/// pool.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    jobs: Arc<Jobs>,
    workers: Workers,
}

impl Pool {
    /// A pool of so many worker processes; `None` for as many as there are CPUs that this program may use. A worker starts when
    /// there is work for it.
    ///
    /// ```
    /// use concurrent_futures::multiprocessing::Pool;
    ///
    /// assert_eq!(Pool::new(None)?.apply(|x: u8| x + 1, 1)?, 2);
    /// assert!(Pool::new(0).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Zero processes, or processes cannot be started here; see
    /// [`ProcessPoolBuilder::build`](crate::process::ProcessPoolBuilder::build).
    pub fn new(processes: impl Into<Option<usize>>) -> Result<Self, BuildError> {
        match processes.into() {
            None => Self::builder().build(),
            Some(n) => Self::builder().processes(n).build(),
        }
    }

    /// A pool of processes with more to say about it.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }

    /// Python's `ThreadPool`: so many threads of this process; `None` for as many as there are CPUs that it may use. Nothing is
    /// encoded, and a task that crashes takes the program along.
    ///
    /// ```
    /// use concurrent_futures::multiprocessing::Pool;
    ///
    /// let pool = Pool::threads(2)?;
    /// let (here, there) = (std::process::id(), pool.apply(|()| std::process::id(), ())?);
    /// assert_eq!(here, there);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Zero threads.
    #[cfg(feature = "thread")]
    pub fn threads(threads: impl Into<Option<usize>>) -> Result<Self, BuildError> {
        Workers::threads(threads.into()).map(Self::with)
    }

    /// A pool over an executor: any of this library's, with whatever its builder offers, or one of your own.
    ///
    /// A [`ProcessPoolExecutor`](crate::ProcessPoolExecutor) that is given away here is treated as that of [`new`](Self::new).
    /// Of all others (also of an `Arc` or a reference, which others may use as well) the pool sees to its own jobs only: `join`
    /// waits for them, `terminate` aborts them, and neither shuts the executor down. What its own drop does, when the pool's last
    /// handle goes, is for it to say.
    ///
    /// ```
    /// use concurrent_futures::multiprocessing::Pool;
    /// use concurrent_futures::{SerialExecutor, global};
    ///
    /// assert_eq!(Pool::over(SerialExecutor::new()).apply(|x: u8| x + 1, 1)?, 2);
    /// assert_eq!(Pool::over(global()).map(|x: u8| x + 1, [1, 2])?, [2, 3]);
    /// # Ok::<(), concurrent_futures::TaskError>(())
    /// ```
    pub fn over(executor: impl Executor + 'static) -> Self {
        Self::with(Workers::of(executor))
    }

    fn with(workers: Workers) -> Self {
        Pool(Arc::new(Inner { jobs: Jobs::new(), workers }))
    }

    /// The executor, for what a pool has no name for. The pool does not know of tasks that are submitted there.
    ///
    /// ```
    /// use concurrent_futures::multiprocessing::Pool;
    ///
    /// assert_eq!(Pool::new(3)?.executor().num_workers(), 3);
    /// # Ok::<(), concurrent_futures::BuildError>(())
    /// ```
    pub fn executor(&self) -> &dyn Executor {
        self.0.workers.executor()
    }

    /// Calls `f(args)` in a worker and waits for the result. Several arguments are a tuple.
    ///
    /// # Errors
    /// What became of the call instead; see [`TaskError`].
    ///
    /// ```
    /// use concurrent_futures::multiprocessing::Pool;
    ///
    /// assert_eq!(Pool::new(1)?.apply(|(a, b)| u64::pow(a, b), (2, 10))?, 1024);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn apply<A: Portable, R: Portable>(&self, f: fn(A) -> R, args: A) -> Result<R, TaskError> {
        self.apply_async(f, args).get()
    }

    /// Has `f(args)` called in a worker. Never fails: the result of a refused job is the refusal.
    ///
    /// ```
    /// use concurrent_futures::multiprocessing::Pool;
    ///
    /// let pool = Pool::new(1)?;
    /// let half = pool.apply_async(|x: u32| 100 / x, 2);
    /// let none = pool.apply_async(|x: u32| 100 / x, 0).error_callback(|why| println!("no result: {why}"));
    /// assert_eq!(half.get()?, 50);
    /// assert!(none.get().unwrap_err().is_panic());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn apply_async<A: Portable, R: Portable>(&self, f: fn(A) -> R, args: A) -> AsyncResult<R> {
        self.start(|executor| executor.submit(f, args))
    }

    /// Calls `f` on every item and waits for all; the results are in the order of the items. The items travel in chunks, whose
    /// size [`tasks`](Self::tasks) can choose.
    ///
    /// # Errors
    /// The first error in the order of the items, when all calls have ended.
    ///
    /// ```
    /// use concurrent_futures::multiprocessing::Pool;
    ///
    /// let pool = Pool::new(2)?;
    /// assert_eq!(pool.map(|x: u32| 100 / x, [1, 2, 5])?, [100, 50, 20]);
    /// assert!(pool.map(|x: u32| 100 / x, [1, 0, 5]).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn map<A, R, I>(&self, f: fn(A) -> R, items: I) -> Result<Vec<R>, TaskError>
    where
        A: Portable,
        R: Portable,
        I: IntoIterator<Item = A>,
    {
        self.map_async(f, items).get()
    }

    /// As [`map`](Self::map), without waiting. The items are taken at the call. A callback is called once, with the whole list.
    ///
    /// ```
    /// use concurrent_futures::multiprocessing::Pool;
    ///
    /// let pool = Pool::new(2)?;
    /// let squares = pool.map_async(|x: u64| x * x, 0..5).callback(|all| assert_eq!(all.len(), 5));
    /// assert_eq!(squares.get()?, [0, 1, 4, 9, 16]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn map_async<A, R, I>(&self, f: fn(A) -> R, items: I) -> AsyncResult<Vec<R>>
    where
        A: Portable,
        R: Portable,
        I: IntoIterator<Item = A>,
    {
        self.tasks(f, items).map_async()
    }

    /// Calls `f` on every item; the results come in the order of the items, each a `Result` of its own, while later items are
    /// still at work. See [`Imap`] for when the items are taken.
    ///
    /// ```
    /// use concurrent_futures::multiprocessing::Pool;
    ///
    /// let pool = Pool::new(2)?;
    /// // Endless input is taken as far as it is needed.
    /// let third = pool.imap(|x: u64| x * x, 0..).nth(3).expect("it has no end")?;
    /// assert_eq!(third, 9);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn imap<A, R, I>(&self, f: fn(A) -> R, items: I) -> Imap<I::IntoIter, R>
    where
        A: Portable,
        R: Portable,
        I: IntoIterator<Item = A>,
    {
        self.tasks(f, items).imap()
    }

    /// As [`imap`](Self::imap), but the results come as they are ready.
    ///
    /// ```
    /// use concurrent_futures::multiprocessing::Pool;
    ///
    /// let mut squares: Vec<u64> = Pool::new(2)?.imap_unordered(|x: u64| x * x, 0..4).collect::<Result<_, _>>()?;
    /// squares.sort();
    /// assert_eq!(squares, [0, 1, 4, 9]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn imap_unordered<A, R, I>(&self, f: fn(A) -> R, items: I) -> ImapUnordered<I::IntoIter, R>
    where
        A: Portable,
        R: Portable,
        I: IntoIterator<Item = A>,
    {
        self.tasks(f, items).imap_unordered()
    }

    /// As [`map`](Self::map), for functions of two arguments. (For more, `map` takes functions of a tuple.)
    ///
    /// # Errors
    /// As for `map`.
    ///
    /// ```
    /// use concurrent_futures::multiprocessing::Pool;
    ///
    /// assert_eq!(Pool::new(2)?.starmap(u64::pow, [(2, 3), (3, 2)])?, [8, 9]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn starmap<A, B, R, I>(&self, f: fn(A, B) -> R, items: I) -> Result<Vec<R>, TaskError>
    where
        A: Portable,
        B: Portable,
        R: Portable,
        I: IntoIterator<Item = (A, B)>,
    {
        self.starmap_async(f, items).get()
    }

    /// As [`starmap`](Self::starmap), without waiting.
    ///
    /// ```
    /// use concurrent_futures::multiprocessing::Pool;
    ///
    /// let powers = Pool::new(2)?.starmap_async(u64::pow, [(2, 3), (3, 2)]);
    /// # drop(powers);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn starmap_async<A, B, R, I>(&self, f: fn(A, B) -> R, items: I) -> AsyncResult<Vec<R>>
    where
        A: Portable,
        B: Portable,
        R: Portable,
        I: IntoIterator<Item = (A, B)>,
    {
        self.start(|executor| executor.starmap(f, items).gather())
    }

    /// A call of `map`, `map_async`, `imap` or `imap_unordered` with a chunk size or a buffer size of its own.
    ///
    /// ```
    /// use concurrent_futures::multiprocessing::Pool;
    ///
    /// let pool = Pool::new(2)?;
    /// let halves: Vec<_> = pool.tasks(|x: u32| 100 / x, [1, 0, 4]).chunksize(3).imap().collect();
    /// assert!(halves[1].is_err());
    /// assert_eq!(*halves[2].as_ref().unwrap(), 25); // one bad item does not spoil its chunk
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tasks<A, R, I: IntoIterator<Item = A>>(&self, f: fn(A) -> R, items: I) -> PoolTasks<'_, I::IntoIter, R> {
        PoolTasks::new(self, f, items.into_iter())
    }

    /// Takes no more jobs. Those that it has are done; see [`join`](Self::join). Does nothing when it was closed or terminated.
    pub fn close(&self) {
        self.0.jobs.close();
    }

    /// Stops at once, and takes no more jobs: what is not done is aborted, so nobody waits for it any longer, and worker
    /// processes are killed. The callbacks of what is aborted run here.
    ///
    /// ```
    /// use concurrent_futures::multiprocessing::Pool;
    ///
    /// let pool = Pool::new(1)?;
    /// let endless = pool.apply_async::<(), ()>(|()| loop { std::thread::park() }, ());
    /// pool.terminate();
    /// assert!(endless.get().is_err());
    /// assert!(pool.apply(|x: u8| x, 1).unwrap_err().is_refused());
    /// pool.join()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn terminate(&self) {
        self.0.terminate();
    }

    /// Waits until all jobs are done, their callbacks have run, and the workers have ended (those of an executor that is not the
    /// pool's own live on). Only after [`close`](Self::close) or [`terminate`](Self::terminate). In a task or callback of this
    /// very pool it must not be called: it would wait for itself.
    ///
    /// # Errors
    /// The pool takes jobs still, so that there is nothing to wait for.
    ///
    /// ```
    /// use concurrent_futures::multiprocessing::Pool;
    ///
    /// let pool = Pool::new(1)?;
    /// assert!(pool.join().is_err());
    /// pool.close();
    /// pool.join()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn join(&self) -> Result<(), StillRunning> {
        self.0.jobs.wait_for_all()?;
        self.0.workers.join();
        Ok(())
    }

    /// A job that `submit` gives to the executor.
    fn start<T: Send + 'static>(&self, submit: impl FnOnce(&dyn Executor) -> Future<T>) -> AsyncResult<T> {
        let jobs = &self.0.jobs;
        let future = match jobs.admit() {
            Ok(()) => jobs.track(submit(self.executor())),
            Err(refusal) => Future::ready(Err(refusal.into())),
        };
        AsyncResult::new(future, jobs.clone())
    }

    fn takes_jobs(&self) -> bool {
        self.0.jobs.admit().is_ok()
    }

    /// A piece of an input that was given to the pool before it was closed.
    fn go_on<T: Send + 'static>(&self, submit: impl FnOnce(&dyn Executor) -> Future<T>) -> Future<T> {
        match self.0.jobs.admit_more() {
            Ok(()) => self.0.jobs.track(submit(self.executor())),
            Err(refusal) => Future::ready(Err(refusal.into())),
        }
    }
}

impl Inner {
    fn terminate(&self) {
        self.jobs.terminate();
        self.workers.kill();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.terminate();
        self.workers.join_killed();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("jobs", &self.0.jobs).field("executor", &self.executor()).finish()
    }
}
