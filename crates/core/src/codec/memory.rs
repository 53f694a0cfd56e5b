//! Where large blocks get their memory from, and where it goes.

use super::buffer::Buffer;
use super::bulk::Plain;
use std::any::Any;
use std::fmt;

/// What an executor does about memory for large blocks. New pages are most of what such a block costs, so a process pool keeps
/// some memory for the next one.
///
/// ```
/// use concurrent_futures_core::codec::{BlockMemory, Buffer};
/// use std::sync::Mutex;
///
/// /// Keeps one.
/// #[derive(Debug)]
/// struct One(Mutex<Option<Buffer>>);
///
/// impl BlockMemory for One {
///     fn buffer(&self, unit: usize, len: usize) -> Option<Buffer> {
///         let kept = self.0.lock().unwrap().take_if(|kept| kept.unit() == unit && kept.capacity() >= len);
///         kept.or_else(|| Buffer::with_room(unit, len))
///     }
///
///     fn retire(&self, mut block: Buffer) {
///         block.clear();
///         *self.0.lock().unwrap() = Some(block);
///     }
/// }
///
/// let memory = One(Mutex::new(None));
/// memory.retire(Buffer::from(vec![1_u8; 100]));
/// assert_eq!(memory.buffer(1, 10).unwrap().capacity(), 100);
/// ```
pub trait BlockMemory: fmt::Debug + Sync {
    /// An empty buffer for numbers of `unit` bytes, with room for `len` bytes. `None`: there is no memory for it.
    fn buffer(&self, unit: usize, len: usize) -> Option<Buffer>;

    /// A block that is not needed any more, whatever is in it.
    fn retire(&self, block: Buffer);
}

/// As it is handed around.
pub type Memory = &'static dyn BlockMemory;

/// Takes the blocks out of a value that has lent them, if it is of one of the types that are most often sent. Otherwise
/// they go with it.
pub(super) fn salvage(lender: Box<dyn Any + Send>, retire: &mut dyn FnMut(Buffer)) {
    macro_rules! try_as {
        ($lender:ident: $($type:ty),* $(,)?) => {$(
            let $lender = match $lender.downcast::<$type>() {
                Ok(value) => return value.give_blocks(retire),
                Err(other) => other,
            };
        )*};
    }
    macro_rules! beside {
        ($lender:ident $vec:ty: $($other:ty)*) => { try_as!($lender: $(($other, $vec), ($vec, $other)),*); };
    }
    macro_rules! vectors_of {
        ($lender:ident: $($number:ty)*) => {$(
            try_as!($lender: Vec<$number>, Option<Vec<$number>>, Result<Vec<$number>, String>);
            beside!($lender Vec<$number>: bool u8 u16 u32 u64 usize i32 i64 f32 f64 String Vec<u8> Vec<f32> Vec<f64>);
        )*};
    }
    try_as!(lender: String);
    vectors_of!(lender: u8 i8 f32 f64);
    drop(lender);
}

/// What a value has of large blocks.
trait GiveBlocks {
    fn give_blocks(self, retire: &mut dyn FnMut(Buffer));
}

impl<P: Plain> GiveBlocks for Vec<P> {
    fn give_blocks(self, retire: &mut dyn FnMut(Buffer)) {
        retire(self.into());
    }
}

impl GiveBlocks for String {
    fn give_blocks(self, retire: &mut dyn FnMut(Buffer)) {
        self.into_bytes().give_blocks(retire);
    }
}

impl<T: GiveBlocks> GiveBlocks for Option<T> {
    fn give_blocks(self, retire: &mut dyn FnMut(Buffer)) {
        self.into_iter().for_each(|value| value.give_blocks(retire));
    }
}

impl<T: GiveBlocks> GiveBlocks for Result<T, String> {
    fn give_blocks(self, retire: &mut dyn FnMut(Buffer)) {
        self.ok().give_blocks(retire);
    }
}

impl<A: GiveBlocks, B: GiveBlocks> GiveBlocks for (A, B) {
    fn give_blocks(self, retire: &mut dyn FnMut(Buffer)) {
        self.0.give_blocks(retire);
        self.1.give_blocks(retire);
    }
}

macro_rules! has_none {
    ($($type:ty)*) => {$(
        impl GiveBlocks for $type {
            fn give_blocks(self, _: &mut dyn FnMut(Buffer)) {}
        }
    )*};
}

has_none!(bool u8 u16 u32 u64 usize i32 i64 f32 f64);
