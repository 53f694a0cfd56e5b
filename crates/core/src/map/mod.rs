//! One function over many items.

mod buffered;
mod ordered;
mod piece;
mod unordered;

pub use buffered::BufferedMap;
pub use ordered::{Map, MapStream};
pub use unordered::MapUnordered;

pub(crate) use piece::Piece;

use crate::executor::Executor;
use crate::task::{Again, Function, Meta};

/// What was asked for a batch.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// For each task.
    pub(crate) meta: Meta,
    pub(crate) chunksize: Option<usize>,
}

/// Submits all items, in chunks.
pub(crate) fn start<E, F, I>(
    executor: &E,
    function: F,
    context: F::Context,
    items: I,
    options: &Options,
    again: Option<Again<F::Args, F::Raw>>,
) -> Map<F::Out>
where
    E: Executor + ?Sized,
    F: Function,
    I: Iterator<Item = F::Args>,
{
    // A limit of time holds for a whole chunk, so without a choice a chunk is one item then.
    let limited = options.meta.timeout.is_some() || options.meta.deadline.is_some() || again.is_some();
    let chosen = options.chunksize.or(limited.then_some(1));
    let mut sizes = ChunkSizes::new(chosen, executor.num_workers(), &items);
    let mut items = items.fuse();
    // Dropped, and with it cancelled, when the input panics.
    let mut map = Map::new();
    while let Some(piece) = Piece::submit(executor, function, &context, &mut items, sizes.next_size(), options, again) {
        map.push(piece);
    }
    map
}

/// How many items travel together when nobody chose: few at first, so that the first results come soon, then so many that
/// each worker has several chunks, and never more than `LARGEST`.
#[doc(hidden)]
#[derive(Debug)]
pub struct ChunkSizes {
    size: usize,
    largest: usize,
    /// How many chunks of this size are left before the size is doubled.
    left: usize,
    round: usize,
}

const CHUNKS_PER_WORKER: usize = 8;
const LARGEST: usize = 1024;

impl ChunkSizes {
    pub fn new<I: Iterator>(chosen: Option<usize>, workers: usize, items: &I) -> Self {
        let chunks = workers.saturating_mul(CHUNKS_PER_WORKER).max(1);
        let largest = match (chosen, items.size_hint()) {
            (Some(size), _) => size,
            (None, (lower, Some(upper))) if lower == upper => lower.div_ceil(chunks).clamp(1, LARGEST),
            (None, _) => LARGEST,
        };
        let size = if chosen.is_some() { largest } else { 1 };
        ChunkSizes { size, largest, left: workers, round: workers.max(1) }
    }

    pub fn next_size(&mut self) -> usize {
        if self.left == 0 && self.size < self.largest {
            self.size = (self.size * 2).min(self.largest);
            self.left = self.round;
        }
        self.left = self.left.saturating_sub(1);
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes<I: Iterator>(chosen: Option<usize>, workers: usize, items: I, count: usize) -> Vec<usize> {
        let mut sizes = ChunkSizes::new(chosen, workers, &items);
        (0..count).map(|_| sizes.next_size()).collect()
    }

    #[test]
    fn chunks_leave_several_for_each_worker() {
        assert_eq!(sizes(None, 2, 0..10, 4), [1; 4]);
        assert_eq!(sizes(None, 1, 0..40, 5), [1, 2, 4, 5, 5]);
        assert_eq!(sizes(None, 2, 0..10_000_000, 1000).last(), Some(&LARGEST));
        assert_eq!(sizes(Some(7), 2, 0..10, 2), [7, 7]);
    }

    #[test]
    fn chunks_of_unknown_input_grow() {
        assert_eq!(sizes(None, 2, (0..).filter(|x| x % 2 == 0), 6), [1, 1, 2, 2, 4, 4]);
    }
}
