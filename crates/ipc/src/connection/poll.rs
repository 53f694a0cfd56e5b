//! `poll`, which a signal does not end.

use concurrent_futures_core::worker;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// Whether `descriptor` is readable, at its end, or in error.
pub(super) fn is_readable(descriptor: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(poll_until(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(Instant::now()))? > 0)
}

/// Sleeps until one of them has something to say, and gives how many have; 0: it is `deadline`.
pub(super) fn poll_until(descriptors: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<usize> {
    loop {
        // What the kernel cannot count is no limit.
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(descriptors, left.as_ref()) {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// A task that sleeps for longer than this has a substitute in its pool: who would wake it may be a task of that pool,
/// too. A substitute may be a new thread, so it is not for what is over soon.
pub(super) const ALONE: Duration = Duration::from_millis(2);

/// The same, for as long as it takes somebody else to do something.
pub(super) fn sleep_until(descriptors: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<usize> {
    let soon = Instant::now() + ALONE;
    if deadline.is_some_and(|deadline| deadline <= soon) {
        return poll_until(descriptors, deadline);
    }
    match poll_until(descriptors, Some(soon))? {
        0 => worker::blocking(|| poll_until(descriptors, deadline)),
        some => Ok(some),
    }
}
