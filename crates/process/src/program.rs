//! What other crates of this library ask about this program and this process.

pub use crate::image::NotInImage;

use crate::handles::{Parcel, forget_parked};
use crate::image::Image;
use crate::sys::{signals, socket};
use std::io;
use std::os::fd::AsFd;

/// The offset, in the main image, of `len` bytes at `address` that are the same in all runs: constants of the program.
///
/// # Errors
/// They are not in the main image, or where it could be written to.
pub fn offset_of_constant(address: usize, len: usize) -> Result<u64, NotInImage> {
    Image::of_program().constant_offset(address, len).ok_or(NotInImage::Address(address))
}

/// The address of `len` bytes at `offset`, of which another process has said that they are a constant: it is checked that nobody
/// could have written them.
///
/// # Errors
/// They are not in the main image, or where it could be written to.
pub fn constant_at(offset: u64, len: usize) -> Result<usize, NotInImage> {
    Image::of_program().constant_at(offset, len).ok_or(NotInImage::Offset(offset))
}

/// What the linker has called this build, if it has given it a name.
pub fn build_id() -> Option<&'static [u8]> {
    Image::of_program().build_id()
}

/// The user at the other end of a connected Unix socket.
///
/// # Errors
/// It is no such socket.
pub fn peer_user(socket: impl AsFd) -> io::Result<u32> {
    socket::peer(socket).map(|peer| peer.uid)
}

/// Takes away the handles of `ipc-channel` that this thread has encoded, for a message on which they cannot travel. Whether
/// there were some.
///
/// # Errors
/// It cannot be found out, for want of descriptors or memory.
pub fn drop_handles() -> io::Result<bool> {
    Parcel::pack().map(|parcel| parcel.is_some()).inspect_err(|_| forget_parked())
}

/// SIGINT means nothing to this process from now on: Ctrl-C is for the one that the user sees.
///
/// # Errors
/// None that is known.
pub fn ignore_interrupts() -> io::Result<()> {
    signals::ignore(libc::SIGINT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    static CONSTANT: [u64; 2] = [1, 2];

    #[test]
    fn constants_are_found_again() {
        let address = &raw const CONSTANT as usize;
        let offset = offset_of_constant(address, 16).unwrap();
        assert_eq!(constant_at(offset, 16).unwrap(), address);
        // An address within a constant is filled in when the program is loaded, and then the kernel forbids writing.
        const WITH_ADDRESS: &(fn(), u64) = &(constants_are_found_again, 7);
        let address = &raw const *WITH_ADDRESS as usize;
        let offset = offset_of_constant(address, 16).unwrap();
        assert_eq!(constant_at(offset, 16).unwrap(), address);
    }

    #[test]
    fn what_can_change_is_refused() {
        static CHANGES: AtomicU64 = AtomicU64::new(5);
        CHANGES.store(6, Ordering::Relaxed);
        let (local, heap) = (7_u64, Box::new(8_u64));
        for address in
            [&raw const CHANGES as usize, &raw const local as usize, &raw const *heap as usize, 0, usize::MAX - 3]
        {
            assert_eq!(offset_of_constant(address, 8), Err(NotInImage::Address(address)));
        }
        assert!(constant_at(u64::MAX, 8).is_err() && constant_at(1 << 46, 8).is_err());
        let end = offset_of_constant(&raw const CONSTANT as usize, 16).unwrap();
        assert!(constant_at(end, usize::MAX).is_err() && constant_at(end, 1 << 40).is_err());
    }

    #[test]
    fn the_build_has_its_name_in_its_notes_or_none() {
        assert!(build_id().is_none_or(|id| (8..=64).contains(&id.len())));
    }

    #[test]
    fn the_user_of_a_pair_is_this_one() {
        let (a, _b) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(peer_user(&a).unwrap(), rustix::process::geteuid().as_raw());
        assert!(peer_user(std::fs::File::open("/dev/null").unwrap()).is_err());
    }
}
