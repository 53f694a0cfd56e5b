//! Whole messages, with descriptors, over a pair of sockets that keeps their bounds.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// The most descriptors that one message carries; the kernel's own limit.
pub const MAX_FDS: usize = 253;

const FD_SPACE: usize = rustix::cmsg_space!(ScmRights(MAX_FDS));

/// Two ends that carry whole messages with descriptors; end of file when the other end is gone.
///
/// ```
/// use concurrent_futures_ipc::message;
/// use std::os::fd::AsFd;
///
/// let (ours, theirs) = message::pair()?;
/// let (reader, _writer) = std::io::pipe()?;
/// message::send(&ours, b"with a pipe", &[reader.as_fd()])?;
/// let mut bytes = [0; 100];
/// let received = message::receive(&theirs, &mut bytes)?.expect("it is there");
/// assert_eq!((&bytes[..received.len], received.fds.len()), (&b"with a pipe"[..], 1));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// No descriptor is left.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// What arrived: the first `len` bytes of the buffer and the descriptors, each close-on-exec.
#[derive(Debug)]
pub struct Received {
    /// So many bytes of the buffer.
    pub len: usize,
    /// In the order in which they were sent.
    pub fds: Vec<OwnedFd>,
}

/// Sends one message, all of it or nothing. A broken pipe is an error, never a signal.
///
/// # Errors
///
/// `InvalidInput` for an empty message (the receiver could not tell it from the end) and for more than
/// [`MAX_FDS`] descriptors; `WouldBlock` on a non-blocking socket whose buffer is full.
pub fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    send_with(socket, bytes, fds, SendFlags::empty())
}

/// As [`send`], with flags.
///
/// # Errors
///
/// As of [`send`].
pub fn send_with(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>], flags: SendFlags) -> io::Result<()> {
    if bytes.is_empty() || fds.len() > MAX_FDS {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let mut space = [MaybeUninit::uninit(); FD_SPACE];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let sent = retry_on_intr(|| sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, flags | SendFlags::NOSIGNAL))?;
    if sent == bytes.len() { Ok(()) } else { Err(io::Error::from(io::ErrorKind::WriteZero)) }
}

/// Receives one message, or `None` at the end: the other side is gone.
///
/// Descriptors for which this process has no room any more are missing, and those beyond [`MAX_FDS`]: the
/// receiver knows how many there should be.
///
/// # Errors
///
/// `InvalidData` for a message that does not fit the buffer (it is consumed, its descriptors are closed);
/// `WouldBlock` on a non-blocking socket with nothing to read.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Option<Received>> {
    receive_with(socket, buffer, RecvFlags::empty())
}

/// As [`receive`], with flags.
///
/// # Errors
///
/// As of [`receive`].
pub fn receive_with(socket: impl AsFd, buffer: &mut [u8], flags: RecvFlags) -> io::Result<Option<Received>> {
    let mut space = [MaybeUninit::uninit(); FD_SPACE];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        match recvmsg(&socket, &mut [IoSliceMut::new(buffer)], &mut control, flags | RecvFlags::CMSG_CLOEXEC) {
            // A peer that ended with unread messages resets the connection. The kernel says so once and first;
            // after that comes what the peer had sent, and then the end.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            other => break other?,
        }
    };
    let mut fds = Vec::new();
    for item in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = item {
            fds.extend(rights);
        }
    }
    if message.flags.contains(ReturnFlags::TRUNC) {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    if message.bytes == 0 {
        return Ok(None);
    }
    Ok(Some(Received { len: message.bytes, fds }))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn messages_keep_their_bounds_and_descriptors_are_usable() {
        let (a, b) = pair().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        send(&a, b"one", &[writer.as_fd()]).unwrap();
        send(&a, b"two", &[]).unwrap();
        drop(writer);

        let mut buffer = [0; 16];
        let first = receive(&b, &mut buffer).unwrap().unwrap();
        assert_eq!(&buffer[..first.len], b"one");
        assert_eq!(first.fds.len(), 1);
        assert!(rustix::io::fcntl_getfd(&first.fds[0]).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        rustix::io::write(&first.fds[0], b"through").unwrap();
        drop(first);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");

        let second = receive(&b, &mut buffer).unwrap().unwrap();
        assert_eq!((&buffer[..second.len], second.fds.len()), (&b"two"[..], 0));
    }

    #[test]
    fn what_a_peer_has_sent_arrives_before_the_end_also_when_it_left_messages_unread() {
        let (a, b) = pair().unwrap();
        send(&b, b"never read", &[]).unwrap();
        send(&a, b"last", &[]).unwrap();
        drop(a);
        let mut buffer = [0; 8];
        assert_eq!(receive(&b, &mut buffer).unwrap().unwrap().len, 4);
        assert!(receive(&b, &mut buffer).unwrap().is_none());
        assert_eq!(send(&b, b"x", &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_message_that_does_not_fit_is_an_error_and_leaks_nothing() {
        let (a, b) = pair().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        send(&a, b"too long", &[writer.as_fd()]).unwrap();
        drop(writer);
        assert_eq!(receive(&b, &mut [0; 4]).unwrap_err().kind(), io::ErrorKind::InvalidData);
        // The descriptor in it was the last writer: had it leaked, this would wait for ever.
        assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
    }

    #[test]
    fn empty_messages_and_too_many_descriptors_are_refused() {
        let (a, b) = pair().unwrap();
        assert_eq!(send(&a, b"", &[]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let fds = [b.as_fd(); MAX_FDS + 1];
        assert_eq!(send(&a, b"x", &fds).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_non_blocking_socket_says_so() {
        let (a, b) = pair().unwrap();
        rustix::io::ioctl_fionbio(&b, true).unwrap();
        assert_eq!(receive(&b, &mut [0; 4]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(a);
        assert!(receive(&b, &mut [0; 4]).unwrap().is_none());
    }
}
