//! Tasks with a name, a limit, a priority, or a chunk size of their own.

use super::Executor;
use crate::Portable;
use crate::error::{Refusal, TaskError, TrySubmitError};
use crate::future::Future;
use crate::map::{BufferedMap, Map, MapUnordered, Options, start};
use crate::task::{Deadline, Fallible, Function, Meta, One, Plain, Task, Unbound, pair};
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
}

impl<'a, E: Executor + ?Sized, A, R> TaskBuilder<'a, E, A, R> {
    pub(super) fn new(executor: &'a E, f: fn(A) -> R, args: A) -> Self {
        TaskBuilder { executor, f, args, meta: Meta::default() }
    }

    /// A name, for errors and `Debug`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.meta.name = Some(name.into().into());
        self
    }

    /// How long the task may run, from its start. When the time is up its future fails; what it is doing is *not* stopped,
    /// its late result is dropped, and its worker is free when it returns.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.meta.timeout = Some(limit);
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
        submit(self.executor, Plain(self.f), self.args, self.meta)
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
        self.offer(|executor, task| executor.submit_task_timeout(task, limit))
    }

    fn offer(self, to: impl FnOnce(&E, Task) -> Result<(), (Task, Refusal)>) -> Result<Future<R>, TrySubmitError<A>>
    where
        A: Portable,
        R: Portable,
    {
        let (task, future) =
            pair(One { function: Plain(self.f), context: Unbound, args: self.args }, self.meta.boxed());
        match to(self.executor, task) {
            Ok(()) => Ok(future),
            Err((task, why)) => {
                let work = task.into_work::<One<Plain<A, R>>>(&future);
                Err(TrySubmitError { args: work.args, why })
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
        submit(self.executor, Fallible(self.f), self.args, self.meta)
    }
}

fn submit<E, F>(executor: &E, function: F, args: F::Args, meta: Meta) -> Future<F::Out>
where
    E: Executor + ?Sized,
    F: Function<Context = Unbound>,
{
    let (task, future) = pair(One { function, context: Unbound, args }, meta.boxed());
    hand_over(executor, task);
    future
}

/// Submits a task, with its deadline watched.
pub(crate) fn hand_over<E: Executor + ?Sized>(executor: &E, task: Task) {
    if let Some(deadline) = task.cell().meta().and_then(|meta| meta.deadline) {
        crate::timer::schedule(task.cell(), deadline.at, deadline.limit);
    }
    executor.submit_task(task);
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
}

impl<'a, E: Executor + ?Sized, I: Iterator, R> TasksBuilder<'a, E, I, R> {
    pub(super) fn new(executor: &'a E, f: fn(I::Item) -> R, items: I) -> Self {
        TasksBuilder { executor, f, items, options: Options::default() }
    }

    /// A name for each of the tasks, for errors.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options.meta.name = Some(name.into().into());
        self
    }

    /// How long each item may take, from its start; a chunk may take as long as its items together. As
    /// [`TaskBuilder::timeout`], it does not stop what runs.
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
        start(self.executor, Plain(self.f), Unbound, self.items, &self.options)
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
        let (executor, function) = (self.executor, Plain(self.f));
        let submit = |args| submit(executor, function, args, self.options.meta.clone());
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
        BufferedMap::new(self.executor, self.f, self.items, self.options, n)
    }
}

impl<E: Executor + ?Sized, I: Iterator, R: Portable, X> TasksBuilder<'_, E, I, Result<R, X>>
where
    I::Item: Portable,
    X: Into<Box<dyn Error + Send + Sync>> + 'static,
{
    /// Starts the work; see [`ExecutorExt::map_fallible`](super::ExecutorExt::map_fallible).
    pub fn map_fallible(self) -> Map<R> {
        start(self.executor, Fallible(self.f), Unbound, self.items, &self.options)
    }
}

impl<E: ?Sized, I: Iterator, R> fmt::Debug for TasksBuilder<'_, E, I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TasksBuilder").field("options", &self.options).finish_non_exhaustive()
    }
}
