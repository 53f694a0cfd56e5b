//! Bytes of any length that travel as a descriptor, for what does not fit a message.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;

use concurrent_futures_ipc::file_size;
use rustix::fs::{MemfdFlags, memfd_create};

/// Puts `bytes` into an anonymous file and gives its descriptor.
pub(crate) fn write(bytes: &[u8]) -> io::Result<OwnedFd> {
    file_size::check(bytes.len() as u64)?;
    let mut file = File::from(memfd_create("concurrent-futures", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}

/// Takes the bytes out again.
///
/// # Errors
///
/// `InvalidData` when there are more than `limit`.
pub(crate) fn read(fd: OwnedFd, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::from(fd).take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "longer than agreed"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in() {
        assert_eq!(read(write(b"").unwrap(), 0).unwrap(), b"");
        let large = vec![7; 300_000];
        assert_eq!(read(write(&large).unwrap(), 300_000).unwrap(), large);
    }

    #[test]
    fn too_many_bytes_are_refused() {
        assert_eq!(read(write(b"abc").unwrap(), 2).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
