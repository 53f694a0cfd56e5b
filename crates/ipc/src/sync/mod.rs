//! Locks and signals between processes.
//!
//! `README.md` beside this file says what lies in shared memory, who changes it, and what the death of a process at each point
//! does.

mod lock;
mod owner_died;
mod raw;
mod rlock;
mod robust;
pub(crate) mod travel;

pub use lock::{Lock, LockGuard};
pub use owner_died::{OwnerDied, TryLockError};
pub use rlock::{RLock, RLockGuard};
pub(crate) use robust::{Held, Kind, RobustMutex, SIZE as MUTEX_SIZE};

#[cfg(test)]
mod tests;
