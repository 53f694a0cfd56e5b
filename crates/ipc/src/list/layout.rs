//! Where the elements of a list are.

use super::item::Item;
use crate::sync::MUTEX_SIZE;
use crate::words::{WORD, Words};
use std::io;
use std::sync::atomic::Ordering::Relaxed;

/// "A shareable list, first version", so that nothing else is taken for one.
const MAGIC: u64 = u64::from_ne_bytes(*b"cf-list1");
/// Numbers of words.
const MAGIC_AT: usize = MUTEX_SIZE / WORD;
const COUNT_AT: usize = MAGIC_AT + 1;
pub(super) const DIED_AT: usize = MAGIC_AT + 2;
const ROOMS_AT: usize = MAGIC_AT + 8;

/// One element: a word that says what is in it, and twice the room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// The number of the word.
    pub(super) state: usize,
    /// Bytes, a multiple of eight.
    pub(super) room: usize,
}

impl Slot {
    /// Where one of its two places begins, in bytes.
    pub(super) fn place(self, turn: usize) -> usize {
        (self.state + 1) * WORD + turn * self.room
    }
}

/// The slots of elements with so much room each; and the bytes that they take in all.
fn slots(rooms: impl ExactSizeIterator<Item = u64>) -> Option<(Vec<Slot>, usize)> {
    let mut at = ROOMS_AT.checked_add(rooms.len())?;
    let mut slots = Vec::new();
    for room in rooms {
        let room = usize::try_from(room).ok().filter(|room| *room > 0 && room.is_multiple_of(WORD))?;
        slots.push(Slot { state: at, room });
        at = (room / WORD).checked_mul(2)?.checked_add(1)?.checked_add(at)?;
    }
    Some((slots, at.checked_mul(WORD)?))
}

/// The slots for these items, and the bytes that they take.
pub(super) fn plan(items: &[Item]) -> io::Result<(Vec<Slot>, usize)> {
    Ok(slots(items.iter().map(|item| item.room() as u64)).ok_or(io::ErrorKind::OutOfMemory)?)
}

/// Writes into new memory what [`read`] reads.
pub(super) fn write(words: Words<'_>, slots: &[Slot]) {
    let words = words.whole();
    words[COUNT_AT].store(slots.len() as u64, Relaxed);
    for (word, slot) in words[ROOMS_AT..].iter().zip(slots) {
        word.store(slot.room as u64, Relaxed);
    }
    words[MAGIC_AT].store(MAGIC, Relaxed);
}

/// What is there, if that is possible. From now on the memory is not asked for it any more.
pub(super) fn read(words: Words<'_>) -> Option<Vec<Slot>> {
    let words = words.whole();
    let is_list = words.get(MAGIC_AT)?.load(Relaxed) == MAGIC;
    let count = usize::try_from(words.get(COUNT_AT)?.load(Relaxed)).ok()?;
    let rooms = words.get(ROOMS_AT..ROOMS_AT.checked_add(count)?)?;
    let (slots, size) = slots(rooms.iter().map(|word| word.load(Relaxed)))?;
    (is_list && size <= words.len() * WORD).then_some(slots)
}
