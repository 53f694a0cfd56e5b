//! The data path over two rings in memory that parent and worker share.

use super::inbox::{Inbox, Source, garbled};
use super::outbox::Outbox;
use super::together::TOGETHER;
use super::{Bytes, Frame, Inbound, Inflow, Outbound, Pair, SMALL, Wiring, WorkerEnd};
use crate::sys::poller::Interest;
use crate::wire::{DOWN, Down, Head, UP, Up};
use concurrent_futures_core::codec::Parts;
use concurrent_futures_ipc::ring::{self, Bed, Consumer, Nonsense, Place, Producer, Ringer, Wake};
use concurrent_futures_ipc::{Doorbell, SharedMemory};
use parking_lot::Mutex;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// How much one ring holds. Of larger bodies this much at a time is on its way: with 128 KiB a round trip of 1 MiB took a sixth
/// longer, with 512 KiB no less.
pub(super) const CAPACITY: usize = 256 * 1024;
/// The first ring goes to the worker, the second one comes from it.
pub(super) const DOWN_AT: usize = 0;
pub(super) const UP_AT: usize = ring::size(CAPACITY);
pub(super) const SIZE: usize = 2 * ring::size(CAPACITY);
/// As it stands in `/proc/PID/maps`.
pub(super) const NAME: &str = "concurrent-futures-rings";
/// So much is moved before others may have the queue's lock, and the other side gets to see it.
const PIECE: usize = 64 * 1024;

/// Makes a data path, whose bell the poller hears from now on.
pub(super) fn pair(wiring: Wiring) -> io::Result<Pair> {
    let memory = Arc::new(SharedMemory::named(NAME, SIZE)?);
    let bell = Doorbell::new()?;
    let worker = vec![memory.fd().try_clone_to_owned()?, bell.as_fd().try_clone_to_owned()?];
    wiring.poller.add(&bell, wiring.token, Interest::EDGE)?;
    // SAFETY: the memory is new. Of this place there is the one producer below; its consumer is made by the worker.
    let down = unsafe { Place::new(memory.clone(), DOWN_AT, CAPACITY, None) };
    // SAFETY: as above, with a consumer here and a producer there.
    let up = unsafe { Place::new(memory, UP_AT, CAPACITY, None) };
    let producer = Producer::new(down);
    let ringer = producer.ringer();
    let queue = Queue { producer, outbox: Outbox::default(), state: Flow::Open };
    let sending =
        Arc::new(Sending { queue: Mutex::new(queue), ringer, bell, wiring, is_garbled: AtomicBool::new(false) });
    let inbound = Box::new(Receiving { consumer: Consumer::new(up), inbox: Inbox::new(), sending: sending.clone() });
    Ok(Pair { outbound: sending, inbound, worker })
}

/// The worker's end of it.
pub(super) fn open([memory, bell]: [OwnedFd; 2]) -> io::Result<RingEnd> {
    let memory = Arc::new(SharedMemory::open(memory, SIZE)?);
    let bell = Arc::new(Doorbell::from(bell));
    // SAFETY: a worker opens its data path once; its producer and its consumer are the other ones of each place.
    let down = unsafe { Place::new(memory.clone(), DOWN_AT, CAPACITY, Some(bell.clone())) };
    // SAFETY: as above.
    let up = unsafe { Place::new(memory, UP_AT, CAPACITY, Some(bell)) };
    Ok(RingEnd::new(Consumer::new(down), Producer::new(up)))
}

#[derive(Debug)]
struct Sending {
    queue: Mutex<Queue>,
    ringer: Ringer,
    bell: Doorbell,
    wiring: Wiring,
    /// The queue says what; here for those who receive.
    is_garbled: AtomicBool,
}

/// What has been posted: in the ring as far as there is room, the rest behind it.
#[derive(Debug)]
struct Queue {
    producer: Producer,
    outbox: Outbox,
    state: Flow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Open,
    /// The ring was full; the worker is to ring when it has room.
    Blocked,
    /// The worker is gone.
    Closed,
    /// It has written what it must not.
    Garbled(Nonsense),
}

/// Why moving bytes into the ring has stopped with some left.
enum Stop {
    Full,
    /// Others may have the lock.
    Enough,
    Nonsense(Nonsense),
}

impl From<Nonsense> for Stop {
    fn from(nonsense: Nonsense) -> Self {
        Stop::Nonsense(nonsense)
    }
}

/// What is left to be done when the lock is released.
#[derive(Default)]
struct After {
    /// The worker is to hear of what it can read now.
    ring: bool,
    /// There is more to be moved at once.
    more: bool,
    /// The supervisor is to look at this link.
    report: bool,
    /// There is no room, and nobody will ring when there is.
    full: bool,
}

impl Outbound for Sending {
    fn post_with_parts(&self, head: Down, body: Option<&Bytes>, parts: Option<&Arc<Parts>>) {
        let mut queue = self.queue.lock();
        if matches!(queue.state, Flow::Open | Flow::Blocked) {
            queue.post(&head.encode(), body, parts);
        }
    }

    fn post_frames(&self, frames: &[u8]) {
        let mut queue = self.queue.lock();
        if matches!(queue.state, Flow::Open | Flow::Blocked) {
            queue.post(frames, None, None);
        }
    }

    fn flush(&self) {
        self.advance(PATIENCE);
    }

    fn resume(&self) {
        self.advance(PATIENCE_OF_THE_SUPERVISOR);
    }

    fn close(&self) {
        let dropped = self.queue.lock().end(Flow::Closed);
        drop(dropped);
    }
}

impl Sending {
    /// Moves on what can be moved, and looks for room as often as `patience` says before it leaves the rest to the supervisor:
    /// a worker that is reading makes some in less time than it takes to wake anybody.
    fn advance(&self, Patience { at_once, in_all }: Patience) {
        let (mut left, mut looks) = (in_all, at_once);
        loop {
            let After { ring, more, report, full } = self.queue.lock().advance(looks > 0 && left > 0);
            if ring && let Err(error) = self.ringer.ring() {
                // The word to wake is in memory that is mapped.
                unreachable!("a futex is woken: {error}");
            }
            if report {
                self.is_garbled.store(true, Ordering::Release);
                // Watched anew, it rings. An error means that the supervisor has stopped watching this worker: it is gone.
                let _ = self.wiring.poller.modify(&self.bell, self.wiring.token, Interest::EDGE);
            }
            if full {
                (left, looks) = (left - 1, looks - 1);
                thread::yield_now();
            } else if more {
                looks = at_once;
            } else {
                return;
            }
        }
    }
}

/// How often somebody who has found the ring full looks again.
#[derive(Clone, Copy)]
struct Patience {
    /// Without having moved anything.
    at_once: u32,
    in_all: u32,
}

/// Of those who send. A look costs less than a microsecond: a worker that does not read costs them some tens of these, and
/// one that is slow some milliseconds.
const PATIENCE: Patience = Patience { at_once: 64, in_all: 8192 };
/// Others wait for the supervisor.
const PATIENCE_OF_THE_SUPERVISOR: Patience = Patience { at_once: 64, in_all: 512 };

impl Queue {
    /// Small frames go straight into the ring, to be published by the next flush.
    fn post(&mut self, head: &[u8], body: Option<&Bytes>, parts: Option<&Arc<Parts>>) {
        let small = body.map_or(0, |body| body.len());
        if small <= SMALL
            && parts.is_none()
            && self.outbox.is_empty()
            && self.producer.has_room(head.len() + small) == Ok(true)
        {
            let whole =
                [head, body.map_or(&[][..], |body| body)].iter().all(|bytes| self.producer.write(bytes).is_ok());
            debug_assert!(whole, "there is room");
        } else {
            // What is wrong, if anything, is found by the flush.
            self.outbox.push(head, body, parts);
        }
    }

    /// Moves on what can be moved without waiting.
    fn advance(&mut self, patient: bool) -> After {
        if !matches!(self.state, Flow::Open | Flow::Blocked) {
            return After::default();
        }
        let moved = self.fill();
        let ring = self.producer.publish();
        let more = match moved {
            Ok(()) => {
                if std::mem::replace(&mut self.state, Flow::Open) == Flow::Blocked {
                    self.producer.want_none();
                }
                Ok(false)
            }
            Err(Stop::Enough) => Ok(true),
            Err(Stop::Full) if patient => return After { ring, more: true, report: false, full: true },
            Err(Stop::Full) => {
                self.state = Flow::Blocked;
                self.producer.want_room(Wake::ByDoorbell)
            }
            Err(Stop::Nonsense(nonsense)) => Err(nonsense),
        };
        match more {
            Ok(more) => After { ring, more, report: false, full: false },
            Err(nonsense) => {
                // It may be as large as a user's argument, but it is a worker's crime, and rare.
                drop(self.end(Flow::Garbled(nonsense)));
                After { ring, more: false, report: true, full: false }
            }
        }
    }

    fn fill(&mut self) -> Result<(), Stop> {
        let Queue { producer, outbox, .. } = self;
        let mut moved = 0;
        outbox.drain(|slices: &[IoSlice<'_>]| {
            if moved >= PIECE {
                return Err(Stop::Enough);
            }
            let before = moved;
            for slice in slices {
                let part = &slice[..slice.len().min(PIECE)];
                let wrote = producer.write(part)?;
                moved += wrote;
                if wrote < slice.len() {
                    break;
                }
            }
            if moved == before { Err(Stop::Full) } else { Ok(moved - before) }
        })
    }

    /// Nothing is sent any more. What is left, to be dropped when the lock is released.
    fn end(&mut self, state: Flow) -> Outbox {
        if !matches!(self.state, Flow::Garbled(_)) {
            self.state = state;
        }
        std::mem::take(&mut self.outbox)
    }
}

#[derive(Debug)]
struct Receiving {
    consumer: Consumer,
    inbox: Inbox<Up, UP>,
    sending: Arc<Sending>,
}

impl Inbound for Receiving {
    fn receive(&mut self, budget: usize, frames: &mut Vec<Frame<Up>>) -> io::Result<Inflow> {
        if self.sending.is_garbled.load(Ordering::Acquire)
            && let Flow::Garbled(nonsense) = self.sending.queue.lock().state
        {
            return Err(nonsense.into());
        }
        let mut received = 0;
        loop {
            while let Some(frame) = self.inbox.next().map_err(garbled)? {
                frames.push(frame);
            }
            if received >= budget || !self.consumer.has_bytes()? {
                return Ok(Inflow::Dry);
            }
            received += self.inbox.fill(&mut Ring(&mut self.consumer))?.bytes();
        }
    }

    fn arm(&mut self) -> bool {
        // What is wrong is found by the next look.
        self.consumer.arm(Wake::ByDoorbell).unwrap_or(true)
    }

    fn arm_bed(&mut self) -> bool {
        self.consumer.arm(Wake::ByFutex).unwrap_or(true)
    }

    fn bed(&self) -> Option<Bed> {
        Some(self.consumer.bed())
    }

    fn disarm(&mut self) {
        self.consumer.disarm();
    }

    fn is_quiet(&self) -> bool {
        true
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.sending.bell.as_fd()
    }
}

/// The worker's end, which blocks.
#[derive(Debug)]
pub(crate) struct RingEnd {
    consumer: Consumer,
    inbox: Inbox<Down, DOWN>,
    producer: Producer,
    ringer: Ringer,
    /// So much has been written and not been published.
    held: usize,
}

impl RingEnd {
    #[cfg(test)]
    pub(super) fn is_drained(&mut self) -> bool {
        self.producer.has_room(CAPACITY).expect("the parent keeps its part in order")
    }

    pub(super) fn new(consumer: Consumer, producer: Producer) -> Self {
        let ringer = producer.ringer();
        RingEnd { consumer, inbox: Inbox::new(), producer, ringer, held: 0 }
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = self.producer.write(&bytes[..bytes.len().min(PIECE)])?;
            bytes = &bytes[written..];
            self.held += written;
            if written == 0 {
                self.held = 0;
                self.producer.wait_for_room()?;
            } else if self.held >= PIECE {
                self.flush()?;
            }
        }
        Ok(())
    }
}

impl WorkerEnd for RingEnd {
    fn receive(&mut self) -> io::Result<Option<Frame<Down>>> {
        loop {
            if let Some(frame) = self.inbox.next().map_err(garbled)? {
                return Ok(Some(frame));
            }
            self.flush()?;
            self.consumer.wait()?;
            self.inbox.fill(&mut Ring(&mut self.consumer))?;
        }
    }

    fn send_with_parts(&mut self, head: Up, body: &[u8], parts: &Parts) -> io::Result<()> {
        if parts.is_empty() && body.len() <= TOGETHER {
            // One write costs less than two.
            let mut frame = [0; UP + TOGETHER];
            frame[..UP].copy_from_slice(&head.encode());
            frame[UP..UP + body.len()].copy_from_slice(body);
            return self.write(&frame[..UP + body.len()]);
        }
        self.write(&head.encode())?;
        self.write(body)?;
        parts.iter().try_for_each(|(bytes, _)| self.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.held = 0;
        if self.producer.publish() { self.ringer.ring() } else { Ok(()) }
    }

    #[cfg(any(test, feature = "chaos"))]
    fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes)?;
        self.flush()
    }
}

struct Ring<'a>(&'a mut Consumer);

impl Source for Ring<'_> {
    fn read<'a>(&mut self, room: &'a mut [MaybeUninit<u8>]) -> io::Result<&'a mut [u8]> {
        // The other side gets to see the room while the next piece is read.
        let some = room.len().min(PIECE);
        self.0.read_to(&mut room[..some])
    }
}
