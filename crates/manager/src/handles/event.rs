//! Events.

use super::handle;
use crate::client::{Patience, RawHandle};
use crate::error::ManagerError;
use crate::wire::{Kind, Op};
use std::time::Duration;

/// A handle of an event in a manager; made by [`ManagerClient::event`](crate::ManagerClient::event).
///
/// ```
/// use concurrent_futures_manager::Manager;
/// use std::time::Duration;
///
/// let manager = Manager::new()?;
/// let written = manager.event()?;
/// assert!(!written.wait_timeout(Duration::from_millis(1))?);
/// written.set()?;
/// written.wait()?;
/// assert!(written.is_set()?);
/// # Ok::<(), concurrent_futures_manager::ManagerError>(())
/// ```
pub struct ManagedEvent {
    raw: RawHandle,
}

handle!(ManagedEvent, Kind::Event);

impl ManagedEvent {
    /// Sets it, and lets all go on that wait, also if it is cleared at once.
    ///
    /// # Errors
    /// The server is gone.
    pub fn set(&self) -> Result<(), ManagerError> {
        self.raw.ask(Op::Set).map(drop)
    }

    /// Clears it.
    ///
    /// # Errors
    /// The server is gone.
    pub fn clear(&self) -> Result<(), ManagerError> {
        self.raw.ask(Op::Clear).map(drop)
    }

    /// Whether it is set.
    ///
    /// # Errors
    /// The server is gone.
    pub fn is_set(&self) -> Result<bool, ManagerError> {
        self.raw.ask(Op::State).map(|state| state.is_some_and(|state| state.number == 1))
    }

    /// Waits until it is set.
    ///
    /// # Errors
    /// The server is gone.
    pub fn wait(&self) -> Result<(), ManagerError> {
        self.raw.ask_for(Op::Wait, 0, Patience::Forever).map(drop)
    }

    /// Waits until it is set, but not longer than that. Whether it was.
    ///
    /// # Errors
    /// The server is gone.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, ManagerError> {
        self.raw.ask_for(Op::Wait, 0, Patience::of(timeout)).map(|set| set.is_some())
    }
}
