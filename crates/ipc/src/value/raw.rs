//! Values and arrays without a lock.

use super::Integer;
use super::cells::Cells;
use super::ground::{ELEMENTS, memory};
use crate::SharedMemory;
use bytemuck::Pod;
use std::fmt;
use std::io;
use std::ops::RangeBounds;
use std::sync::Arc;

/// One value of plain data in shared memory, without a lock: Python's `RawValue`, and an atomic.
///
/// A handle is cheap to clone, and travels as or in the argument or the result of a task or the argument of a process. What is not
/// larger than eight bytes is read and written in one piece, and changed in one step ([`update`](Self::update),
/// [`compare_exchange`](Self::compare_exchange), [`fetch_add`](Self::fetch_add)): all processes see one order of these changes
/// (`SeqCst`), and nobody who is killed leaves anything half done. Of a larger one each eight bytes are whole, and who reads it may find
/// some of them old and some new; [`Value`](super::Value), which has a lock, is for those.
///
/// The memory is given back when the last handle of the last process is gone.
///
/// ```
/// use concurrent_futures_ipc::RawValue;
///
/// let done = RawValue::new(0_u32)?;
/// std::thread::scope(|s| {
///     for _ in 0..4 {
///         s.spawn(|| done.fetch_add(1));
///     }
/// });
/// assert_eq!(done.get(), 4);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// What has pointers or padding in it is refused by the compiler, and so is a step on what is larger than a word:
///
/// ```compile_fail
/// # use concurrent_futures_ipc::RawValue;
/// RawValue::new([0_u64; 2]).unwrap().update(|[a, b]| [b, a]);
/// ```
pub struct RawValue<T>(pub(super) Cells<T>);

/// Elements of plain data in shared memory, without a lock: Python's `RawArray`. As [`RawValue`], for each element.
///
/// ```
/// use concurrent_futures_ipc::RawArray;
///
/// let histogram = RawArray::<u64>::zeroed(10)?;
/// for number in [3, 1, 3] {
///     histogram.fetch_add(number, 1);
/// }
/// assert_eq!(histogram.read(..4), [0, 1, 0, 2]);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct RawArray<T>(pub(super) Cells<T>);

impl<T: Pod> RawValue<T> {
    /// A new one.
    ///
    /// ```
    /// use concurrent_futures_ipc::RawValue;
    ///
    /// assert_eq!(RawValue::new(7_u8)?.get(), 7);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// No descriptor is left, or no memory.
    pub fn new(value: T) -> io::Result<Self> {
        let memory = memory("concurrent-futures-value", Cells::<T>::size(1))?;
        let raw = Self::open(memory);
        raw.0.store(0, value);
        Ok(raw)
    }

    pub(super) fn open(memory: Arc<SharedMemory>) -> Self {
        // SAFETY: it was made by `new`, with nothing else behind its beginning.
        RawValue(unsafe { Cells::new(memory, ELEMENTS, 1) })
    }

    /// What it is.
    ///
    /// ```
    /// use concurrent_futures_ipc::RawValue;
    ///
    /// assert_eq!(RawValue::new(0.5)?.get(), 0.5);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn get(&self) -> T {
        self.0.load(0)
    }

    /// Makes it something else.
    ///
    /// ```
    /// use concurrent_futures_ipc::RawValue;
    ///
    /// let value = RawValue::new(1_u8)?;
    /// value.set(2);
    /// assert_eq!(value.get(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set(&self, value: T) {
        self.0.store(0, value);
    }

    /// Makes of it what `f` makes of it, in one step, and gives what it was. `f` is called again when somebody else was quicker.
    ///
    /// ```
    /// use concurrent_futures_ipc::RawValue;
    ///
    /// let most = RawValue::new(1.5)?;
    /// assert_eq!(most.update(|most: f64| most.max(2.5)), 1.5);
    /// assert_eq!(most.get(), 2.5);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn update(&self, f: impl FnMut(T) -> T) -> T {
        self.0.update(0, f)
    }

    /// Replaces `current` by `new`, in one step, and gives what was there. They are compared byte by byte.
    ///
    /// ```
    /// use concurrent_futures_ipc::RawValue;
    ///
    /// let turn = RawValue::new(1_u32)?;
    /// assert_eq!(turn.compare_exchange(1, 2), Ok(1));
    /// assert_eq!(turn.compare_exchange(1, 3), Err(2), "somebody else was quicker");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// What is there, if it is something else.
    pub fn compare_exchange(&self, current: T, new: T) -> Result<T, T> {
        self.0.compare_exchange(0, current, new)
    }
}

impl<T: Integer> RawValue<T> {
    /// Adds, wrapping, and gives what it was.
    ///
    /// ```
    /// use concurrent_futures_ipc::RawValue;
    ///
    /// let next = RawValue::new(0_u64)?;
    /// assert_eq!((next.fetch_add(1), next.fetch_add(1)), (0, 1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn fetch_add(&self, value: T) -> T {
        self.0.fetch_add(0, value)
    }

    /// Subtracts, wrapping, and gives what it was.
    ///
    /// ```
    /// use concurrent_futures_ipc::RawValue;
    ///
    /// let left = RawValue::new(2_u8)?;
    /// assert_eq!((left.fetch_sub(1), left.get()), (2, 1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn fetch_sub(&self, value: T) -> T {
        self.0.fetch_add(0, value.negative())
    }
}

impl<T: Pod> RawArray<T> {
    /// One with these elements.
    ///
    /// ```
    /// use concurrent_futures_ipc::RawArray;
    ///
    /// assert_eq!(RawArray::new([1, 2, 3])?.to_vec(), [1, 2, 3]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// No descriptor is left, or no memory.
    pub fn new(elements: impl IntoIterator<Item = T>) -> io::Result<Self> {
        let elements: Vec<T> = elements.into_iter().collect();
        let array = Self::zeroed(elements.len())?;
        array.write_at(0, &elements);
        Ok(array)
    }

    /// One with so many elements, all of them zero.
    ///
    /// ```
    /// use concurrent_futures_ipc::RawArray;
    ///
    /// assert_eq!(RawArray::<u8>::zeroed(2)?.to_vec(), [0, 0]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// No descriptor is left, or no memory.
    pub fn zeroed(len: usize) -> io::Result<Self> {
        let memory = memory("concurrent-futures-array", Cells::<T>::size(len))?;
        // SAFETY: new memory, with nothing else behind its beginning.
        Ok(RawArray(unsafe { Cells::new(memory, ELEMENTS, len) }))
    }

    /// How many elements it has.
    ///
    /// ```
    /// use concurrent_futures_ipc::RawArray;
    ///
    /// assert_eq!(RawArray::<u8>::zeroed(2)?.len(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    ///
    /// ```
    /// use concurrent_futures_ipc::RawArray;
    ///
    /// assert!(RawArray::<u8>::zeroed(0)?.is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An element.
    ///
    /// ```
    /// use concurrent_futures_ipc::RawArray;
    ///
    /// assert_eq!(RawArray::new([1, 2])?.get(1), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Panics
    /// There is none of that number. (So also below.)
    #[track_caller]
    pub fn get(&self, index: usize) -> T {
        self.0.load(index)
    }

    /// Makes an element something else.
    ///
    /// ```
    /// use concurrent_futures_ipc::RawArray;
    ///
    /// let array = RawArray::new([1, 2])?;
    /// array.set(1, 7);
    /// assert_eq!(array.to_vec(), [1, 7]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn set(&self, index: usize, value: T) {
        self.0.store(index, value);
    }

    /// As [`RawValue::update`], of an element.
    ///
    /// ```
    /// use concurrent_futures_ipc::RawArray;
    ///
    /// let array = RawArray::new([1, 2])?;
    /// assert_eq!((array.update(1, |two| two + 5), array.get(1)), (2, 7));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn update(&self, index: usize, f: impl FnMut(T) -> T) -> T {
        self.0.update(index, f)
    }

    /// As [`RawValue::compare_exchange`], of an element.
    ///
    /// ```
    /// use concurrent_futures_ipc::RawArray;
    ///
    /// let owners = RawArray::<u32>::zeroed(4)?;
    /// assert_eq!(owners.compare_exchange(2, 0, 77), Ok(0));
    /// assert_eq!(owners.compare_exchange(2, 0, 78), Err(77), "it is taken");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// What is there, if it is something else.
    #[track_caller]
    pub fn compare_exchange(&self, index: usize, current: T, new: T) -> Result<T, T> {
        self.0.compare_exchange(index, current, new)
    }

    /// A copy of some elements, each as it is when its turn comes.
    ///
    /// ```
    /// use concurrent_futures_ipc::RawArray;
    ///
    /// assert_eq!(RawArray::new([1, 2, 3])?.read(..2), [1, 2]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Panics
    /// The range is not within the array. (So also below.)
    #[track_caller]
    pub fn read(&self, range: impl RangeBounds<usize>) -> Vec<T> {
        self.0.read(self.0.part(range))
    }

    /// Copies elements to where the first of them is `index`.
    ///
    /// ```
    /// use concurrent_futures_ipc::RawArray;
    ///
    /// let array = RawArray::new([1, 2, 3])?;
    /// array.write_at(1, &[20, 30]);
    /// assert_eq!(array.to_vec(), [1, 20, 30]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn write_at(&self, index: usize, elements: &[T]) {
        self.0.write(index, elements);
    }

    /// Makes some elements all the same.
    ///
    /// ```
    /// use concurrent_futures_ipc::RawArray;
    ///
    /// let array = RawArray::new([1, 2, 3])?;
    /// array.fill(1.., 0);
    /// assert_eq!(array.to_vec(), [1, 0, 0]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn fill(&self, range: impl RangeBounds<usize>, value: T) {
        self.0.part(range).for_each(|index| self.0.store(index, value));
    }

    /// All elements, each as it is when its turn comes.
    ///
    /// ```
    /// use concurrent_futures_ipc::RawArray;
    ///
    /// assert_eq!(RawArray::new([1, 5, 3])?.iter().max(), Some(5));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn iter(&self) -> impl ExactSizeIterator<Item = T> + DoubleEndedIterator + '_ {
        (0..self.len()).map(|index| self.0.load(index))
    }

    /// A copy of all.
    ///
    /// ```
    /// use concurrent_futures_ipc::RawArray;
    ///
    /// assert_eq!(RawArray::new([1, 2])?.to_vec(), [1, 2]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn to_vec(&self) -> Vec<T> {
        self.read(..)
    }
}

impl<T: Integer> RawArray<T> {
    /// As [`RawValue::fetch_add`], to an element.
    ///
    /// ```
    /// use concurrent_futures_ipc::RawArray;
    ///
    /// let votes = RawArray::<u32>::zeroed(3)?;
    /// votes.fetch_add(1, 1);
    /// assert_eq!(votes.to_vec(), [0, 1, 0]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn fetch_add(&self, index: usize, value: T) -> T {
        self.0.fetch_add(index, value)
    }

    /// As [`RawValue::fetch_sub`], from an element.
    ///
    /// ```
    /// use concurrent_futures_ipc::RawArray;
    ///
    /// let left = RawArray::new([3_u32, 3])?;
    /// assert_eq!((left.fetch_sub(0, 1), left.get(0)), (3, 2));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn fetch_sub(&self, index: usize, value: T) -> T {
        self.0.fetch_add(index, value.negative())
    }
}

impl<T> Clone for RawValue<T> {
    fn clone(&self) -> Self {
        RawValue(self.0.clone())
    }
}

impl<T> Clone for RawArray<T> {
    fn clone(&self) -> Self {
        RawArray(self.0.clone())
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for RawValue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RawValue").field(&self.get()).finish()
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for RawArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.show("RawArray", f)
    }
}
