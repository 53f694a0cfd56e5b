//! Locks and signals between processes.
//!
//! `README.md` beside this file says what lies in shared memory, who changes it, and what the death of a process at each point
//! does.

mod barrier;
mod condition;
mod event;
mod lock;
mod owner_died;
mod permits;
mod place;
mod raw;
mod rlock;
mod robust;
mod seats;
mod semaphore;
mod sleepers;
pub(crate) mod travel;
mod waiting;

pub use barrier::{Barrier, BrokenBarrier};
pub use condition::{Condition, WaitGuard};
pub use event::Event;
pub use lock::{Lock, LockGuard};
pub use owner_died::{OwnerDied, TryLockError};
pub use permits::OverRelease;
pub use rlock::{RLock, RLockGuard};
pub(crate) use robust::{Held, Kind, RobustMutex, SIZE as MUTEX_SIZE};
pub use semaphore::{BoundedSemaphore, Permit, Semaphore};

#[cfg(test)]
mod tests;
