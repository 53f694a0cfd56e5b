//! Who keeps an object alive from outside: descriptors of which the kernel counts the holders.

use super::object::Object;
use parking_lot::Mutex;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub(crate) struct Tokens {
    poller: OwnedFd,
    /// Ends [`watch`](Self::watch).
    stop: OwnedFd,
    kept: Mutex<HashMap<u64, (OwnedFd, Arc<Object>)>>,
    next: AtomicU64,
}

const STOP: u64 = 0;

impl Tokens {
    pub(crate) fn new() -> io::Result<Self> {
        let poller = epoll::create(CreateFlags::CLOEXEC)?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&poller, &stop, EventData::new_u64(STOP), EventFlags::IN)?;
        Ok(Tokens { poller, stop, kept: Mutex::default(), next: AtomicU64::new(STOP + 1) })
    }

    /// A new one: while it, or what it is duplicated to, is open anywhere, the object stays.
    pub(crate) fn mint(&self, object: &Arc<Object>) -> io::Result<OwnedFd> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        // Nothing goes through it. The kernel counts the room of all pipes of a user, and those that are made when it is used up are
        // small, whoever needs them.
        let _ = fcntl_setpipe_size(&writer, 1);
        self.keep(reader, object.clone())?;
        Ok(writer)
    }

    /// Keeps the object until the other end of `end` is closed everywhere.
    pub(crate) fn keep(&self, end: OwnedFd, object: Arc<Object>) -> io::Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut kept = self.kept.lock();
        // Errors and the end are always reported, and nothing else is of interest: what somebody writes stays where it is.
        epoll::add(&self.poller, &end, EventData::new_u64(number), EventFlags::RDHUP)?;
        kept.insert(number, (end, object));
        Ok(())
    }

    /// Lets go what nobody holds any more, until [`stop`](Self::stop).
    pub(crate) fn watch(&self) -> io::Result<()> {
        let mut buffer = [MaybeUninit::<epoll::Event>::uninit(); 64];
        loop {
            let events = match epoll::wait(&self.poller, &mut buffer, None) {
                Err(Errno::INTR) => continue,
                other => other?.0,
            };
            for event in events {
                match event.data.u64() {
                    STOP => return Ok(()),
                    number => {
                        let gone = self.kept.lock().remove(&number);
                        // Not under the lock: the last reference drops what is the user's.
                        drop(gone);
                    }
                }
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.kept.lock().len()
    }

    pub(crate) fn stop(&self) {
        // It cannot fail: this is an eventfd, and far from full.
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        let all = std::mem::take(&mut *self.kept.lock());
        drop(all);
    }
}
