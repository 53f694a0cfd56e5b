//! How a thread of this process listens: for itself, beside others that listen to the same.

use super::poll::sleep_until;
use crate::Doorbell;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

/// Hears a [`Doorbell`], and the end of the other side where there is a socket to it.
///
/// Each listener has one of its own: then nobody can take from another what that has not heard yet.
#[derive(Debug)]
pub(crate) struct Ear(OwnedFd);

/// What has ended a sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The bell, or the end, or nothing: look.
    Something,
    TimedOut,
}

impl Ear {
    /// Hears `bell`, and that the other end of `socket` is gone. It begins with an event.
    pub(crate) fn new(bell: &Doorbell, socket: Option<BorrowedFd<'_>>) -> io::Result<Self> {
        let ear = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&ear, bell, EventData::new_u64(0), EventFlags::IN | EventFlags::ET)?;
        if let Some(socket) = socket {
            // The end alone, which is there for ever: what comes is announced by the bell.
            epoll::add(&ear, socket, EventData::new_u64(1), EventFlags::RDHUP)?;
        }
        Ok(Ear(ear))
    }

    /// Sleeps until it has heard something.
    pub(crate) fn sleep(&self, deadline: Option<Instant>) -> io::Result<Heard> {
        if sleep_until(&mut [PollFd::new(&self.0, PollFlags::IN)], deadline)? == 0 {
            return Ok(Heard::TimedOut);
        }
        self.forget()?;
        Ok(Heard::Something)
    }

    /// Forgets what it has heard: its descriptor is readable only when there is something new, or an end.
    pub(crate) fn forget(&self) -> io::Result<()> {
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); 2];
        match epoll::wait(&self.0, &mut events, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Ear {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
