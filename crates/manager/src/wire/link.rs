//! A connected socket that carries frames.

use super::{CALLER, Caller, Frame, HEADER};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::sockopt;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, send, sendmsg,
};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// The most descriptors that one frame carries.
pub(crate) const MAX_FDS: usize = concurrent_futures_core::attach::MAX;
/// The kernel's own limit for one message. What a frame has more goes with bytes of its header, one by one.
const AT_ONCE: usize = 253;
const _: () = assert!(MAX_FDS <= AT_ONCE * HEADER && MAX_FDS <= u16::MAX as usize);
const FD_SPACE: usize = rustix::cmsg_space!(ScmRights(AT_ONCE));

/// What is read at once; a frame that is larger is read into its own memory.
const BUFFER: usize = 8 << 10;
/// Memory is made for what has arrived, and for so much ahead.
const STEP: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct Link {
    /// Shared with those who may have to end the connection.
    socket: Arc<OwnedFd>,
    /// Carries descriptors.
    local: bool,
    buffer: Box<[u8]>,
    /// What of the buffer is filled and not used yet.
    unread: std::ops::Range<usize>,
    /// Those that came with what was read.
    descriptors: VecDeque<OwnedFd>,
    out: Vec<u8>,
}

impl Link {
    pub(crate) fn new(socket: OwnedFd, local: bool) -> Self {
        Link::shared(Arc::new(socket), local)
    }

    pub(crate) fn shared(socket: Arc<OwnedFd>, local: bool) -> Self {
        let (buffer, descriptors) = (vec![0; BUFFER].into(), VecDeque::new());
        Link { socket, local, buffer, unread: 0..0, descriptors, out: Vec::new() }
    }

    pub(crate) fn is_local(&self) -> bool {
        self.local
    }

    /// For who may have to end the connection from elsewhere.
    pub(crate) fn socket(&self) -> Weak<OwnedFd> {
        Arc::downgrade(&self.socket)
    }

    /// The connection, without what has been read of it.
    pub(crate) fn into_socket(self) -> io::Result<OwnedFd> {
        // If somebody ends it at this moment, that is of no use any more.
        Arc::try_unwrap(self.socket).or_else(|socket| socket.try_clone())
    }

    /// Sends a frame, with these descriptors.
    ///
    /// # Errors
    /// `InvalidInput`: it is no frame, nothing was sent. Otherwise the connection is over.
    pub(crate) fn send(&mut self, frame: &Frame, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.out.clear();
        let fits = frame.put_header(descriptors.len(), &mut self.out).filter(|()| self.local || descriptors.is_empty());
        fits.ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "it is too large for one message"))?;
        let mut chunks = descriptors.chunks(AT_ONCE);
        let last = chunks.next_back().unwrap_or_default();
        let mut sent = 0;
        for chunk in chunks {
            sent += send_with(&self.socket, &[IoSlice::new(&self.out[sent..=sent])], chunk)?;
        }
        // At once, so that the other side wakes once; as a rule all of it is taken.
        sent += send_with(&self.socket, &[IoSlice::new(&self.out[sent..]), IoSlice::new(&frame.value)], last)?;
        let rest = sent.saturating_sub(self.out.len());
        send_all(&self.socket, &self.out[sent.min(self.out.len())..])?;
        send_all(&self.socket, &frame.value[rest..])
    }

    /// The next frame; `None` at the end.
    ///
    /// # Errors
    /// `InvalidData`: this was no frame. The end within a frame is `UnexpectedEof`.
    pub(crate) fn receive(&mut self) -> io::Result<Option<Frame>> {
        while self.unread.len() < HEADER {
            if self.fill()? == 0 {
                return if self.unread.is_empty() { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
            }
        }
        let header: [u8; HEADER] = std::array::from_fn(|i| self.buffer[self.unread.start + i]);
        self.unread.start += HEADER;
        let (mut frame, [references, callers, value]) =
            Frame::parse(&header).ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "this is no frame"))?;
        if references > 0 {
            let bytes = self.take(references)?;
            let numbers = bytes.as_chunks::<8>().0;
            frame.references = numbers.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        }
        if callers > 0 {
            let bytes = self.take(callers)?;
            let callers = bytes.as_chunks::<CALLER>().0.iter().map(caller);
            frame.callers = callers.collect();
        }
        frame.value = self.take(value)?;
        // They come with the header. What is left belongs to the next frame, of which something has come as well.
        let here = frame.announced.min(self.descriptors.len());
        frame.descriptors = self.descriptors.drain(..here).collect();
        let next = if self.unread.is_empty() { 0 } else { MAX_FDS };
        if self.descriptors.len() > next {
            return Err(io::Error::new(ErrorKind::InvalidData, "descriptors that nobody has announced"));
        }
        Ok(Some(frame))
    }

    fn take(&mut self, len: usize) -> io::Result<Vec<u8>> {
        let here = len.min(self.unread.len());
        let mut bytes = self.buffer[self.unread.start..self.unread.start + here].to_vec();
        self.unread.start += here;
        while bytes.len() < len {
            let filled = bytes.len();
            bytes.resize(len.min(filled + filled.max(STEP)), 0);
            let read = receive_into(&self.socket, self.local, &mut bytes[filled..], &mut self.descriptors)?;
            if read == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            bytes.truncate(filled + read);
        }
        Ok(bytes)
    }

    fn fill(&mut self) -> io::Result<usize> {
        if self.unread.is_empty() {
            self.unread = 0..0;
        } else if self.unread.end == self.buffer.len() {
            self.buffer.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        let read = receive_into(&self.socket, self.local, &mut self.buffer[self.unread.end..], &mut self.descriptors)?;
        self.unread.end += read;
        Ok(read)
    }

    /// Whether a part of a frame is here already.
    pub(crate) fn has_more(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Bytes that are no frame, all of them before `deadline`.
    pub(crate) fn receive_exact<const N: usize>(&mut self, deadline: Instant) -> io::Result<[u8; N]> {
        while self.unread.len() < N {
            if !readable(&self.socket, Some(deadline))? {
                return Err(ErrorKind::TimedOut.into());
            }
            if self.fill()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let bytes = std::array::from_fn(|i| self.buffer[self.unread.start + i]);
        self.unread.start += N;
        Ok(bytes)
    }

    pub(crate) fn send_raw(&self, bytes: &[u8]) -> io::Result<()> {
        send_all(&self.socket, bytes)
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Whether the other side has ended the connection.
pub(crate) fn is_over(socket: impl AsFd) -> bool {
    let mut sources = [PollFd::new(&socket, PollFlags::RDHUP)];
    // What cannot be asked will be seen by who uses it.
    retry_on_intr(|| poll(&mut sources, Some(&Timespec::default()))).is_ok() && !sources[0].revents().is_empty()
}

/// Ends a connection, if it has not ended yet: who uses it sees that.
pub(crate) fn hang_up(socket: &Weak<OwnedFd>) {
    if let Some(socket) = socket.upgrade() {
        // One that is over already is what is wanted.
        let _ = rustix::net::shutdown(&*socket, rustix::net::Shutdown::Both);
    }
}

fn caller(bytes: &[u8; CALLER]) -> Caller {
    let (server, object) = (std::array::from_fn(|i| bytes[i]), std::array::from_fn(|i| bytes[16 + i]));
    (server, u64::from_le_bytes(object))
}

fn send_with(socket: &OwnedFd, bytes: &[IoSlice<'_>], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); FD_SPACE];
    let mut control = SendAncillaryBuffer::new(if descriptors.is_empty() { &mut [] } else { &mut space });
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("more descriptors than the kernel takes at once"));
    }
    Ok(retry_on_intr(|| sendmsg(socket, bytes, &mut control, SendFlags::NOSIGNAL))?)
}

fn send_all(socket: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let sent = retry_on_intr(|| send(socket, bytes, SendFlags::NOSIGNAL))?;
        bytes = &bytes[sent..];
    }
    Ok(())
}

fn receive_into(
    socket: &OwnedFd,
    local: bool,
    buffer: &mut [u8],
    descriptors: &mut VecDeque<OwnedFd>,
) -> io::Result<usize> {
    if !local {
        return Ok(retry_on_intr(|| rustix::net::recv(socket, &mut *buffer, RecvFlags::empty()))?.0);
    }
    let mut space = [MaybeUninit::uninit(); FD_SPACE];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        match recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    for item in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = item {
            descriptors.extend(rights);
        }
    }
    Ok(message.bytes)
}

/// Waits until there is something to read, or the end. `false`: not before `deadline`.
pub(crate) fn readable(socket: impl AsFd, deadline: Option<Instant>) -> io::Result<bool> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let mut sources = [PollFd::new(&socket, PollFlags::IN)];
        match poll(&mut sources, left.map(timespec).as_ref()) {
            Err(Errno::INTR) => {}
            Ok(0) if deadline.is_some_and(|deadline| Instant::now() >= deadline) => return Ok(false),
            Ok(0) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

/// A machine that has gone without a word is noticed after about two minutes, also while something is on its way to it. (So is one that
/// has read nothing of a large frame for so long.)
pub(crate) fn keep_alive(socket: &OwnedFd) -> io::Result<()> {
    sockopt::set_tcp_user_timeout(socket, 120_000)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, Duration::from_secs(60))?;
    sockopt::set_tcp_keepintvl(socket, Duration::from_secs(15))?;
    sockopt::set_tcp_keepcnt(socket, 4)?;
    Ok(())
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: duration.subsec_nanos().into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use std::io::Read;

    fn pair() -> (Link, Link) {
        let (a, b) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        (Link::new(a, true), Link::new(b, true))
    }

    #[test]
    fn frames_of_all_sizes_come_back_with_their_descriptors() {
        let (mut a, mut b) = pair();
        for size in [0, 1, BUFFER - HEADER, BUFFER, STEP + 1, 5 << 20] {
            let (mut reader, writer) = io::pipe().unwrap();
            let value: Vec<u8> = (0..size).map(|i| i as u8).collect();
            let expected = value.clone();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let frame = Frame { code: 3, references: vec![7; 3], value, ..Frame::default() };
                    a.send(&frame, &[writer.as_fd()]).unwrap();
                    a.send(&Frame { code: 4, ..Frame::default() }, &[]).unwrap();
                    drop(writer);
                });
                let frame = b.receive().unwrap().unwrap();
                assert_eq!((frame.code, frame.references, frame.value == expected), (3, vec![7; 3], true));
                rustix::io::write(&frame.descriptors[0], b"through").unwrap();
                let next = b.receive().unwrap().unwrap();
                assert_eq!((next.code, next.descriptors.len()), (4, 0));
            });
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            assert_eq!(text, "through");
        }
        drop(a);
        assert!(b.receive().unwrap().is_none());
    }

    #[test]
    fn a_frame_has_more_descriptors_than_go_at_once() {
        let (mut a, mut b) = pair();
        let (reader, writer) = io::pipe().unwrap();
        for count in [AT_ONCE, AT_ONCE + 1, 3 * AT_ONCE] {
            let mut all = vec![reader.as_fd(); count];
            all[count - 1] = writer.as_fd();
            let frame = Frame { code: 5, references: vec![1; count], value: vec![2; 100], ..Frame::default() };
            a.send(&frame, &all).unwrap();
            a.send(&Frame::default(), &[]).unwrap();
            let back = b.receive().unwrap().unwrap();
            assert_eq!((back.code, back.references.len(), back.value, back.announced), (5, count, vec![2; 100], count));
            assert_eq!(back.descriptors.len(), count);
            rustix::io::write(back.descriptors.last().unwrap(), b"!").unwrap();
            rustix::io::read(&back.descriptors[0], &mut [0; 1]).unwrap();
            assert_eq!(b.receive().unwrap().unwrap().code, 0);
        }
    }

    #[test]
    fn a_length_without_bytes_takes_no_memory() {
        let (a, mut b) = pair();
        let mut header = Frame::default().header(0).unwrap();
        header[0..4].copy_from_slice(&(super::super::MAX_VALUE as u32).to_le_bytes());
        a.send_raw(&header).unwrap();
        a.send_raw(&[1; 100]).unwrap();
        drop(a);
        assert_eq!(b.receive().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn garbage_and_descriptors_that_were_not_announced_are_refused() {
        let (a, mut b) = pair();
        a.send_raw(&[0xff; 64]).unwrap();
        assert_eq!(b.receive().unwrap_err().kind(), ErrorKind::InvalidData);

        let (a, mut b) = pair();
        let header = Frame::default().header(0).unwrap();
        let mut space = [MaybeUninit::uninit(); FD_SPACE];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let stray = [b.as_fd()];
        assert!(control.push(SendAncillaryMessage::ScmRights(&stray)));
        sendmsg(&a.socket, &[IoSlice::new(&header)], &mut control, SendFlags::NOSIGNAL).unwrap();
        assert_eq!(b.receive().unwrap_err().kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn a_frame_that_is_too_large_is_not_sent() {
        let (mut a, mut b) = pair();
        let large = Frame { value: vec![0; super::super::MAX_VALUE + 1], ..Frame::default() };
        assert_eq!(a.send(&large, &[]).unwrap_err().kind(), ErrorKind::InvalidInput);
        a.send(&Frame { code: 9, ..Frame::default() }, &[]).unwrap();
        assert_eq!(b.receive().unwrap().unwrap().code, 9);
    }

    /// A cancellation that came too late, and the next request, which are read at once.
    #[test]
    fn a_frame_has_its_own_descriptors() {
        let (mut a, mut b) = pair();
        let (reader, _writer) = io::pipe().unwrap();
        a.send(&Frame { code: 1, ..Frame::default() }, &[]).unwrap();
        a.send(&Frame { code: 2, ..Frame::default() }, &[reader.as_fd(); 2]).unwrap();
        a.send(&Frame { code: 3, value: vec![7; 2 * BUFFER], ..Frame::default() }, &[reader.as_fd(); 300]).unwrap();
        for (code, descriptors) in [(1, 0), (2, 2), (3, 300)] {
            let frame = b.receive().unwrap().unwrap();
            assert_eq!((frame.code, frame.descriptors.len()), (code, descriptors));
        }
    }

    #[test]
    fn a_machine_that_is_gone_is_noticed() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap().into();
        keep_alive(&socket).unwrap();
        assert!(sockopt::socket_keepalive(&socket).unwrap());
        assert_eq!(sockopt::tcp_user_timeout(&socket).unwrap(), 120_000);
    }

    #[test]
    fn what_is_late_has_a_deadline() {
        let (a, mut b) = pair();
        a.send_raw(&[1; 3]).unwrap();
        let soon = Instant::now() + Duration::from_millis(20);
        assert_eq!(b.receive_exact::<4>(soon).unwrap_err().kind(), ErrorKind::TimedOut);
        a.send_raw(&[1]).unwrap();
        assert_eq!(b.receive_exact::<4>(Instant::now() + Duration::from_secs(60)).unwrap(), [1; 4]);
    }
}
