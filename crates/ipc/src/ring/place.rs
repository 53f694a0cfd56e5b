//! Where a ring is.

#[cfg(not(concurrent_futures_loom))]
mod imp {
    use super::super::sleeper::{Sleeper, Wake};
    use crate::{Doorbell, SharedMemory};
    use std::io;
    use std::ptr::{self, NonNull};
    use std::sync::Arc;
    pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};

    /// Between two of these no processor takes one cache line for the other, or fetches both at once.
    const LINE: usize = 128;

    /// Behind it are the bytes.
    #[repr(C)]
    pub(crate) struct Header {
        pub(crate) writer: WriterLine,
        pub(crate) reader: ReaderLine,
    }

    /// What the producer looks at when it has written.
    #[repr(C, align(128))]
    pub(crate) struct WriterLine {
        /// How many bytes the producer has ever published. Only it writes here.
        pub(crate) tail: AtomicU64,
        /// How the consumer is to be woken. It notes, the producer takes.
        pub(crate) reader: Sleeper,
    }

    /// What the consumer looks at when it has read.
    #[repr(C, align(128))]
    pub(crate) struct ReaderLine {
        /// How many bytes the consumer has ever taken. Only it writes here.
        pub(crate) head: AtomicU64,
        /// How the producer is to be woken, that waits for room. It notes, the consumer takes.
        pub(crate) writer: Sleeper,
    }

    /// The place of a ring in shared memory, and the bell of the two processes, if they have one.
    ///
    /// It cannot be cloned: [`new`](Self::new) asks for one producer and one consumer.
    #[derive(Debug)]
    pub struct Place {
        memory: Arc<SharedMemory>,
        at: usize,
        capacity: usize,
        doorbell: Option<Arc<Doorbell>>,
    }

    /// How many bytes of memory a ring for `capacity` bytes takes.
    pub const fn size(capacity: usize) -> usize {
        size_of::<Header>() + capacity
    }

    impl Place {
        /// The place `at` bytes from the start of `memory`, for a ring of `capacity` bytes. The memory is as it was made, or
        /// has been used for this ring alone. `doorbell` is what this process rings when the other one says so.
        ///
        /// # Safety
        ///
        /// This process has one [`Producer`](super::super::Producer) and one [`Consumer`](super::super::Consumer) there at
        /// most, or has nothing else in the memory of this ring.
        ///
        /// # Panics
        ///
        /// If `at` is no multiple of 128, `capacity` no power of two, or the memory too small.
        pub unsafe fn new(
            memory: Arc<SharedMemory>,
            at: usize,
            capacity: usize,
            doorbell: Option<Arc<Doorbell>>,
        ) -> Place {
            assert!(at.is_multiple_of(LINE) && capacity.is_power_of_two(), "a ring has even edges");
            assert!(memory.len().checked_sub(at).is_some_and(|room| size(capacity) <= room), "a ring needs its room");
            Place { memory, at, capacity, doorbell }
        }

        /// The same place, for what belongs to the producer or the consumer that is there.
        pub(crate) fn share(&self) -> Place {
            Place { memory: self.memory.clone(), doorbell: self.doorbell.clone(), ..*self }
        }

        pub(crate) fn capacity(&self) -> usize {
            self.capacity
        }

        /// Where the byte of this position is.
        pub(crate) fn index(&self, position: u64) -> usize {
            // The capacity is a power of two.
            position as usize & (self.capacity - 1)
        }

        pub(crate) fn header(&self) -> &Header {
            // SAFETY: `new` has seen that the header lies within the memory.
            let header = unsafe { self.memory.start().add(self.at) };
            // SAFETY: it is aligned, for a mapping begins at a page; mapped as long as the memory, which this borrow keeps;
            // and it has only atomics, for which any bit pattern is valid.
            unsafe { header.cast().as_ref() }
        }

        fn data(&self) -> NonNull<u8> {
            // SAFETY: as in `header`; the bytes begin where it ends.
            unsafe { self.memory.start().add(self.at + size_of::<Header>()) }
        }

        /// Copies `bytes` to where they are `at` bytes behind the start.
        ///
        /// # Safety
        ///
        /// They end within the capacity, and no consumer of this process reads there.
        pub(crate) unsafe fn put(&self, at: usize, bytes: &[u8]) {
            debug_assert!(at + bytes.len() <= self.capacity);
            // SAFETY: within the capacity, says the caller, and so within the mapping.
            let to = unsafe { self.data().add(at) };
            // SAFETY: `bytes` are no part of this ring, for nobody has a reference into it; the place is mapped and, within this
            // process, the caller's alone. Should another process write there too, the ring has nonsense in it.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to.as_ptr(), bytes.len()) }
        }

        /// Copies `len` bytes from where they are `at` bytes behind the start.
        ///
        /// # Safety
        ///
        /// They end within the capacity, no producer of this process writes there, and `to` is valid for writes of `len`
        /// bytes that are no part of this ring.
        pub(crate) unsafe fn get(&self, at: usize, to: *mut u8, len: usize) {
            debug_assert!(at + len <= self.capacity);
            // SAFETY: within the capacity, says the caller, and so within the mapping.
            let from = unsafe { self.data().add(at) };
            // SAFETY: mapped, and, within this process, not written to now; `to` as the caller says. Should another process
            // write there now, what comes out is nonsense, and is looked at as such.
            unsafe { ptr::copy_nonoverlapping(from.as_ptr(), to, len) }
        }

        /// Wakes the side that has noted this in `sleeper`.
        pub(crate) fn call(&self, sleeper: &Sleeper, wake: Wake) -> io::Result<()> {
            match (wake, &self.doorbell) {
                (Wake::ByDoorbell, Some(bell)) => bell.ring(),
                _ => sleeper.wake(),
            }
        }
    }
}

/// The same for the models: cells whose every access loom sees, and a bell that counts how often it was rung.
#[cfg(concurrent_futures_loom)]
mod imp {
    use super::super::sleeper::{Sleeper, Wake};
    use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};
    use loom::sync::{Arc, Condvar, Mutex};
    use std::{fmt, io};

    pub(crate) struct Header {
        pub(crate) writer: WriterLine,
        pub(crate) reader: ReaderLine,
    }

    pub(crate) struct WriterLine {
        pub(crate) tail: AtomicU64,
        pub(crate) reader: Sleeper,
    }

    pub(crate) struct ReaderLine {
        pub(crate) head: AtomicU64,
        pub(crate) writer: Sleeper,
    }

    /// The place of a ring.
    pub struct Place(Arc<Memory>);

    struct Memory {
        header: Header,
        cells: Vec<UnsafeCell<u8>>,
        rings: Mutex<u64>,
        rung: Condvar,
    }

    /// Hears the bell of a ring.
    pub(crate) struct Ear {
        place: Place,
        heard: u64,
    }

    impl Ear {
        /// Sleeps until the bell has been rung since it was heard last.
        pub(crate) fn sleep(&mut self) {
            let Memory { rings, rung, .. } = &*self.place.0;
            let mut rings = rings.lock().expect("no model panics here");
            while *rings == self.heard {
                rings = rung.wait(rings).expect("no model panics here");
            }
            self.heard = *rings;
        }

        /// What was heard until now is nothing new.
        pub(crate) fn forget(&mut self) {
            self.heard = *self.place.0.rings.lock().expect("no model panics here");
        }
    }

    /// What a ring takes.
    pub const fn size(capacity: usize) -> usize {
        capacity
    }

    impl Place {
        pub(crate) fn of(capacity: usize) -> Place {
            let writer = WriterLine { tail: AtomicU64::new(0), reader: Sleeper::new() };
            let reader = ReaderLine { head: AtomicU64::new(0), writer: Sleeper::new() };
            let cells = (0..capacity).map(|_| UnsafeCell::new(0)).collect();
            let (rings, rung) = (Mutex::new(0), Condvar::new());
            Place(Arc::new(Memory { header: Header { writer, reader }, cells, rings, rung }))
        }

        pub(crate) fn share(&self) -> Place {
            Place(self.0.clone())
        }

        /// What a poller has: it hears each ring, also those of before.
        pub(crate) fn ear(&self) -> Ear {
            Ear { place: self.share(), heard: 0 }
        }

        /// Rings the bell.
        pub(crate) fn ring(&self) -> io::Result<()> {
            *self.0.rings.lock().expect("no model panics here") += 1;
            self.0.rung.notify_all();
            Ok(())
        }

        pub(crate) fn capacity(&self) -> usize {
            self.0.cells.len()
        }

        pub(crate) fn index(&self, position: u64) -> usize {
            position as usize % self.capacity()
        }

        pub(crate) fn header(&self) -> &Header {
            &self.0.header
        }

        pub(crate) unsafe fn put(&self, at: usize, bytes: &[u8]) {
            for (cell, byte) in self.0.cells[at..].iter().zip(bytes) {
                // SAFETY: loom looks at whether anybody else is there.
                cell.with_mut(|cell| unsafe { *cell = *byte });
            }
        }

        pub(crate) unsafe fn get(&self, at: usize, to: *mut u8, len: usize) {
            for (n, cell) in self.0.cells[at..at + len].iter().enumerate() {
                // SAFETY: loom looks at whether anybody else is there.
                let byte = cell.with(|cell| unsafe { *cell });
                // SAFETY: `to` is valid for `len` bytes, says the caller.
                let to = unsafe { to.add(n) };
                // SAFETY: as above.
                unsafe { *to = byte };
            }
        }

        pub(crate) fn call(&self, sleeper: &Sleeper, wake: Wake) -> io::Result<()> {
            if wake == Wake::ByFutex {
                return sleeper.wake();
            }
            self.ring()
        }
    }

    impl fmt::Debug for Place {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Place").finish_non_exhaustive()
        }
    }
}

pub(super) use imp::{Ordering, fence};
pub use imp::{Place, size};
