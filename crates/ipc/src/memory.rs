//! Memory that processes share, and that none of them can shrink under another.

use crate::file_size;
use crate::mapping::Mapping;
use concurrent_futures_core::attach::Attachment;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

/// Anonymous shared memory, zeroed when made, mapped as long as this value lives. It has no name and goes with the last
/// process that has it open or mapped.
///
/// Another process may write to it at any time: look at it through atomics, or copy out of it by raw pointers.
///
/// ```
/// use concurrent_futures_ipc::SharedMemory;
///
/// let ours = SharedMemory::create(4096)?;
/// // The descriptor goes to another process, which opens it there.
/// let theirs = SharedMemory::open(ours.fd().try_clone_to_owned()?, 4096)?;
/// assert_eq!(theirs.len(), ours.len());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct SharedMemory {
    map: Mapping,
    fd: Attachment,
}

/// Without these the other side could take pages away, and the next access here would be a SIGBUS; the
/// last one keeps the list of seals as it is.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

impl SharedMemory {
    /// Makes shared memory of `len` bytes, sealed and mapped.
    ///
    /// # Errors
    ///
    /// Those of the system: no descriptor left, or no memory.
    pub fn create(len: usize) -> io::Result<Self> {
        Self::named("concurrent-futures", len)
    }

    /// The same, with a name by which a person finds it in `/proc/PID/maps`.
    ///
    /// # Errors
    ///
    /// As of [`create`](Self::create); a name that is too long for the kernel, or has a zero in it.
    pub fn named(name: &str, len: usize) -> io::Result<Self> {
        file_size::check(len as u64)?;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::NOEXEC_SEAL;
        let fd = match memfd_create(name, flags) {
            // Before 6.3 that flag is unknown.
            Err(rustix::io::Errno::INVAL) => memfd_create(name, flags - MemfdFlags::NOEXEC_SEAL)?,
            other => other?,
        };
        ftruncate(&fd, len as u64)?;
        fcntl_add_seals(&fd, SEALS)?;
        Self::open(fd, len)
    }

    /// Maps what another process made.
    ///
    /// # Errors
    ///
    /// `InvalidData` unless it has exactly this size and is sealed; those of the system.
    pub fn open(fd: OwnedFd, len: usize) -> io::Result<Self> {
        Self::adopt(Attachment::new(fd), len)
    }

    /// Maps what has come with a message: [`open`](Self::open), for a type that travels.
    ///
    /// # Errors
    ///
    /// As of [`open`](Self::open).
    pub fn adopt(fd: Attachment, len: usize) -> io::Result<Self> {
        let sealed = fcntl_get_seals(&fd).is_ok_and(|seals| seals.contains(SEALS));
        if !sealed || usize::try_from(fstat(&fd)?.st_size) != Ok(len) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a sealed memory file of the agreed size"));
        }
        Ok(Self { map: Mapping::writable(fd.as_fd(), len)?, fd })
    }

    /// Maps a file whose size nobody may change, though somebody could: that of memory with a name.
    pub(crate) fn of_file(fd: Attachment, len: usize) -> io::Result<Self> {
        Ok(Self { map: Mapping::writable(fd.as_fd(), len)?, fd })
    }

    /// The descriptor to send to another process.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The same, to be put beside a message, where it costs no further descriptor.
    ///
    /// ```
    /// use concurrent_futures_core::attach;
    /// use concurrent_futures_ipc::SharedMemory;
    ///
    /// let memory = SharedMemory::create(4096)?;
    /// let mut beside = Vec::new();
    /// let place = attach::collect(&mut beside, || attach::put(memory.attachment()))?;
    /// let there = attach::provide(attach::Arrived::all(beside), || attach::take(place))?;
    /// assert_eq!(SharedMemory::adopt(there, 4096)?.len(), 4096);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn attachment(&self) -> &Attachment {
        &self.fd
    }

    /// Where it begins: at the start of a page. Mapped, readable and writable for [`len`](Self::len) bytes as long as this
    /// value lives. Others may write there at any time, so a reference may lead only to atomics.
    pub fn start(&self) -> NonNull<u8> {
        self.map.start()
    }

    /// How many bytes it has.
    #[expect(clippy::len_without_is_empty, reason = "a mapping is never empty")]
    pub fn len(&self) -> usize {
        self.map.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

    fn last(memory: &SharedMemory) -> &AtomicU8 {
        // SAFETY: the last byte is within the mapping.
        let last = unsafe { memory.start().add(memory.len() - 1) };
        // SAFETY: mapped as long as the borrow, and any bit pattern is a valid atomic.
        unsafe { last.cast().as_ref() }
    }

    #[test]
    fn both_mappings_see_the_same() {
        let ours = SharedMemory::create(5000).unwrap();
        let theirs = SharedMemory::open(ours.fd().try_clone_to_owned().unwrap(), 5000).unwrap();
        assert_eq!(last(&theirs).load(Relaxed), 0);
        last(&ours).store(7, Relaxed);
        assert_eq!(last(&theirs).load(Relaxed), 7);
        drop(ours);
        assert_eq!(last(&theirs).load(Relaxed), 7);
    }

    #[test]
    fn the_size_is_fixed_for_ever() {
        let memory = SharedMemory::create(4096).unwrap();
        assert_eq!(ftruncate(memory.fd(), 0), Err(rustix::io::Errno::PERM));
        assert_eq!(ftruncate(memory.fd(), 8192), Err(rustix::io::Errno::PERM));
        assert_eq!(fcntl_add_seals(memory.fd(), SealFlags::WRITE), Err(rustix::io::Errno::PERM));
    }

    #[test]
    fn what_is_not_sealed_or_has_another_size_is_refused() {
        let memory = SharedMemory::create(4096).unwrap();
        let refused = SharedMemory::open(memory.fd().try_clone_to_owned().unwrap(), 4104);
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidData);

        let open = memfd_create("open", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&open, 4096).unwrap();
        assert_eq!(SharedMemory::open(open, 4096).unwrap_err().kind(), io::ErrorKind::InvalidData);

        let file = std::fs::File::open("/proc/self/exe").unwrap();
        assert_eq!(SharedMemory::open(file.into(), 4096).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
