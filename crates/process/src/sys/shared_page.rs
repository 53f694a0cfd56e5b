//! A few pages of memory that two processes share, and that neither can shrink under the other.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU8, AtomicU64};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Shared memory: so many words, then so many bytes; zeroed when made, mapped as long as this value lives.
///
/// The other process may write to it at any time, so it is only ever seen through atomics, and each place
/// through atomics of one size only.
pub(crate) struct SharedPage {
    start: NonNull<u8>,
    words: usize,
    bytes: usize,
    fd: OwnedFd,
}

// SAFETY: the mapping belongs to this value alone, is not bound to a thread, and is accessed through atomics.
unsafe impl Send for SharedPage {}
// SAFETY: as above: all shared access goes through atomics.
unsafe impl Sync for SharedPage {}

/// Without these the other side could take pages away, and the next access here would be a SIGBUS; the
/// last one keeps the list of seals as it is.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

impl SharedPage {
    /// Makes shared memory, sealed and mapped.
    pub(crate) fn create(words: usize, bytes: usize) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::NOEXEC_SEAL;
        let fd = match memfd_create("concurrent-futures", flags) {
            // Before 6.3 that flag is unknown.
            Err(rustix::io::Errno::INVAL) => memfd_create("concurrent-futures", flags - MemfdFlags::NOEXEC_SEAL)?,
            other => other?,
        };
        ftruncate(&fd, size(words, bytes) as u64)?;
        fcntl_add_seals(&fd, SEALS)?;
        Self::map(fd, words, bytes)
    }

    /// Maps what another process made.
    ///
    /// # Errors
    ///
    /// `InvalidData` unless it has exactly this size and is sealed.
    pub(crate) fn map(fd: OwnedFd, words: usize, bytes: usize) -> io::Result<Self> {
        let len = size(words, bytes);
        let sealed = fcntl_get_seals(&fd).is_ok_and(|seals| seals.contains(SEALS));
        if !sealed || usize::try_from(fstat(&fd)?.st_size) != Ok(len) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a sealed memory file of the agreed size"));
        }
        // SAFETY: a new mapping at an address of the kernel's choice disturbs no memory that is in use.
        let start =
            unsafe { mmap(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, &fd, 0) }?;
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        Ok(Self { start, words, bytes, fd })
    }

    /// The descriptor to send to the other process.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The words at the start.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, starts with that many words, lives as long as the borrow of `self`,
        // cannot shrink (sealed), and any bit pattern is a valid atomic.
        unsafe { slice::from_raw_parts(self.start.cast().as_ptr(), self.words) }
    }

    /// The bytes behind the words.
    pub(crate) fn bytes(&self) -> &[AtomicU8] {
        // SAFETY: the words end within the mapping, or at its end when there are no bytes.
        let start = unsafe { self.start.add(size(self.words, 0)) };
        // SAFETY: as in `words`; a byte has no alignment.
        unsafe { slice::from_raw_parts(start.cast().as_ptr(), self.bytes) }
    }
}

fn size(words: usize, bytes: usize) -> usize {
    words * size_of::<AtomicU64>() + bytes
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        // SAFETY: the range is the mapping that `map` made; every reference into it borrowed `self` and has ended.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), size(self.words, self.bytes)) };
        debug_assert!(unmapped.is_ok(), "a mapping of our own can be unmapped");
    }
}

impl fmt::Debug for SharedPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedPage")
            .field("words", &self.words)
            .field("bytes", &self.bytes)
            .field("fd", &self.fd)
            .finish_non_exhaustive()
    }
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
    fn the_size_is_fixed_for_ever() {
        let page = SharedPage::create(512, 0).unwrap();
        assert_eq!(ftruncate(page.fd(), 0), Err(rustix::io::Errno::PERM));
        assert_eq!(ftruncate(page.fd(), 8192), Err(rustix::io::Errno::PERM));
        assert_eq!(fcntl_add_seals(page.fd(), SealFlags::WRITE), Err(rustix::io::Errno::PERM));
    }

    #[test]
    fn what_is_not_sealed_or_has_another_size_is_refused() {
        let page = SharedPage::create(0, 4096).unwrap();
        let refused = SharedPage::map(page.fd().try_clone_to_owned().unwrap(), 1, 4096);
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidData);

        let open = memfd_create("open", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&open, 4096).unwrap();
        assert_eq!(SharedPage::map(open, 0, 4096).unwrap_err().kind(), io::ErrorKind::InvalidData);

        let file = std::fs::File::open("/proc/self/exe").unwrap();
        assert_eq!(SharedPage::map(file.into(), 0, 4096).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
