//! One at a time, also when one of them is killed.

use super::condition::sealed::{Released, Sealed};
use super::place::has_room;
use super::{Held, Kind, MUTEX_SIZE, OwnerDied, RobustMutex, TryLockError, travel};
use crate::SharedMemory;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A lock between processes. Python's `multiprocessing.Lock`, but that a process which is killed does not keep it for ever.
///
/// A clone is the same lock. It travels: as or inside the argument, the result or the context of a task, whatever process that
/// runs in, or the argument of a process. Where nobody waits it costs no system call.
///
/// A holder that dies, whatever it dies of, is replaced by the next one, who is told by [`OwnerDied`]. A thread that ends
/// without having dropped its guard is such a holder, too.
///
/// Whoever has locked it unlocks it: the guard stays with its thread. (In Python anybody may release a lock; as a signal between processes
/// an [`Event`](super::Event) or a [`Semaphore`](super::Semaphore) does that here.)
///
/// ```
/// use concurrent_futures_ipc::Lock;
///
/// let lock = Lock::new()?;
/// let same = lock.clone();
/// let guard = lock.lock().unwrap();
/// assert!(same.is_locked() && same.try_lock().is_err());
/// drop(guard);
/// assert!(!same.is_locked());
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Drop
///
/// Its memory goes with the last clone of the last process. A clone that is dropped unlocks nothing.
#[derive(Clone)]
pub struct Lock(Arc<RobustMutex>);

/// Its thread has the lock until this is dropped.
///
/// A copy in a process that was made by a bare `fork` is not one: the lock is the parent's, and stays so when the copy is dropped.
///
/// ```compile_fail
/// # use concurrent_futures_ipc::Lock;
/// let lock = Lock::new().unwrap();
/// let guard = lock.lock().unwrap();
/// std::thread::scope(|s| { s.spawn(|| drop(guard)); }); // a guard does not leave its thread
/// ```
#[must_use = "the lock is unlocked when this is dropped"]
pub struct LockGuard<'a> {
    held: Held<'a>,
}

impl Lock {
    /// A new lock, unlocked.
    ///
    /// # Errors
    ///
    /// No descriptor left, or no memory.
    pub fn new() -> io::Result<Lock> {
        let memory = Arc::new(SharedMemory::named("concurrent-futures-lock", MUTEX_SIZE)?);
        // SAFETY: new memory, all of which is for it.
        let mutex = unsafe { RobustMutex::init(memory, 0, Kind::Once) }?;
        Ok(Lock(Arc::new(mutex)))
    }

    /// Locks it, however long that takes.
    ///
    /// A task of a thread pool that waits here for some milliseconds has a substitute meanwhile. A task of a process pool has none:
    /// it must not wait for what only another task of its pool can do.
    ///
    /// # Errors
    ///
    /// It is locked, but whoever had it before has died with it.
    ///
    /// # Panics
    ///
    /// If this thread has it already: it would wait for itself for ever. [`RLock`](super::RLock) is for that.
    pub fn lock(&self) -> Result<LockGuard<'_>, OwnerDied<LockGuard<'_>>> {
        LockGuard::of(self.0.lock())
    }

    /// Locks it, if nobody has it, this thread included.
    ///
    /// # Errors
    ///
    /// Somebody has it; or it is locked, but whoever had it before has died with it.
    pub fn try_lock(&self) -> Result<LockGuard<'_>, TryLockError<LockGuard<'_>>> {
        Ok(LockGuard::of(self.0.try_lock().ok_or(TryLockError::WouldBlock)?)?)
    }

    /// Locks it, if that can be done in this time.
    ///
    /// # Errors
    ///
    /// Somebody had it all the time, maybe this thread; or it is locked, but whoever had it before has died with it.
    pub fn lock_timeout(&self, timeout: Duration) -> Result<LockGuard<'_>, TryLockError<LockGuard<'_>>> {
        let held = self.0.lock_until(Instant::now().checked_add(timeout));
        Ok(LockGuard::of(held.ok_or(TryLockError::WouldBlock)?)?)
    }

    /// Whether somebody has it. That may be otherwise already when this returns.
    pub fn is_locked(&self) -> bool {
        self.0.is_locked()
    }

    fn memory(&self) -> &SharedMemory {
        self.0.memory()
    }

    fn open(memory: Arc<SharedMemory>) -> io::Result<Lock> {
        has_room(&memory, MUTEX_SIZE)?;
        // SAFETY: it came as a lock from a process of this program, where `new` has made it.
        let mutex = unsafe { RobustMutex::open(memory, 0, Kind::Once) };
        Ok(Lock(Arc::new(mutex)))
    }
}

travel::travels!(Lock);

impl<'a> Sealed for LockGuard<'a> {
    type Released = Released<'a>;

    fn release(self) -> Released<'a> {
        Released { lock: self.held.mutex(), depth: 1 }
    }

    fn acquire(released: Released<'a>) -> Result<Self, OwnerDied<Self>> {
        LockGuard::of(released.lock.lock())
    }
}

impl<'a> LockGuard<'a> {
    fn of(held: Held<'a>) -> Result<LockGuard<'a>, OwnerDied<LockGuard<'a>>> {
        let owner_died = held.owner_died();
        let guard = LockGuard { held };
        if owner_died { Err(OwnerDied(guard)) } else { Ok(guard) }
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("locked", &self.is_locked()).finish_non_exhaustive()
    }
}

impl fmt::Debug for LockGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard").field("lock", &self.held).finish()
    }
}
