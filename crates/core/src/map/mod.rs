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
use crate::task::{Function, Meta};

/// What was asked for a batch.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// For each task.
    pub(crate) meta: Meta,
    pub(crate) chunksize: Option<usize>,
}

/// Submits all items, in chunks.
pub(crate) fn start<E, F, I>(executor: &E, function: F, context: F::Context, items: I, options: &Options) -> Map<F::Out>
where
    E: Executor + ?Sized,
    F: Function,
    I: Iterator<Item = F::Args>,
{
    let mut sizes = ChunkSizes::new(options.chunksize, executor.num_workers(), &items);
    let mut items = items.fuse();
    // Dropped, and with it cancelled, when the input panics.
    let mut map = Map::new();
    while let Some(piece) = Piece::submit(executor, function, &context, &mut items, sizes.next_size(), options) {
        map.push(piece);
    }
    map
}

/// Chunks when nobody chose: small enough that all workers have several, at most `LARGEST`; beginning small when the number
/// of items is not known.
#[doc(hidden)]
#[derive(Debug)]
pub struct ChunkSizes {
    size: usize,
    /// How many chunks of this size are left before the size is doubled.
    left: usize,
    round: usize,
    grows: bool,
}

const CHUNKS_PER_WORKER: usize = 8;
const LARGEST: usize = 1024;

impl ChunkSizes {
    pub fn new<I: Iterator>(chosen: Option<usize>, workers: usize, items: &I) -> Self {
        let round = workers.saturating_mul(CHUNKS_PER_WORKER).max(1);
        let known = match items.size_hint() {
            (lower, Some(upper)) if lower == upper => Some(lower.div_ceil(round).clamp(1, LARGEST)),
            _ => None,
        };
        let size = chosen.or(known);
        ChunkSizes { size: size.unwrap_or(1), left: round, round, grows: size.is_none() }
    }

    pub fn next_size(&mut self) -> usize {
        if self.grows {
            if self.left == 0 {
                self.size = (self.size * 2).min(LARGEST);
                self.left = self.round;
            }
            self.left -= 1;
        }
        self.size
    }
}


#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_leave_several_for_each_worker() {
        assert_eq!(ChunkSizes::new(None, 2, &(0..10)).next_size(), 1);
        assert_eq!(ChunkSizes::new(None, 2, &(0..1000)).next_size(), 63);
        assert_eq!(ChunkSizes::new(None, 2, &(0..10_000_000)).next_size(), LARGEST);
        assert_eq!(ChunkSizes::new(Some(7), 2, &(0..10)).next_size(), 7);
    }

    #[test]
    fn chunks_of_unknown_input_grow() {
        let mut sizes = ChunkSizes::new(None, 1, &(0..).filter(|x| x % 2 == 0));
        let sizes: Vec<_> = (0..17).map(|_| sizes.next_size()).collect();
        assert_eq!((sizes[7], sizes[8], sizes[16]), (1, 2, 4));
    }
}
