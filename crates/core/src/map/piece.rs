//! One submission of a batch: an item, or a chunk of items.

use super::Options;
use crate::error::{CodecError, CodecStep, TaskError, TaskErrorKind, TaskInfo};
use crate::executor::{Executor, hand_over};
use crate::future::Future;
use crate::task::{Again, Chunk, Function, One, call, pair};
use crate::wait::{Slot, Waitable};
use std::time::Duration;

pub(crate) enum Piece<R> {
    One(Future<R>),
    Many(usize, Future<Vec<Result<R, TaskError>>>),
}

/// The results of a piece, in order.
pub(crate) enum Results<R> {
    None,
    One(Result<R, TaskError>),
    /// The items of a chunk, and the task that it was.
    Many(std::vec::IntoIter<Result<R, TaskError>>, TaskInfo),
    /// The same error for so many items.
    Failed(usize, TaskError),
}

impl<R: Send> Piece<R> {
    /// Submits the next `size` items; `None` when there are none left.
    pub(crate) fn submit<E, F, I>(
        executor: &E,
        function: F,
        context: &F::Context,
        items: &mut I,
        size: usize,
        options: &Options,
        again: Option<Again<F::Args, F::Raw>>,
    ) -> Option<Piece<R>>
    where
        E: Executor + ?Sized,
        F: Function<Out = R>,
        I: Iterator<Item = F::Args>,
    {
        let context = context.clone();
        let first = items.next()?;
        if size == 1 {
            let (task, future) = call(One { function, context, args: first }, again, options.meta.clone());
            hand_over(executor, task);
            return Some(Piece::One(future));
        }
        let mut chunk = Vec::with_capacity(size.min(items.size_hint().0.saturating_add(1)));
        chunk.push(first);
        chunk.extend(items.take(size - 1));
        let count = chunk.len();
        let together = |each: Duration| each.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
        let mut meta = options.meta.clone();
        meta.timeout = meta.timeout.map(together);
        meta.limits.cpu_time = meta.limits.cpu_time.map(together);
        let (task, future) = pair(Chunk { function, context, items: chunk }, meta.boxed());
        hand_over(executor, task);
        Some(Piece::Many(count, future))
    }

    pub(crate) fn cancel(&self) -> bool {
        match self {
            Piece::One(future) => future.cancel(),
            Piece::Many(_, future) => future.cancel(),
        }
    }

    /// Waits for the results.
    pub(crate) fn results(self) -> Results<R> {
        match self {
            Piece::One(future) => Results::One(future.result()),
            Piece::Many(count, future) => {
                let task = future.cell().info();
                match future.result() {
                    Ok(mut results) => {
                        results.truncate(count);
                        // A worker answers every item; should its answer be cut short, the rest are errors, not silence.
                        results.resize_with(count, || Err(TaskError::new(cut_short::<R>())));
                        Results::Many(results.into_iter(), task)
                    }
                    Err(error) => Results::Failed(count, error),
                }
            }
        }
    }
}

impl<R> Piece<R> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Piece::One(_) => 1,
            Piece::Many(count, _) => *count,
        }
    }
}

fn cut_short<R>() -> TaskErrorKind {
    let message = "the worker's answer has fewer results than the chunk had items";
    TaskErrorKind::Codec(CodecError::new(CodecStep::DecodeResult, std::any::type_name::<R>(), message))
}

impl<R> Waitable for Piece<R> {
    fn slot(&self) -> Slot<'_> {
        match self {
            Piece::One(future) => future.slot(),
            Piece::Many(_, future) => future.slot(),
        }
    }
}

impl<R> crate::wait::Sealed for Piece<R> {}

impl<R> Iterator for Results<R> {
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Results::Many(results, task) => {
                results.next().map(|result| result.map_err(|error| error.of_task(|| task.clone())))
            }
            Results::Failed(0, _) | Results::None => None,
            Results::Failed(left, error) => {
                *left -= 1;
                Some(Err(error.clone()))
            }
            Results::One(_) => match std::mem::replace(self, Results::None) {
                Results::One(result) => Some(result),
                _ => None,
            },
        }
    }
}
