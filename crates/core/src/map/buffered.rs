//! Results in order, from input that is taken only as far as needed.

use super::piece::Results;
use super::{Options, Piece, Source};
use crate::Portable;
use crate::error::TaskError;
use crate::executor::Executor;
use crate::task::{Again, Plain, Unbound};
use std::collections::VecDeque;
use std::fmt;

/// Results in order, with a bounded number in flight; made by [`TasksBuilder::buffersize`](crate::TasksBuilder::buffersize).
///
/// The next item is taken from the input after a result has arrived, so there are never more than asked for in flight.
/// Dropping it cancels what has not started. After the executor's shutdown the items that follow are refused, not lost.
///
/// ```
/// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
///
/// let ex = SerialExecutor::new();
/// let first: Vec<u64> = ex.tasks(|x: u64| x + 1, 0..).buffersize(2).take(3).map(Result::unwrap).collect();
/// assert_eq!(first, [1, 2, 3]);
/// ```
#[must_use = "dropping it cancels what has not started"]
pub struct BufferedMap<'a, E: ?Sized, I: Iterator, R> {
    executor: &'a E,
    f: fn(I::Item) -> R,
    items: Source<I>,
    options: Options,
    again: Option<Again<I::Item, R>>,
    current: Results<R>,
    pieces: VecDeque<Piece<R>>,
    cancel: fn(&Piece<R>) -> bool,
}

impl<'a, E, I, R> BufferedMap<'a, E, I, R>
where
    E: Executor + ?Sized,
    I: Iterator,
    I::Item: Portable,
    R: Portable,
{
    pub(crate) fn new(
        executor: &'a E,
        f: fn(I::Item) -> R,
        items: I,
        options: Options,
        again: Option<Again<I::Item, R>>,
        buffer: usize,
    ) -> Self {
        let (current, pieces) = (Results::None, VecDeque::new());
        let mut map = BufferedMap {
            executor,
            f,
            items: Source::in_pieces(items),
            options,
            again,
            current,
            pieces,
            cancel: Piece::cancel,
        };
        while map.pieces.len() < buffer && map.submit_next() {}
        map
    }

    fn submit_next(&mut self) -> bool {
        let size = self.options.chunksize.unwrap_or(1);
        let piece =
            Piece::submit(self.executor, Plain(self.f), &Unbound, &mut self.items, size, &self.options, self.again);
        let submitted = piece.is_some();
        self.pieces.extend(piece);
        submitted
    }
}

impl<E, I, R> Iterator for BufferedMap<'_, E, I, R>
where
    E: Executor + ?Sized,
    I: Iterator,
    I::Item: Portable,
    R: Portable,
{
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(result) = self.current.next() {
                return Some(result);
            }
            self.current = self.pieces.pop_front()?.results();
            self.submit_next();
        }
    }
}

impl<E: ?Sized, I: Iterator, R> Drop for BufferedMap<'_, E, I, R> {
    fn drop(&mut self) {
        for piece in self.pieces.iter().rev() {
            (self.cancel)(piece);
        }
    }
}

impl<E: ?Sized, I: Iterator, R> fmt::Debug for BufferedMap<'_, E, I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferedMap").field("in_flight", &self.pieces.len()).finish_non_exhaustive()
    }
}
