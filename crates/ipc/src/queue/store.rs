//! A queue in shared memory: where its items are, who changes what, and in which order.

use crate::SharedMemory;
use crate::doorbell::Doorbell;
use crate::futex;
use crate::sync::{Held, Kind, MUTEX_SIZE, RobustMutex};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::mm::{Advice, madvise};
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::Instant;

/// Bytes of address space for the items, of which memory is taken only for what is there. Less where a process may not
/// have so much (RLIMIT_AS).
const CAPACITIES: [u64; 3] = [64 << 30, 1 << 30, 16 << 20];

/// Before the items: three mutexes, the words, the signals.
const ITEMS_AT: usize = 4096;
const GET_TURN_AT: usize = MUTEX_SIZE;
const PUT_TURN_AT: usize = 2 * MUTEX_SIZE;
const WORDS_AT: usize = 3 * MUTEX_SIZE;

/// Before each item stands its length, and each begins at a multiple of this.
const HEAD: u64 = 8;

/// Memory is given back in pieces of this size, when nothing is in them any more.
const CHUNK: u64 = 1 << 20;
/// The first chunks are kept: a queue that is emptied now and then begins there anew, and needs no fresh memory.
const KEPT: u64 = 4 * CHUNK;

/// Everything that is changed under the lock, in one cache line.
#[repr(C, align(64))]
struct Words {
    states: [Snapshot; 2],
    /// The lowest bit says which of the two holds. To count this up is what publishes a change.
    turn: AtomicU32,
    /// Who sleeps: those who wait for an item, for room, and for the end of all work.
    asleep: [AtomicU32; 3],
}

#[repr(C)]
struct Snapshot {
    head: AtomicU64,
    /// The highest bit: the queue is closed.
    tail: AtomicU64,
    items: AtomicU32,
    unfinished: AtomicU32,
}

/// What sleepers sleep on.
#[repr(C, align(64))]
struct Signals([AtomicU32; 3]);

const _: () = assert!(size_of::<Words>() == 64 && WORDS_AT + size_of::<Words>() + size_of::<Signals>() <= ITEMS_AT);

const CLOSED: u64 = 1 << 63;

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    Item = 0,
    Room = 1,
    Work = 2,
}

/// A bit of the word that says who sleeps: somebody does on the signal; and somebody wants to hear the bell.
const ON_SIGNAL: u32 = 1;
pub(super) const AT_BELL: u32 = 2;

/// The state of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// Where the first item begins, and where the next one will. Both count on beyond the capacity, and begin anew at 0
    /// when the queue was empty.
    head: u64,
    tail: u64,
    pub(super) items: u32,
    /// Taken, and not said to be done.
    pub(super) unfinished: u32,
    pub(super) closed: bool,
}

/// What a queue is, for all who have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Shape {
    /// Bytes for items.
    capacity: u64,
    /// So many items at most.
    pub(super) limit: u32,
    /// Whether it is counted what is unfinished.
    pub(super) joinable: bool,
}

/// A queue of bytes, as this process has it.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) memory: Arc<SharedMemory>,
    pub(super) bell: Doorbell,
    pub(super) shape: Shape,
    mutex: RobustMutex,
    /// Who has it may sleep on the signal; the others wait for it.
    turns: [RobustMutex; 2],
}

/// The queue while nobody else changes it.
#[derive(Debug)]
pub(super) struct Locked<'a> {
    store: &'a Store,
    pub(super) state: State,
    _held: Held<'a>,
}

/// Why an item is not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRoom {
    /// Now.
    Full,
    /// Ever.
    TooLarge { limit: u64 },
}

impl Store {
    pub(super) fn create(limit: u32, joinable: bool) -> io::Result<Store> {
        let mut made = Err(io::ErrorKind::OutOfMemory.into());
        for capacity in CAPACITIES {
            made = Store::of_capacity(capacity, limit, joinable);
            match &made {
                Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {}
                _ => break,
            }
        }
        made
    }

    pub(super) fn of_capacity(capacity: u64, limit: u32, joinable: bool) -> io::Result<Store> {
        let memory = Arc::new(SharedMemory::named("concurrent-futures-queue", ITEMS_AT + capacity as usize)?);
        for at in [0, GET_TURN_AT, PUT_TURN_AT] {
            // SAFETY: new memory, and each has a place of its own there.
            unsafe { RobustMutex::init(memory.clone(), at, Kind::Once) }?;
        }
        Ok(Store::of(memory, Doorbell::new()?, Shape { capacity, limit, joinable }))
    }

    /// The one that another process has made.
    pub(super) fn open(memory: Arc<SharedMemory>, bell: Doorbell, shape: Shape) -> io::Result<Store> {
        if shape.capacity == 0 || !shape.capacity.is_multiple_of(CHUNK) || shape.size() != Some(memory.len()) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the memory is not as large as a queue is"));
        }
        Ok(Store::of(memory, bell, shape))
    }

    fn of(memory: Arc<SharedMemory>, bell: Doorbell, shape: Shape) -> Store {
        // SAFETY: `create` has made it, in this process or in that from which the memory comes; so for the two below.
        let mutex = unsafe { RobustMutex::open(memory.clone(), 0, Kind::Once) };
        let turns = [GET_TURN_AT, PUT_TURN_AT].map(|at| {
            // SAFETY: as above.
            unsafe { RobustMutex::open(memory.clone(), at, Kind::Once) }
        });
        let start = memory.start().as_ptr();
        // A core dump would else be as large as the queue could be. Where it cannot be said, it is.
        // SAFETY: the range is the mapping; this changes nothing of what is there.
        let _ = unsafe { madvise(start.cast(), memory.len(), Advice::LinuxDontDump) };
        Store { memory, bell, shape, mutex, turns }
    }

    /// Locks it, if that can be done until `deadline`. A holder that has died has left everything as it should be, but
    /// for memory that could have been given back.
    pub(super) fn lock(&self, deadline: Option<Instant>) -> io::Result<Option<Locked<'_>>> {
        let Some(held) = self.mutex.lock_until(deadline) else { return Ok(None) };
        let state = self.read()?;
        if held.owner_died() {
            self.give_back_unused(state)?;
        }
        Ok(Some(Locked { store: self, state, _held: held }))
    }

    /// Whose turn it is to sleep, for an item or for room.
    pub(super) fn turn(&self, what: For) -> &RobustMutex {
        &self.turns[usize::from(what == For::Room)]
    }

    /// What it was at some moment, without the lock: for a look.
    pub(super) fn peek(&self) -> State {
        let words = self.words();
        loop {
            let turn = words.turn.load(Ordering::Acquire);
            let state = words.states[turn as usize & 1].load();
            fence(Ordering::Acquire);
            // The other one is written first, then the turn; and only then, by the next, this one.
            if words.turn.load(Ordering::Relaxed) == turn {
                return state;
            }
        }
    }

    /// To be called with the lock.
    fn read(&self) -> io::Result<State> {
        let words = self.words();
        let state = words.states[words.turn.load(Ordering::Relaxed) as usize & 1].load();
        let can_be = |bytes: u64| {
            bytes <= self.shape.capacity
                && state.head.is_multiple_of(HEAD)
                && bytes.is_multiple_of(HEAD)
                && (state.items == 0) == (bytes == 0)
        };
        if state.tail.checked_sub(state.head).is_some_and(can_be) { Ok(state) } else { Err(nonsense()) }
    }

    fn words(&self) -> &Words {
        // SAFETY: before the items, which every queue has.
        let words = unsafe { self.memory.start().add(WORDS_AT) };
        // SAFETY: aligned, for a mapping begins at a page; mapped as long as the borrow; all atomics.
        unsafe { words.cast().as_ref() }
    }

    /// What who waits for this sleeps on.
    pub(super) fn signal(&self, what: For) -> &AtomicU32 {
        // SAFETY: behind the words and before the items.
        let signals = unsafe { self.memory.start().add(WORDS_AT + size_of::<Words>()) };
        // SAFETY: as in `words`.
        let signals: &Signals = unsafe { signals.cast().as_ref() };
        &signals.0[what as usize]
    }

    /// Gives memory back in which nothing is, between two positions.
    fn give_back(&self, from: u64, to: u64) -> io::Result<()> {
        let capacity = self.shape.capacity;
        let (first, last) = (from % capacity, (to - 1) % capacity + 1);
        let pieces = if first < last { [(first, last), (0, 0)] } else { [(first, capacity), (0, last)] };
        for (first, last) in pieces {
            let first = first.max(KEPT);
            if first < last {
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                fallocate(self.memory.fd(), flags, ITEMS_AT as u64 + first, last - first)?;
            }
        }
        Ok(())
    }

    fn give_back_unused(&self, state: State) -> io::Result<()> {
        let capacity = self.shape.capacity;
        let (from, to) = (state.tail.next_multiple_of(CHUNK), state.head / CHUNK * CHUNK + capacity);
        if from < to { self.give_back(from, to) } else { Ok(()) }
    }

    fn item(&self, position: u64) -> (NonNull<u8>, usize) {
        let at = position % self.shape.capacity;
        // SAFETY: within the mapping, which has `ITEMS_AT` bytes and the capacity.
        let start = unsafe { self.memory.start().add(ITEMS_AT + at as usize) };
        (start, (self.shape.capacity - at) as usize)
    }

    /// Copies `bytes` to a position. To be called with the lock, for a place where no item is.
    fn write(&self, position: u64, bytes: &[u8]) {
        let (start, room) = self.item(position);
        let (first, second) = bytes.split_at(bytes.len().min(room));
        // SAFETY: the place is within the capacity, and nobody of this process has a reference there, or is there
        // without the lock. Should another process write there, the queue has nonsense in it.
        unsafe { std::ptr::copy_nonoverlapping(first.as_ptr(), start.as_ptr(), first.len()) };
        let (start, _) = self.item(0);
        // SAFETY: as above; what did not fit is shorter than the capacity.
        unsafe { std::ptr::copy_nonoverlapping(second.as_ptr(), start.as_ptr(), second.len()) };
    }

    /// Appends what stands at a position to `into`. To be called with the lock; `len` is at most the capacity.
    fn copy(&self, position: u64, len: usize, into: &mut Vec<u8>) -> io::Result<()> {
        let (start, room) = self.item(position);
        let first = len.min(room);
        into.try_reserve(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let to = into.spare_capacity_mut().as_mut_ptr().cast::<u8>();
        // SAFETY: from within the mapping to memory that has just been reserved; whoever else writes there now is no
        // user of the lock, and what comes out is looked at as bytes that may be anything.
        unsafe { std::ptr::copy_nonoverlapping(start.as_ptr(), to, first) };
        let (start, _) = self.item(0);
        // SAFETY: within what was reserved.
        let to = unsafe { to.add(first) };
        // SAFETY: as above.
        unsafe { std::ptr::copy_nonoverlapping(start.as_ptr(), to, len - first) };
        // SAFETY: so many bytes have just been written there.
        unsafe { into.set_len(into.len() + len) };
        Ok(())
    }
}

impl Locked<'_> {
    /// Whether an item of `len` bytes fits in now.
    pub(super) fn room(&self, len: usize) -> Result<(), NoRoom> {
        let Shape { capacity, limit, joinable } = self.store.shape;
        let size = size(len);
        if size > capacity {
            return Err(NoRoom::TooLarge { limit: capacity - HEAD });
        }
        let used = self.state.tail - self.state.head;
        let countable = !joinable || self.state.unfinished < u32::MAX;
        if self.state.items < limit && countable && used + size <= capacity { Ok(()) } else { Err(NoRoom::Full) }
    }

    /// Puts an item in, for which there is [`room`](Self::room).
    pub(super) fn push(mut self, bytes: &[u8]) -> io::Result<()> {
        let State { head, tail, items, unfinished, .. } = self.state;
        let (mut head, mut tail) = (head, tail);
        if items == 0 && tail > 0 {
            // From the start again, where the memory is. What is left of the last chunk is not needed.
            self.store.give_back(tail / CHUNK * CHUNK, tail + 1)?;
            (head, tail) = (0, 0);
        }
        self.store.write(tail, &(bytes.len() as u64).to_ne_bytes());
        self.store.write(tail + HEAD, bytes);
        self.rouse(For::Item)?;
        let unfinished = unfinished + u32::from(self.store.shape.joinable);
        self.commit(State { head, tail: tail + size(bytes.len()), items: items + 1, unfinished, ..self.state });
        Ok(())
    }

    /// Takes the first item out, and appends its bytes to `into`. There must be one.
    pub(super) fn pop(mut self, into: &mut Vec<u8>) -> io::Result<()> {
        let State { head, tail, items, .. } = self.state;
        let (start, _) = self.store.item(head);
        // SAFETY: an item begins at a multiple of 8, within the mapping, which is a multiple of 8 long; any bits are an
        // atomic.
        let len: &AtomicU64 = unsafe { start.cast().as_ref() };
        let len = len.load(Ordering::Relaxed);
        let next = len.checked_next_multiple_of(HEAD).and_then(|len| head.checked_add(len.checked_add(HEAD)?));
        let Some(next) = next.filter(|next| *next <= tail && (*next == tail) == (items == 1)) else {
            return Err(nonsense());
        };
        self.store.copy(head + HEAD, len as usize, into)?;
        self.rouse(For::Room)?;
        self.commit(State { head: next, items: items - 1, ..self.state });
        if head / CHUNK != next / CHUNK {
            // In what is before this, the last items stand already, one round on.
            let used_again = tail.saturating_sub(self.store.shape.capacity).next_multiple_of(CHUNK);
            let (from, to) = (used_again.max(head / CHUNK * CHUNK), next / CHUNK * CHUNK);
            if from < to {
                // Not before: who is killed now leaves memory that is not needed, and no item that is not there.
                self.store.give_back(from, to)?;
            }
        }
        Ok(())
    }

    /// Nothing can be put in from now on.
    pub(super) fn close(mut self) -> io::Result<()> {
        self.rouse(For::Item)?;
        self.rouse(For::Room)?;
        self.commit(State { closed: true, ..self.state });
        Ok(())
    }

    /// One item is done. `false`: none is unfinished.
    pub(super) fn done(mut self) -> io::Result<bool> {
        let Some(unfinished) = self.state.unfinished.checked_sub(1) else { return Ok(false) };
        if unfinished == 0 {
            self.rouse(For::Work)?;
        }
        self.commit(State { unfinished, ..self.state });
        Ok(true)
    }

    /// From now on, whoever changes something about this wakes those who sleep on its signal, and the value is the one
    /// to sleep on.
    pub(super) fn note(self, what: For) -> u32 {
        self.sleepers(what).fetch_or(ON_SIGNAL, Ordering::Relaxed);
        self.store.signal(what).load(Ordering::Relaxed)
    }

    /// From now on, whoever changes something about this rings the bell.
    pub(super) fn want_bell(self, what: For) {
        self.sleepers(what).fetch_or(AT_BELL, Ordering::Relaxed);
    }

    fn sleepers(&self, what: For) -> &AtomicU32 {
        &self.store.words().asleep[what as usize]
    }

    /// Wakes who waits for this; before the change is published, for who is killed in between must not leave them
    /// asleep. They look when they have the lock.
    fn rouse(&self, what: For) -> io::Result<()> {
        let asleep = self.sleepers(what).load(Ordering::Relaxed);
        if asleep == 0 {
            return Ok(());
        }
        if asleep & ON_SIGNAL != 0 {
            let signal = self.store.signal(what);
            signal.fetch_add(1, Ordering::Relaxed);
            futex::wake(signal, i32::MAX.cast_unsigned())?;
        }
        if asleep & AT_BELL != 0 {
            self.store.bell.ring()?;
        }
        // Not before: who is killed in between leaves it to the next one.
        self.sleepers(what).store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Publishes a new state, by one store.
    fn commit(&mut self, state: State) {
        let words = self.store.words();
        let turn = words.turn.load(Ordering::Relaxed).wrapping_add(1);
        // Whoever sees something of what follows, without the lock, sees the turn before.
        fence(Ordering::Release);
        words.states[turn as usize & 1].store(state);
        words.turn.store(turn, Ordering::Release);
        self.state = state;
    }
}

impl Snapshot {
    fn load(&self) -> State {
        let tail = self.tail.load(Ordering::Relaxed);
        State {
            head: self.head.load(Ordering::Relaxed),
            tail: tail & !CLOSED,
            items: self.items.load(Ordering::Relaxed),
            unfinished: self.unfinished.load(Ordering::Relaxed),
            closed: tail & CLOSED != 0,
        }
    }

    fn store(&self, state: State) {
        self.head.store(state.head, Ordering::Relaxed);
        self.tail.store(state.tail | if state.closed { CLOSED } else { 0 }, Ordering::Relaxed);
        self.items.store(state.items, Ordering::Relaxed);
        self.unfinished.store(state.unfinished, Ordering::Relaxed);
    }
}

impl Shape {
    /// The bytes of its memory.
    pub(super) fn size(self) -> Option<usize> {
        usize::try_from(self.capacity).ok()?.checked_add(ITEMS_AT)
    }
}

/// What an item takes.
fn size(len: usize) -> u64 {
    (len as u64).next_multiple_of(HEAD) + HEAD
}

fn nonsense() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the queue is spoilt: what stands in its memory cannot be")
}
