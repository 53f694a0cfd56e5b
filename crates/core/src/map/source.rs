//! The items of a map on their way into chunks.

use super::room::{Room, Stretch};
use crate::task::Places;
use std::iter::Fuse;
use std::sync::Arc;

/// Takes the items out of the input and gives them places.
///
/// If it is known how many there are, all have places in one room, and so have the results: that is the room of the items
/// themselves where a result fits into the place of an item. Otherwise each chunk has rooms of its own.
pub(crate) struct Source<I: Iterator> {
    items: Fuse<I>,
    /// For what has not been taken yet.
    rooms: Option<Rooms>,
    /// How many have been taken.
    taken: usize,
}

struct Rooms {
    items: Arc<Room>,
    results: Arc<Room>,
}

impl<I: Iterator> Source<I> {
    /// Chunks with rooms of their own.
    pub(crate) fn in_pieces(items: I) -> Self {
        Source { items: items.fuse(), rooms: None, taken: 0 }
    }

    /// One room, if it can be.
    pub(crate) fn as_a_whole<R>(items: I) -> Self {
        let rooms = match items.size_hint() {
            (lower, Some(upper)) if lower == upper => Rooms::new::<I::Item, R>(lower),
            _ => None,
        };
        Source { items: items.fuse(), rooms, taken: 0 }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.rooms.is_some()
    }

    /// How many there are left at least.
    pub(crate) fn lower_bound(&self) -> usize {
        self.items.size_hint().0
    }

    /// A single item.
    pub(crate) fn next(&mut self) -> Option<I::Item> {
        let item = self.items.next();
        self.taken += usize::from(item.is_some());
        item
    }

    /// The next `size` items, or those that there are, and where their results go.
    pub(crate) fn next_chunk(&mut self, size: usize) -> (Stretch<I::Item>, Places) {
        // An iterator may have more than it said.
        if let Some(rooms) = &self.rooms
            && self.taken < rooms.items.places()
        {
            // SAFETY: the room was made for such items. Each chunk begins where the one before it ended, and puts its items
            // there before the next one begins. In the end results come to the same places, but each only when its item has
            // been taken out, by the chunk.
            let mut chunk = unsafe { Stretch::begin(rooms.items.clone(), self.taken) };
            let places = Places::In(rooms.results.clone());
            chunk.take_from(&mut self.items, size);
            self.taken += chunk.len();
            return (chunk, places);
        }
        let mut chunk = Vec::with_capacity(size.min(self.lower_bound().saturating_add(1)));
        chunk.extend(self.items.by_ref().take(size));
        self.taken += chunk.len();
        (Stretch::from(chunk), Places::Own)
    }

    /// After the first chunk was submitted: gives up the common room if nobody keeps anything in it. Then the executor sends
    /// the items away and gets the results back as bytes; memory that is used again for each chunk is better there.
    pub(crate) fn settle(&mut self) {
        self.rooms.take_if(|rooms| rooms.is_deserted());
    }
}

impl Rooms {
    fn new<A, R>(places: usize) -> Option<Rooms> {
        let items = Arc::new(Room::new::<A>(places)?);
        let results = if items.fits::<R>() { items.clone() } else { Arc::new(Room::new::<R>(places)?) };
        Some(Rooms { items, results })
    }

    fn is_deserted(&self) -> bool {
        let own = if Arc::ptr_eq(&self.items, &self.results) { 2 } else { 1 };
        Arc::strong_count(&self.items) == own && Arc::strong_count(&self.results) == own
    }
}
