//! Memory that several processes read: what lies under the slices.

use super::{registry, retired};
use crate::file_size;
use crate::forks;
use crate::mapping::Mapping;
use concurrent_futures_core::attach::{self, Attachment};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{Advice, ProtFlags, madvise};
use rustix::pipe::{PipeFlags, pipe_with};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};

const PAGE: usize = 4096;
/// What is not smaller may be used again when nobody has it any more.
const REUSED_FROM: usize = 256 << 10;
/// A view up to this size is mapped page by page at once, which is three times as fast as when each page is met for the first
/// time. Of a larger one, who knows what will be read.
const POPULATED_TO: usize = 64 << 20;

/// What must be sealed in memory that comes from another process: it cannot get smaller, which would be a SIGBUS here, and
/// nobody can map it in order to write, or call `write`.
const SIZE: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);
const FROZEN: SealFlags = SIZE.union(SealFlags::FUTURE_WRITE).union(SealFlags::SEAL);

/// Shared memory of a fixed size. While it is shared within this process (`Arc<Block>`), nobody writes to it.
pub(super) struct Block {
    /// `None` in `drop` alone.
    parts: Option<Parts>,
    sent: OnceLock<Sent>,
}

/// What there is of a block in this process, whether it is in use or not.
#[derive(Debug)]
pub(super) struct Parts {
    map: Mapping,
    fd: Attachment,
    /// It can be written through `map`: it was made here. `None`: it came from another process.
    made: Option<forks::Made>,
}

/// What a block has as soon as it is in more than one process.
#[derive(Debug)]
struct Sent {
    identity: Identity,
    /// The writing end of a pipe, into which nobody ever writes. Who has the block has this, in any process, on any way between
    /// them; so when the reading end says that there is no writer left, the kernel says that nobody has the block.
    token: Option<Attachment>,
    /// The reading end, where the block was made.
    watch: Option<Watch>,
}

/// Tells whether anybody has a token.
#[derive(Debug)]
pub(super) struct Watch(OwnedFd);

/// Which memory it is: the kernel's number of its file, which may be used again after its end, and one at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    number: u64,
}

/// What travels of a block as bytes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Ticket {
    /// The places of descriptor and token.
    pub(super) memory: u32,
    pub(super) token: Option<u32>,
    /// Of its identity.
    pub(super) number: u64,
    pub(super) len: u64,
}

impl Block {
    /// Memory to be written, of at least `len` bytes: zeroed if it is new, which the second value says.
    pub(super) fn make(len: usize) -> io::Result<(Self, bool)> {
        let made = Some(forks::Made::now());
        if let Some(parts) = retired::reuse(len) {
            return Ok((Block::of(Parts { made, ..parts }), false));
        }
        let len = len.max(1).checked_next_multiple_of(PAGE).ok_or(io::ErrorKind::OutOfMemory)?;
        file_size::check(len as u64)?;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::NOEXEC_SEAL;
        let fd = match memfd_create("concurrent-futures-slice", flags) {
            // Before 6.3 that flag is unknown.
            Err(Errno::INVAL) => memfd_create("concurrent-futures-slice", flags - MemfdFlags::NOEXEC_SEAL)?,
            other => other?,
        };
        ftruncate(&fd, len as u64)?;
        fcntl_add_seals(&fd, SIZE)?;
        let map = Mapping::writable(fd.as_fd(), len)?;
        Ok((Block::of(Parts { map, fd: Attachment::new(fd), made }), true))
    }

    /// A block with these bytes at its start.
    pub(super) fn copy_of(bytes: &[u8]) -> io::Result<Self> {
        let (mut block, fresh) = Block::make(bytes.len())?;
        if fresh {
            // Half the price of meeting each new page by writing to it.
            block.write_all(bytes)?;
        } else {
            block.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
        }
        Ok(block)
    }

    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            match rustix::io::pwrite(&self.parts().fd, &bytes[written..], written as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => written += n,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn of(parts: Parts) -> Self {
        Block { parts: Some(parts), sent: OnceLock::new() }
    }

    fn parts(&self) -> &Parts {
        self.parts.as_ref().expect("they are taken in `drop` alone")
    }

    /// Where it begins: at the start of a page.
    pub(super) fn start(&self) -> NonNull<u8> {
        self.parts().map.start()
    }

    pub(super) fn len(&self) -> usize {
        self.parts().map.len()
    }

    /// All of it. Only for a block that was made here.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        let Parts { map, made, .. } = self.parts();
        assert!(made.is_some(), "memory of another process cannot be written");
        // SAFETY: the mapping is writable, as long as `self`, which is borrowed for this alone; no other process can write to it
        // (the descriptor has not left this process, or nobody else has it any more), and any byte is valid.
        unsafe { std::slice::from_raw_parts_mut(map.start().as_ptr(), map.len()) }
    }

    /// Lets it travel with the message that is being encoded.
    pub(super) fn put(self: &Arc<Self>) -> Result<Ticket, String> {
        // Before anything is made for it.
        let memory = attach::put(&self.parts().fd).map_err(|error| error.to_string())?;
        let Sent { identity, token, .. } = self.sent().map_err(|error| format!("it cannot be shared: {error}"))?;
        let token = token.as_ref().map(attach::put).transpose().map_err(|error| error.to_string())?;
        Ok(Ticket { memory, token, number: identity.number, len: self.len() as u64 })
    }

    fn sent(self: &Arc<Self>) -> io::Result<&Sent> {
        if let Some(sent) = self.sent.get() {
            return Ok(sent);
        }
        let Parts { fd, made, .. } = self.parts();
        if !fcntl_get_seals(fd)?.contains(FROZEN) {
            fcntl_add_seals(fd, FROZEN)?;
        }
        let identity = Identity::of(fd.as_fd(), random())?;
        // Without a pipe it is used once. So is what a child may have, forked off before there was one: it has no token. That is
        // asked when there is one, for another thread may be forking.
        let pipe = if self.len() >= REUSED_FROM { pipe_with(PipeFlags::CLOEXEC).ok() } else { None };
        let pipe = pipe.filter(|_| made.is_some_and(forks::Made::is_the_only_one));
        let (watch, token) = pipe.map(|(reader, writer)| (Watch(reader), Attachment::new(writer))).unzip();
        let sent = self.sent.get_or_init(|| Sent { identity, token, watch });
        registry::add(sent.identity, self);
        Ok(sent)
    }

    /// The block of a message that is being decoded.
    pub(super) fn take(ticket: Ticket) -> Result<Arc<Self>, String> {
        let fd = attach::take(ticket.memory).map_err(|error| error.to_string())?;
        let token = ticket.token.map(attach::take).transpose().map_err(|error| error.to_string())?;
        Block::open(fd, token, ticket).map_err(|error| format!("its memory cannot be used: {error}"))
    }

    fn open(fd: Attachment, token: Option<Attachment>, ticket: Ticket) -> io::Result<Arc<Self>> {
        let wrong = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        let Ok(seals) = fcntl_get_seals(&fd) else { return wrong("it is no memory file") };
        if !seals.contains(FROZEN) {
            return wrong("it is not sealed: it could change, or get smaller");
        }
        let len = match usize::try_from(ticket.len) {
            Ok(len @ 1..) if fstat(&fd)?.st_size as u64 == ticket.len => len,
            _ => return wrong("it has another size than it should have"),
        };
        let identity = Identity::of(fd.as_fd(), ticket.number)?;
        registry::find_or_open(identity, || {
            let (parts, watch) = match retired::revive(identity) {
                // It goes on with this token, so that must be its own.
                Some((parts, watch)) => {
                    (parts, token.as_ref().is_some_and(|token| watch.is_of(token)).then_some(watch))
                }
                None => (Parts { map: Mapping::new(fd.as_fd(), len, ProtFlags::READ)?, fd, made: None }, None),
            };
            let block = Block::of(parts);
            block.sent.get_or_init(|| Sent { identity, token, watch });
            Ok(block)
        })
    }

    /// Looks up the pages of this part now rather than one by one, if that is not too much.
    pub(super) fn populate(&self, offset: usize, len: usize) {
        if len > POPULATED_TO || len == 0 {
            return;
        }
        let first = offset / PAGE * PAGE;
        // SAFETY: the part begins in the mapping.
        let start = unsafe { self.start().add(first) };
        // SAFETY: the range is within the mapping, which ends with a page, and the advice changes nothing that could be seen. It is
        // refused by kernels before 5.14, and costs time there, no more.
        let _ = unsafe { madvise(start.as_ptr().cast(), offset + len - first, Advice::LinuxPopulateRead) };
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let Some(parts) = self.parts.take() else { return };
        // What was never sent is unmapped here.
        let Some(sent) = self.sent.take() else { return };
        registry::remove(sent.identity);
        match sent.watch {
            // In a fork that is for the parent to do.
            Some(watch) if parts.made.is_some_and(forks::Made::was_here) => {
                drop(sent.token);
                retired::keep(sent.identity, parts, watch);
            }
            _ => {
                // In this order: without the token its maker may use the memory again.
                drop(parts);
                drop(sent.token);
            }
        }
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("parts", &self.parts).field("sent", &self.sent).finish()
    }
}

impl Parts {
    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    #[cfg(test)]
    pub(super) fn starts_at(&self, start: *const u8) -> bool {
        self.map.start().as_ptr().cast_const() == start
    }
}

impl Watch {
    /// Nobody has a token any more, nor can anybody ever get one.
    pub(super) fn is_over(&self) -> bool {
        let mut asked = [PollFd::new(&self.0, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut asked, Some(&now)).is_ok() && asked[0].revents().contains(PollFlags::HUP)
    }

    /// Both ends of a pipe are one file.
    fn is_of(&self, token: &Attachment) -> bool {
        let file = |fd: BorrowedFd<'_>| fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
        matches!((file(self.0.as_fd()), file(token.as_fd())), (Ok(ours), Ok(its)) if ours == its)
    }
}

impl Identity {
    fn of(fd: BorrowedFd<'_>, number: u64) -> io::Result<Self> {
        let stat = fstat(fd)?;
        Ok(Identity { device: stat.st_dev, inode: stat.st_ino, number })
    }
}

fn random() -> u64 {
    // Each has keys of its own, and the first ones are random.
    RandomState::new().hash_one(std::process::id())
}
