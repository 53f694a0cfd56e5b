//! One borrowing function over many items.

use concurrent_futures_core::{Future, TaskError};
use std::collections::VecDeque;
use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::vec;

/// Results in the order of the items, each a `Result` of its own; made by [`Scope::map`](super::Scope::map).
///
/// Dropping it cancels what has not started.
///
/// ```
/// use concurrent_futures_thread::ThreadPoolExecutor;
///
/// let pool = ThreadPoolExecutor::new(2)?;
/// let numbers = [1, 2, 3];
/// pool.borrow_scope(|scope| {
///     let mut squares = scope.map(|n: &u32| n * n, &numbers);
///     assert_eq!(squares.len(), 3);
///     assert_eq!(squares.nth(2).unwrap().unwrap(), 9);
/// });
/// # Ok::<(), concurrent_futures_core::BuildError>(())
/// ```
#[must_use = "dropping it cancels what has not started"]
pub struct ScopedMap<'scope, R> {
    current: Current<R>,
    chunks: VecDeque<(usize, Chunk<R>)>,
    /// Results that have not been taken.
    remaining: usize,
    /// So many chunks were seen to be done, with so many items, while the map was made.
    done: (usize, usize),
    scope: PhantomData<&'scope ()>,
}

type Chunk<R> = Future<Vec<Result<R, TaskError>>>;

enum Current<R> {
    Items(vec::IntoIter<Result<R, TaskError>>),
    /// The chunk did not run: its error, for so many items.
    Lost(usize, TaskError),
}

impl<R> ScopedMap<'_, R> {
    pub(super) fn new() -> Self {
        ScopedMap {
            current: Current::Items(Vec::new().into_iter()),
            chunks: VecDeque::new(),
            remaining: 0,
            done: (0, 0),
            scope: PhantomData,
        }
    }

    pub(super) fn push(&mut self, count: usize, chunk: Chunk<R>) {
        self.remaining += count;
        self.chunks.push_back((count, chunk));
    }

    /// How many items of the first chunks are done. Only for a map that is being made.
    pub(super) fn done_at_the_front(&mut self) -> usize {
        let (mut seen, mut items) = self.done;
        while let Some((count, _)) = self.chunks.get(seen).filter(|(_, chunk)| chunk.done()) {
            seen += 1;
            items += count;
        }
        self.done = (seen, items);
        items
    }
}

impl<R> Current<R> {
    fn next(&mut self) -> Option<Result<R, TaskError>> {
        match self {
            Current::Items(items) => items.next(),
            Current::Lost(0, _) => None,
            Current::Lost(left, error) => {
                *left -= 1;
                Some(Err(error.clone()))
            }
        }
    }
}

impl<R> Iterator for ScopedMap<'_, R> {
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(result) = self.current.next() {
                self.remaining -= 1;
                return Some(result);
            }
            let (count, chunk) = self.chunks.pop_front()?;
            self.current = match chunk.result() {
                Ok(items) => Current::Items(items.into_iter()),
                Err(error) => Current::Lost(count, error),
            };
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl<R> ExactSizeIterator for ScopedMap<'_, R> {}
impl<R> FusedIterator for ScopedMap<'_, R> {}

impl<R> Drop for ScopedMap<'_, R> {
    fn drop(&mut self) {
        // From the back: what would start next is cancelled last, so that a worker does not start the one after it.
        for (_, chunk) in self.chunks.iter().rev() {
            chunk.cancel();
        }
    }
}

impl<R> fmt::Debug for ScopedMap<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedMap").field("remaining", &self.remaining).finish_non_exhaustive()
    }
}
