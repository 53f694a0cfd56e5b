//! How a thread of this process listens: for itself, beside others that listen to the same.

use super::poll::{ALONE, poll_until};
use crate::Doorbell;
use concurrent_futures_core::worker;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Hears a [`Doorbell`], and the end of the other side where there is a socket to it.
///
/// Each listener has one of its own: then nobody can take from another what that has not heard yet.
#[derive(Debug)]
pub(crate) struct Ear(OwnedFd);

/// What has ended a sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The bell, or nothing: look.
    Bell,
    /// Nobody has the other side any more.
    End,
    TimedOut,
}

/// Which of both an event is of.
const BELL: u64 = 0;
const SOCKET: u64 = 1;

impl Ear {
    /// Hears `bell`, and that the other end of `socket` is gone. It begins with an event.
    pub(crate) fn new(bell: &Doorbell, socket: Option<BorrowedFd<'_>>) -> io::Result<Self> {
        let ear = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&ear, bell, EventData::new_u64(BELL), EventFlags::IN | EventFlags::ET)?;
        if let Some(socket) = socket {
            // The end alone, which is there for ever: what comes is announced by the bell.
            epoll::add(&ear, socket, EventData::new_u64(SOCKET), EventFlags::RDHUP)?;
        }
        Ok(Ear(ear))
    }

    /// Sleeps until it has heard something, and forgets that.
    pub(crate) fn sleep(&self, deadline: Option<Instant>) -> io::Result<Heard> {
        let soon = Instant::now() + ALONE;
        let is_short = deadline.is_some_and(|deadline| deadline <= soon);
        // Most sleeps end early, and then one system call is all.
        if !is_short && let Some(heard) = self.hear(ALONE)? {
            return Ok(heard);
        }
        // It counts nanoseconds, where `epoll` counts milliseconds.
        let poll = || poll_until(&mut [PollFd::new(&self.0, PollFlags::IN)], deadline);
        if (if is_short { poll() } else { worker::blocking(poll) })? == 0 {
            return Ok(Heard::TimedOut);
        }
        Ok(self.hear(Duration::ZERO)?.unwrap_or(Heard::Bell))
    }

    /// Forgets what it has heard: its descriptor is readable only when there is something new, or an end.
    pub(crate) fn forget(&self) -> io::Result<()> {
        self.hear(Duration::ZERO).map(drop)
    }

    /// What it has heard, or hears within this time.
    fn hear(&self, within: Duration) -> io::Result<Option<Heard>> {
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); 2];
        let within = Timespec { tv_sec: within.as_secs() as _, tv_nsec: within.subsec_nanos().into() };
        let (heard, _) = match epoll::wait(&self.0, &mut events, Some(&within)) {
            // Perhaps nothing: look.
            Err(Errno::INTR) => return Ok(Some(Heard::Bell)),
            heard => heard?,
        };
        let is_end = |event: &epoll::Event| event.data.u64() == SOCKET;
        Ok((!heard.is_empty()).then(|| if heard.iter().any(is_end) { Heard::End } else { Heard::Bell }))
    }
}

impl AsFd for Ear {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
