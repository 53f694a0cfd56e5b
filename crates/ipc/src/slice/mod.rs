//! Plain data that tasks take and return without a copy. `README.md` beside this file says how it travels, who may write when,
//! and when its memory is given back.

mod block;
mod bytes;
mod mutable;
mod registry;
mod retired;
#[cfg(test)]
mod tests;
mod travel;

pub use bytes::SharedBytes;
pub use mutable::SharedSliceMut;

use self::block::Block;
use crate::bounds::bounds;
use bytemuck::Pod;
use parking_lot::Mutex;
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::io;
use std::ops::{Deref, RangeBounds};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::sync::Arc;

/// A slice of plain data that travels to worker processes, and back, without a copy: an argument or a result of a task, or a part
/// of one.
///
/// Sending it to any number of workers sends a descriptor; they read the same memory. It is immutable, and a clone is one more
/// reference. The memory is given back when the last holder, in any process, has dropped it or has ended. On a thread pool it is
/// just shared.
///
/// What is to be large is best made in place, by a [`SharedSliceMut`]. A slice made of a `Vec` keeps the `Vec`, and is copied into
/// shared memory when it is sent for the first time. What is small (16 KiB) travels as bytes.
///
/// Plain data is what implements [`bytemuck::Pod`]: numbers, arrays of them, and structs of them that derive it.
///
/// ```
/// use concurrent_futures_ipc::SharedSlice;
///
/// let numbers: SharedSlice<u64> = (1..=100).collect();
/// let first = numbers.slice(..10);
/// assert_eq!((numbers.len(), first.iter().sum::<u64>()), (100, 55));
/// ```
///
/// What has pointers or padding in it is refused by the compiler:
///
/// ```compile_fail,E0277
/// use concurrent_futures_ipc::SharedSlice;
///
/// let texts = SharedSlice::from(vec![String::from("a pointer")]);
/// ```
///
/// # Whom it trusts
///
/// What comes from another process is checked: it must be a memory file of the size that it should have, which can neither get
/// smaller nor be opened for writing any more. The one process that has made it could still write to it, and does not: a worker is
/// the same program, and this type gives no way to. A worker whose memory is corrupted, or that has been taken over, could change
/// under its readers what it has sent itself; copy (`to_vec`) before use what must bear that. It cannot change what others have made.
pub struct SharedSlice<T> {
    /// `len` elements, in memory that `owner` keeps as it is.
    start: NonNull<T>,
    len: usize,
    owner: Owner<T>,
}

/// What keeps the elements.
enum Owner<T> {
    Heap(Arc<Heap<T>>),
    Block(Arc<Block>),
}

/// A `Vec` of this process.
struct Heap<T> {
    elements: Vec<T>,
    /// The same in shared memory, since it was sent.
    shared: Mutex<Option<Arc<Block>>>,
}

// SAFETY: it gives out shared references to the elements, and moves with them; `Owner` is reference counted by atomics.
unsafe impl<T: Send + Sync> Send for SharedSlice<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for SharedSlice<T> {}

/// As of `Arc<[T]>`: what a panic can interrupt is the copying into shared memory, which leaves nothing behind.
impl<T: RefUnwindSafe> UnwindSafe for SharedSlice<T> {}
impl<T: RefUnwindSafe> RefUnwindSafe for SharedSlice<T> {}

impl<T: Pod> SharedSlice<T> {
    /// A slice with the same elements, in shared memory.
    ///
    /// ```
    /// use concurrent_futures_ipc::SharedSlice;
    ///
    /// assert_eq!(SharedSlice::copy_of(&[1.5, 2.5])?[..], [1.5, 2.5]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// No descriptor is left, or no memory.
    pub fn copy_of(elements: &[T]) -> io::Result<Self> {
        if elements.is_empty() {
            return Ok(SharedSlice::default());
        }
        Ok(SharedSlice::of_block(Arc::new(Block::copy_of(bytemuck::cast_slice(elements))?), 0, elements.len()))
    }

    /// A part of it, which keeps the whole alive. Costs nothing.
    ///
    /// ```
    /// use concurrent_futures_ipc::SharedSlice;
    ///
    /// let all = SharedSlice::from(vec![1_u8, 2, 3, 4]);
    /// assert_eq!(all.slice(1..3).slice(1..), SharedSlice::from(vec![3]));
    /// ```
    ///
    /// # Panics
    /// The range is not within the slice.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        let part = &self[bounds(range, self.len)];
        SharedSlice { start: NonNull::from(part).cast(), len: part.len(), owner: self.owner.clone() }
    }

    /// `len` elements from `offset` bytes on, which must be within the block and in line.
    fn of_block(block: Arc<Block>, offset: usize, len: usize) -> Self {
        const { assert!(size_of::<T>() > 0, "elements without a size have no place in memory") };
        let end = len.checked_mul(size_of::<T>()).and_then(|size| size.checked_add(offset));
        assert!(end.is_some_and(|end| end <= block.len()) && offset.is_multiple_of(align_of::<T>()));
        // SAFETY: the offset is within the mapping, or at its end.
        let start = unsafe { block.start().add(offset) };
        SharedSlice { start: start.cast(), len, owner: Owner::Block(block) }
    }

    /// What it has in shared memory, and at which offset in bytes. From the heap it is copied there, once.
    fn share(&self) -> io::Result<(Arc<Block>, usize)> {
        let (block, base) = match &self.owner {
            Owner::Block(block) => (block.clone(), block.start().addr()),
            Owner::Heap(heap) => {
                let mut shared = heap.shared.lock();
                let block = match &*shared {
                    Some(block) => block.clone(),
                    None => shared.insert(Arc::new(Block::copy_of(bytemuck::cast_slice(&heap.elements))?)).clone(),
                };
                (block, NonNull::from(heap.elements.as_slice()).cast::<T>().addr())
            }
        };
        Ok((block, self.start.addr().get() - base.get()))
    }
}

impl<T> Deref for SharedSlice<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `len` elements begin at `start`, which is aligned for them: they are those of a `Vec` that nobody changes, or of
        // a block that is mapped as long as it is kept, of a type for which any bytes are valid, and to which nobody writes while
        // it is shared (`README.md` says why).
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> Clone for SharedSlice<T> {
    fn clone(&self) -> Self {
        SharedSlice { start: self.start, len: self.len, owner: self.owner.clone() }
    }
}

impl<T> Clone for Owner<T> {
    fn clone(&self) -> Self {
        match self {
            Owner::Heap(heap) => Owner::Heap(heap.clone()),
            Owner::Block(block) => Owner::Block(block.clone()),
        }
    }
}

impl<T: Pod> From<Vec<T>> for SharedSlice<T> {
    /// Without a copy now; it is copied when it is sent for the first time.
    fn from(elements: Vec<T>) -> Self {
        const { assert!(size_of::<T>() > 0, "elements without a size have no place in memory") };
        let (start, len) = (NonNull::from(elements.as_slice()).cast(), elements.len());
        // Moving the vector moves none of its elements.
        SharedSlice { start, len, owner: Owner::Heap(Arc::new(Heap { elements, shared: Mutex::new(None) })) }
    }
}

impl<T: Pod> FromIterator<T> for SharedSlice<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        Vec::from_iter(elements).into()
    }
}

impl<T: Pod> Default for SharedSlice<T> {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl<T> AsRef<[T]> for SharedSlice<T> {
    fn as_ref(&self) -> &[T] {
        self
    }
}

impl<T> Borrow<[T]> for SharedSlice<T> {
    fn borrow(&self) -> &[T] {
        self
    }
}

impl<'a, T> IntoIterator for &'a SharedSlice<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: PartialEq> PartialEq for SharedSlice<T> {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl<T: Eq> Eq for SharedSlice<T> {}

impl<T: PartialOrd> PartialOrd for SharedSlice<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self[..].partial_cmp(&other[..])
    }
}

impl<T: Ord> Ord for SharedSlice<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self[..].cmp(&other[..])
    }
}

impl<T: Hash> Hash for SharedSlice<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self[..].hash(state);
    }
}

impl<T: fmt::Debug> fmt::Debug for SharedSlice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self, f)
    }
}

/// The first elements, and how many there are: it may be a gigabyte.
fn show<T: fmt::Debug>(elements: &[T], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const SHOWN: usize = 16;
    if elements.len() <= SHOWN {
        return fmt::Debug::fmt(elements, f);
    }
    f.debug_list().entries(&elements[..SHOWN]).entry(&format_args!("... {} in all", elements.len())).finish()
}
