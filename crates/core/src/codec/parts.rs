//! Large blocks that stand beside the stream of an encoding instead of in it.
//!
//! In the stream, a block that is in a part has its length with the top bit set ([`BESIDE`]). No sequence is that long: a
//! length with this bit was an error before there were parts, and is one wherever there are none, or too few. The parts
//! come in the order of their blocks.

use super::Stream;
use super::buffer::{Buffer, Unit};
use super::memory::{Memory, salvage};
use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

/// Marks a length in the stream: as much is in the next part.
pub(super) const BESIDE: usize = 1 << (usize::BITS - 1);
/// Blocks from this size on are parts. Smaller ones are copied in less time than it takes to see to one more piece.
pub const PART_MIN: usize = 16 * 1024;
/// One message has no more parts than this; further blocks stay in the stream.
pub const PARTS_MAX: usize = 1024;

/// An encoding: the stream, and the large blocks beside it.
#[derive(Debug, Default)]
pub struct Message {
    /// The values, but for the blocks that are in `parts`.
    pub stream: Vec<u8>,
    /// Those blocks.
    pub parts: Parts,
}

/// The large blocks of an encoding, lent by the values that they belong to where that is possible. They are kept here with
/// the values and do not move.
pub struct Parts {
    list: Vec<Part>,
    /// The values that have lent a block.
    lenders: Vec<Box<dyn Any + Send>>,
    memory: Option<Memory>,
    /// Blocks from this size on.
    min: usize,
}

impl Default for Parts {
    fn default() -> Self {
        Parts::new(None)
    }
}

enum Part {
    /// In memory that one of the lenders owns.
    Lent(NonNull<[u8]>, Unit),
    Own(Buffer),
}

// SAFETY: what is lent belongs to a lender, which is `Send`, and is only read.
unsafe impl Send for Parts {}
// SAFETY: shared, only the bytes can be reached, which nobody writes; the lenders cannot.
unsafe impl Sync for Parts {}

impl Parts {
    /// None yet. Large blocks that have to be copied are copied to `memory`, and all of them go there in the end.
    pub fn new(memory: Option<Memory>) -> Self {
        Parts { list: Vec::new(), lenders: Vec::new(), memory, min: PART_MIN }
    }

    #[cfg(test)]
    pub(super) fn from_size(min: usize) -> Self {
        let mut parts = Parts::default();
        parts.min = min;
        parts
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The bytes of the part with this number.
    ///
    /// # Panics
    /// There is none.
    pub fn get(&self, number: usize) -> &[u8] {
        match &self.list[number] {
            // SAFETY: a lender in `self` owns this memory, does not change it, and stays as long as `self`.
            Part::Lent(bytes, _) => unsafe { bytes.as_ref() },
            Part::Own(buffer) => buffer,
        }
    }

    /// The bytes of each, with the size of the numbers that they are made of: the [`Buffer`] to receive them in.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], usize)> {
        self.list.iter().enumerate().map(|(number, part)| {
            let unit = match part {
                Part::Lent(_, unit) => *unit,
                Part::Own(buffer) => return (self.get(number), buffer.unit()),
            };
            (self.get(number), unit.size())
        })
    }

    /// Bytes in all of them.
    pub fn bytes(&self) -> usize {
        self.iter().map(|(bytes, _)| bytes.len()).sum()
    }

    /// Drops them all, or gives them to the memory that they are to go to.
    pub fn clear(&mut self) {
        let Some(memory) = self.memory else {
            self.list.clear();
            self.lenders.clear();
            return;
        };
        for part in self.list.drain(..) {
            if let Part::Own(buffer) = part {
                memory.retire(buffer);
            }
        }
        // What they have lent is not in the list any more.
        self.lenders.drain(..).for_each(|lender| salvage(lender, &mut |block| memory.retire(block)));
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.list.truncate(len);
    }

    /// Whether a block of `size` bytes is to be a part.
    #[inline]
    pub(super) fn wants(&self, size: usize) -> bool {
        size >= self.min && self.list.len() < PARTS_MAX
    }

    /// A copy of `bytes`. False: there is no memory for it.
    pub(super) fn push_copy(&mut self, bytes: &[u8], unit: Unit) -> bool {
        let buffer = match self.memory {
            Some(memory) => memory.buffer(unit.size(), bytes.len()),
            None => Buffer::with_room(unit.size(), bytes.len()),
        };
        let Some(mut buffer) = buffer else { return false };
        buffer.extend_from_slice(bytes);
        self.list.push(Part::Own(buffer));
        true
    }

    /// These very bytes.
    ///
    /// # Safety
    /// They stay where they are, unchanged, until the part is taken off again by `truncate`, or until the value that they
    /// belong to is given to [`keep`](Self::keep), and as long as that is kept.
    pub(super) unsafe fn push_lent(&mut self, bytes: &[u8], unit: Unit) {
        self.list.push(Part::Lent(NonNull::from(bytes), unit));
    }

    pub(super) fn keep(&mut self, lender: Box<dyn Any + Send>) {
        self.lenders.push(lender);
    }

    #[inline]
    pub(super) fn lent_since(&self, start: usize) -> bool {
        self.list[start..].iter().any(|part| matches!(part, Part::Lent(..)))
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.clear();
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(bytes, _)| bytes.len())).finish()
    }
}

/// What arrived: a stream, and the blocks beside it.
#[derive(Debug, Default, PartialEq)]
pub struct Content {
    /// As [`Message::stream`].
    pub stream: Stream,
    /// The blocks, in their order. Decoding takes them out.
    pub parts: Vec<Buffer>,
}

impl From<Stream> for Content {
    fn from(stream: Stream) -> Self {
        Content { stream, parts: Vec::new() }
    }
}

impl From<Vec<u8>> for Content {
    fn from(stream: Vec<u8>) -> Self {
        Content { stream: stream.into(), parts: Vec::new() }
    }
}

/// Whether a value of type `T` can lend its blocks: it keeps them on the heap, where they stay when the value moves, and
/// nothing but code of std's and serde's sees to its encoding.
///
/// That must be known of the whole type. What a `Serialize` of the user's shows us may be gone before it returns (a field
/// that it has just compressed), so the blocks of other types are copied.
pub(super) fn can_lend<T: ?Sized>() -> bool {
    let id = typeid::of::<T>();
    macro_rules! is_one_of {
        ($($type:ty),* $(,)?) => { $(id == TypeId::of::<$type>())||* };
    }
    macro_rules! beside {
        ($vec:ty: $($other:ty)*) => { is_one_of!($(($other, $vec), ($vec, $other)),*) };
    }
    macro_rules! vectors_of {
        ($($number:ty)*) => {$(
            is_one_of!(
                Vec<$number>,
                Arc<[$number]>,
                Option<Vec<$number>>,
                Vec<Vec<$number>>,
                Vec<(String, Vec<$number>)>,
                Result<Vec<$number>, String>,
                HashMap<String, Vec<$number>>,
                BTreeMap<String, Vec<$number>>,
                (Vec<$number>, Vec<u8>),
                (Vec<$number>, Vec<f32>),
                (Vec<$number>, Vec<f64>),
            ) || beside!(Vec<$number>: () bool char u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64 String)
        )||*};
    }
    is_one_of!(String, Option<String>, Vec<String>, (String, String)) || vectors_of!(u8 i8 f32 f64)
}
