//! One end of a connection, of either kind: what it is in the kernel and in shared memory, and whose it is.

use super::ear::{Ear, Heard};
use super::incoming::Incoming;
use super::outgoing::Outgoing;
use super::poll::poll_until;
use crate::crowd::Crowd;
use crate::ring::{self, Consumer, Place, Producer, Ringer};
use crate::{Doorbell, SharedMemory, forks, message};
use concurrent_futures_core::attach::Attachment;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

/// As much as a sender may be ahead of its receiver, in each direction. Python's pairs of sockets have room for 208
/// KiB: two who send that much to each other, and only then receive, must not hang here.
pub(super) const CAPACITY: usize = 256 << 10;

/// Before the first ring: whose the two ends are.
const OWNERS: usize = 128;

/// Which end. Of a connection of one direction the first one sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    First,
    Second,
}

/// Whether there are one or two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ways {
    One,
    Both,
}

/// In the place of an owner: the end is closed.
const CLOSED: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct End {
    pub(super) parts: Parts,
    pub(super) side: Side,
    own: Mutex<Ownership>,
    pub(super) outgoing: Option<Mutex<Outgoing>>,
    pub(super) incoming: Option<Mutex<Incoming>>,
    /// Wakes the other side, if it sleeps.
    pub(super) ringer: Option<Ringer>,
    /// Threads and tasks of this process that sleep until there is room, and until there is something to receive.
    pub(super) senders_asleep: Crowd,
    pub(super) receivers_asleep: Crowd,
    /// Ears that nobody listens with.
    ears: Mutex<Vec<Ear>>,
    /// When this process got the end.
    made: forks::Made,
}

/// What an end is made of, and what travels of it.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) memory: Arc<SharedMemory>,
    /// Of which the other end has the other end. It carries descriptors, and says when that is gone.
    pub(super) socket: Attachment,
    /// What this end hears, and what the other one hears.
    pub(super) bell: Arc<Doorbell>,
    pub(super) other_bell: Arc<Doorbell>,
}

/// Whose the end is, as far as this process knows.
#[derive(Debug)]
struct Ownership {
    /// What stands in the shared memory as long as it is ours.
    turn: u32,
    /// A message has been made with the end in it. Whoever uses it first, here or there, has it.
    lent: bool,
}

/// The two ends of a new connection.
pub(super) fn pair(ways: Ways) -> io::Result<(End, End)> {
    let memory = SharedMemory::named("concurrent-futures-pipe", size(ways))?;
    let (first, second) = message::pair()?;
    let (first_bell, second_bell) = (Arc::new(Doorbell::new()?), Arc::new(Doorbell::new()?));
    let memory = Arc::new(memory);
    let parts = |socket, bell: &Arc<Doorbell>, other_bell: &Arc<Doorbell>| Parts {
        memory: memory.clone(),
        socket: Attachment::new(socket),
        bell: bell.clone(),
        other_bell: other_bell.clone(),
    };
    let ends = (parts(first, &first_bell, &second_bell), parts(second, &second_bell, &first_bell));
    let new = |parts, side| {
        End::new(parts, ways, side, 0, |place| Ok(Producer::new(place)), |place| Ok(Consumer::new(place)))
    };
    Ok((new(ends.0, Side::First)?, new(ends.1, Side::Second)?))
}

/// The bytes of memory that a connection has.
pub(super) const fn size(ways: Ways) -> usize {
    OWNERS
        + match ways {
            Ways::One => ring::size(CAPACITY),
            Ways::Both => 2 * ring::size(CAPACITY),
        }
}

impl End {
    pub(super) fn new(
        parts: Parts,
        ways: Ways,
        side: Side,
        turn: u32,
        producer: impl FnOnce(Place) -> io::Result<Producer>,
        consumer: impl FnOnce(Place) -> io::Result<Consumer>,
    ) -> io::Result<End> {
        let place = |number| {
            let at = OWNERS + number * ring::size(CAPACITY);
            // SAFETY: an end has at most one producer and one consumer, in different rings, and whoever has not the end
            // has none or leaves them alone: the word of the owner says whose it is, and goes from one to the next by
            // compare-and-swap.
            unsafe { Place::new(parts.memory.clone(), at, CAPACITY, Some(parts.other_bell.clone())) }
        };
        let (sends, receives) = match (ways, side) {
            (Ways::One, Side::First) => (Some(0), None),
            (Ways::One, Side::Second) => (None, Some(0)),
            (Ways::Both, Side::First) => (Some(0), Some(1)),
            (Ways::Both, Side::Second) => (Some(1), Some(0)),
        };
        let producer = sends.map(|ring| producer(place(ring))).transpose()?;
        let consumer = receives.map(|ring| consumer(place(ring))).transpose()?;
        Ok(End {
            side,
            own: Mutex::new(Ownership { turn, lent: false }),
            ringer: producer.as_ref().map(Producer::ringer),
            outgoing: producer.map(|producer| Mutex::new(Outgoing::new(producer))),
            incoming: consumer.map(|consumer| Mutex::new(Incoming::new(consumer))),
            senders_asleep: Crowd::new(),
            receivers_asleep: Crowd::new(),
            ears: Mutex::default(),
            made: forks::Made::now(),
            parts,
        })
    }

    /// Whether this process still has the end. One that was put into a message which nobody has received yet is taken
    /// back, and that message cannot be received any more.
    pub(super) fn is_ours(&self) -> bool {
        let mut own = self.own.lock();
        if own.lent {
            let Some(turn) = take(owner(&self.parts.memory, self.side), own.turn) else { return false };
            *own = Ownership { turn, lent: false };
        }
        true
    }

    /// The number by which whoever receives the message that this end is put into can have it. `None`: it was sent
    /// before, and received.
    pub(super) fn lend(&self) -> Option<u32> {
        if !self.is_ours() {
            return None;
        }
        let mut own = self.own.lock();
        own.lent = true;
        Some(own.turn)
    }

    /// Whether the other end has been dropped, or all processes that had it have ended.
    pub(super) fn other_is_gone(&self) -> io::Result<bool> {
        Ok(self.other_is_closed() || self.has_hung_up()?)
    }

    /// Whether the other end has been dropped.
    pub(super) fn other_is_closed(&self) -> bool {
        let other = match self.side {
            Side::First => Side::Second,
            Side::Second => Side::First,
        };
        owner(&self.parts.memory, other).load(Ordering::Acquire) == CLOSED
    }

    /// Whether nobody has the other end of the socket any more.
    pub(super) fn has_hung_up(&self) -> io::Result<bool> {
        Ok(poll_until(&mut [PollFd::new(&self.socket(), PollFlags::RDHUP)], Some(Instant::now()))? > 0)
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.parts.socket.as_fd()
    }

    /// Begins to listen, for what is counted in `asleep`.
    pub(super) fn listen<'a>(&'a self, asleep: &'a Crowd) -> io::Result<Listening<'a>> {
        let kept = self.ears.lock().pop();
        let ear = match kept {
            Some(ear) => ear,
            None => Ear::new(&self.parts.bell, Some(self.socket()))?,
        };
        asleep.join();
        Ok(Listening { end: self, asleep, ear: Some(ear) })
    }

    /// Whether a thread or a task of this process sleeps here.
    pub(super) fn is_listened_to(&self) -> bool {
        !self.senders_asleep.is_empty() || !self.receivers_asleep.is_empty()
    }

    /// Others of this process sleep for the same as the caller did, who may have left something: they look for
    /// themselves. `joined`: the caller listens still.
    pub(super) fn rouse(&self, asleep: &Crowd, joined: bool) -> io::Result<()> {
        asleep.rouse(joined, || self.parts.bell.ring())
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let own = self.own.get_mut();
        // One that is in a message under way is not ours to close: it ends with the message, or with whoever receives it. And a
        // child that was forked with it may go on with it: it ends when neither has the socket any more.
        let is_alone = self.made.is_left_to_this() && !forks::is_giving();
        let owner = owner(&self.parts.memory, self.side);
        if !own.lent
            && is_alone
            && owner.compare_exchange(own.turn, CLOSED, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        {
            // Whoever sleeps there learns it from the socket, too, unless somebody has that who should not.
            let _ = self.parts.other_bell.ring();
        }
    }
}

/// Somebody listens, until this is dropped.
#[derive(Debug)]
pub(super) struct Listening<'a> {
    end: &'a End,
    asleep: &'a Crowd,
    /// `None` in `drop` alone.
    ear: Option<Ear>,
}

/// Ears are cheap to make again; a thread that receives and one that sends keep theirs.
const EARS_KEPT: usize = 2;

impl Listening<'_> {
    pub(super) fn ear(&self) -> &Ear {
        self.ear.as_ref().expect("it is taken in `drop` alone")
    }

    pub(super) fn sleep(&self, deadline: Option<Instant>) -> io::Result<Heard> {
        self.ear().sleep(deadline)
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.asleep.leave();
        let mut ears = self.end.ears.lock();
        if ears.len() < EARS_KEPT {
            ears.extend(self.ear.take());
        }
        drop(ears);
        // The bell cannot fail, but for a descriptor that somebody has closed who did not own it: the others find that
        // out.
        let _ = self.end.rouse(self.asleep, false);
    }
}

/// The word that says whose an end is.
pub(super) fn owner(memory: &SharedMemory, side: Side) -> &AtomicU32 {
    let at = match side {
        Side::First => 0,
        Side::Second => 64,
    };
    // SAFETY: within the first `OWNERS` bytes, which every connection has.
    let word = unsafe { memory.start().add(at) };
    // SAFETY: a mapping begins at a page, so it is aligned; mapped as long as the memory is borrowed; any bit pattern
    // is a valid atomic.
    unsafe { word.cast().as_ref() }
}

/// Takes an end that is lent, and gives the number by which it is the caller's now. `None`: somebody else has taken it,
/// or it is closed.
pub(super) fn take(owner: &AtomicU32, turn: u32) -> Option<u32> {
    let next = turn.wrapping_add(1) % CLOSED;
    owner.compare_exchange(turn, next, Ordering::AcqRel, Ordering::Relaxed).is_ok().then_some(next)
}
