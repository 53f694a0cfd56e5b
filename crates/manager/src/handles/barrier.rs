//! Barriers.

use super::handle;
use crate::client::{Patience, RawHandle};
use crate::error::ManagerError;
use crate::wire::{Kind, Op};
use std::time::Duration;

/// A handle of a barrier in a manager; made by [`ManagerClient::barrier`](crate::ManagerClient::barrier).
///
/// When one that waits gives up, or its process dies, the barrier is broken: nobody waits any more, and all have
/// [`ManagerError::BrokenBarrier`], until it is [reset](Self::reset).
///
/// ```
/// use concurrent_futures_manager::{ManagedBarrier, Manager};
/// use concurrent_futures_process::Process;
///
/// fn child(barrier: ManagedBarrier) {
///     barrier.wait().expect("nobody gives up");
/// }
///
/// let manager = Manager::new()?;
/// let barrier = manager.barrier(2)?;
/// let child = Process::start(child, barrier.clone())?;
/// let place = barrier.wait()?; // one of both is the first
/// assert!(place < 2);
/// assert!(child.join()?.success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ManagedBarrier {
    raw: RawHandle,
}

handle!(ManagedBarrier, Kind::Barrier);

/// How it is with a barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BarrierState {
    /// How many it is for.
    pub parties: u32,
    /// How many wait now.
    pub waiting: u32,
    /// Whether it is broken.
    pub broken: bool,
}

impl ManagedBarrier {
    /// Waits until all are there. Each gets another number, from 0 on: exactly one is the first.
    ///
    /// # Errors
    /// The barrier is broken; the server is gone.
    pub fn wait(&self) -> Result<u32, ManagerError> {
        self.wait_with(Patience::Forever)
    }

    /// Waits until all are there, but not longer than that; then the barrier is broken for all.
    ///
    /// # Errors
    /// As of [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<u32, ManagerError> {
        self.wait_with(Patience::of(timeout))
    }

    fn wait_with(&self, patience: Patience) -> Result<u32, ManagerError> {
        let granted = self.raw.ask_for(Op::Wait, 0, patience)?;
        Ok(granted.map_or(0, |granted| granted.number as u32))
    }

    /// Breaks it: all that wait have an error, and all that come.
    ///
    /// # Errors
    /// The server is gone.
    pub fn abort(&self) -> Result<(), ManagerError> {
        self.raw.ask(Op::Abort).map(drop)
    }

    /// Makes it as new. Those that wait have an error.
    ///
    /// # Errors
    /// The server is gone.
    pub fn reset(&self) -> Result<(), ManagerError> {
        self.raw.ask(Op::Reset).map(drop)
    }

    /// How it is now.
    ///
    /// # Errors
    /// The server is gone.
    pub fn state(&self) -> Result<BarrierState, ManagerError> {
        let number = self.raw.ask(Op::State)?.map_or(0, |state| state.number);
        let waiting = (number >> 1) as u32 & (u32::MAX >> 1);
        Ok(BarrierState { parties: (number >> 32) as u32, waiting, broken: number & 1 == 1 })
    }
}
