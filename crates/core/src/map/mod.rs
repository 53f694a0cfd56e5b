//! One function over many items.

mod buffered;
mod collected;
mod ordered;
mod piece;
mod room;
mod sizes;
mod source;
mod unordered;

pub use buffered::BufferedMap;
pub use ordered::{Map, MapStream};
pub use unordered::MapUnordered;

pub use sizes::ChunkSizes;

pub(crate) use piece::Piece;
pub(crate) use room::{Batch, Room, Stretch};
pub(crate) use source::Source;

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
    let mut items = if chosen == Some(1) { Source::in_pieces(items) } else { Source::as_a_whole::<F::Out>(items) };
    // Dropped, and with it cancelled, when the input panics.
    let mut map = Map::new();
    loop {
        let size = sizes.next_size(|| map.done_at_the_front());
        let piece = Piece::submit(executor, function, &context, &mut items, size, options, again);
        let Some(piece) = piece else { return map };
        if map.push(piece) == 1 {
            items.settle();
        }
    }
}
