//! The data path over a stream socket.

use super::inbox::{Filled, Inbox, Source, garbled};
use super::outbox::Outbox;
use super::{Bytes, Frame, Inbound, Inflow, Outbound, WorkerEnd};
use crate::sys::poller::{Interest, Poller};
use crate::sys::socket;
use crate::wire::{DOWN, Down, Head, UP, Up};
use parking_lot::Mutex;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, sendmsg};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// How the parent's half reaches the supervisor when it cannot send any more: the supervisor waits with `poller`, and
/// knows this link by `token`.
#[derive(Clone, Debug)]
pub(crate) struct Wiring {
    pub(crate) poller: Arc<Poller>,
    pub(crate) token: u64,
}

/// A new data path: the parent's two halves, and the descriptor for the worker.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) outbound: Arc<dyn Outbound>,
    pub(crate) inbound: Box<dyn Inbound>,
    pub(crate) worker: OwnedFd,
}

/// Makes a data path, which the poller watches from now on.
pub(crate) fn pair(wiring: Wiring) -> io::Result<Pair> {
    let (parent, worker) = socket::stream_pair()?;
    socket::set_nonblocking(&parent, true)?;
    wiring.poller.add(&parent, wiring.token, Interest::READ)?;
    let fd = Arc::new(parent);
    let outbound = Arc::new(Sending { fd: fd.clone(), wiring, queue: Mutex::default() });
    Ok(Pair { outbound, inbound: Box::new(Receiving { fd, inbox: Inbox::new() }), worker })
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
    fn post(&self, head: Down, body: Option<&Bytes>) {
        let mut queue = self.queue.lock();
        if queue.flow != Flow::Closed {
            queue.outbox.push(&head.encode(), body);
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

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }
}

/// The worker's end, which blocks.
#[derive(Debug)]
pub(crate) struct SocketEnd {
    fd: OwnedFd,
    inbox: Inbox<Down, DOWN>,
    held: Vec<u8>,
}

/// More than this is not held back.
const HOLD: usize = 32 * 1024;

impl SocketEnd {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        SocketEnd { fd, inbox: Inbox::new(), held: Vec::new() }
    }

    fn write(&mut self, body: &[u8]) -> io::Result<()> {
        let (mut held, mut body) = (&self.held[..], body);
        while !held.is_empty() || !body.is_empty() {
            let slices = [IoSlice::new(held), IoSlice::new(body)];
            let mut no_control = SendAncillaryBuffer::default();
            let sent = retry_on_intr(|| sendmsg(&self.fd, &slices, &mut no_control, SendFlags::NOSIGNAL))?;
            let of_held = sent.min(held.len());
            held = &held[of_held..];
            body = &body[sent - of_held..];
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

    fn send(&mut self, head: Up, body: &[u8]) -> io::Result<()> {
        self.held.extend_from_slice(&head.encode());
        if body.len() > HOLD {
            return self.write(body);
        }
        self.held.extend_from_slice(body);
        if self.held.len() > HOLD { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write(&[])
    }

    #[cfg(feature = "chaos")]
    fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes)
    }
}

struct Socket<'a>(&'a OwnedFd);

impl Source for Socket<'_> {
    fn read(&mut self, buffer: &mut Vec<u8>, limit: usize) -> io::Result<usize> {
        let room = &mut buffer.spare_capacity_mut()[..limit];
        let read = retry_on_intr(|| recv(self.0, &mut *room, RecvFlags::empty()).map(|((read, _), _)| read.len()))?;
        // SAFETY: the first `read` bytes of the spare capacity have just been written, and `limit` is within it.
        unsafe { buffer.set_len(buffer.len() + read) };
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Offsets, TaskHead, Ticket};
    use std::sync::atomic::{AtomicBool, Ordering};

    const TOKEN: u64 = 5;

    struct Rig {
        poller: Arc<Poller>,
        outbound: Arc<dyn Outbound>,
        inbound: Box<dyn Inbound>,
        worker: SocketEnd,
    }

    fn rig() -> Rig {
        let poller = Arc::new(Poller::new().unwrap());
        let Pair { outbound, inbound, worker } = pair(Wiring { poller: poller.clone(), token: TOKEN }).unwrap();
        Rig { poller, outbound, inbound, worker: SocketEnd::new(worker) }
    }

    fn task(seq: u32, len: usize) -> Down {
        Down::Task(TaskHead {
            ticket: Ticket { slot: 0, seq },
            call: Offsets { trampoline: 1, function: 2 },
            context: None,
            handles: false,
            announce: false,
            len: len as u64,
        })
    }

    fn reply(seq: u32, len: usize) -> Up {
        Up::Result {
            ticket: Ticket { slot: 0, seq },
            failed: false,
            again: false,
            retire: false,
            handles: false,
            len: len as u64,
        }
    }

    fn bytes(len: usize) -> Bytes {
        Bytes::from(vec![7; len])
    }

    /// What the supervisor does until `done`.
    fn supervise(rig: &mut Rig, frames: &mut Vec<Frame<Up>>, mut done: impl FnMut(&[Frame<Up>]) -> bool) {
        while !done(frames) {
            for ready in rig.poller.wait(None).unwrap() {
                assert_eq!(ready.token, TOKEN);
                if ready.writable {
                    rig.outbound.resume();
                }
                if ready.readable || ready.ended {
                    rig.inbound.receive(1 << 20, frames).unwrap();
                }
            }
        }
    }

    #[test]
    fn both_sides_send_large_bodies_at_the_same_time_and_neither_blocks_for_ever() {
        const LARGE: usize = 8 << 20;
        let mut rig = rig();
        let mut worker = std::mem::replace(&mut rig.worker, SocketEnd::new(socket::stream_pair().unwrap().0));
        std::thread::scope(|s| {
            s.spawn(move || {
                for seq in 0..3 {
                    worker.send(reply(seq, LARGE), &vec![seq as u8; LARGE]).unwrap();
                    let (head, body) = worker.receive().unwrap().unwrap();
                    assert_eq!((head, body.len()), (task(seq, LARGE), LARGE));
                }
            });
            for seq in 0..3 {
                rig.outbound.post(task(seq, LARGE), Some(&bytes(LARGE)));
            }
            rig.outbound.flush();
            let mut frames = Vec::new();
            supervise(&mut rig, &mut frames, |frames| frames.len() == 3);
            for (seq, (head, body)) in frames.iter().enumerate() {
                assert_eq!(*head, reply(seq as u32, LARGE));
                assert!(body.iter().all(|byte| usize::from(*byte) == seq));
            }
            // The worker may still be reading its last task.
            let mut left = Vec::new();
            loop {
                let ready = rig.poller.wait(None).unwrap();
                if ready.iter().any(|r| r.writable) {
                    rig.outbound.resume();
                }
                if ready.iter().any(|r| r.ended) && rig.inbound.receive(1, &mut left).unwrap() == Inflow::End {
                    break;
                }
            }
            assert!(left.is_empty());
        });
    }

    #[test]
    fn frames_of_many_threads_arrive_whole_each_and_in_each_threads_order() {
        const EACH: u32 = 2000;
        let Rig { poller, outbound, mut worker, .. } = rig();
        let stop = AtomicBool::new(false);
        std::thread::scope(|s| {
            for thread in 0..4_u16 {
                let outbound = &outbound;
                s.spawn(move || {
                    for seq in 0..EACH {
                        let ticket = Ticket { slot: thread, seq };
                        let Down::Task(head) = task(seq, 100) else { unreachable!() };
                        outbound.post(Down::Task(TaskHead { ticket, ..head }), Some(&bytes(100)));
                        outbound.flush();
                    }
                });
            }
            s.spawn(|| {
                while !stop.load(Ordering::Acquire) {
                    for ready in poller.wait(Some(std::time::Duration::from_millis(5))).unwrap() {
                        if ready.writable {
                            outbound.resume();
                        }
                    }
                }
            });
            let mut next = [0_u32; 4];
            for _ in 0..4 * EACH {
                let (Down::Task(head), body) = worker.receive().unwrap().unwrap() else { panic!("not a task") };
                assert_eq!(body.len(), 100);
                let next = &mut next[usize::from(head.ticket.slot)];
                assert_eq!(head.ticket.seq, *next);
                *next += 1;
            }
            stop.store(true, Ordering::Release);
        });
    }

    #[test]
    fn the_end_comes_after_what_was_sent_also_when_the_worker_left_frames_unread() {
        let mut rig = rig();
        rig.outbound.post(task(1, 10), Some(&bytes(10)));
        rig.outbound.flush();
        rig.worker.send(Up::Ready, &[]).unwrap();
        rig.worker.send(reply(9, 3), b"abc").unwrap();
        rig.worker.flush().unwrap();
        drop(rig.worker);
        let mut frames = Vec::new();
        while rig.inbound.receive(1 << 20, &mut frames).unwrap() != Inflow::End {}
        assert_eq!(frames, [(Up::Ready, vec![]), (reply(9, 3), b"abc".to_vec())]);
        // Sending to nobody is silent and keeps nothing.
        let body = Arc::new(vec![0; 1 << 20]);
        rig.outbound.post(task(2, 1 << 20), Some(&Bytes::Large(body.clone())));
        rig.outbound.flush();
        assert_eq!(Arc::strong_count(&body), 1);
    }

    #[test]
    fn closing_drops_what_was_not_sent() {
        let rig = rig();
        let body = Arc::new(vec![0; 4 << 20]);
        rig.outbound.post(task(1, 4 << 20), Some(&Bytes::Large(body.clone())));
        rig.outbound.flush();
        assert_eq!(Arc::strong_count(&body), 2);
        rig.outbound.close();
        assert_eq!(Arc::strong_count(&body), 1);
        rig.outbound.resume();
    }

    #[test]
    fn a_worker_sees_the_end_and_a_torn_frame() {
        let Rig { outbound, inbound, mut worker, .. } = rig();
        outbound.post(Down::End, None);
        outbound.flush();
        drop((outbound, inbound));
        assert_eq!(worker.receive().unwrap(), Some((Down::End, vec![])));
        assert_eq!(worker.receive().unwrap(), None);

        let (ours, theirs) = socket::stream_pair().unwrap();
        rustix::io::write(&ours, &Down::End.encode()[..7]).unwrap();
        drop(ours);
        assert_eq!(SocketEnd::new(theirs).receive().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn noise_is_an_error_for_the_parent() {
        let Rig { mut inbound, worker, .. } = rig();
        rustix::io::write(&worker.fd, &[0xee; 64]).unwrap();
        let error = inbound.receive(1 << 20, &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
