//! One submission of a batch: an item, or a chunk of items.

use super::room::Batch;
use super::{Options, Source};
use crate::error::{CodecError, CodecStep, TaskError, TaskErrorKind, TaskInfo};
use crate::executor::{Executor, hand_over};
use crate::future::{Future, on_arrival};
use crate::task::{Again, Chunk, Function, One, call, pair};
use crate::wait::{Slot, Waitable};
use std::time::Duration;

pub(crate) enum Piece<R> {
    One(Future<R>),
    Many(usize, Future<Batch<R>>),
}

/// The results of a piece, in order.
pub(crate) enum Results<R> {
    None,
    One(Result<R, TaskError>),
    /// The items of a chunk, and the task that it was.
    Many(Batch<R>, TaskInfo),
    /// The same error for so many items.
    Failed(usize, TaskError),
}

impl<R: Send> Piece<R> {
    /// Submits the next `size` items; `None` when there are none left.
    pub(crate) fn submit<E, F, I>(
        executor: &E,
        function: F,
        context: &F::Context,
        items: &mut Source<I>,
        size: usize,
        options: &Options,
        again: Option<Again<F::Args, F::Raw>>,
    ) -> Option<Piece<R>>
    where
        E: Executor + ?Sized,
        F: Function<Out = R>,
        I: Iterator<Item = F::Args>,
    {
        if size == 1 && !items.is_whole() {
            let one = One { function, context: context.clone(), args: items.next()? };
            let (task, future) = call(one, again, options.meta.clone());
            hand_over(executor, task);
            return Some(Piece::One(future));
        }
        let (chunk, results) = items.next_chunk(size);
        let count = chunk.len();
        if count == 0 {
            return None;
        }
        let together = |each: Duration| each.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
        let mut meta = options.meta.clone();
        meta.timeout = meta.timeout.map(together);
        meta.limits.cpu_time = meta.limits.cpu_time.map(together);
        let chunk = Chunk { function, context: context.clone(), items: chunk, results };
        let (task, future) = pair(chunk, meta.boxed());
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
                Results::of_many(count, task, future.result())
            }
        }
    }

    /// Moves the results into `f` where they arrive.
    pub(crate) fn on_arrival(self, f: impl FnOnce(Results<R>) + Send + 'static)
    where
        R: 'static,
    {
        match self {
            Piece::One(future) => on_arrival(future, |result| f(Results::One(result))),
            Piece::Many(count, future) => {
                let cell = future.cell().clone();
                on_arrival(future, move |outcome| f(Results::of_many(count, cell.info(), outcome)));
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

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if let Results::Many(results, task) = self {
            return results.next().map(|result| result.map_err(|error| error.of_task(|| task.clone())));
        }
        self.next_of_few()
    }
}

impl<R> Results<R> {
    fn of_many(count: usize, task: TaskInfo, outcome: Result<Batch<R>, TaskError>) -> Self {
        match outcome {
            Ok(mut results) => {
                // A worker answers every item; should its answer be cut short, the rest are errors, not silence.
                results.fit(count, || TaskError::new(cut_short::<R>()));
                Results::Many(results, task)
            }
            Err(error) => Results::Failed(count, error),
        }
    }

    fn next_of_few(&mut self) -> Option<Result<R, TaskError>> {
        match self {
            Results::Many(..) | Results::None | Results::Failed(0, _) => None,
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
