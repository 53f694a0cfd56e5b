//! Memory into which a part is received, and which becomes the vector that it is decoded to.

use super::bulk::Plain;
use std::alloc::{self, Layout};
use std::fmt;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ops::Deref;
use std::ptr::NonNull;

/// A growing block of bytes, allocated as a vector of numbers of one size would be: such a vector takes it over as it is.
///
/// ```
/// use concurrent_futures_core::codec::Buffer;
///
/// let mut buffer = Buffer::new(8).unwrap();
/// buffer.try_reserve(16).unwrap();
/// buffer.extend_from_slice(&[1; 16]);
/// assert_eq!(*buffer, [1; 16]);
/// assert!(Buffer::new(3).is_none());
/// ```
pub struct Buffer {
    start: NonNull<u8>,
    len: usize,
    capacity: usize,
    unit: Unit,
}

// SAFETY: a buffer owns its bytes as a vector does.
unsafe impl Send for Buffer {}
// SAFETY: as above; shared, it is only read.
unsafe impl Sync for Buffer {}

/// The size of the numbers that a block is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    One,
    Four,
    Eight,
}

impl Unit {
    pub(super) const fn of<P: Plain>() -> Self {
        match size_of::<P>() {
            1 => Unit::One,
            4 => Unit::Four,
            8 => Unit::Eight,
            _ => panic!("no plain number has this size"),
        }
    }

    pub(super) const fn size(self) -> usize {
        match self {
            Unit::One => 1,
            Unit::Four => 4,
            Unit::Eight => 8,
        }
    }

    /// That of the plain numbers of this size, on this platform.
    const fn align(self) -> usize {
        match self {
            Unit::One => align_of::<u8>(),
            Unit::Four => align_of::<f32>(),
            Unit::Eight => align_of::<f64>(),
        }
    }
}

impl Buffer {
    /// An empty one for numbers of so many bytes, where there are such numbers.
    pub fn new(unit: usize) -> Option<Self> {
        let unit = [Unit::One, Unit::Four, Unit::Eight].into_iter().find(|known| known.size() == unit)?;
        Some(Self::of_unit(unit))
    }

    pub(super) fn of_unit(unit: Unit) -> Self {
        // Aligned for each of them, and never looked at while there is no room.
        Buffer { start: NonNull::<f64>::dangling().cast(), len: 0, capacity: 0, unit }
    }

    /// The same with room for so many bytes. `None`: there are no such numbers, or there is no memory.
    pub fn with_room(unit: usize, bytes: usize) -> Option<Self> {
        let mut buffer = Self::new(unit)?;
        buffer.try_reserve(bytes)?;
        Some(buffer)
    }

    /// The size of the numbers that it was made for.
    pub fn unit(&self) -> usize {
        self.unit.size()
    }

    /// The bytes that there is room for, those that are there included.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Makes room for so many more bytes, and no more than a number beyond. `None`: there is no memory.
    #[must_use]
    pub fn try_reserve(&mut self, more: usize) -> Option<()> {
        let wanted = self.len.checked_add(more)?;
        if wanted <= self.capacity {
            return Some(());
        }
        // A vector's memory is a multiple of its elements.
        let wanted = wanted.checked_next_multiple_of(self.unit.size())?;
        let layout = Layout::from_size_align(wanted, self.unit.align()).ok()?;
        let start = if self.capacity == 0 {
            // SAFETY: the size is not zero: more than nothing is wanted.
            unsafe { alloc::alloc(layout) }
        } else {
            // SAFETY: `start` is from this allocator, with the layout of `capacity`; the new size is larger than that, and
            // was accepted with the alignment just now.
            unsafe { alloc::realloc(self.start.as_ptr(), self.layout(), wanted) }
        };
        self.start = NonNull::new(start)?;
        self.capacity = wanted;
        Some(())
    }

    fn layout(&self) -> Layout {
        Layout::from_size_align(self.capacity, self.unit.align()).expect("it was accepted when the memory was taken")
    }

    /// The room behind the bytes that are there.
    pub fn spare(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: `len` is within the allocation (or zero).
        let first = unsafe { self.start.as_ptr().add(self.len) };
        // SAFETY: the rest of the allocation follows, it is ours alone for as long as the borrow, and any bytes will do.
        unsafe { std::slice::from_raw_parts_mut(first.cast(), self.capacity - self.len) }
    }

    /// Takes `more` bytes of the room for written.
    ///
    /// # Safety
    /// The first `more` bytes of [`spare`](Self::spare) have been written.
    pub unsafe fn grow(&mut self, more: usize) {
        assert!(more <= self.capacity - self.len, "more than there is room for");
        self.len += more;
    }

    /// Appends bytes for which there is room.
    ///
    /// # Panics
    /// There is no room.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let room = &mut self.spare()[..bytes.len()];
        room.write_copy_of_slice(bytes);
        // SAFETY: so many bytes have just been written there.
        unsafe { self.grow(bytes.len()) };
    }

    /// Forgets the bytes that are there, and keeps their room.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// The bytes as a vector: this memory, if it was made for bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        if self.unit != Unit::One {
            return self.to_vec();
        }
        self.into_vec().expect("bytes are whole numbers of one byte")
    }

    /// The vector that these bytes are: in this memory where it fits, else in its own. `None`: they are not whole numbers.
    pub(super) fn into_vec<P: Plain>(self) -> Option<Vec<P>> {
        if !self.len.is_multiple_of(size_of::<P>()) {
            return None;
        }
        if self.unit != Unit::of::<P>() || align_of::<P>() != self.unit.align() {
            return Some(super::bulk::copied(&self));
        }
        let buffer = ManuallyDrop::new(self);
        let (len, capacity) = (buffer.len / size_of::<P>(), buffer.capacity / size_of::<P>());
        let start = buffer.start.as_ptr().cast::<P>();
        // SAFETY: the memory is from the global allocator with `P`'s alignment and a size that is a multiple of its own, as
        // a vector's would be (none, and a pointer that is aligned, if there is no capacity); the first `len` elements are
        // written, and any bits are a `P`. The buffer is not dropped, so the vector is the only owner.
        Some(unsafe { Vec::from_raw_parts(start, len, capacity) })
    }
}

/// The memory of a vector, without its bytes.
impl<P: Plain> From<Vec<P>> for Buffer {
    fn from(vec: Vec<P>) -> Self {
        let mut vec = ManuallyDrop::new(vec);
        // The memory is the global allocator's, with `P`'s alignment, which is that of its unit: `P` is the number that the unit
        // has been defined by, or another one of one byte.
        let start = NonNull::new(vec.as_mut_ptr()).expect("a vector's pointer is not null");
        Buffer { start: start.cast(), len: 0, capacity: vec.capacity() * size_of::<P>(), unit: Unit::of::<P>() }
    }
}

/// For bytes.
impl Default for Buffer {
    fn default() -> Self {
        Buffer::of_unit(Unit::One)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.capacity > 0 {
            // SAFETY: `start` is from this allocator, with this layout, and nobody else has it.
            unsafe { alloc::dealloc(self.start.as_ptr(), self.layout()) };
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the first `len` bytes of the allocation have been written; they are borrowed with the buffer.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

/// The same bytes; what they were made for does not count.
impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len)
    }
}
