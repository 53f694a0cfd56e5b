//! Tasks with a name, a limit, a priority, or a chunk size of their own.

use super::Executor;
use crate::Portable;
use crate::cell::Ref;
use crate::error::{Refusal, TaskError, TaskErrorKind, TrySubmitError};
use crate::future::Future;
use crate::map::{BufferedMap, Map, MapUnordered, Options, start};
use crate::task::{
    Again, Async, AsyncCall, AsyncFallible, AsyncFunction, Backoff, Cloner, Deadline, Fallible, Function, Grace, Meta,
    One, Outcome, Plain, Retried, RetryOn, Task, Unbound, call, pair,
};
use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

/// One task, before it is submitted; made by [`ExecutorExt::task`](super::ExecutorExt::task).
///
/// ```
/// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
/// use std::time::Duration;
///
/// let ex = SerialExecutor::new();
/// let future = ex.task(|x: u8| x + 1, 1).name("add one").timeout(Duration::from_secs(5)).submit();
/// assert_eq!(future.name(), Some("add one"));
/// assert_eq!(future.result().unwrap(), 2);
/// ```
#[must_use = "nothing is submitted before `.submit()`"]
pub struct TaskBuilder<'a, E: ?Sized, A, R> {
    executor: &'a E,
    f: fn(A) -> R,
    args: A,
    meta: Meta,
    clone: Option<Cloner<A>>,
    judge: Option<fn(&R) -> bool>,
}

impl<'a, E: Executor + ?Sized, A, R> TaskBuilder<'a, E, A, R> {
    pub(super) fn new(executor: &'a E, f: fn(A) -> R, args: A) -> Self {
        TaskBuilder { executor, f, args, meta: Meta::default(), clone: None, judge: None }
    }

    /// A name, for errors and `Debug`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.meta.name = Some(name.into().into());
        self
    }

    /// How long each attempt may run, from its start. When the time is up, and no retry follows, its future fails at once,
    /// and its late result is dropped. In a process pool the worker is stopped and replaced, by the steps of
    /// [`grace`](Self::grace); on threads the task can only be asked to stop
    /// ([`should_stop`](crate::task::Current::should_stop)), and its worker is free when it returns.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.meta.timeout = Some(limit);
        self
    }

    /// When the task must be done, all attempts and the waiting for a worker included; then its future fails as with a
    /// timeout. One whose deadline is over when it is submitted never runs.
    pub fn deadline(mut self, at: Instant) -> Self {
        self.meta.deadline = Some(Deadline::new(at));
        self
    }

    /// By which steps it is stopped when its time is up or it is aborted; see [`Grace`].
    pub fn grace(mut self, grace: Grace) -> Self {
        self.meta.grace = grace;
        self
    }

    /// Up to so many attempts beyond the first; the default is none. What an attempt must end like for another one to follow
    /// is said by [`retry_on`](Self::retry_on) (everything that is an error, by default) and [`retry_if`](Self::retry_if).
    /// The argument is cloned for each attempt. The last attempt's outcome is the task's.
    ///
    /// On threads and on the serial executor the attempts follow each other in one thread, which others stand in for during
    /// a pause (up to a number: thousands of long pauses at once hold up others); in a process pool each may go to another
    /// worker, and between two of them the task counts as not started: it can be cancelled. An argument with channel handles
    /// cannot be sent twice: a task that has one gets a single attempt there.
    ///
    /// ```
    /// use concurrent_futures_core::{ExecutorExt, RetryOn, SerialExecutor, task};
    ///
    /// fn flaky(x: u32) -> u32 {
    ///     if task::current().attempt() < 3 { panic!("not yet") }
    ///     x * 2
    /// }
    /// let ex = SerialExecutor::new();
    /// let future = ex.task(flaky, 21).retries(5).retry_on(RetryOn::PANIC).submit();
    /// assert_eq!(future.attempts(), 3);
    /// assert_eq!(future.result().unwrap(), 42);
    /// ```
    pub fn retries(mut self, n: u32) -> Self
    where
        A: Clone,
    {
        self.meta.retry.more = n;
        self.clone = Some(A::clone);
        self
    }

    /// After which ends of an attempt another one follows, if there are [`retries`](Self::retries). The default is
    /// [`RetryOn::ALL`].
    pub fn retry_on(mut self, on: RetryOn) -> Self {
        self.meta.retry.on = on;
        self
    }

    /// Another attempt follows also when `again` says so of what the function has returned, if there are
    /// [`retries`](Self::retries). It is asked where the task ran.
    ///
    /// ```
    /// use concurrent_futures_core::{ExecutorExt, SerialExecutor, task};
    ///
    /// let ex = SerialExecutor::new();
    /// let future = ex.task(|()| task::current().attempt(), ()).retries(9).retry_if(|attempt| *attempt < 4).submit();
    /// assert_eq!(future.result().unwrap(), 4);
    /// ```
    pub fn retry_if(mut self, again: fn(&R) -> bool) -> Self {
        self.judge = Some(again);
        self
    }

    /// How long to wait before another attempt; the default is [`Backoff::NONE`].
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.meta.retry.backoff = backoff;
        self
    }

    /// How much memory the task may have, in bytes, with what its worker has already. Needs a worker process: other executors
    /// refuse the task. Which mechanism enforces it, and how exactly, is said by the process pool's builder.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.meta.limits.memory = Some(bytes);
        self
    }

    /// How much CPU time an attempt may use, all its threads together; whole seconds, rounded up. Needs a worker process:
    /// other executors refuse the task.
    pub fn cpu_time_limit(mut self, time: Duration) -> Self {
        self.meta.limits.cpu_time = Some(time);
        self
    }

    /// How many descriptors the task's process may have open. Needs a worker process: other executors refuse the task.
    pub fn open_files_limit(mut self, n: u64) -> Self {
        self.meta.limits.open_files = Some(n);
        self
    }

    /// Higher runs earlier; the default is 0. Needs an executor with a priority queue: others refuse the task.
    pub fn priority(mut self, priority: i32) -> Self {
        self.meta.priority = priority;
        self
    }

    /// Submits the task; see [`ExecutorExt::submit`](super::ExecutorExt::submit).
    pub fn submit(self) -> Future<R>
    where
        A: Portable,
        R: Portable,
    {
        let again = again(self.clone, self.judge);
        submit(self.executor, Plain(self.f), self.args, self.meta, again)
    }

    /// Submits the task without waiting for room.
    ///
    /// # Errors
    /// The executor refused the task; the argument comes back.
    pub fn try_submit(self) -> Result<Future<R>, TrySubmitError<A>>
    where
        A: Portable,
        R: Portable,
    {
        self.offer(|executor, task| executor.try_submit_task(task))
    }

    /// Submits the task, waiting at most `limit` for room in a bounded queue.
    ///
    /// # Errors
    /// The executor refused the task, with [`Refusal::Full`](crate::Refusal::Full) when there was no room in time; the
    /// argument comes back.
    pub fn submit_timeout(self, limit: Duration) -> Result<Future<R>, TrySubmitError<A>>
    where
        A: Portable,
        R: Portable,
    {
        // After its deadline there is nothing to wait for.
        let left = self.meta.deadline.map(|deadline| deadline.at.saturating_duration_since(Instant::now()));
        let limit = left.map_or(limit, |left| left.min(limit));
        self.offer(|executor, task| executor.submit_task_timeout(task, limit))
    }

    fn offer(self, to: impl FnOnce(&E, Task) -> Result<(), (Task, Refusal)>) -> Result<Future<R>, TrySubmitError<A>>
    where
        A: Portable,
        R: Portable,
    {
        let again = again(self.clone, self.judge).filter(|_| self.meta.retry.more > 0);
        let one = One { function: Plain(self.f), context: Unbound, args: self.args };
        let (task, future) = call(one, again, self.meta);
        if let Some(why) = overdue(&task) {
            task.fail(why);
            return Ok(future);
        }
        match to(self.executor, task) {
            Ok(()) => {
                // Only now: a task that may be given back must not be resolved before, for its argument goes back too.
                watch_deadline(future.cell());
                Ok(future)
            }
            Err((task, why)) => {
                let args = match again {
                    Some(_) => task.into_work::<Retried<Plain<A, R>>>(&future).one.args,
                    None => task.into_work::<One<Plain<A, R>>>(&future).args,
                };
                Err(TrySubmitError { args, why })
            }
        }
    }
}

impl<E: Executor + ?Sized, A: Portable, R: Portable, X> TaskBuilder<'_, E, A, Result<R, X>>
where
    X: Into<Box<dyn Error + Send + Sync>> + 'static,
{
    /// Submits a task that may fail; see [`ExecutorExt::submit_fallible`](super::ExecutorExt::submit_fallible).
    pub fn submit_fallible(self) -> Future<R> {
        let again = again(self.clone, self.judge);
        submit(self.executor, Fallible(self.f), self.args, self.meta, again)
    }
}

impl<E: Executor + ?Sized, A: Portable, F> TaskBuilder<'_, E, A, F>
where
    F: std::future::Future + Send + 'static,
{
    /// Submits an async task; see [`ExecutorExt::submit_async`](super::ExecutorExt::submit_async). All that can be said of a task
    /// can be said of it, but for [`retry_if`](Self::retry_if), which would see the future and not its value: it is refused.
    ///
    /// ```
    /// use concurrent_futures_core::{ExecutorExt, SerialExecutor, task};
    ///
    /// async fn flaky(x: u32) -> u32 {
    ///     if task::current().attempt() < 3 { panic!("not yet") }
    ///     x * 2
    /// }
    /// let future = SerialExecutor::new().task(flaky, 21).retries(5).submit_async();
    /// assert_eq!(future.attempts(), 3);
    /// assert_eq!(future.result().unwrap(), 42);
    /// ```
    pub fn submit_async(self) -> Future<F::Output>
    where
        F::Output: Portable,
    {
        self.submit_call(Async)
    }

    /// Submits an async task that may fail; see
    /// [`ExecutorExt::submit_async_fallible`](super::ExecutorExt::submit_async_fallible).
    pub fn submit_async_fallible(self) -> Future<<F::Output as Outcome>::Value>
    where
        F::Output: Outcome + Send + 'static,
        <F::Output as Outcome>::Value: Portable,
    {
        self.submit_call(AsyncFallible)
    }

    fn submit_call<C>(self, function: impl FnOnce(fn(A) -> F) -> C) -> Future<C::Out>
    where
        C: AsyncFunction<Args = A>,
    {
        if self.judge.is_some() {
            let why = "`retry_if` sees what the function returns, which is the future of an async task; look at the value there";
            return Future::ready(Err(Refusal::Unsupported(why.into()).into()));
        }
        let again = self.clone.filter(|_| self.meta.retry.more > 0).map(|clone| Again { clone, judge: None });
        let one = One { function: function(self.f), context: Unbound, args: self.args };
        let (task, future) = pair(AsyncCall { one, again }, self.meta.boxed());
        hand_over(self.executor, task);
        future
    }
}

fn submit<E, F>(
    executor: &E,
    function: F,
    args: F::Args,
    meta: Meta,
    again: Option<Again<F::Args, F::Raw>>,
) -> Future<F::Out>
where
    E: Executor + ?Sized,
    F: Function<Context = Unbound>,
{
    let (task, future) = call(One { function, context: Unbound, args }, again, meta);
    hand_over(executor, task);
    future
}

fn again<A, Raw>(clone: Option<Cloner<A>>, judge: Option<fn(&Raw) -> bool>) -> Option<Again<A, Raw>> {
    clone.map(|clone| Again { clone, judge })
}

/// Submits a task, with its deadline watched.
pub(crate) fn hand_over<E: Executor + ?Sized>(executor: &E, task: Task) {
    match overdue(&task) {
        Some(why) => task.fail(why),
        None => {
            watch_deadline(task.cell());
            executor.submit_task(task);
        }
    }
}

/// Why a task must not even begin whose deadline is over: the timer might come later than a worker.
fn overdue(task: &Task) -> Option<TaskError> {
    let deadline = task.cell().meta()?.deadline?;
    (deadline.at <= Instant::now()).then(|| TaskErrorKind::TimedOut(deadline.limit).into())
}

fn watch_deadline(task: &Ref) {
    if task.meta().is_some_and(|meta| meta.deadline.is_some()) {
        crate::timer::watch(task);
    }
}

impl<E: ?Sized, A, R> fmt::Debug for TaskBuilder<'_, E, A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskBuilder").field("meta", &self.meta).finish_non_exhaustive()
    }
}

/// Many tasks, before they are submitted; made by [`ExecutorExt::tasks`](super::ExecutorExt::tasks).
///
/// ```
/// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
///
/// let ex = SerialExecutor::new();
/// let mut lazy = ex.tasks(|x: u64| x * x, 0..).buffersize(4);
/// assert_eq!(lazy.nth(1000).unwrap().unwrap(), 1_000_000);
/// ```
#[must_use = "nothing is submitted before `.map()`, `.map_unordered()`, `.for_each()`, `.submit_all()` or `.buffersize()`"]
pub struct TasksBuilder<'a, E: ?Sized, I: Iterator, R> {
    executor: &'a E,
    f: fn(I::Item) -> R,
    items: I,
    options: Options,
    clone: Option<Cloner<I::Item>>,
    judge: Option<fn(&R) -> bool>,
}

impl<'a, E: Executor + ?Sized, I: Iterator, R> TasksBuilder<'a, E, I, R> {
    pub(super) fn new(executor: &'a E, f: fn(I::Item) -> R, items: I) -> Self {
        TasksBuilder { executor, f, items, options: Options::default(), clone: None, judge: None }
    }

    /// A name for each of the tasks, for errors.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options.meta.name = Some(name.into().into());
        self
    }

    /// How long each attempt at an item may take, from its start; a chunk may take as long as its items together. See
    /// [`TaskBuilder::timeout`].
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.options.meta.timeout = Some(limit);
        self
    }

    /// When the whole must be done: Python's `map(timeout=…)`. Items without a result by then have a timeout error instead,
    /// and are cancelled if they have not started; results that are there still come.
    pub fn deadline(mut self, at: Instant) -> Self {
        self.options.meta.deadline = Some(Deadline::new(at));
        self
    }

    /// By which steps a task is stopped when its time is up; see [`Grace`].
    pub fn grace(mut self, grace: Grace) -> Self {
        self.options.meta.grace = grace;
        self
    }

    /// Up to so many attempts for each item beyond the first; see [`TaskBuilder::retries`]. Items with retries travel one by
    /// one.
    ///
    /// ```
    /// use concurrent_futures_core::{ExecutorExt, SerialExecutor, task};
    ///
    /// let ex = SerialExecutor::new();
    /// let attempts: Result<Vec<u32>, _> =
    ///     ex.tasks(|n: u32| { assert!(task::current().attempt() >= n); n }, [1, 3, 2]).retries(2).map().collect();
    /// assert_eq!(attempts.unwrap(), [1, 3, 2]);
    /// ```
    pub fn retries(mut self, n: u32) -> Self
    where
        I::Item: Clone,
    {
        self.options.meta.retry.more = n;
        self.clone = Some(I::Item::clone);
        self
    }

    /// See [`TaskBuilder::retry_on`].
    pub fn retry_on(mut self, on: RetryOn) -> Self {
        self.options.meta.retry.on = on;
        self
    }

    /// See [`TaskBuilder::retry_if`].
    pub fn retry_if(mut self, again: fn(&R) -> bool) -> Self {
        self.judge = Some(again);
        self
    }

    /// See [`TaskBuilder::backoff`].
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.options.meta.retry.backoff = backoff;
        self
    }

    /// See [`TaskBuilder::memory_limit`].
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.options.meta.limits.memory = Some(bytes);
        self
    }

    /// See [`TaskBuilder::cpu_time_limit`]; for a chunk, as much as its items together.
    pub fn cpu_time_limit(mut self, time: Duration) -> Self {
        self.options.meta.limits.cpu_time = Some(time);
        self
    }

    /// See [`TaskBuilder::open_files_limit`].
    pub fn open_files_limit(mut self, n: u64) -> Self {
        self.options.meta.limits.open_files = Some(n);
        self
    }

    /// Higher runs earlier; the default is 0. Needs an executor with a priority queue: others refuse the tasks.
    pub fn priority(mut self, priority: i32) -> Self {
        self.options.meta.priority = priority;
        self
    }

    /// How many items travel together. Without it, the number is chosen from the input's size and the workers.
    ///
    /// # Panics
    /// When `n` is zero.
    pub fn chunksize(mut self, n: usize) -> Self {
        assert!(n > 0, "chunksize must be at least 1: with 0 items in a chunk no item would ever be sent");
        self.options.chunksize = Some(n);
        self
    }

    /// Starts the work; see [`ExecutorExt::map`](super::ExecutorExt::map).
    pub fn map(self) -> Map<R>
    where
        I::Item: Portable,
        R: Portable,
    {
        let again = self.again();
        start(self.executor, Plain(self.f), Unbound, self.items, &self.options, again)
    }

    /// Starts the work; the results come as they are ready.
    pub fn map_unordered(self) -> MapUnordered<R>
    where
        I::Item: Portable,
        R: Portable,
    {
        MapUnordered::new(self.map())
    }

    /// Does the work and waits for all of it.
    ///
    /// # Errors
    /// The first error in the order of the items; the others have run all the same.
    pub fn for_each(self) -> Result<(), TaskError>
    where
        I::Item: Portable,
        R: Portable,
    {
        let mut first_error = Ok(());
        for result in self.map() {
            first_error = first_error.and(result.map(drop));
        }
        first_error
    }

    /// Submits a task for each item; a future each. The chunk size does not matter here.
    pub fn submit_all(self) -> Vec<Future<R>>
    where
        I::Item: Portable,
        R: Portable,
    {
        let (executor, function, again) = (self.executor, Plain(self.f), again(self.clone, self.judge));
        let submit = |args| submit(executor, function, args, self.options.meta.clone(), again);
        self.items.map(submit).collect()
    }

    /// Takes the input as the results are taken, with exactly `n` chunks in flight: for endless or large input. `n` are
    /// submitted at this call. A chunk is one item unless [`chunksize`](Self::chunksize) says otherwise. The iterator
    /// borrows the executor, and the input if that borrows.
    ///
    /// # Panics
    /// When `n` is zero.
    pub fn buffersize(self, n: usize) -> BufferedMap<'a, E, I, R>
    where
        I::Item: Portable,
        R: Portable,
    {
        assert!(n > 0, "buffersize must be at least 1: with nothing in flight no result would ever come");
        let again = self.again();
        BufferedMap::new(self.executor, self.f, self.items, self.options, again, n)
    }

    /// What items with retries need.
    fn again(&self) -> Option<Again<I::Item, R>> {
        let again = again(self.clone, self.judge).filter(|_| self.options.meta.retry.more > 0);
        assert!(
            again.is_none() || self.options.chunksize.unwrap_or(1) == 1,
            "items with retries travel one by one: leave out either chunksize or retries"
        );
        again
    }
}

impl<E: Executor + ?Sized, I: Iterator, R: Portable, X> TasksBuilder<'_, E, I, Result<R, X>>
where
    I::Item: Portable,
    X: Into<Box<dyn Error + Send + Sync>> + 'static,
{
    /// Starts the work; see [`ExecutorExt::map_fallible`](super::ExecutorExt::map_fallible).
    pub fn map_fallible(self) -> Map<R> {
        let again = self.again();
        start(self.executor, Fallible(self.f), Unbound, self.items, &self.options, again)
    }
}

impl<E: ?Sized, I: Iterator, R> fmt::Debug for TasksBuilder<'_, E, I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TasksBuilder").field("options", &self.options).finish_non_exhaustive()
    }
}
