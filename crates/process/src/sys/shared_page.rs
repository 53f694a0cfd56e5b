//! A few pages of memory that two processes share, and that neither can shrink under the other.

use concurrent_futures_ipc::SharedMemory;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::slice;
use std::sync::atomic::{AtomicU8, AtomicU64};

/// Shared memory: so many words, then so many bytes; zeroed when made, mapped as long as this value lives.
///
/// The other process may write to it at any time, so it is only ever seen through atomics, and each place
/// through atomics of one size only.
#[derive(Debug)]
pub(crate) struct SharedPage {
    memory: SharedMemory,
    words: usize,
    bytes: usize,
}

impl SharedPage {
    /// Makes shared memory, sealed and mapped.
    pub(crate) fn create(words: usize, bytes: usize) -> io::Result<Self> {
        Ok(Self { memory: SharedMemory::create(size(words, bytes))?, words, bytes })
    }

    /// Maps what another process made.
    ///
    /// # Errors
    ///
    /// `InvalidData` unless it has exactly this size and is sealed.
    pub(crate) fn map(fd: OwnedFd, words: usize, bytes: usize) -> io::Result<Self> {
        Ok(Self { memory: SharedMemory::open(fd, size(words, bytes))?, words, bytes })
    }

    /// The descriptor to send to the other process.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.memory.fd()
    }

    /// The words at the start.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, starts with that many words, lives as long as the borrow of `self`,
        // cannot shrink (sealed), and any bit pattern is a valid atomic.
        unsafe { slice::from_raw_parts(self.memory.start().cast().as_ptr(), self.words) }
    }

    /// The bytes behind the words.
    pub(crate) fn bytes(&self) -> &[AtomicU8] {
        // SAFETY: the words end within the mapping, or at its end when there are no bytes.
        let start = unsafe { self.memory.start().add(size(self.words, 0)) };
        // SAFETY: as in `words`; a byte has no alignment.
        unsafe { slice::from_raw_parts(start.cast().as_ptr(), self.bytes) }
    }
}

fn size(words: usize, bytes: usize) -> usize {
    words * size_of::<AtomicU64>() + bytes
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    #[test]
    fn both_mappings_see_the_same() {
        let ours = SharedPage::create(500, 96).unwrap();
        let theirs = SharedPage::map(ours.fd().try_clone_to_owned().unwrap(), 500, 96).unwrap();
        assert_eq!((ours.words().len(), ours.bytes().len()), (500, 96));
        assert_eq!(theirs.words()[499].load(Relaxed), 0);
        ours.words()[499].store(u64::MAX, Relaxed);
        assert_eq!(theirs.words()[499].load(Relaxed), u64::MAX);
        assert_eq!(theirs.bytes()[0].load(Relaxed), 0);
        theirs.bytes()[95].store(5, Relaxed);
        drop(theirs);
        assert_eq!(ours.bytes()[95].load(Relaxed), 5);
    }

    #[test]
    fn another_size_is_refused() {
        let page = SharedPage::create(0, 4096).unwrap();
        let refused = SharedPage::map(page.fd().try_clone_to_owned().unwrap(), 1, 4096);
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
