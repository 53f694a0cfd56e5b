//! What a value or an array lies on: memory with a lock, and a note about its last holder.

use crate::SharedMemory;
use crate::sync::{MUTEX_SIZE, OwnerDied, RLock, RLockGuard, TryLockError};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

/// Where the elements begin. Before them: the lock, then words.
pub(super) const ELEMENTS: usize = 2 * MUTEX_SIZE;
/// Somebody was told of a death, and was not one to do something about it.
const DIED: usize = MUTEX_SIZE;
/// Which of two places has the value, if it has two.
const TURN: usize = MUTEX_SIZE + 8;

/// The memory, and the lock that goes with it: one in this memory, or that of somebody else.
#[derive(Clone, Debug)]
pub(super) struct Ground {
    memory: Arc<SharedMemory>,
    lock: RLock,
    /// The lock is in this memory.
    own: bool,
}

impl Ground {
    /// New memory with room for elements of so many bytes, zeroed, with this lock or one of its own.
    pub(super) fn new(name: &str, size: Option<usize>, lock: Option<&RLock>) -> io::Result<Ground> {
        let memory = memory(name, size)?;
        match lock {
            Some(lock) => Ok(Ground { memory, lock: lock.clone(), own: false }),
            None => Ok(Ground { lock: RLock::make(memory.clone())?, memory, own: true }),
        }
    }

    /// What came from another process; `None`: the lock is in the memory.
    pub(super) fn open(memory: Arc<SharedMemory>, lock: Option<RLock>) -> io::Result<Ground> {
        if memory.len() < ELEMENTS {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too small for a lock"));
        }
        match lock {
            Some(lock) => Ok(Ground { memory, lock, own: false }),
            None => Ok(Ground { lock: RLock::open(memory.clone())?, memory, own: true }),
        }
    }

    pub(super) fn memory(&self) -> &Arc<SharedMemory> {
        &self.memory
    }

    pub(super) fn rlock(&self) -> &RLock {
        &self.lock
    }

    /// The lock that is not in the memory.
    pub(super) fn foreign_lock(&self) -> Option<&RLock> {
        Some(&self.lock).filter(|_| !self.own)
    }

    /// Locks it for one operation that leaves nothing half done. Should the last holder have died, whoever locks it next for
    /// more than that is told.
    pub(super) fn lock_briefly(&self) -> RLockGuard<'_> {
        self.lock.lock().unwrap_or_else(|OwnerDied(guard)| {
            // Killed before this is noted, this process is the dead holder of whom the next one is told.
            self.word(DIED).store(1, Relaxed);
            guard
        })
    }

    pub(super) fn lock(&self) -> Result<RLockGuard<'_>, OwnerDied<RLockGuard<'_>>> {
        self.with_news(self.lock.lock())
    }

    pub(super) fn try_lock(&self) -> Result<RLockGuard<'_>, TryLockError<RLockGuard<'_>>> {
        self.with_news_of_try(self.lock.try_lock())
    }

    pub(super) fn lock_timeout(&self, timeout: Duration) -> Result<RLockGuard<'_>, TryLockError<RLockGuard<'_>>> {
        self.with_news_of_try(self.lock.lock_timeout(timeout))
    }

    fn with_news<'a>(
        &self,
        locked: Result<RLockGuard<'a>, OwnerDied<RLockGuard<'a>>>,
    ) -> Result<RLockGuard<'a>, OwnerDied<RLockGuard<'a>>> {
        let noted = self.word(DIED).swap(0, Relaxed) != 0;
        locked.and_then(|guard| if noted { Err(OwnerDied(guard)) } else { Ok(guard) })
    }

    fn with_news_of_try<'a>(
        &self,
        locked: Result<RLockGuard<'a>, TryLockError<RLockGuard<'a>>>,
    ) -> Result<RLockGuard<'a>, TryLockError<RLockGuard<'a>>> {
        match locked {
            Ok(guard) => Ok(self.with_news(Ok(guard))?),
            Err(TryLockError::OwnerDied(died)) => Ok(self.with_news(Err(died))?),
            // It is not ours to look at.
            Err(TryLockError::WouldBlock) => Err(TryLockError::WouldBlock),
        }
    }

    /// Which of its two places has the value.
    pub(super) fn turn(&self) -> usize {
        (self.word(TURN).load(SeqCst) & 1) as usize
    }

    /// From now on it is in this one: one store, so a kill leaves the one or the other.
    pub(super) fn set_turn(&self, turn: usize) {
        self.word(TURN).store(turn as u64, SeqCst);
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        // SAFETY: before the elements, for which both ways of making this have seen that there is room.
        let word = unsafe { self.memory.start().add(at) };
        // SAFETY: in line, as a mapping begins with a page; mapped as long as the borrow keeps the memory; and nothing but an atomic.
        unsafe { word.cast().as_ref() }
    }
}

/// Memory with room for elements of so many bytes behind what is before them.
pub(super) fn memory(name: &str, size: Option<usize>) -> io::Result<Arc<SharedMemory>> {
    let size = size.and_then(|size| size.checked_add(ELEMENTS)).filter(|size| isize::try_from(*size).is_ok());
    Ok(Arc::new(SharedMemory::named(name, size.ok_or(io::ErrorKind::OutOfMemory)?)?))
}
