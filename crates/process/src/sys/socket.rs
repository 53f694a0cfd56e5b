//! Pairs of connected AF_UNIX sockets, and who is at the other end of one.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

/// Two ends that carry whole messages with descriptors; end of file when the other end is gone.
pub(crate) fn packet_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    pair(SocketType::SEQPACKET)
}

/// Two ends that carry a stream of bytes.
pub(crate) fn stream_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    pair(SocketType::STREAM)
}

/// Whether calls on this descriptor return at once instead of waiting. The mode belongs to the open
/// file: whoever holds a duplicate shares it, the other end of a pair does not.
pub(crate) fn set_nonblocking(fd: impl AsFd, nonblocking: bool) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(fd, nonblocking)?)
}

/// Whether nobody has the other end any more.
pub(crate) fn has_ended(socket: impl AsFd) -> io::Result<bool> {
    let mut sources = [PollFd::new(&socket, PollFlags::empty())];
    rustix::io::retry_on_intr(|| poll(&mut sources, Some(&Timespec::default())))?;
    Ok(sources[0].revents().contains(PollFlags::HUP))
}

/// The process that made the pair a socket belongs to. Zero where that process is outside this pid namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) pid: i32,
    pub(crate) uid: u32,
}

/// Who made the pair that `socket` belongs to; an error where it is not a connected AF_UNIX socket.
pub(crate) fn peer(socket: impl AsFd) -> io::Result<Peer> {
    // rustix has this call too, but with a pid type for which the kernel's zero is invalid.
    let mut credentials = MaybeUninit::<libc::ucred>::zeroed();
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the descriptor is open for the time of the borrow, the kernel writes at most `len` bytes to
    // the buffer, which is that large, and both pointers are valid for the call.
    let status = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            credentials.as_mut_ptr().cast(),
            &mut len,
        )
    };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    if len as usize != size_of::<libc::ucred>() {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    // SAFETY: zeroed memory is a valid `ucred` (integers only), and the kernel has filled all of it.
    let credentials = unsafe { credentials.assume_init() };
    // Other families answer too, with nobody: pid 0 and uid -1.
    if credentials.pid == 0 && credentials.uid == u32::MAX {
        return Err(io::Error::from(io::ErrorKind::NotConnected));
    }
    Ok(Peer { pid: credentials.pid, uid: credentials.uid })
}

fn pair(kind: SocketType) -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_close_on_exec() {
        let (a, b) = packet_pair().unwrap();
        let (c, d) = stream_pair().unwrap();
        for fd in [a, b, c, d] {
            assert!(rustix::io::fcntl_getfd(&fd).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        }
    }

    #[test]
    fn the_end_of_the_other_end_is_seen_though_something_is_unread() {
        let (a, b) = packet_pair().unwrap();
        super::super::message::send(&a, b"x", &[]).unwrap();
        assert!(!has_ended(&b).unwrap());
        drop(a);
        // A program that another test starts may have a copy until it has come to its exec.
        let limit = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !has_ended(&b).unwrap() {
            assert!(std::time::Instant::now() < limit);
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_peer_of_a_pair_is_its_maker() {
        let (a, _b) = packet_pair().unwrap();
        let me = Peer { pid: std::process::id() as i32, uid: rustix::process::getuid().as_raw() };
        assert_eq!(peer(&a).unwrap(), me);
    }

    #[test]
    fn a_file_and_a_lonely_socket_have_no_peer() {
        assert!(peer(std::fs::File::open("/dev/null").unwrap()).is_err());
        assert!(peer(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).is_err());
    }
}
