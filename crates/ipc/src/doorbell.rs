//! A bell that another process rings, heard through a descriptor.

use concurrent_futures_core::attach::Attachment;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{Errno, retry_on_intr, write};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// An eventfd that is only ever written to. Whoever is to hear it watches it *edge-triggered*: each ring is an event, and
/// nobody has to read it, so nothing that another process does with its copy of the descriptor (read it, fill it, make it
/// block) can hold up who listens.
///
/// It is readable from the start, so watching it begins with an event, and so does watching it anew.
///
/// ```
/// use concurrent_futures_ipc::Doorbell;
///
/// let bell = Doorbell::new()?;
/// bell.ring()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Doorbell {
    fd: Attachment,
}

impl Doorbell {
    /// A new bell.
    ///
    /// # Errors
    ///
    /// No descriptor left, or no memory.
    pub fn new() -> io::Result<Self> {
        Ok(Self::from(eventfd(1, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Rings.
    ///
    /// # Errors
    ///
    /// The descriptor is no eventfd any more: somebody in this process has closed what was not theirs.
    pub fn ring(&self) -> io::Result<()> {
        match retry_on_intr(|| write(&self.fd, &1_u64.to_ne_bytes())) {
            // So full that only who listens can have been at it: it has been readable all the time.
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What is put beside a message that takes the bell to another process.
    pub fn attachment(&self) -> &Attachment {
        &self.fd
    }
}

impl From<Attachment> for Doorbell {
    fn from(fd: Attachment) -> Self {
        Self { fd }
    }
}

impl From<OwnedFd> for Doorbell {
    fn from(fd: OwnedFd) -> Self {
        Self { fd: Attachment::new(fd) }
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::Timespec;
    use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
    use std::mem::MaybeUninit;

    #[test]
    fn each_ring_is_heard_and_nobody_reads() {
        let ours = Doorbell::new().unwrap();
        let theirs = Doorbell::from(ours.as_fd().try_clone_to_owned().unwrap());
        let poller = epoll::create(CreateFlags::CLOEXEC).unwrap();
        let interest = EventFlags::IN | EventFlags::ET;
        epoll::add(&poller, &ours, EventData::new_u64(0), interest).unwrap();
        let heard = || {
            let mut events = [MaybeUninit::uninit(); 4];
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            !epoll::wait(&poller, &mut events, Some(&now)).unwrap().0.is_empty()
        };
        assert!(heard() && !heard());
        for _ in 0..3 {
            theirs.ring().unwrap();
            assert!(heard() && !heard());
        }
        epoll::modify(&poller, &ours, EventData::new_u64(0), interest).unwrap();
        assert!(heard() && !heard());
    }
}
