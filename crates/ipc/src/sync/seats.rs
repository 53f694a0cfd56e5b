//! Who takes part in something, and whether he is still alive.

use super::Held;
use super::raw::{Found, Kind, Raw, SIZE, SPARE_AT};
use crate::{SharedMemory, forks};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

/// A row of seats in shared memory. Each has a robust mutex, which the thread that sits there has locked: the kernel knows
/// whether it lives, and nobody else has to. Beside it are two words about what it sits there for.
///
/// What is done here is done under one mutex of the whole, which `Held` is the proof of; but a thread may get up without.
#[derive(Debug)]
pub(super) struct Seats {
    memory: Arc<SharedMemory>,
    at: usize,
    count: usize,
    /// How many [`Seat`]s there are that were taken through this mapping, those that were forgotten among them.
    taken: AtomicUsize,
}

/// The state of a seat where nobody sits; all others are what its users say.
pub(super) const FREE: u32 = 0;

/// What is said about a seat, in the spare bytes of its mutex.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Words {
    pub(super) state: AtomicU32,
    pub(super) number: AtomicU64,
}

const _: () = assert!(SPARE_AT + size_of::<Words>() <= SIZE && SPARE_AT.is_multiple_of(align_of::<Words>()));

/// A thread's own seat. It is free when this is dropped, but for a copy in a process that was forked off.
#[derive(Debug)]
pub(super) struct Seat<'a> {
    seats: &'a Seats,
    index: usize,
    /// Of the process whose thread sits there: see [`forks`].
    generation: u32,
    thread: PhantomData<*mut ()>,
}

impl Seats {
    /// What so many take in memory.
    pub(super) const fn size(count: usize) -> Option<usize> {
        match count.checked_add(1) {
            Some(lines) => lines.checked_mul(SIZE),
            None => None,
        }
    }

    /// Those that are from there to the end of the memory.
    ///
    /// # Safety
    ///
    /// All of that is for them alone, in every process, and was zero at first.
    pub(super) unsafe fn behind(memory: Arc<SharedMemory>, at: usize) -> Seats {
        assert!(at.is_multiple_of(SIZE), "seats have even edges");
        let room = memory.len().checked_sub(at).expect("seats need their room");
        Seats { count: (room / SIZE).saturating_sub(1), memory, at, taken: AtomicUsize::new(0) }
    }

    /// How many of them can be used: their mutexes are made when they are needed first.
    fn made(&self) -> &AtomicU32 {
        // SAFETY: the first line is within the memory, for there is room for one seat more than they are.
        let made = unsafe { self.memory.start().add(self.at) };
        // SAFETY: aligned, mapped as long as this is borrowed, and an atomic may have any value.
        unsafe { made.cast().as_ref() }
    }

    fn place(&self, index: usize) -> NonNull<u8> {
        assert!(index < self.count, "there are {} seats", self.count);
        // SAFETY: within the memory, as was seen.
        unsafe { self.memory.start().add(self.at + (1 + index) * SIZE) }
    }

    fn raw(&self, index: usize) -> Raw {
        Raw::at(self.place(index))
    }

    pub(super) fn words(&self, index: usize) -> &Words {
        // SAFETY: still within the place of the seat.
        let words = unsafe { self.place(index).add(SPARE_AT) };
        // SAFETY: aligned, mapped as long as this is borrowed, behind the mutex, and atomics may have any value.
        unsafe { words.cast().as_ref() }
    }

    /// The indices of all that anybody may sit on, or has.
    pub(super) fn used(&self, _held: &Held<'_>) -> std::ops::Range<usize> {
        // What another process has written is not trusted further than that.
        0..self.count.min(self.made().load(Relaxed) as usize)
    }

    /// A free seat, which is this thread's from now on. `None` if there is none, nor can there be more.
    pub(super) fn take(&self, held: &Held<'_>, state: u32, number: u64) -> Option<Seat<'_>> {
        let used = self.used(held);
        for index in used.clone() {
            // Locked although it is free: somebody is about to get up.
            if self.words(index).state.load(Relaxed) == FREE && self.is_empty(index) {
                return Some(self.sit(index, state, number));
            }
        }
        let index = used.end;
        if index == self.count {
            return None;
        }
        // SAFETY: within the memory, and nobody else looks at it before it is counted, under the mutex of the whole. (Whoever was
        // killed here has not counted it.)
        unsafe { self.raw(index).init(Kind::Once) }.expect("libc has made such a mutex before");
        self.made().store(index as u32 + 1, Relaxed);
        let is_ours = self.is_empty(index);
        debug_assert!(is_ours, "a new mutex is unlocked");
        is_ours.then(|| self.sit(index, state, number))
    }

    /// Whether nobody sits there, or nobody who lives; then this thread does.
    fn is_empty(&self, index: usize) -> bool {
        // SAFETY: it was made, and is mapped as long as `self`: should it be forgotten that it is locked, `drop` sees to that.
        matches!(unsafe { self.raw(index).try_lock() }, Found::Locked | Found::OwnerDied)
    }

    fn sit(&self, index: usize, state: u32, number: u64) -> Seat<'_> {
        let words = self.words(index);
        words.number.store(number, Relaxed);
        words.state.store(state, Release);
        self.seat(index)
    }

    /// Of one that this thread has locked.
    fn seat(&self, index: usize) -> Seat<'_> {
        self.taken.fetch_add(1, Relaxed);
        Seat { seats: self, index, generation: forks::generation(), thread: PhantomData }
    }

    /// If whoever sat there has died, `bury` is called, and the seat is free afterwards.
    pub(super) fn free_if_dead(&self, _held: &Held<'_>, index: usize, bury: impl FnOnce()) -> bool {
        let is_dead = self.is_empty(index);
        if is_dead {
            bury();
            drop(self.seat(index));
        }
        is_dead
    }
}

impl Drop for Seats {
    fn drop(&mut self) {
        // As in `RobustMutex`: the list of what a thread has locked must not lead through memory that is not there.
        if *self.taken.get_mut() == 0 {
            return;
        }
        let made = self.count.min(self.made().load(Relaxed) as usize);
        // SAFETY: these were made, and are mapped as long as `self`.
        if (0..made).any(|index| unsafe { self.raw(index).is_held_here() }) {
            std::mem::forget(self.memory.clone());
        }
    }
}

impl Seat<'_> {
    /// Whether this was not copied by a `fork`: then somebody else sits there.
    pub(super) fn is_ours(&self) -> bool {
        self.generation == forks::generation()
    }

    pub(super) fn words(&self) -> &Words {
        self.seats.words(self.index)
    }

    pub(super) fn state(&self) -> u32 {
        self.words().state.load(Acquire)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        if !self.is_ours() {
            return;
        }
        // In this order: a seat that is free and locked is passed over, one that is neither belongs to somebody dead.
        self.words().state.store(FREE, Release);
        // SAFETY: it was made, is mapped as long as the seats, and this thread has locked it.
        unsafe { self.seats.raw(self.index).unlock() }
        self.seats.taken.fetch_sub(1, Relaxed);
    }
}
