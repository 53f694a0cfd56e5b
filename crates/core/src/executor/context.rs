//! Tasks that share a value.

use super::{Executor, ExecutorExt};
use crate::Portable;
use crate::future::Future;
use crate::map::{Map, Options, start};
use crate::task::{Bound, One, WithContext as Call, WithContextFallible, pair};
use std::error::Error;
use std::fmt;

/// An executor with a value that every task may read; made by [`ExecutorExt::with_context`].
///
/// Methods are tasks for free. A worker process gets the value once, and keeps it for as long as it is used.
///
/// ```
/// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Line { slope: f64 }
/// impl Line {
///     fn at(&self, x: f64) -> f64 { self.slope * x }
/// }
///
/// let ex = SerialExecutor::new();
/// let ys: Result<Vec<f64>, _> = ex.with_context(Line { slope: 2.0 }).map(Line::at, [1.0, 2.0]).collect();
/// assert_eq!(ys.unwrap(), [2.0, 4.0]);
/// ```
pub struct WithContext<'a, E: ?Sized, C> {
    executor: &'a E,
    context: Bound<C>,
}

impl<'a, E: Executor + ?Sized, C: Portable + Sync> WithContext<'a, E, C> {
    pub(super) fn new(executor: &'a E, context: C) -> Self {
        WithContext { executor, context: Bound::new(context) }
    }

    /// As [`ExecutorExt::submit`].
    pub fn submit<A: Portable, R: Portable>(&self, f: fn(&C, A) -> R, args: A) -> Future<R> {
        let (task, future) = pair(One { function: Call(f), context: self.context.clone(), args }, None);
        self.executor.submit_task(task);
        future
    }

    /// As [`ExecutorExt::submit_fallible`].
    pub fn submit_fallible<A: Portable, R: Portable, X>(&self, f: fn(&C, A) -> Result<R, X>, args: A) -> Future<R>
    where
        X: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        let function = WithContextFallible(f);
        let (task, future) = pair(One { function, context: self.context.clone(), args }, None);
        self.executor.submit_task(task);
        future
    }

    /// As [`ExecutorExt::map`].
    pub fn map<A: Portable, R: Portable, I: IntoIterator<Item = A>>(&self, f: fn(&C, A) -> R, items: I) -> Map<R> {
        start(self.executor, Call(f), self.context.clone(), items.into_iter(), &Options::default(), None)
    }

    /// As [`ExecutorExt::map_fallible`].
    pub fn map_fallible<A: Portable, R: Portable, X, I>(&self, f: fn(&C, A) -> Result<R, X>, items: I) -> Map<R>
    where
        X: Into<Box<dyn Error + Send + Sync>> + 'static,
        I: IntoIterator<Item = A>,
    {
        start(self.executor, WithContextFallible(f), self.context.clone(), items.into_iter(), &Options::default(), None)
    }
}

impl<E: Executor + ?Sized, C> fmt::Debug for WithContext<'_, E, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithContext").field("context", &std::any::type_name::<C>()).finish_non_exhaustive()
    }
}

const _: fn(&dyn Executor) = |ex| drop(ex.with_context(0_u8));
