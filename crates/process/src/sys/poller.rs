//! Waiting for many descriptors at once.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// An epoll instance, level-triggered unless [asked otherwise](Interest::EDGE). It can itself be watched by another one.
#[derive(Debug)]
pub(crate) struct Poller {
    fd: OwnedFd,
}

/// What to wait for. The end of a peer and errors are always reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interest(EventFlags);

impl Interest {
    pub(crate) const READ: Self = Self(EventFlags::IN);
    /// Each time that it becomes readable again, or is written to while it is: nobody has to read. Watching it anew counts.
    pub(crate) const EDGE: Self = Self(EventFlags::IN.union(EventFlags::ET));
    pub(crate) const BOTH: Self = Self(EventFlags::IN.union(EventFlags::OUT));
}

/// What one descriptor is ready for. A read where `ended` is set does not block: it gives what is left,
/// then the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    /// As given to [`Poller::add`].
    pub(crate) token: u64,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    pub(crate) ended: bool,
}

const AT_ONCE: usize = 64;

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { fd: epoll::create(CreateFlags::CLOEXEC)? })
    }

    /// Watches `source` until it is removed. Closing it is not enough when a duplicate of it stays open.
    pub(crate) fn add(&self, source: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.fd, source, EventData::new_u64(token), interest.0)?)
    }

    pub(crate) fn modify(&self, source: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.fd, source, EventData::new_u64(token), interest.0)?)
    }

    pub(crate) fn remove(&self, source: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.fd, source)?)
    }

    /// Waits until something is ready or `timeout` has passed (`None`: for ever), and gives up to 64 of
    /// what is ready; the rest comes with the next call.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<Vec<Ready>> {
        // A deadline that the clock cannot hold is no deadline.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut buffer = [MaybeUninit::<epoll::Event>::uninit(); AT_ONCE];
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let left = match left {
                Some(left) if !left.is_zero() && left < Duration::from_millis(1) && self.wait_briefly(left)? => {
                    Some(Timespec::default())
                }
                left => left.map(whole_milliseconds),
            };
            match epoll::wait(&self.fd, &mut buffer, left.as_ref()) {
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok((events, _)) => {
                    let passed = deadline.is_none_or(|deadline| Instant::now() >= deadline);
                    if !events.is_empty() || passed {
                        return Ok(events.iter().map(Ready::of).collect());
                    }
                }
            }
        }
    }

    /// Waits for less than a millisecond, in which kernels before 5.11 count here. `false`: that cannot be done.
    fn wait_briefly(&self, limit: Duration) -> io::Result<bool> {
        let limit = Timespec { tv_sec: 0, tv_nsec: i64::from(limit.subsec_nanos()) };
        match poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], Some(&limit)) {
            Ok(_) | Err(Errno::INTR) => Ok(true),
            // The process may have no descriptors at all any more, by its limit: not even one to be waited for in this way.
            Err(Errno::INVAL) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Ready {
    fn of(event: &epoll::Event) -> Self {
        let flags = event.flags;
        Self {
            token: event.data.u64(),
            readable: flags.contains(EventFlags::IN),
            writable: flags.contains(EventFlags::OUT),
            ended: flags.intersects(EventFlags::HUP | EventFlags::RDHUP | EventFlags::ERR),
        }
    }
}

/// Kernels before 5.11 count in milliseconds: rounded up, or the loop above would spin through the last one;
/// and in 32 bits: cut to a day, after which the loop asks again.
fn whole_milliseconds(left: Duration) -> Timespec {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let left = left.min(DAY).as_nanos().div_ceil(1_000_000) as i64;
    Timespec { tv_sec: left / 1000, tv_nsec: (left % 1000) * 1_000_000 }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn nothing_ready_ends_with_the_timeout() {
        let poller = Poller::new().unwrap();
        let start = Instant::now();
        assert_eq!(poller.wait(Some(Duration::from_millis(5))).unwrap(), []);
        assert!(start.elapsed() >= Duration::from_millis(5));
    }

    #[test]
    fn tokens_tell_who_is_ready_and_for_what() {
        let (reader, mut writer) = io::pipe().unwrap();
        let poller = Poller::new().unwrap();
        poller.add(&reader, 7, Interest::READ).unwrap();
        poller.add(&writer, 8, Interest::BOTH).unwrap();
        let ready = poller.wait(None).unwrap();
        assert_eq!(ready, [Ready { token: 8, readable: false, writable: true, ended: false }]);

        poller.modify(&writer, 8, Interest::READ).unwrap();
        writer.write_all(b"x").unwrap();
        let ready = poller.wait(None).unwrap();
        assert_eq!(ready, [Ready { token: 7, readable: true, writable: false, ended: false }]);

        drop(writer);
        assert!(poller.wait(None).unwrap()[0].ended);
        poller.remove(&reader).unwrap();
        assert_eq!(poller.wait(Some(Duration::ZERO)).unwrap(), []);
    }

    #[test]
    fn timeouts_are_rounded_up_and_bounded() {
        assert_eq!(whole_milliseconds(Duration::from_nanos(1)), Timespec { tv_sec: 0, tv_nsec: 1_000_000 });
        assert_eq!(whole_milliseconds(Duration::ZERO), Timespec { tv_sec: 0, tv_nsec: 0 });
        assert_eq!(whole_milliseconds(Duration::MAX), Timespec { tv_sec: 86_400, tv_nsec: 0 });
    }
}
