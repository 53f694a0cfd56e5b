//! Results as they are ready.

use super::piece::Results;
use super::{Map, Piece};
use crate::error::{TaskError, TaskErrorKind};
use crate::wait::{AsCompleted, Waitable, as_completed};
use std::fmt;
use std::iter::FusedIterator;
use std::time::{Duration, Instant};

/// Results as they are ready; made by [`ExecutorExt::map_unordered`](crate::ExecutorExt::map_unordered).
///
/// Dropping it cancels what has not started.
///
/// ```
/// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
///
/// assert_eq!(SerialExecutor::new().map_unordered(|x: u8| x, 0..9).count(), 9);
/// ```
#[must_use = "dropping it cancels what has not started; use `for_each` for effects"]
pub struct MapUnordered<R: Send> {
    current: Results<R>,
    pieces: AsCompleted<Piece<R>>,
    remaining: usize,
    deadline: Option<(Instant, Duration)>,
}

impl<R: Send> MapUnordered<R> {
    pub(crate) fn new(map: Map<R>) -> Self {
        let remaining = map.len();
        let (pieces, deadline) = map.into_pieces();
        MapUnordered { current: Results::None, pieces: as_completed(pieces), remaining, deadline }
    }

    /// Time is up: cancels one piece that is left, and has its items fail.
    fn next_late(&mut self, limit: Duration) -> Option<Results<R>> {
        let piece = self.pieces.take_any()?;
        piece.cancel();
        let late = TaskError::new(TaskErrorKind::TimedOut(limit)).of_task(|| piece.slot().cell().info());
        Some(Results::Failed(piece.len(), late))
    }
}

impl<R: Send> Iterator for MapUnordered<R> {
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(result) = self.current.next() {
                self.remaining -= 1;
                return Some(result);
            }
            self.current = match self.deadline {
                None => self.pieces.next()?.results(None),
                Some((at, limit)) => match self.pieces.next_until(at) {
                    Some(piece) => piece.results(None),
                    None => self.next_late(limit)?,
                },
            };
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl<R: Send> ExactSizeIterator for MapUnordered<R> {}
impl<R: Send> FusedIterator for MapUnordered<R> {}

impl<R: Send> Drop for MapUnordered<R> {
    fn drop(&mut self) {
        while let Some(piece) = self.pieces.take_any() {
            piece.cancel();
        }
    }
}

impl<R: Send> fmt::Debug for MapUnordered<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapUnordered").field("remaining", &self.remaining).finish_non_exhaustive()
    }
}
