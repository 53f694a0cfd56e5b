//! One value with a lock.

use super::cells::Cells;
use super::ground::{ELEMENTS, Ground};
use crate::sync::{OwnerDied, RLock, RLockGuard, TryLockError};
use bytemuck::Pod;
use std::fmt;
use std::io;
use std::ops::{Add, AddAssign, Mul, MulAssign, Sub, SubAssign};
use std::time::Duration;

/// One value of plain data in shared memory, with a lock: Python's `multiprocessing.Value`.
///
/// A handle is cheap to clone, and travels as or in the argument or the result of a task or the argument of a process. [`get`](Self::get),
/// [`set`](Self::set) and [`update`](Self::update) lock it for as long as they take. For more than that there is
/// [`lock`](Self::lock):
///
/// ```
/// use concurrent_futures_ipc::{OwnerDied, Value};
///
/// let balance = Value::new(100.0)?;
/// balance.update(|balance| balance * 1.03);
///
/// let mut account = balance.lock().unwrap_or_else(OwnerDied::into_guard);
/// if account.get() > 50.0 {
///     account -= 50.0;
/// }
/// drop(account);
/// assert_eq!(balance.get(), 53.0);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Plain data is what implements [`bytemuck::Pod`]: numbers, arrays of them, and structs of them that derive it.
///
/// # Why there is no reference to it
///
/// Other processes can write to the memory also without the lock, by mistake or because they are broken, and a `&T` into it would
/// promise the compiler that nobody does. So it is copied in and out, by atomic operations.
///
/// # Death
///
/// Whoever is killed, at any instant, leaves the value from before or after a change, and never a mixture. If he had it locked, others
/// get the lock; the next one who calls [`lock`](Self::lock) is told by [`OwnerDied`], since what was to be done under the lock may be
/// half done. `get`, `set` and `update` go on.
///
/// The memory is given back when the last handle of the last process is gone.
pub struct Value<T> {
    ground: Ground,
    /// The value; or if it cannot be written in one piece, two of which one is the value.
    cells: Cells<T>,
}

/// The value is this thread's until this is dropped. (Only that thread can lock it again.)
#[must_use = "the value is unlocked when this is dropped"]
pub struct ValueGuard<'a, T> {
    value: &'a Value<T>,
    lock: RLockGuard<'a>,
}

impl<T: Pod> Value<T> {
    const PLACES: usize = if Cells::<T>::IS_WHOLE { 1 } else { 2 };

    /// A new one, with a lock of its own.
    ///
    /// ```
    /// use concurrent_futures_ipc::Value;
    ///
    /// assert_eq!(Value::new(1.5)?.get(), 1.5);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// No descriptor is left, or no memory.
    pub fn new(value: T) -> io::Result<Self> {
        Self::make(value, None)
    }

    /// A new one, with a lock that it shares with others: whoever has that has all of them. Python's argument `lock`.
    ///
    /// That somebody has died with the lock is told once: to the next one who locks it or any of these, who has to look after all
    /// of them. After [`get`](Self::get), [`set`](Self::set) and their like, which go on, it is left for the next one who locks
    /// that very value.
    ///
    /// ```
    /// use concurrent_futures_ipc::{RLock, Value};
    ///
    /// let lock = RLock::new()?;
    /// let (from, to) = (Value::with_lock(100_i64, &lock)?, Value::with_lock(0_i64, &lock)?);
    /// let both = lock.lock().unwrap();
    /// from.update(|from| from - 10);
    /// to.update(|to| to + 10);
    /// drop(both);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// No descriptor is left, or no memory.
    pub fn with_lock(value: T, lock: &RLock) -> io::Result<Self> {
        Self::make(value, Some(lock))
    }

    fn make(value: T, lock: Option<&RLock>) -> io::Result<Self> {
        let ground = Ground::new("concurrent-futures-value", Cells::<T>::size(Self::PLACES), lock)?;
        let made = Self::on(ground);
        made.cells.store(0, value);
        Ok(made)
    }

    /// The one that is there. The memory has room for it.
    pub(super) fn on(ground: Ground) -> Self {
        // SAFETY: made by `make`, maybe in another process of this program, with nothing else behind its beginning.
        let cells = unsafe { Cells::new(ground.memory().clone(), ELEMENTS, Self::PLACES) };
        Value { ground, cells }
    }

    pub(super) fn ground(&self) -> &Ground {
        &self.ground
    }

    /// How many bytes of elements it takes.
    pub(super) fn room() -> Option<usize> {
        Cells::<T>::size(Self::PLACES)
    }

    /// What it is.
    ///
    /// ```
    /// use concurrent_futures_ipc::Value;
    ///
    /// assert_eq!(Value::new([1, 2])?.get(), [1, 2]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn get(&self) -> T {
        let _lock = self.ground.lock_briefly();
        self.load()
    }

    /// Makes it something else.
    ///
    /// ```
    /// use concurrent_futures_ipc::Value;
    ///
    /// let value = Value::new(1)?;
    /// value.set(2);
    /// assert_eq!(value.get(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set(&self, value: T) {
        let _lock = self.ground.lock_briefly();
        self.store(value);
    }

    /// Makes of it what `f` makes of it, and gives what it is then. It is locked meanwhile; if `f` panics, it stays as it is.
    ///
    /// ```
    /// use concurrent_futures_ipc::Value;
    ///
    /// assert_eq!(Value::new(20)?.update(|n| n + 1), 21);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn update(&self, f: impl FnOnce(T) -> T) -> T {
        let _lock = self.ground.lock_briefly();
        let value = f(self.load());
        self.store(value);
        value
    }

    /// Makes it something else, and gives what it was.
    ///
    /// ```
    /// use concurrent_futures_ipc::Value;
    ///
    /// let value = Value::new(1)?;
    /// assert_eq!((value.replace(2), value.get()), (1, 2));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn replace(&self, value: T) -> T {
        let _lock = self.ground.lock_briefly();
        let old = self.load();
        self.store(value);
        old
    }

    /// Locks it, however long that takes. A thread that has it locked can lock it again.
    ///
    /// ```
    /// use concurrent_futures_ipc::Value;
    ///
    /// let value = Value::new(1)?;
    /// let mut guard = value.lock().unwrap();
    /// guard += 1;
    /// guard *= 10; // nobody has seen the 2
    /// # drop(guard);
    /// # assert_eq!(value.get(), 20);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// It is locked, but whoever had it before has died with it.
    pub fn lock(&self) -> Result<ValueGuard<'_, T>, OwnerDied<ValueGuard<'_, T>>> {
        match self.ground.lock() {
            Ok(lock) => Ok(ValueGuard { value: self, lock }),
            Err(OwnerDied(lock)) => Err(OwnerDied(ValueGuard { value: self, lock })),
        }
    }

    /// Locks it, if nobody else has it.
    ///
    /// ```
    /// use concurrent_futures_ipc::{TryLockError, Value};
    ///
    /// let value = Value::new(1)?;
    /// let _guard = value.lock().unwrap();
    /// std::thread::scope(|s| {
    ///     s.spawn(|| assert!(matches!(value.try_lock(), Err(TryLockError::WouldBlock))));
    /// });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Somebody else has it; or it is locked, but whoever had it before has died with it.
    pub fn try_lock(&self) -> Result<ValueGuard<'_, T>, TryLockError<ValueGuard<'_, T>>> {
        self.tried(self.ground.try_lock())
    }

    /// Locks it, if that can be done in this time.
    ///
    /// ```
    /// use concurrent_futures_ipc::Value;
    ///
    /// let value = Value::new(1)?;
    /// let guard = value.lock_timeout(std::time::Duration::from_secs(1)).unwrap();
    /// assert_eq!(guard.get(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Somebody else had it all the time; or it is locked, but whoever had it before has died with it.
    pub fn lock_timeout(&self, timeout: Duration) -> Result<ValueGuard<'_, T>, TryLockError<ValueGuard<'_, T>>> {
        self.tried(self.ground.lock_timeout(timeout))
    }

    fn tried<'a>(
        &'a self,
        tried: Result<RLockGuard<'a>, TryLockError<RLockGuard<'a>>>,
    ) -> Result<ValueGuard<'a, T>, TryLockError<ValueGuard<'a, T>>> {
        match tried {
            Ok(lock) => Ok(ValueGuard { value: self, lock }),
            Err(TryLockError::OwnerDied(OwnerDied(lock))) => Err(OwnerDied(ValueGuard { value: self, lock }).into()),
            Err(TryLockError::WouldBlock) => Err(TryLockError::WouldBlock),
        }
    }

    /// Its lock, to be given to others ([`with_lock`](Self::with_lock)).
    ///
    /// ```
    /// use concurrent_futures_ipc::Value;
    ///
    /// let one = Value::new(1)?;
    /// let other = Value::with_lock(2, one.get_lock())?;
    /// let _both = one.get_lock().lock().unwrap();
    /// assert!(other.get_lock().is_locked());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn get_lock(&self) -> &RLock {
        self.ground.rlock()
    }

    /// By whoever has it locked.
    fn load(&self) -> T {
        self.cells.load(if Cells::<T>::IS_WHOLE { 0 } else { self.ground.turn() })
    }

    /// By whoever has it locked. One store decides that it is the new one.
    fn store(&self, value: T) {
        if Cells::<T>::IS_WHOLE {
            return self.cells.store(0, value);
        }
        let other = 1 - self.ground.turn();
        self.cells.store(other, value);
        self.ground.set_turn(other);
    }
}

impl<T: Pod> ValueGuard<'_, T> {
    /// What it is.
    ///
    /// ```
    /// use concurrent_futures_ipc::Value;
    ///
    /// assert_eq!(Value::new(7)?.lock().unwrap().get(), 7);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn get(&self) -> T {
        self.value.load()
    }

    /// Makes it something else.
    ///
    /// ```
    /// use concurrent_futures_ipc::Value;
    ///
    /// let value = Value::new(7)?;
    /// value.lock().unwrap().set(8);
    /// assert_eq!(value.get(), 8);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set(&mut self, value: T) {
        self.value.store(value);
    }

    /// Makes of it what `f` makes of it, and gives what it is then.
    ///
    /// ```
    /// use concurrent_futures_ipc::Value;
    ///
    /// assert_eq!(Value::new(7)?.lock().unwrap().update(|n| n * 2), 14);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn update(&mut self, f: impl FnOnce(T) -> T) -> T {
        let value = f(self.get());
        self.set(value);
        value
    }
}

impl<T: Pod + Add<Output = T>> AddAssign<T> for ValueGuard<'_, T> {
    fn add_assign(&mut self, other: T) {
        self.update(|value| value + other);
    }
}

impl<T: Pod + Sub<Output = T>> SubAssign<T> for ValueGuard<'_, T> {
    fn sub_assign(&mut self, other: T) {
        self.update(|value| value - other);
    }
}

impl<T: Pod + Mul<Output = T>> MulAssign<T> for ValueGuard<'_, T> {
    fn mul_assign(&mut self, other: T) {
        self.update(|value| value * other);
    }
}

impl<T> Clone for Value<T> {
    fn clone(&self) -> Self {
        Value { ground: self.ground.clone(), cells: self.cells.clone() }
    }
}

impl<T> fmt::Debug for Value<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not what it is: that would wait for the lock.
        f.debug_struct("Value").field("lock", self.ground.rlock()).finish_non_exhaustive()
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for ValueGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueGuard").field("value", &self.get()).field("lock", &self.lock).finish()
    }
}
