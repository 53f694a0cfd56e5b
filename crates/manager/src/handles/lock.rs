//! Locks.

use super::handle;
use crate::client::{Patience, RawHandle, Response};
use crate::error::{LockError, ManagerError};
use crate::server::ORPHANED;
use crate::wire::{Kind, Op};
use std::marker::PhantomData;
use std::time::Duration;

/// A handle of a lock in a manager; made by [`ManagerClient::lock`](crate::ManagerClient::lock).
///
/// A thread holds it by a guard. When the thread, its process or its connection ends, however that happens, the next one gets the
/// lock and is [told](LockError::OwnerDied) so.
///
/// ```
/// use concurrent_futures_manager::{LockError, Manager};
///
/// let manager = Manager::new()?;
/// let lock = manager.lock()?;
/// let guard = lock.lock().or_else(LockError::recover)?;
/// assert!(lock.is_locked()?);
/// assert!(lock.try_lock()?.is_none());
/// drop(guard);
/// assert!(lock.try_lock()?.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ManagedLock {
    raw: RawHandle,
}

handle!(ManagedLock, Kind::Lock);

/// A handle of a lock that its owner, a thread, may take again; made by [`ManagerClient::rlock`](crate::ManagerClient::rlock).
///
/// It is free when all guards are gone. Otherwise as [`ManagedLock`].
///
/// ```
/// use concurrent_futures_manager::Manager;
///
/// let lock = Manager::new()?;
/// let lock = lock.rlock()?;
/// let outer = lock.lock()?;
/// let inner = lock.lock()?;
/// drop(outer);
/// assert!(lock.is_locked()?);
/// drop(inner);
/// assert!(!lock.is_locked()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ManagedRLock {
    raw: RawHandle,
}

handle!(ManagedRLock, Kind::RLock);

/// Holds a lock of a manager; dropping it lets it go.
///
/// It stays in its thread, which is the owner in the server's eyes. If the server is gone, so is the lock, and drop does nothing.
#[must_use = "the lock is let go when this is dropped"]
#[derive(Debug)]
pub struct ManagedLockGuard {
    raw: RawHandle,
    connection: u64,
    /// It was not let go yet.
    held: bool,
    /// Neither `Send` nor `Sync`.
    _thread: PhantomData<*const ()>,
}

impl ManagedLockGuard {
    /// Asks for something that only the owner may.
    pub(super) fn ask(&self, op: Op, number: u64, patience: Patience) -> Result<Option<Response>, ManagerError> {
        self.raw.ask_over(self.connection, op, number, patience)
    }

    /// As dropping it, with the error that there may be.
    ///
    /// # Errors
    /// The server is gone; or the connection was lost meanwhile, and the lock with it ([`ManagerError::NotOwner`]).
    pub fn unlock(mut self) -> Result<(), ManagerError> {
        self.held = false;
        self.ask(Op::Release, 0, Patience::None).map(drop)
    }
}

impl Drop for ManagedLockGuard {
    fn drop(&mut self) {
        if self.held {
            // Whoever wants to know calls `unlock`: after any error the server has taken the lock away from this connection, or is gone.
            let _ = self.ask(Op::Release, 0, Patience::None);
        }
    }
}

/// Waits for the lock. `None`: not in time.
pub(super) fn acquire(
    raw: &RawHandle,
    patience: Patience,
) -> Result<Option<ManagedLockGuard>, LockError<ManagedLockGuard>> {
    let Some(granted) = raw.ask_for(Op::Acquire, 0, patience)? else { return Ok(None) };
    let guard = ManagedLockGuard { raw: raw.clone(), connection: granted.connection, held: true, _thread: PhantomData };
    if granted.number & ORPHANED == 0 { Ok(Some(guard)) } else { Err(LockError::OwnerDied(guard)) }
}

macro_rules! locks {
    ($($name:ident)*) => { $(
        impl $name {
            /// Waits for the lock.
            ///
            /// # Errors
            /// The owner before has died: the lock is held. Otherwise it is not: the server is gone; this thread already holds it, if
            /// it is not reentrant.
            pub fn lock(&self) -> Result<ManagedLockGuard, LockError<ManagedLockGuard>> {
                acquire(&self.raw, Patience::Forever)?.ok_or(LockError::Failed(ManagerError::TimedOut))
            }

            /// The lock, if it is free now.
            ///
            /// # Errors
            /// As of [`lock`](Self::lock).
            pub fn try_lock(&self) -> Result<Option<ManagedLockGuard>, LockError<ManagedLockGuard>> {
                acquire(&self.raw, Patience::None)
            }

            /// Waits for the lock, but not longer than that.
            ///
            /// # Errors
            /// As of [`lock`](Self::lock).
            pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<ManagedLockGuard>, LockError<ManagedLockGuard>> {
                acquire(&self.raw, Patience::of(timeout))
            }

            /// Whether somebody holds it.
            ///
            /// # Errors
            /// The server is gone.
            pub fn is_locked(&self) -> Result<bool, ManagerError> {
                self.raw.ask(Op::State).map(|state| state.is_some_and(|state| state.number == 1))
            }
        }
    )* };
}

locks!(ManagedLock ManagedRLock);
