//! Conditions.

use super::handle;
use super::lock::{ManagedLockGuard, acquire};
use crate::client::{Patience, RawHandle};
use crate::error::{LockError, ManagerError};
use crate::server::{NOTIFIED, ORPHANED};
use crate::wire::{Kind, Op};
use std::time::{Duration, Instant};

/// A handle of a condition in a manager, with its lock; made by [`ManagerClient::condition`](crate::ManagerClient::condition).
///
/// Those who wait longest are notified first. Should one of them die before it has asked the condition or
/// its lock for anything more, another is notified.
///
/// ```
/// use concurrent_futures_manager::{ManagedCondition, ManagedList, Manager};
/// use concurrent_futures_process::Process;
///
/// fn child((condition, list): (ManagedCondition, ManagedList<u32>)) {
///     let guard = condition.lock().expect("nobody has died");
///     list.push(7).expect("the manager is there");
///     guard.notify_one().expect("we hold the lock");
/// }
///
/// let manager = Manager::new()?;
/// let (condition, list) = (manager.condition()?, manager.list([])?);
/// let guard = condition.lock()?;
/// let child = Process::start(child, (condition.clone(), list.clone()))?;
/// guard.wait_for(|| list.is_empty().map(|empty| !empty))?;
/// assert_eq!(list.pop()?, Some(7));
/// # drop(guard);
/// # child.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ManagedCondition {
    raw: RawHandle,
}

handle!(ManagedCondition, Kind::Condition);

impl ManagedCondition {
    /// Waits for the lock.
    ///
    /// # Errors
    /// As of [`ManagedLock::lock`](crate::ManagedLock::lock).
    pub fn lock(&self) -> Result<ManagedConditionGuard, LockError<ManagedConditionGuard>> {
        of_guard(acquire(&self.raw, Patience::Forever))?.ok_or(LockError::Failed(ManagerError::TimedOut))
    }

    /// The lock, if it is free now.
    ///
    /// # Errors
    /// As of [`ManagedLock::lock`](crate::ManagedLock::lock).
    pub fn try_lock(&self) -> Result<Option<ManagedConditionGuard>, LockError<ManagedConditionGuard>> {
        of_guard(acquire(&self.raw, Patience::None))
    }

    /// Waits for the lock, but not longer than that.
    ///
    /// # Errors
    /// As of [`ManagedLock::lock`](crate::ManagedLock::lock).
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<Option<ManagedConditionGuard>, LockError<ManagedConditionGuard>> {
        of_guard(acquire(&self.raw, Patience::of(timeout)))
    }
}

fn of_guard(
    taken: Result<Option<ManagedLockGuard>, LockError<ManagedLockGuard>>,
) -> Result<Option<ManagedConditionGuard>, LockError<ManagedConditionGuard>> {
    match taken {
        Ok(guard) => Ok(guard.map(ManagedConditionGuard)),
        Err(LockError::OwnerDied(guard)) => Err(LockError::OwnerDied(ManagedConditionGuard(guard))),
        Err(LockError::Failed(error)) => Err(LockError::Failed(error)),
    }
}

/// Holds the lock of a condition; dropping it lets it go. It stays in its thread.
///
/// A wait lets the lock go and has it again when it returns, also at the end of its time. [`LockError::OwnerDied`] of a wait says that
/// it is held and that who held it meanwhile has died with it.
#[must_use = "the lock is let go when this is dropped"]
#[derive(Debug)]
pub struct ManagedConditionGuard(ManagedLockGuard);

impl ManagedConditionGuard {
    /// Waits until somebody notifies.
    ///
    /// # Errors
    /// Who held the lock meanwhile has died; the server is gone.
    pub fn wait(&self) -> Result<(), LockError<()>> {
        match self.wait_with(Patience::Forever) {
            Ok(_) => Ok(()),
            Err(LockError::OwnerDied(_)) => Err(LockError::OwnerDied(())),
            Err(LockError::Failed(error)) => Err(LockError::Failed(error)),
        }
    }

    /// As [`wait`](Self::wait), but not longer than that, and then as long as it takes to have the lock again. Whether somebody has
    /// notified.
    ///
    /// # Errors
    /// As of [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, LockError<bool>> {
        self.wait_with(Patience::of(timeout))
    }

    /// Waits until `condition` says yes; it is asked at once, and after each notification.
    ///
    /// # Errors
    /// As of [`wait`](Self::wait); those of `condition`.
    pub fn wait_for(&self, mut condition: impl FnMut() -> Result<bool, ManagerError>) -> Result<(), LockError<()>> {
        while !condition()? {
            self.wait()?;
        }
        Ok(())
    }

    /// As [`wait_for`](Self::wait_for), but not longer than that. What `condition` has said last.
    ///
    /// # Errors
    /// As of [`wait_for`](Self::wait_for).
    pub fn wait_for_timeout(
        &self,
        timeout: Duration,
        mut condition: impl FnMut() -> Result<bool, ManagerError>,
    ) -> Result<bool, LockError<bool>> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            if condition()? {
                return Ok(true);
            }
            let patience = deadline.map_or(Patience::Forever, Patience::Until);
            if !self.wait_with(patience)? && deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(condition()?);
            }
        }
    }

    fn wait_with(&self, patience: Patience) -> Result<bool, LockError<bool>> {
        let Some(granted) = self.0.ask(Op::Wait, 0, patience)? else {
            return Err(LockError::Failed(ManagerError::NotOwner));
        };
        let notified = granted.number & NOTIFIED != 0;
        if granted.number & ORPHANED == 0 { Ok(notified) } else { Err(LockError::OwnerDied(notified)) }
    }

    /// Lets the one go on that waits longest.
    ///
    /// # Errors
    /// The server is gone.
    pub fn notify_one(&self) -> Result<(), ManagerError> {
        self.notify(1).map(drop)
    }

    /// Lets so many go on; how many have waited.
    ///
    /// # Errors
    /// The server is gone.
    pub fn notify(&self, count: usize) -> Result<usize, ManagerError> {
        let notified = self.0.ask(Op::Notify, count as u64, Patience::None)?;
        Ok(notified.map_or(0, |notified| notified.number as usize))
    }

    /// Lets all go on; how many have waited.
    ///
    /// # Errors
    /// The server is gone.
    pub fn notify_all(&self) -> Result<usize, ManagerError> {
        self.notify(usize::MAX)
    }

    /// As dropping it, with the error that there may be.
    ///
    /// # Errors
    /// The server is gone; or the connection was lost meanwhile, and the lock with it ([`ManagerError::NotOwner`]).
    pub fn unlock(self) -> Result<(), ManagerError> {
        self.0.unlock()
    }
}
