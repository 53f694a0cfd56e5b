//! One at a time, as often as it likes, also when it is killed.

use super::condition::sealed::{Released, Sealed};
use super::place::has_room;
use super::{Held, Kind, MUTEX_SIZE, OwnerDied, RobustMutex, TryLockError, travel};
use crate::SharedMemory;
use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// A lock between processes that its holder can lock again. Python's `multiprocessing.RLock`, but that a process which is killed
/// does not keep it for ever.
///
/// A clone is the same lock. It travels: as or inside the argument, the result or the context of a task, whatever process that
/// runs in, or the argument of a process.
///
/// The thread that has it gets another guard at once, and the lock is free when all of them are gone, in whatever order. What is
/// said of a [`Lock`](super::Lock) holds here, too: the next holder after one that has died is told, once, and guards stay with
/// their thread.
///
/// ```
/// use concurrent_futures_ipc::RLock;
///
/// fn push(lock: &RLock, twice: bool) {
///     let _guard = lock.lock().unwrap();
///     if twice {
///         push(lock, false);
///     }
/// }
///
/// let lock = RLock::new()?;
/// push(&lock, true);
/// assert!(!lock.is_locked());
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Drop
///
/// Its memory goes with the last clone of the last process. A clone that is dropped unlocks nothing.
#[derive(Clone)]
pub struct RLock(Arc<RobustMutex>);

/// Its thread has the lock until this, and each other guard that it has, is dropped.
///
/// A copy in a process that was made by a bare `fork` is not one: the lock is the parent's, and stays so when the copy is dropped.
#[must_use = "the lock is unlocked when this is dropped"]
pub struct RLockGuard<'a> {
    held: Held<'a>,
}

impl RLock {
    /// A new lock, unlocked.
    ///
    /// # Errors
    ///
    /// No descriptor left, or no memory.
    pub fn new() -> io::Result<RLock> {
        RLock::make(Arc::new(SharedMemory::named("concurrent-futures-rlock", MUTEX_SIZE)?))
    }

    /// A new lock at the start of new memory, whose first [`MUTEX_SIZE`] bytes are for it.
    pub(crate) fn make(memory: Arc<SharedMemory>) -> io::Result<RLock> {
        // SAFETY: new memory, where that is for it alone.
        let mutex = unsafe { RobustMutex::init(memory, 0, Kind::Recursive) }?;
        Ok(RLock(Arc::new(mutex)))
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
    /// If this thread has it already some thousand million times.
    pub fn lock(&self) -> Result<RLockGuard<'_>, OwnerDied<RLockGuard<'_>>> {
        RLockGuard::of(self.0.lock())
    }

    /// Locks it, if nobody else has it.
    ///
    /// # Errors
    ///
    /// Somebody else has it; or it is locked, but whoever had it before has died with it.
    pub fn try_lock(&self) -> Result<RLockGuard<'_>, TryLockError<RLockGuard<'_>>> {
        Ok(RLockGuard::of(self.0.try_lock().ok_or(TryLockError::WouldBlock)?)?)
    }

    /// Locks it, if that can be done in this time.
    ///
    /// # Errors
    ///
    /// Somebody else had it all the time; or it is locked, but whoever had it before has died with it.
    pub fn lock_timeout(&self, timeout: Duration) -> Result<RLockGuard<'_>, TryLockError<RLockGuard<'_>>> {
        let held = self.0.lock_until(Instant::now().checked_add(timeout));
        Ok(RLockGuard::of(held.ok_or(TryLockError::WouldBlock)?)?)
    }

    /// Whether somebody has it, maybe this thread. That may be otherwise already when this returns.
    pub fn is_locked(&self) -> bool {
        self.0.is_locked()
    }

    pub(crate) fn memory(&self) -> &SharedMemory {
        self.0.memory()
    }

    /// The lock at the start of this memory.
    pub(crate) fn open(memory: Arc<SharedMemory>) -> io::Result<RLock> {
        has_room(&memory, MUTEX_SIZE)?;
        // SAFETY: it came as a lock from a process of this program, where `make` has made it.
        let mutex = unsafe { RobustMutex::open(memory, 0, Kind::Recursive) };
        Ok(RLock(Arc::new(mutex)))
    }
}

travel::travels!(RLock);

impl<'a> Sealed for RLockGuard<'a> {
    type Released = Released<'a>;

    fn release(self) -> Released<'a> {
        let guard = ManuallyDrop::new(self);
        // In a fork there is nothing to let go.
        let depth = if guard.held.is_ours() { guard.held.spare().swap(0, Relaxed) } else { 0 };
        (0..depth).for_each(|_| guard.held.unlock_once());
        Released { lock: guard.held.mutex(), depth }
    }

    fn acquire(Released { lock, depth }: Released<'a>) -> Result<Self, OwnerDied<Self>> {
        let guard = RLockGuard::of(lock.lock());
        for _ in 1..depth {
            // The guards of these are still there.
            let again = RLockGuard::of(lock.lock());
            std::mem::forget(again);
        }
        guard
    }
}

impl<'a> RLockGuard<'a> {
    fn of(held: Held<'a>) -> Result<RLockGuard<'a>, OwnerDied<RLockGuard<'a>>> {
        let owner_died = held.owner_died();
        let depth = if owner_died { 0 } else { held.spare().load(Relaxed) };
        held.spare().store(depth + 1, Relaxed);
        let guard = RLockGuard { held };
        if owner_died { Err(OwnerDied(guard)) } else { Ok(guard) }
    }
}

impl Drop for RLockGuard<'_> {
    fn drop(&mut self) {
        // And then it is unlocked once. In a fork neither: who has it counts on.
        if self.held.is_ours() {
            let depth = self.held.spare();
            depth.store(depth.load(Relaxed).saturating_sub(1), Relaxed);
        }
    }
}

impl fmt::Debug for RLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RLock").field("locked", &self.is_locked()).finish_non_exhaustive()
    }
}

impl fmt::Debug for RLockGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RLockGuard").field("lock", &self.held).finish()
    }
}
