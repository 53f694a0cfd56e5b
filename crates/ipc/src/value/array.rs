//! Many elements with a lock.

use super::cells::Cells;
use super::ground::{ELEMENTS, Ground};
use crate::sync::{OwnerDied, RLock, RLockGuard, TryLockError};
use bytemuck::Pod;
use std::fmt;
use std::io;
use std::ops::RangeBounds;
use std::time::Duration;

/// Elements of plain data in shared memory, with a lock: Python's `multiprocessing.Array`. It keeps its length.
///
/// A handle is cheap to clone, and travels as or in the argument or the result of a task or the argument of a process. Each method locks
/// it for as long as it takes, so a copy of many elements ([`read`](Self::read), [`to_vec`](Self::to_vec)) is of one moment. For more
/// than that there is [`lock`](Self::lock). (Without a lock: [`RawArray`](super::RawArray). To send large data that does not
/// change: `SharedSlice`.)
///
/// ```
/// use concurrent_futures_ipc::{Array, OwnerDied};
///
/// let squares = Array::new((0..5).map(|n| n * n))?;
/// squares.update(2, |square| square + 1);
/// {
///     let mut all = squares.lock().unwrap_or_else(OwnerDied::into_guard);
///     let (first, last) = (all.get(0), all.get(4));
///     all.set(0, last);
///     all.set(4, first);
/// }
/// assert_eq!(squares.to_vec(), [16, 1, 5, 9, 0]);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Why there is no slice
///
/// As of a [`Value`](super::Value): other processes can write to the memory also without the lock, and a slice of Rust would
/// promise that nobody does.
///
/// # Death
///
/// Whoever is killed while he changes several elements has changed some of them. The next one who calls [`lock`](Self::lock) is told by
/// [`OwnerDied`]; the other methods go on. An element of at most eight bytes is never torn; a larger one is, if its writer is killed in
/// the middle of it.
///
/// The memory is given back when the last handle of the last process is gone.
pub struct Array<T> {
    ground: Ground,
    cells: Cells<T>,
}

/// The array is this thread's until this is dropped. (Only that thread can lock it again.)
#[must_use = "the array is unlocked when this is dropped"]
pub struct ArrayGuard<'a, T> {
    cells: &'a Cells<T>,
    lock: RLockGuard<'a>,
}

impl<T: Pod> Array<T> {
    /// One with these elements, and with a lock of its own.
    ///
    /// ```
    /// use concurrent_futures_ipc::Array;
    ///
    /// assert_eq!(Array::new(1..4)?.to_vec(), [1, 2, 3]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// No descriptor is left, or no memory.
    pub fn new(elements: impl IntoIterator<Item = T>) -> io::Result<Self> {
        Self::make(elements, None)
    }

    /// One with so many elements, all of them zero, and with a lock of its own.
    ///
    /// ```
    /// assert_eq!(concurrent_futures_ipc::Array::<f64>::zeroed(3)?.to_vec(), [0.0; 3]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// No descriptor is left, or no memory.
    pub fn zeroed(len: usize) -> io::Result<Self> {
        Ok(Self::on(Ground::new(NAME, Cells::<T>::size(len), None)?, len))
    }

    /// One with a lock that it shares with others: as [`Value::with_lock`](super::Value::with_lock).
    ///
    /// ```
    /// use concurrent_futures_ipc::Array;
    /// use concurrent_futures_ipc::Value;
    ///
    /// let prices = Array::new([10, 20])?;
    /// let sum = Value::with_lock(30, prices.get_lock())?;
    /// let both = prices.get_lock().lock().unwrap();
    /// prices.set(0, 15);
    /// sum.set(35);
    /// drop(both);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// No descriptor is left, or no memory.
    pub fn with_lock(elements: impl IntoIterator<Item = T>, lock: &RLock) -> io::Result<Self> {
        Self::make(elements, Some(lock))
    }

    fn make(elements: impl IntoIterator<Item = T>, lock: Option<&RLock>) -> io::Result<Self> {
        let elements: Vec<T> = elements.into_iter().collect();
        let made = Self::on(Ground::new(NAME, Cells::<T>::size(elements.len()), lock)?, elements.len());
        made.cells.write(0, &elements);
        Ok(made)
    }

    /// The one that is there. The memory has room for it.
    pub(super) fn on(ground: Ground, len: usize) -> Self {
        // SAFETY: made by one of the above, maybe in another process of this program, with nothing else behind its beginning.
        let cells = unsafe { Cells::new(ground.memory().clone(), ELEMENTS, len) };
        Array { ground, cells }
    }

    pub(super) fn ground(&self) -> &Ground {
        &self.ground
    }

    /// How many elements it has.
    ///
    /// ```
    /// use concurrent_futures_ipc::Array;
    ///
    /// assert_eq!(Array::new([1, 2, 3])?.len(), 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether it has none.
    ///
    /// ```
    /// use concurrent_futures_ipc::Array;
    ///
    /// assert!(Array::<u8>::zeroed(0)?.is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An element.
    ///
    /// ```
    /// use concurrent_futures_ipc::Array;
    ///
    /// assert_eq!(Array::new([0.5, 1.5])?.get(1), 1.5);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Panics
    /// There is none of that number, or the range is not within the array. (So also below.)
    #[track_caller]
    pub fn get(&self, index: usize) -> T {
        self.brief().get(index)
    }

    /// Makes an element something else.
    ///
    /// ```
    /// use concurrent_futures_ipc::Array;
    ///
    /// let array = Array::new([1, 2])?;
    /// array.set(0, 7);
    /// assert_eq!(array.to_vec(), [7, 2]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn set(&self, index: usize, value: T) {
        self.brief().set(index, value);
    }

    /// Makes of an element what `f` makes of it, and gives what it is then.
    ///
    /// ```
    /// use concurrent_futures_ipc::Array;
    ///
    /// let array = Array::new([1, 2])?;
    /// assert_eq!(array.update(1, |two| two * 10), 20);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn update(&self, index: usize, f: impl FnOnce(T) -> T) -> T {
        self.brief().update(index, f)
    }

    /// A copy of some elements.
    ///
    /// ```
    /// use concurrent_futures_ipc::Array;
    ///
    /// assert_eq!(Array::new([1, 2, 3, 4])?.read(1..3), [2, 3]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn read(&self, range: impl RangeBounds<usize>) -> Vec<T> {
        self.brief().read(range)
    }

    /// Copies elements to where the first of them is `index`.
    ///
    /// ```
    /// use concurrent_futures_ipc::Array;
    ///
    /// let array = Array::new([1, 2, 3, 4])?;
    /// array.write_at(2, &[30, 40]);
    /// assert_eq!(array.to_vec(), [1, 2, 30, 40]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn write_at(&self, index: usize, elements: &[T]) {
        self.brief().write_at(index, elements);
    }

    /// Makes some elements all the same.
    ///
    /// ```
    /// use concurrent_futures_ipc::Array;
    ///
    /// let array = Array::new([1, 2, 3, 4])?;
    /// array.fill(..2, 0);
    /// assert_eq!(array.to_vec(), [0, 0, 3, 4]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn fill(&self, range: impl RangeBounds<usize>, value: T) {
        self.brief().fill(range, value);
    }

    /// A copy of all.
    ///
    /// ```
    /// use concurrent_futures_ipc::Array;
    ///
    /// let sorted = Array::new([3, 1, 2])?;
    /// let mut copy = sorted.to_vec();
    /// copy.sort();
    /// sorted.write_at(0, &copy);
    /// assert_eq!(sorted.to_vec(), [1, 2, 3]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn to_vec(&self) -> Vec<T> {
        self.brief().read(..)
    }

    /// All elements as they are now: a copy, so that they can be changed meanwhile.
    ///
    /// ```
    /// use concurrent_futures_ipc::Array;
    ///
    /// let array = Array::new([1, 2, 3])?;
    /// array.iter().enumerate().for_each(|(index, n)| array.set(index, n * n));
    /// assert_eq!(array.iter().sum::<i32>(), 14);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn iter(&self) -> std::vec::IntoIter<T> {
        self.to_vec().into_iter()
    }

    /// Locks it, however long that takes. A thread that has it locked can lock it again.
    ///
    /// ```
    /// use concurrent_futures_ipc::Array;
    ///
    /// let array = Array::new([1, 2, 3])?;
    /// let mut all = array.lock().unwrap();
    /// let last = all.get(2);
    /// all.set(0, last); // nobody else comes in between
    /// # drop(all);
    /// # assert_eq!(array.to_vec(), [3, 2, 3]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// It is locked, but whoever had it before has died with it.
    pub fn lock(&self) -> Result<ArrayGuard<'_, T>, OwnerDied<ArrayGuard<'_, T>>> {
        match self.ground.lock() {
            Ok(lock) => Ok(self.guard(lock)),
            Err(OwnerDied(lock)) => Err(OwnerDied(self.guard(lock))),
        }
    }

    /// Locks it, if nobody else has it.
    ///
    /// ```
    /// use concurrent_futures_ipc::{Array, TryLockError};
    ///
    /// let array = Array::new([1, 2, 3])?;
    /// let _guard = array.lock().unwrap();
    /// std::thread::scope(|s| {
    ///     s.spawn(|| assert!(matches!(array.try_lock(), Err(TryLockError::WouldBlock))));
    /// });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Somebody else has it; or it is locked, but whoever had it before has died with it.
    pub fn try_lock(&self) -> Result<ArrayGuard<'_, T>, TryLockError<ArrayGuard<'_, T>>> {
        self.tried(self.ground.try_lock())
    }

    /// Locks it, if that can be done in this time.
    ///
    /// ```
    /// use concurrent_futures_ipc::Array;
    ///
    /// let array = Array::new([1, 2, 3])?;
    /// let guard = array.lock_timeout(std::time::Duration::from_secs(1)).unwrap();
    /// assert_eq!(guard.len(), 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Somebody else had it all the time; or it is locked, but whoever had it before has died with it.
    pub fn lock_timeout(&self, timeout: Duration) -> Result<ArrayGuard<'_, T>, TryLockError<ArrayGuard<'_, T>>> {
        self.tried(self.ground.lock_timeout(timeout))
    }

    fn tried<'a>(
        &'a self,
        tried: Result<RLockGuard<'a>, TryLockError<RLockGuard<'a>>>,
    ) -> Result<ArrayGuard<'a, T>, TryLockError<ArrayGuard<'a, T>>> {
        match tried {
            Ok(lock) => Ok(self.guard(lock)),
            Err(TryLockError::OwnerDied(OwnerDied(lock))) => Err(OwnerDied(self.guard(lock)).into()),
            Err(TryLockError::WouldBlock) => Err(TryLockError::WouldBlock),
        }
    }

    /// Its lock, to be given to others ([`with_lock`](Self::with_lock)).
    ///
    /// ```
    /// use concurrent_futures_ipc::Array;
    ///
    /// let array = Array::new([1, 2, 3])?;
    /// let guard = array.lock().unwrap();
    /// assert!(array.get_lock().is_locked());
    /// # drop(guard);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn get_lock(&self) -> &RLock {
        self.ground.rlock()
    }

    fn guard<'a>(&'a self, lock: RLockGuard<'a>) -> ArrayGuard<'a, T> {
        ArrayGuard { cells: &self.cells, lock }
    }

    /// For one operation.
    fn brief(&self) -> ArrayGuard<'_, T> {
        self.guard(self.ground.lock_briefly())
    }
}

const NAME: &str = "concurrent-futures-array";

impl<T: Pod> ArrayGuard<'_, T> {
    /// How many elements it has.
    ///
    /// ```
    /// use concurrent_futures_ipc::Array;
    ///
    /// assert_eq!(Array::new([1, 2, 3])?.lock().unwrap().len(), 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether it has none.
    ///
    /// ```
    /// use concurrent_futures_ipc::Array;
    ///
    /// assert!(!Array::new([1])?.lock().unwrap().is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An element.
    ///
    /// ```
    /// use concurrent_futures_ipc::Array;
    ///
    /// assert_eq!(Array::new([1, 2, 3])?.lock().unwrap().get(2), 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Panics
    /// There is none of that number, or the range is not within the array. (So also below.)
    #[track_caller]
    pub fn get(&self, index: usize) -> T {
        self.cells.load(index)
    }

    /// Makes an element something else.
    ///
    /// ```
    /// use concurrent_futures_ipc::Array;
    ///
    /// let array = Array::new([1, 2])?;
    /// array.lock().unwrap().set(1, 7);
    /// assert_eq!(array.get(1), 7);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn set(&mut self, index: usize, value: T) {
        self.cells.store(index, value);
    }

    /// Makes of an element what `f` makes of it, and gives what it is then.
    ///
    /// ```
    /// use concurrent_futures_ipc::Array;
    ///
    /// let array = Array::new([1, 2])?;
    /// assert_eq!(array.lock().unwrap().update(1, |two| two + 5), 7);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn update(&mut self, index: usize, f: impl FnOnce(T) -> T) -> T {
        let value = f(self.get(index));
        self.set(index, value);
        value
    }

    /// A copy of some elements.
    ///
    /// ```
    /// use concurrent_futures_ipc::Array;
    ///
    /// assert_eq!(Array::new([1, 2, 3])?.lock().unwrap().read(1..), [2, 3]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn read(&self, range: impl RangeBounds<usize>) -> Vec<T> {
        self.cells.read(self.cells.part(range))
    }

    /// Copies elements to where the first of them is `index`.
    ///
    /// ```
    /// use concurrent_futures_ipc::Array;
    ///
    /// let array = Array::new([1, 2, 3])?;
    /// array.lock().unwrap().write_at(1, &[20, 30]);
    /// assert_eq!(array.to_vec(), [1, 20, 30]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn write_at(&mut self, index: usize, elements: &[T]) {
        self.cells.write(index, elements);
    }

    /// Makes some elements all the same.
    ///
    /// ```
    /// use concurrent_futures_ipc::Array;
    ///
    /// let array = Array::new([1, 2, 3])?;
    /// array.lock().unwrap().fill(.., 9);
    /// assert_eq!(array.to_vec(), [9, 9, 9]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn fill(&mut self, range: impl RangeBounds<usize>, value: T) {
        self.cells.part(range).for_each(|index| self.cells.store(index, value));
    }

    /// All elements.
    ///
    /// ```
    /// use concurrent_futures_ipc::Array;
    ///
    /// let array = Array::new([1, 5, 3])?;
    /// assert_eq!(array.lock().unwrap().iter().max(), Some(5));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn iter(&self) -> impl ExactSizeIterator<Item = T> + DoubleEndedIterator + '_ {
        (0..self.len()).map(|index| self.cells.load(index))
    }

    /// Exchanges two elements.
    ///
    /// ```
    /// use concurrent_futures_ipc::Array;
    ///
    /// let array = Array::new([1, 2, 3])?;
    /// array.lock().unwrap().swap(0, 2);
    /// assert_eq!(array.to_vec(), [3, 2, 1]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn swap(&mut self, one: usize, other: usize) {
        let values = (self.get(one), self.get(other));
        self.set(one, values.1);
        self.set(other, values.0);
    }
}

impl<T> Clone for Array<T> {
    fn clone(&self) -> Self {
        Array { ground: self.ground.clone(), cells: self.cells.clone() }
    }
}

impl<T> fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not what is in it: that would wait for the lock.
        f.debug_struct("Array").field("elements", &self.cells).field("lock", self.ground.rlock()).finish()
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for ArrayGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cells.show("ArrayGuard", f)?;
        write!(f, " with {:?}", self.lock)
    }
}
