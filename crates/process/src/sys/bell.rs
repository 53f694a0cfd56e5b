//! A bell that any thread can ring and a [`Poller`](super::poller::Poller) hears.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{Errno, read, retry_on_intr, write};

/// An eventfd: readable from the first [`ring`](Self::ring) to the next [`clear`](Self::clear).
#[derive(Debug)]
pub(crate) struct Bell {
    fd: OwnedFd,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { fd: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)? })
    }

    /// Makes the bell readable. What happened before the ring is seen by whoever clears it.
    pub(crate) fn ring(&self) {
        match retry_on_intr(|| write(&self.fd, &1_u64.to_ne_bytes())) {
            // A full counter is a bell that rings already.
            Ok(_) | Err(Errno::AGAIN) => {}
            Err(error) => unreachable!("an eventfd takes eight bytes: {error}"),
        }
    }

    /// Silences the bell; look at what it announces only afterwards, or a ring is lost.
    pub(crate) fn clear(&self) {
        match retry_on_intr(|| read(&self.fd, &mut [0; 8])) {
            Ok(_) | Err(Errno::AGAIN) => {}
            Err(error) => unreachable!("an eventfd gives eight bytes: {error}"),
        }
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::poller::{Interest, Poller};
    use super::*;

    #[test]
    fn rings_are_heard_once_until_the_next() {
        let bell = Bell::new().unwrap();
        let poller = Poller::new().unwrap();
        poller.add(&bell, 1, Interest::READ).unwrap();
        let heard = || !poller.wait(Some(Duration::ZERO)).unwrap().is_empty();
        assert!(!heard());
        bell.ring();
        bell.ring();
        assert!(heard());
        bell.clear();
        assert!(!heard());
        bell.clear();
        bell.ring();
        assert!(heard());
    }
}
