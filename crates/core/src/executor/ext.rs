//! What users call on every executor.

use super::{Executor, TaskBuilder, TasksBuilder, WithContext};
use crate::Portable;
use crate::error::{TaskError, TrySubmitError};
use crate::future::Future;
use crate::map::{Map, MapUnordered};
use crate::task::{Fallible, One, Outcome, Plain, Star, Unbound, pair};
use std::error::Error;
use std::time::Duration;

/// The methods of every [`Executor`], whatever it runs on.
///
/// A task is a plain function and its argument: functions, generic functions, methods, and closures that capture nothing.
/// What a closure would capture travels as data, as (part of) the argument or by [`with_context`](Self::with_context).
/// Several arguments are a tuple.
///
/// ```
/// use concurrent_futures_core::{Executor, ExecutorExt, SerialExecutor};
///
/// fn sum_of_squares(ex: &dyn Executor) -> Result<u64, concurrent_futures_core::TaskError> {
///     ex.map(|x: u64| x * x, 0..10).sum()
/// }
/// assert_eq!(sum_of_squares(&SerialExecutor::new()).unwrap(), 285);
/// ```
pub trait ExecutorExt: Executor {
    /// Submits a call; the future has the result. Never fails: a refused task's future holds the refusal.
    ///
    /// What `f` returns is the value, also if it is an `Err`; see [`submit_fallible`](Self::submit_fallible).
    ///
    /// ```
    /// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
    ///
    /// let sum = SerialExecutor::new().submit(|(a, b)| a + b, (1, 2));
    /// assert_eq!(sum.result().unwrap(), 3);
    /// ```
    fn submit<A: Portable, R: Portable>(&self, f: fn(A) -> R, args: A) -> Future<R> {
        let (task, future) = pair(One { function: Plain(f), context: Unbound, args }, None);
        self.submit_task(task);
        future
    }

    /// As [`submit`](Self::submit), but does not wait for room and gives the argument back.
    ///
    /// # Errors
    /// The executor refused the task.
    fn try_submit<A: Portable, R: Portable>(&self, f: fn(A) -> R, args: A) -> Result<Future<R>, TrySubmitError<A>> {
        self.task(f, args).try_submit()
    }

    /// As [`submit`](Self::submit), but waits at most `limit` for room in a bounded queue, and gives the argument back.
    ///
    /// ```
    /// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
    /// use std::time::Duration;
    ///
    /// let future = SerialExecutor::new().submit_timeout(|x: u8| x + 1, 1, Duration::from_secs(1)).unwrap();
    /// assert_eq!(future.result().unwrap(), 2);
    /// ```
    ///
    /// # Errors
    /// The executor refused the task, with [`Refusal::Full`](crate::Refusal::Full) when there was no room in time.
    fn submit_timeout<A: Portable, R: Portable>(
        &self,
        f: fn(A) -> R,
        args: A,
        limit: Duration,
    ) -> Result<Future<R>, TrySubmitError<A>> {
        self.task(f, args).submit_timeout(limit)
    }

    /// Submits a call that may fail: its `Err` becomes a [`TaskError`] whose
    /// [`failure`](TaskError::failure) has the words. The error need not be serde.
    ///
    /// ```
    /// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
    ///
    /// let ex = SerialExecutor::new();
    /// let missing = ex.submit_fallible(|p: String| std::fs::read(p), "/no/such/file".to_string());
    /// assert!(missing.result().unwrap_err().is_failed());
    /// ```
    fn submit_fallible<A: Portable, R: Portable, E>(&self, f: fn(A) -> Result<R, E>, args: A) -> Future<R>
    where
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        let (task, future) = pair(One { function: Fallible(f), context: Unbound, args }, None);
        self.submit_task(task);
        future
    }

    /// Submits an async function; the future has what its future gives.
    ///
    /// On a thread pool a task that waits for something has no worker meanwhile: it is polled by whichever worker is free when it
    /// has been woken, so thousands of them can wait on two threads. In a worker process, and on the serial executor, it is polled
    /// to its end by one thread, one task at a time.
    ///
    /// [`cancel`](Future::cancel) also cancels a task that has begun and waits, by dropping its future where it waits (on processes: a
    /// task that has not begun); [`abort`](Future::abort), timeouts, retries and names are as for other tasks. In it,
    /// [`task::current`](crate::task::current) is the task whichever thread polls it. A task is nobody's runtime: what it awaits must
    /// be content with any executor, or be run within its own runtime's context (see the guide).
    ///
    /// ```
    /// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
    ///
    /// async fn double(x: u32) -> u32 {
    ///     std::future::ready(x).await * 2
    /// }
    /// let future = SerialExecutor::new().submit_async(double, 21);
    /// assert_eq!(future.result().unwrap(), 42);
    /// ```
    fn submit_async<A: Portable, F>(&self, f: fn(A) -> F, args: A) -> Future<F::Output>
    where
        F: std::future::Future + Send + 'static,
        F::Output: Portable,
    {
        self.task(f, args).submit_async()
    }

    /// As [`submit_async`](Self::submit_async), for calls that may fail; see [`submit_fallible`](Self::submit_fallible).
    ///
    /// ```
    /// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
    ///
    /// async fn parse(s: String) -> Result<u8, std::num::ParseIntError> {
    ///     s.parse()
    /// }
    /// let future = SerialExecutor::new().submit_async_fallible(parse, "two".into());
    /// assert!(future.result().unwrap_err().is_failed());
    /// ```
    fn submit_async_fallible<A: Portable, F>(&self, f: fn(A) -> F, args: A) -> Future<<F::Output as Outcome>::Value>
    where
        F: std::future::Future + Send + 'static,
        F::Output: Outcome + Send + 'static,
        <F::Output as Outcome>::Value: Portable,
    {
        self.task(f, args).submit_async_fallible()
    }

    /// One task with more to say about it: `ex.task(f, args).name("x").timeout(d).submit()`.
    fn task<A, R>(&self, f: fn(A) -> R, args: A) -> TaskBuilder<'_, Self, A, R> {
        TaskBuilder::new(self, f, args)
    }

    /// Many tasks with more to say about them: `ex.tasks(f, items).chunksize(64).deadline(t).map()`.
    fn tasks<A, R, I: IntoIterator<Item = A>>(
        &self,
        f: fn(A) -> R,
        items: I,
    ) -> TasksBuilder<'_, Self, I::IntoIter, R> {
        TasksBuilder::new(self, f, items.into_iter())
    }

    /// A value that every task may read: `ex.with_context(model).map(Model::predict, inputs)`. It is sent to a worker
    /// process once, not with every item.
    fn with_context<C: Portable + Sync>(&self, context: C) -> WithContext<'_, Self, C> {
        WithContext::new(self, context)
    }

    /// Calls `f` on every item; the results come in the order of the items, each a `Result` of its own.
    ///
    /// The items are taken and the work starts at the call, not at the first `next()`; for lazy or endless input see
    /// [`TasksBuilder::buffersize`]. Items travel in chunks of a size chosen from their number, that of the workers, and how
    /// fast the first ones are done ([`TasksBuilder::chunksize`] chooses another): do not let one item wait for a later one.
    /// [`Map::into_vec`] gives all values at once, and takes less time than `collect` for many small ones.
    ///
    /// The iterator owns what it needs and may outlive the executor. Dropping it cancels what has not started.
    ///
    /// # Panics
    /// When the input iterator panics; what has not started is cancelled then.
    ///
    /// ```
    /// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
    ///
    /// let halves: Vec<_> = SerialExecutor::new().map(|x: u32| 100 / x, [1, 0, 5]).collect();
    /// assert_eq!(*halves[0].as_ref().unwrap(), 100);
    /// assert!(halves[1].as_ref().unwrap_err().is_panic());
    /// assert_eq!(*halves[2].as_ref().unwrap(), 20);
    /// ```
    fn map<A: Portable, R: Portable, I: IntoIterator<Item = A>>(&self, f: fn(A) -> R, items: I) -> Map<R> {
        self.tasks(f, items).map()
    }

    /// As [`map`](Self::map), but the results come as they are ready.
    ///
    /// ```
    /// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
    ///
    /// let mut all: Vec<u32> = SerialExecutor::new().map_unordered(|x: u32| x * 2, 0..3).map(Result::unwrap).collect();
    /// all.sort();
    /// assert_eq!(all, [0, 2, 4]);
    /// ```
    fn map_unordered<A: Portable, R: Portable, I: IntoIterator<Item = A>>(
        &self,
        f: fn(A) -> R,
        items: I,
    ) -> MapUnordered<R> {
        self.tasks(f, items).map_unordered()
    }

    /// As [`map`](Self::map), for calls that may fail; see [`submit_fallible`](Self::submit_fallible).
    ///
    /// ```
    /// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
    ///
    /// let words = ["1", "two"].map(String::from);
    /// let numbers: Vec<_> = SerialExecutor::new().map_fallible(|s: String| s.parse::<u8>(), words).collect();
    /// assert!(numbers[0].is_ok() && numbers[1].is_err());
    /// ```
    fn map_fallible<A: Portable, R: Portable, E, I>(&self, f: fn(A) -> Result<R, E>, items: I) -> Map<R>
    where
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
        I: IntoIterator<Item = A>,
    {
        self.tasks(f, items).map_fallible()
    }

    /// As [`map`](Self::map), for functions of two arguments.
    ///
    /// ```
    /// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
    ///
    /// let powers = SerialExecutor::new().starmap(u64::pow, [(2, 3), (3, 2)]);
    /// assert_eq!(powers.collect::<Result<Vec<_>, _>>().unwrap(), [8, 9]);
    /// ```
    fn starmap<A: Portable, B: Portable, R: Portable, I>(&self, f: fn(A, B) -> R, items: I) -> Map<R>
    where
        I: IntoIterator<Item = (A, B)>,
    {
        crate::map::start(self, Star(f), Unbound, items.into_iter(), &crate::map::Options::default(), None)
    }

    /// Calls `f` on every item for its effect, and waits for all of them.
    ///
    /// # Errors
    /// The first error in the order of the items; the others have run all the same.
    ///
    /// ```
    /// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
    ///
    /// SerialExecutor::new().for_each(|x: u32| assert!(x < 3), 0..3).unwrap();
    /// ```
    fn for_each<A: Portable, I: IntoIterator<Item = A>>(&self, f: fn(A), items: I) -> Result<(), TaskError> {
        self.tasks(f, items).for_each()
    }

    /// Submits a call for every item; a future each.
    ///
    /// ```
    /// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
    ///
    /// let futures = SerialExecutor::new().submit_all(|x: u32| x + 1, 0..3);
    /// assert_eq!(futures.len(), 3);
    /// ```
    fn submit_all<A: Portable, R: Portable, I: IntoIterator<Item = A>>(
        &self,
        f: fn(A) -> R,
        items: I,
    ) -> Vec<Future<R>> {
        items.into_iter().map(|args| self.submit(f, args)).collect()
    }

    /// Calls `f` with the executor, then drops the executor: an owner is shut down as its own drop says (the pools wait for
    /// all submitted work), also when `f` panics. Dropping a reference, or a clone of an `Arc` that is not the last, shuts
    /// nothing down.
    ///
    /// ```
    /// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
    ///
    /// let six = SerialExecutor::new().scope(|ex| ex.submit(|x: u8| x * 2, 3).result());
    /// assert_eq!(six.unwrap(), 6);
    /// ```
    fn scope<T>(self, f: impl FnOnce(&Self) -> T) -> T
    where
        Self: Sized,
    {
        f(&self)
    }
}

impl<E: Executor + ?Sized> ExecutorExt for E {}
