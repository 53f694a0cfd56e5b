//! The items of an `imap` on their way: one by one, or in chunks.

use super::Pool;
use crate::{CancelOnDrop, Executor, ExecutorExt, Future, Portable, Refusal, TaskError};
use std::iter::Fuse;
use std::time::Duration;

/// An item that was submitted, or a chunk of so many. Dropping it cancels what has not started.
pub(super) enum Piece<R> {
    One(CancelOnDrop<R>),
    Many(usize, CancelOnDrop<Vec<Result<R, TaskError>>>),
}

/// The results of a piece, in order.
pub(super) enum Results<R> {
    None,
    One(Result<R, TaskError>),
    Many(std::vec::IntoIter<Result<R, TaskError>>),
    /// The same error for so many items.
    Failed(usize, TaskError),
}

/// Where pieces come from.
pub(super) struct Source<I: Iterator, R> {
    pool: Pool,
    f: fn(I::Item) -> R,
    items: Fuse<I>,
    chunksize: usize,
    /// So many pieces are to be in flight.
    buffersize: usize,
    /// The pool took jobs at the call.
    is_admitted: bool,
}

/// Input that says that it has no more items than this is taken at once.
const AT_ONCE: usize = 1 << 16;
/// For each worker, of input that is taken as its results are.
const PIECES_PER_WORKER: usize = 4;

impl<I: Iterator, R: Portable> Source<I, R>
where
    I::Item: Portable,
{
    pub(super) fn new(pool: Pool, f: fn(I::Item) -> R, items: I, chunksize: usize, buffersize: Option<usize>) -> Self {
        let buffersize = buffersize.unwrap_or_else(|| match items.size_hint() {
            (_, Some(most)) if most <= AT_ONCE => usize::MAX,
            _ => pool.executor().num_workers().saturating_mul(PIECES_PER_WORKER),
        });
        let is_admitted = pool.takes_jobs();
        Source { pool, f, items: items.fuse(), chunksize, buffersize, is_admitted }
    }

    /// Submits the next items, if there are any and so few pieces are in flight that there may be more.
    pub(super) fn next(&mut self, in_flight: usize) -> Option<Piece<R>> {
        if in_flight >= self.buffersize {
            return None;
        }
        let f = self.f;
        if self.chunksize == 1 {
            let item = self.items.next()?;
            let future = self.submit(|executor| executor.submit(f, item));
            return Some(Piece::One(future.cancel_on_drop()));
        }
        let chunk: Vec<I::Item> = self.items.by_ref().take(self.chunksize).collect();
        let count = chunk.len();
        if count == 0 {
            return None;
        }
        let future = self.submit(|executor| executor.tasks(f, chunk).chunksize(count).map().gather_results());
        Some(Piece::Many(count, future.cancel_on_drop()))
    }

    fn submit<T: Send + 'static>(&self, submit: impl FnOnce(&dyn Executor) -> Future<T>) -> Future<T> {
        if self.is_admitted { self.pool.go_on(submit) } else { Future::ready(Err(Refusal::ShutDown.into())) }
    }
}

impl<R: Send + 'static> Piece<R> {
    pub(super) fn wait_timeout(&self, limit: Duration) -> bool {
        match self {
            Piece::One(future) => future.wait_timeout(limit),
            Piece::Many(_, future) => future.wait_timeout(limit),
        }
    }

    /// Has `f` called when the results are there.
    pub(super) fn on_done(&self, f: impl FnOnce() + Send + 'static) {
        match self {
            Piece::One(future) => future.add_done_callback(|_| f()),
            Piece::Many(_, future) => future.add_done_callback(|_| f()),
        }
    }

    /// Waits for the results.
    pub(super) fn results(self) -> Results<R> {
        match self {
            Piece::One(future) => Results::One(future.detach().result()),
            Piece::Many(count, future) => match future.detach().result() {
                Ok(results) => Results::Many(results.into_iter()),
                Err(error) => Results::Failed(count, error),
            },
        }
    }
}

impl<R> Iterator for Results<R> {
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Results::None | Results::Failed(0, _) => None,
            Results::Many(results) => results.next(),
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
