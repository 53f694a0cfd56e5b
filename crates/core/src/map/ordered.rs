//! Results in the order of the input.

use super::Piece;
use super::collected::Collected;
use super::piece::Results;
use crate::cell::Until;
use crate::error::TaskError;
use crate::future::{Future, Gathering};
use crate::wait::Waitable;
use futures_core::Stream;
use std::collections::VecDeque;
use std::fmt;
use std::iter::FusedIterator;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Results in the order of the items, each a `Result` of its own; made by [`ExecutorExt::map`](crate::ExecutorExt::map).
///
/// Owns what it needs: it may outlive the executor, and results that were taken are not kept. Dropping it cancels what has
/// not started.
///
/// ```
/// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
///
/// let total: u64 = SerialExecutor::new().map(|x: u64| x, 0..5).sum::<Result<u64, _>>().unwrap();
/// assert_eq!(total, 10);
/// ```
#[must_use = "dropping it cancels what has not started; use `for_each` for effects"]
pub struct Map<R> {
    current: Results<R>,
    pieces: VecDeque<Piece<R>>,
    /// Results that have not been taken.
    remaining: usize,
    /// So many pieces were seen to be done, with so many items, while the map was made.
    done: (usize, usize),
    /// `Piece::cancel`, which asks for more of `R` than a destructor may.
    cancel: fn(&Piece<R>) -> bool,
}

impl<R: Send> Map<R> {
    pub(super) fn new() -> Self {
        Map { current: Results::None, pieces: VecDeque::new(), remaining: 0, done: (0, 0), cancel: Piece::cancel }
    }

    /// How many pieces there are now.
    pub(super) fn push(&mut self, piece: Piece<R>) -> usize {
        self.remaining += piece.len();
        self.pieces.push_back(piece);
        self.pieces.len()
    }

    /// How many items of the first pieces are done. Only for a map that is being made.
    pub(super) fn done_at_the_front(&mut self) -> usize {
        let (mut seen, mut items) = self.done;
        while let Some(piece) = self.pieces.get(seen).filter(|piece| piece.slot().cell().is_done()) {
            seen += 1;
            items += piece.len();
        }
        self.done = (seen, items);
        items
    }

    pub(super) fn into_pieces(mut self) -> VecDeque<Piece<R>> {
        std::mem::take(&mut self.pieces)
    }

    /// All results, if all are values, where they were written: ahead of `collect` for many small ones, since a pool of threads
    /// puts them side by side and this gives that memory away. Waits for all.
    ///
    /// # Errors
    /// The first error in the order of the items. What has not started is cancelled then.
    ///
    /// ```
    /// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
    ///
    /// let squares: Vec<u64> = SerialExecutor::new().map(|x: u64| x * x, 0..4).into_vec()?;
    /// assert_eq!(squares, [0, 1, 4, 9]);
    /// # Ok::<(), concurrent_futures_core::TaskError>(())
    /// ```
    pub fn into_vec(mut self) -> Result<Vec<R>, TaskError> {
        let len = self.remaining;
        let mut all = Collected::default();
        loop {
            match std::mem::replace(&mut self.current, Results::None) {
                Results::None => match self.pieces.pop_front() {
                    Some(piece) => self.current = piece.results(),
                    None => return Ok(all.into_vec()),
                },
                results => all.add_results(results, len)?,
            }
        }
    }

    /// A future of all values, in order. It waits for all, whatever fails meanwhile, and then has the first error in the order of
    /// the items: Python's `map` of a `multiprocessing.Pool`. To wait for it gives what [`into_vec`](Self::into_vec) gives when
    /// nothing fails.
    ///
    /// Cancelling it cancels what has not started, aborting it aborts all. Dropping it does neither.
    ///
    /// ```
    /// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
    ///
    /// let squares = SerialExecutor::new().map(|x: u64| x * x, 0..4).gather();
    /// squares.add_done_callback(|all| assert_eq!(*all.as_ref().unwrap(), [0, 1, 4, 9]));
    /// assert_eq!(squares.result()?.len(), 4);
    /// # Ok::<(), concurrent_futures_core::TaskError>(())
    /// ```
    pub fn gather(self) -> Future<Vec<R>>
    where
        R: 'static,
    {
        let len = self.remaining;
        self.gather_as(move |pieces| {
            let (mut all, mut first) = (Collected::default(), None);
            for results in pieces {
                if first.is_none()
                    && let Err(error) = all.add_results(results, len)
                {
                    first = Some(error);
                }
            }
            first.map_or_else(|| Ok(all.into_vec()), Err)
        })
    }

    /// A future of all results, in order, each a `Result` of its own. Cancelling, aborting and dropping it are as for
    /// [`gather`](Self::gather).
    ///
    /// ```
    /// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
    ///
    /// let halves = SerialExecutor::new().map(|x: u32| 100 / x, [5, 0, 4]).gather_results().result()?;
    /// assert!(halves[1].is_err());
    /// assert_eq!(*halves[2].as_ref().unwrap(), 25);
    /// # Ok::<(), concurrent_futures_core::TaskError>(())
    /// ```
    pub fn gather_results(self) -> Future<Vec<Result<R, TaskError>>>
    where
        R: 'static,
    {
        self.gather_as(|pieces| Ok(pieces.into_iter().flatten().collect()))
    }

    fn gather_as<U: Send + 'static>(
        mut self,
        finish: impl FnOnce(Vec<Results<R>>) -> Result<U, TaskError> + Send + 'static,
    ) -> Future<U>
    where
        R: 'static,
    {
        // Of a piece that has been begun some results are taken already.
        let begun = match std::mem::replace(&mut self.current, Results::None) {
            Results::None => None,
            begun => Some(begun),
        };
        let pieces = std::mem::take(&mut self.pieces);
        let parts = pieces.iter().map(|piece| piece.slot().cell().clone()).collect();
        let (gathering, whole) =
            Gathering::begin(parts, move |pieces| finish(begun.into_iter().chain(pieces).collect()));
        for (place, piece) in pieces.into_iter().enumerate() {
            let gathering = gathering.clone();
            piece.on_arrival(move |results| gathering.put(place, results));
        }
        whole
    }

    /// The results as a [`Stream`], for async code.
    pub fn into_stream(self) -> MapStream<R> {
        MapStream(self)
    }
}

impl<R: Send> Iterator for Map<R> {
    type Item = Result<R, TaskError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(result) = self.current.next() {
                self.remaining -= 1;
                return Some(result);
            }
            self.current = self.pieces.pop_front()?.results();
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl<R: Send> ExactSizeIterator for Map<R> {}
impl<R: Send> FusedIterator for Map<R> {}

impl<R> Drop for Map<R> {
    fn drop(&mut self) {
        // From the back: what would start next is cancelled last, so that a worker does not start the one after it.
        for piece in self.pieces.iter().rev() {
            (self.cancel)(piece);
        }
    }
}

impl<R> fmt::Debug for Map<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("remaining", &self.remaining).finish_non_exhaustive()
    }
}

/// The results of a [`Map`] as a stream.
#[must_use = "streams do nothing unless polled; dropping it cancels what has not started"]
#[derive(Debug)]
pub struct MapStream<R>(Map<R>);

impl<R> Unpin for MapStream<R> {}

impl<R: Send> Stream for MapStream<R> {
    type Item = Result<R, TaskError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(result) = self.0.current.next() {
                self.0.remaining -= 1;
                return Poll::Ready(Some(result));
            }
            let Some(next) = self.0.pieces.front() else { return Poll::Ready(None) };
            ready!(next.slot().cell().poll_until(Until::Settled, 0, cx));
            self.0.current = self.0.pieces.pop_front().map_or(Results::None, Piece::results);
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}
