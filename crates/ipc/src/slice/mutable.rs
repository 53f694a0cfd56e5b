//! Shared memory while it is being filled.

use super::block::Block;
use super::{SharedSlice, show};
use bytemuck::Pod;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// A [`SharedSlice`] in the making: plain data in shared memory that belongs to this process alone, and can be written.
///
/// ```
/// use concurrent_futures_ipc::SharedSliceMut;
///
/// let mut image = SharedSliceMut::<f32>::zeroed(640 * 480)?;
/// image[5] = 0.5;
/// let image = image.freeze();
/// assert_eq!(image.iter().sum::<f32>(), 0.5);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct SharedSliceMut<T> {
    /// `None`: it is empty.
    block: Option<Block>,
    len: usize,
    elements: PhantomData<T>,
}

impl<T: Pod> SharedSliceMut<T> {
    /// `len` elements, all of them zero.
    ///
    /// ```
    /// use concurrent_futures_ipc::SharedSliceMut;
    ///
    /// assert_eq!(SharedSliceMut::<u8>::zeroed(3)?[..], [0, 0, 0]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// No descriptor is left, or no memory.
    pub fn zeroed(len: usize) -> io::Result<Self> {
        let (mut slice, fresh) = Self::with_len(len)?;
        if !fresh {
            bytemuck::cast_slice_mut::<T, u8>(&mut slice).fill(0);
        }
        Ok(slice)
    }

    /// `len` elements, of which `element` says what they are.
    ///
    /// ```
    /// use concurrent_futures_ipc::SharedSliceMut;
    ///
    /// assert_eq!(SharedSliceMut::from_fn(4, |n| n * n)?[..], [0, 1, 4, 9]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// No descriptor is left, or no memory.
    pub fn from_fn(len: usize, element: impl FnMut(usize) -> T) -> io::Result<Self> {
        // Whatever is there from an earlier use is valid, and is written over.
        let (mut slice, _) = Self::with_len(len)?;
        slice.iter_mut().zip((0..len).map(element)).for_each(|(place, element)| *place = element);
        Ok(slice)
    }

    /// A slice with the same elements.
    ///
    /// ```
    /// use concurrent_futures_ipc::SharedSliceMut;
    ///
    /// let mut numbers = SharedSliceMut::copy_of(&[3, 1, 2])?;
    /// numbers.sort();
    /// assert_eq!(numbers[..], [1, 2, 3]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// No descriptor is left, or no memory.
    pub fn copy_of(elements: &[T]) -> io::Result<Self> {
        let block = if elements.is_empty() { None } else { Some(Block::copy_of(bytemuck::cast_slice(elements))?) };
        Ok(SharedSliceMut { block, len: elements.len(), elements: PhantomData })
    }

    /// From now on it is immutable, and can travel. Copies nothing.
    ///
    /// ```
    /// use concurrent_futures_ipc::SharedSliceMut;
    ///
    /// assert_eq!(SharedSliceMut::copy_of(&[1_u8])?.freeze().len(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn freeze(self) -> SharedSlice<T> {
        match self.block {
            Some(block) => SharedSlice::of_block(Arc::new(block), 0, self.len),
            None => SharedSlice::default(),
        }
    }

    /// With whatever there is in the memory; `true`: that is zeros.
    fn with_len(len: usize) -> io::Result<(Self, bool)> {
        const { assert!(size_of::<T>() > 0, "elements without a size have no place in memory") };
        let Some(size @ 1..) = len.checked_mul(size_of::<T>()).filter(|size| isize::try_from(*size).is_ok()) else {
            let empty = SharedSliceMut { block: None, len: 0, elements: PhantomData };
            return if len == 0 { Ok((empty, true)) } else { Err(io::ErrorKind::OutOfMemory.into()) };
        };
        let (block, fresh) = Block::make(size)?;
        Ok((SharedSliceMut { block: Some(block), len, elements: PhantomData }, fresh))
    }
}

impl<T: Pod> Deref for SharedSliceMut<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let Some(block) = &self.block else { return &[] };
        // SAFETY: `len` elements are within the mapping, which begins with a page, so they are aligned; any bytes are a valid `T`;
        // and nobody writes to it while `self` is borrowed: no other process can.
        unsafe { std::slice::from_raw_parts(block.start().cast().as_ptr(), self.len) }
    }
}

impl<T: Pod> DerefMut for SharedSliceMut<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let Some(block) = &mut self.block else { return &mut [] };
        bytemuck::cast_slice_mut(&mut block.bytes_mut()[..self.len * size_of::<T>()])
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for SharedSliceMut<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self, f)
    }
}
