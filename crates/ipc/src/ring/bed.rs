//! Where a thread sleeps until there is something to read.

use super::Wake;
use super::place::{Ordering, Place, fence};
use crate::futex::Waited;
use std::io;
use std::time::Instant;

/// Lets one thread sleep until the producer wakes it, while others have the [`Consumer`](super::Consumer), and lets them wake
/// it, too.
///
/// ```
/// use concurrent_futures_ipc::SharedMemory;
/// use concurrent_futures_ipc::ring::{self, Consumer, Place, Wake};
/// use std::sync::Arc;
///
/// let memory = Arc::new(SharedMemory::create(ring::size(4096))?);
/// // SAFETY: there is one consumer in this place.
/// let mut consumer = Consumer::new(unsafe { Place::new(memory, 0, 4096, None) });
/// let bed = consumer.bed();
/// assert!(!consumer.arm(Wake::ByFutex)?, "there is nothing to read");
/// std::thread::scope(|s| {
///     s.spawn(|| bed.wake());
///     bed.sleep(None)
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Bed {
    place: Place,
}

impl Bed {
    pub(super) fn new(place: Place) -> Bed {
        Bed { place }
    }

    /// Says that the producer is to wake the consumer by a futex, without a look at the ring.
    pub fn note(&self) {
        self.place.header().writer.reader.note(Wake::ByFutex);
        fence(Ordering::SeqCst);
    }

    /// Sleeps once, until the producer has woken the consumer, which is [armed](super::Consumer::arm) with [`Wake::ByFutex`],
    /// or somebody has called [`wake`](Self::wake) since then; may end for no reason. A producer that is an enemy can keep it
    /// asleep until the deadline.
    ///
    /// # Errors
    ///
    /// What calling the kernel can end with.
    pub fn sleep(&self, deadline: Option<Instant>) -> io::Result<Waited> {
        self.place.header().writer.reader.sleep_once(deadline)
    }

    /// Ends a sleep. The producer wakes nobody any more until the consumer is armed anew.
    ///
    /// # Errors
    ///
    /// What calling the kernel can end with.
    pub fn wake(&self) -> io::Result<()> {
        let sleeper = &self.place.header().writer.reader;
        // Who slept here may have gone, and somebody else may have noted another way to be woken: that stays.
        sleeper.clear_if(Wake::ByFutex as u32);
        // Whatever stood there: the other process may have written it.
        self.place.call(sleeper, Wake::ByFutex)
    }
}
