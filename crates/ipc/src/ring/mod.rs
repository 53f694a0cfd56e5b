//! A ring of bytes in shared memory: one process writes, one reads, in order. While both are awake no system call is made; one
//! that has nothing to do says in the ring how it is to be woken, and sleeps.
//!
//! `README.md` beside this file has the words of a ring, who sets what, and why no wake-up is lost.
//!
//! ```
//! use concurrent_futures_ipc::SharedMemory;
//! use concurrent_futures_ipc::ring::{self, Consumer, Place, Producer};
//! use std::sync::Arc;
//!
//! const CAPACITY: usize = 4096;
//! let memory = Arc::new(SharedMemory::create(ring::size(CAPACITY))?);
//! // The other process opens the same memory. SAFETY: there is one producer and one consumer in this place.
//! let place = || unsafe { Place::new(memory.clone(), 0, CAPACITY, None) };
//! let (mut producer, mut consumer) = (Producer::new(place()), Consumer::new(place()));
//!
//! assert_eq!(producer.write(b"hello")?, 5);
//! producer.publish();
//! producer.ringer().ring()?;
//!
//! let mut bytes = Vec::with_capacity(100);
//! consumer.wait()?;
//! assert_eq!(consumer.read(&mut bytes, 100)?, 5);
//! assert_eq!(bytes, b"hello");
//! # Ok::<(), std::io::Error>(())
//! ```

mod bed;
mod consumer;
#[cfg(all(test, concurrent_futures_loom))]
mod models;
mod place;
mod producer;
mod sleeper;
#[cfg(all(test, not(concurrent_futures_loom)))]
mod tests;

pub use bed::Bed;
pub use consumer::Consumer;
pub use place::{Place, size};
pub use producer::{Producer, Ringer};
pub use sleeper::Wake;

use std::fmt;
use std::io;

/// How often one who waits looks before it sleeps, each time with a `sched_yield`: about twenty microseconds. To be woken
/// takes as long, and waking somebody costs a third of it.
const LOOKS: u32 = if cfg!(concurrent_futures_loom) { 0 } else { 48 };

/// The other side of a ring has written a position that cannot be.
///
/// As the inner error of an [`io::Error`] of the kind `InvalidData`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonsense {
    /// What it claims to have written and not to have been read, or not to have read of what was written.
    pub claimed: u64,
    /// The most that this could be.
    pub limit: u64,
}

impl fmt::Display for Nonsense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a position in the ring that cannot be: {} bytes where at most {} are", self.claimed, self.limit)
    }
}

impl std::error::Error for Nonsense {}

impl From<Nonsense> for io::Error {
    fn from(nonsense: Nonsense) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, nonsense)
    }
}
