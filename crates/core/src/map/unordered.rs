//! Results as they are ready.

use super::piece::Results;
use super::{Map, Piece};
use crate::error::TaskError;
use crate::wait::{AsCompleted, as_completed};
use std::fmt;
use std::iter::FusedIterator;

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
}

impl<R: Send> MapUnordered<R> {
    pub(crate) fn new(map: Map<R>) -> Self {
        let remaining = map.len();
        MapUnordered { current: Results::None, pieces: as_completed(map.into_pieces()), remaining }
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
            self.current = self.pieces.next()?.results();
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
        for piece in self.pieces.take_rest() {
            piece.cancel();
        }
    }
}

impl<R: Send> fmt::Debug for MapUnordered<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapUnordered").field("remaining", &self.remaining).finish_non_exhaustive()
    }
}
