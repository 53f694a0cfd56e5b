//! What a tool has in shared memory.

use super::seats::Seats;
use super::{Held, Kind, MUTEX_SIZE, RobustMutex};
use crate::SharedMemory;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;

/// A mutex; behind it words, which are atomics; behind them seats.
#[derive(Debug)]
pub(super) struct Place<W> {
    mutex: RobustMutex,
    seats: Seats,
    words: PhantomData<fn() -> W>,
}

/// Words in shared memory.
///
/// # Safety
///
/// They are atomics, and their alignment is that of a cache line at most.
pub(super) unsafe trait Words {}

/// What came from another process is as large as it has to be.
pub(super) fn has_room(memory: &SharedMemory, len: usize) -> io::Result<()> {
    if memory.len() < len {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too small"));
    }
    Ok(())
}

impl<W: Words> Place<W> {
    const WORDS_AT: usize = MUTEX_SIZE;
    const SEATS_AT: usize = Self::WORDS_AT + size_of::<W>().next_multiple_of(MUTEX_SIZE);

    /// A new one, with words that are zero, and so many seats.
    pub(super) fn new(name: &str, seats: usize) -> io::Result<Place<W>> {
        let len = Seats::size(seats).and_then(|len| len.checked_add(Self::SEATS_AT));
        let len = len.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "more than fits into memory"))?;
        let memory = Arc::new(SharedMemory::named(name, len)?);
        // SAFETY: new memory, and its first line is for this alone.
        let mutex = unsafe { RobustMutex::init(memory.clone(), 0, Kind::Once) }?;
        // SAFETY: new memory, and what is behind the words is for them alone.
        let seats = unsafe { Seats::behind(memory, Self::SEATS_AT) };
        Ok(Place { mutex, seats, words: PhantomData })
    }

    /// One that was made by [`new`](Self::new) in a process of this program, for the same words.
    pub(super) fn open(memory: Arc<SharedMemory>) -> io::Result<Place<W>> {
        has_room(&memory, Self::SEATS_AT + MUTEX_SIZE)?;
        // SAFETY: it was made there.
        let mutex = unsafe { RobustMutex::open(memory.clone(), 0, Kind::Once) };
        // SAFETY: that is where they are.
        let seats = unsafe { Seats::behind(memory, Self::SEATS_AT) };
        Ok(Place { mutex, seats, words: PhantomData })
    }

    pub(super) fn memory(&self) -> &SharedMemory {
        self.mutex.memory()
    }

    pub(super) fn lock(&self) -> Held<'_> {
        self.mutex.lock()
    }

    pub(super) fn words(&self) -> &W {
        const { assert!(align_of::<W>() <= MUTEX_SIZE) };
        // SAFETY: they are within the memory, as `new` and `open` have seen.
        let words = unsafe { self.memory().start().add(Self::WORDS_AT) };
        // SAFETY: aligned, mapped as long as this is borrowed, and atomics may have any value.
        unsafe { words.cast().as_ref() }
    }

    pub(super) fn seats(&self) -> &Seats {
        &self.seats
    }
}
