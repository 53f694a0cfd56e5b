//! Semaphores.

use super::handle;
use crate::client::{Patience, RawHandle, Response};
use crate::error::ManagerError;
use crate::wire::{Kind, Op};
use std::marker::PhantomData;
use std::time::Duration;

/// A handle of a semaphore in a manager; made by [`ManagerClient::semaphore`](crate::ManagerClient::semaphore) and
/// [`bounded_semaphore`](crate::ManagerClient::bounded_semaphore).
///
/// A thread has a permit by a guard. When the thread, its process or its connection ends, its permits come back.
///
/// ```
/// use concurrent_futures_manager::{Manager, ManagerError};
///
/// let manager = Manager::new()?;
/// let semaphore = manager.bounded_semaphore(2)?;
/// let (_one, two) = (semaphore.acquire()?, semaphore.acquire()?);
/// assert!(semaphore.try_acquire()?.is_none());
/// drop(two);
/// assert_eq!(semaphore.available()?, 1);
/// assert!(matches!(semaphore.add_permits(1), Err(ManagerError::OverRelease)));
/// # Ok::<(), ManagerError>(())
/// ```
pub struct ManagedSemaphore {
    raw: RawHandle,
}

handle!(ManagedSemaphore, Kind::Semaphore);

impl ManagedSemaphore {
    /// Waits for a permit.
    ///
    /// # Errors
    /// The server is gone.
    pub fn acquire(&self) -> Result<ManagedPermit, ManagerError> {
        self.take(Patience::Forever)?.ok_or(ManagerError::TimedOut)
    }

    /// A permit, if there is one now.
    ///
    /// # Errors
    /// The server is gone.
    pub fn try_acquire(&self) -> Result<Option<ManagedPermit>, ManagerError> {
        self.take(Patience::None)
    }

    /// Waits for a permit, but not longer than that.
    ///
    /// # Errors
    /// The server is gone.
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Option<ManagedPermit>, ManagerError> {
        self.take(Patience::of(timeout))
    }

    /// Adds permits: so many more can be taken.
    ///
    /// # Errors
    /// There would be more than a bounded semaphore may have, those that are taken included: [`ManagerError::OverRelease`]; the server
    /// is gone.
    pub fn add_permits(&self, count: u32) -> Result<(), ManagerError> {
        self.raw.ask_for(Op::AddPermits, count.into(), Patience::None).map(drop)
    }

    /// How many permits can be taken now.
    ///
    /// # Errors
    /// The server is gone.
    pub fn available(&self) -> Result<u64, ManagerError> {
        self.raw.ask(Op::State).map(|state| state.map_or(0, |state| state.number))
    }

    fn take(&self, patience: Patience) -> Result<Option<ManagedPermit>, ManagerError> {
        let granted = self.raw.ask_for(Op::Acquire, 0, patience)?;
        let permit = |granted: Response| ManagedPermit {
            raw: self.raw.clone(),
            connection: granted.connection,
            held: true,
            _thread: PhantomData,
        };
        Ok(granted.map(permit))
    }
}

/// A permit of a manager's semaphore; dropping it gives it back. It stays in its thread, which has it in the server's eyes.
#[must_use = "the permit is given back when this is dropped"]
#[derive(Debug)]
pub struct ManagedPermit {
    raw: RawHandle,
    connection: u64,
    /// It was not given back yet.
    held: bool,
    /// Neither `Send` nor `Sync`.
    _thread: PhantomData<*const ()>,
}

impl ManagedPermit {
    /// As dropping it, with the error that there may be.
    ///
    /// # Errors
    /// The server is gone; or the connection was lost meanwhile, and the permit has come back already ([`ManagerError::NotOwner`]).
    pub fn release(self) -> Result<(), ManagerError> {
        self.end(Op::Release)
    }

    /// Leaves it taken, by nobody: it does not come back by itself. Somebody else may [add](ManagedSemaphore::add_permits) one for it.
    ///
    /// # Errors
    /// As of [`release`](Self::release).
    pub fn forget(self) -> Result<(), ManagerError> {
        self.end(Op::Forget)
    }

    fn end(mut self, op: Op) -> Result<(), ManagerError> {
        self.held = false;
        self.raw.ask_over(self.connection, op, 0, Patience::None).map(drop)
    }
}

impl Drop for ManagedPermit {
    fn drop(&mut self) {
        if self.held {
            // Whoever wants to know calls `release`: after any error the permit has come back, or the server is gone.
            let _ = self.raw.ask_over(self.connection, Op::Release, 0, Patience::None);
        }
    }
}
