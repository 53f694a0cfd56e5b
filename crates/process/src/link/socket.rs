//! The data path over a stream socket.

use super::inbox::{Filled, Inbox, Source, garbled};
use super::outbox::Outbox;
use super::{Bytes, Frame, Inbound, Inflow, Outbound, Pair, Wiring, WorkerEnd};
use crate::sys::poller::Interest;
use crate::sys::socket;
use crate::wire::{DOWN, Down, Head, UP, Up};
use concurrent_futures_core::codec::Parts;
use parking_lot::Mutex;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, sendmsg};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Makes a data path, which the poller watches from now on.
pub(super) fn pair(wiring: Wiring) -> io::Result<Pair> {
    let (parent, worker) = socket::stream_pair()?;
    socket::set_nonblocking(&parent, true)?;
    wiring.poller.add(&parent, wiring.token, Interest::READ)?;
    let fd = Arc::new(parent);
    let outbound = Arc::new(Sending { fd: fd.clone(), wiring, queue: Mutex::default() });
    Ok(Pair { outbound, inbound: Box::new(Receiving { fd, inbox: Inbox::new() }), worker: vec![worker] })
}

#[derive(Debug)]
struct Sending {
    fd: Arc<OwnedFd>,
    wiring: Wiring,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    outbox: Outbox,
    flow: Flow,
}

/// Who moves the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Flow {
    /// Nobody; whoever posts next does.
    #[default]
    Idle,
    /// A thread is at it. It looks at the queue again before it stops.
    Moving,
    /// The socket is full; the supervisor goes on when it has room.
    Blocked,
    /// The worker is gone.
    Closed,
}

impl Outbound for Sending {
    fn post_with_parts(&self, head: Down, body: Option<&Bytes>, parts: Option<&Arc<Parts>>) {
        let mut queue = self.queue.lock();
        if queue.flow != Flow::Closed {
            queue.outbox.push(&head.encode(), body, parts);
        }
    }

    fn post_frames(&self, frames: &[u8]) {
        let mut queue = self.queue.lock();
        if queue.flow != Flow::Closed {
            queue.outbox.push(frames, None, None);
        }
    }

    fn flush(&self) {
        self.advance(Flow::Idle);
    }

    fn resume(&self) {
        self.advance(Flow::Blocked);
    }

    fn close(&self) {
        let dropped = {
            let mut queue = self.queue.lock();
            queue.flow = Flow::Closed;
            std::mem::take(&mut queue.outbox)
        };
        drop(dropped);
    }
}

impl Sending {
    /// Moves bytes if the queue is in the state `from`. The lock is not held while they are sent.
    fn advance(&self, from: Flow) {
        let mut queue = self.queue.lock();
        if queue.flow != from {
            return;
        }
        if from == Flow::Blocked {
            self.watch(Interest::READ);
        }
        queue.flow = Flow::Moving;
        while !queue.outbox.is_empty() {
            let mut batch = std::mem::take(&mut queue.outbox);
            drop(queue);
            let moved = batch.drain(|slices| self.send(slices));
            queue = self.queue.lock();
            if queue.flow == Flow::Closed {
                // `batch` is dropped without the lock.
                drop(queue);
                return;
            }
            match moved {
                Ok(()) => queue.outbox.reuse(batch),
                Err(Errno::AGAIN) => {
                    batch.append(std::mem::take(&mut queue.outbox));
                    queue.outbox = batch;
                    queue.flow = Flow::Blocked;
                    self.watch(Interest::BOTH);
                    return;
                }
                Err(_) => {
                    // The other end is closed. The supervisor reads the end of the stream and deals with the worker.
                    queue.flow = Flow::Closed;
                    batch.append(std::mem::take(&mut queue.outbox));
                    drop(queue);
                    return;
                }
            }
        }
        queue.flow = Flow::Idle;
    }

    fn send(&self, slices: &[IoSlice<'_>]) -> rustix::io::Result<usize> {
        let mut no_control = SendAncillaryBuffer::default();
        retry_on_intr(|| sendmsg(&self.fd, slices, &mut no_control, SendFlags::NOSIGNAL))
    }

    fn watch(&self, interest: Interest) {
        // An error means that the supervisor has stopped watching this worker: it is gone.
        let _ = self.wiring.poller.modify(&self.fd, self.wiring.token, interest);
    }
}

#[derive(Debug)]
struct Receiving {
    fd: Arc<OwnedFd>,
    inbox: Inbox<Up, UP>,
}

impl Inbound for Receiving {
    fn receive(&mut self, budget: usize, frames: &mut Vec<Frame<Up>>) -> io::Result<Inflow> {
        let mut received = 0;
        loop {
            while let Some(frame) = self.inbox.next().map_err(garbled)? {
                frames.push(frame);
            }
            if received >= budget {
                return Ok(Inflow::Dry);
            }
            match self.inbox.fill(&mut Socket(&self.fd)) {
                Ok(Filled::Full(bytes)) => received += bytes,
                // What is left, if anything, is reported by the poller.
                Ok(Filled::Short(_)) => received = budget,
                Ok(Filled::End) => return Ok(Inflow::End),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Inflow::Dry),
                // So it ends when the worker died with something unread.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(Inflow::End),
                Err(error) => return Err(error),
            }
        }
    }

    fn arm(&mut self) -> bool {
        false
    }

    fn disarm(&mut self) {}

    fn is_quiet(&self) -> bool {
        false
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The worker's end, which blocks.
#[derive(Debug)]
pub(super) struct SocketEnd {
    fd: OwnedFd,
    inbox: Inbox<Down, DOWN>,
    held: Vec<u8>,
}

/// More than this is not held back.
const HOLD: usize = 32 * 1024;
/// As many pieces go with one call.
const SLICES: usize = 64;

impl SocketEnd {
    pub(super) fn new(fd: OwnedFd) -> Self {
        SocketEnd { fd, inbox: Inbox::new(), held: Vec::new() }
    }

    fn write(&mut self, body: &[u8], parts: &Parts) -> io::Result<()> {
        let parts = parts.iter().map(|(bytes, _)| IoSlice::new(bytes));
        let mut slices: Vec<_> = [IoSlice::new(&self.held), IoSlice::new(body)].into_iter().chain(parts).collect();
        let mut left = &mut slices[..];
        // What is empty is gone before anything is sent.
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            let some = left.len().min(SLICES);
            let mut no_control = SendAncillaryBuffer::default();
            let sent = retry_on_intr(|| sendmsg(&self.fd, &left[..some], &mut no_control, SendFlags::NOSIGNAL))?;
            IoSlice::advance_slices(&mut left, sent);
        }
        self.held.clear();
        Ok(())
    }
}

impl WorkerEnd for SocketEnd {
    fn receive(&mut self) -> io::Result<Option<Frame<Down>>> {
        loop {
            if let Some(frame) = self.inbox.next().map_err(garbled)? {
                return Ok(Some(frame));
            }
            self.flush()?;
            if self.inbox.fill(&mut Socket(&self.fd))? == Filled::End {
                return match self.inbox.is_partial() {
                    true => Err(io::ErrorKind::UnexpectedEof.into()),
                    false => Ok(None),
                };
            }
        }
    }

    fn send_with_parts(&mut self, head: Up, body: &[u8], parts: &Parts) -> io::Result<()> {
        self.held.extend_from_slice(&head.encode());
        if body.len() > HOLD || !parts.is_empty() {
            return self.write(body, parts);
        }
        self.held.extend_from_slice(body);
        if self.held.len() > HOLD { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write(&[], &Parts::default())
    }

    #[cfg(any(test, feature = "chaos"))]
    fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes, &Parts::default())
    }
}

struct Socket<'a>(&'a OwnedFd);

impl Source for Socket<'_> {
    fn read<'a>(&mut self, room: &'a mut [MaybeUninit<u8>]) -> io::Result<&'a mut [u8]> {
        let read = retry_on_intr(|| recv(self.0, &mut *room, RecvFlags::empty()).map(|((read, _), _)| read.len()))?;
        // SAFETY: the first `read` bytes of the room have just been written.
        Ok(unsafe { room[..read].assume_init_mut() })
    }
}
