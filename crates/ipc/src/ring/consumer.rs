//! The side that reads.

use super::place::{Ordering, Place, fence};
use super::{Bed, LOOKS, Nonsense, Wake};
use crate::futex::Waited;
use std::io;
use std::mem::MaybeUninit;
use std::thread;
use std::time::Instant;

/// Reads the bytes of a ring.
#[derive(Debug)]
pub struct Consumer {
    place: Place,
    /// How many bytes it has ever taken.
    head: u64,
    /// How many the producer had published when it was last looked at.
    tail: u64,
}

impl Consumer {
    /// Of a ring of which nothing has been read yet.
    pub fn new(place: Place) -> Self {
        Consumer { place, head: 0, tail: 0 }
    }

    /// In the place of a consumer of this process that reads no more: goes on where that has stopped.
    ///
    /// # Errors
    ///
    /// [`Nonsense`], if the positions in the memory cannot be.
    pub fn taking_over(place: Place) -> Result<Self, Nonsense> {
        let head = place.header().reader.head.load(Ordering::Acquire);
        let mut consumer = Consumer { place, head, tail: head };
        consumer.look()?;
        Ok(consumer)
    }

    /// Appends what is there to `into`, at most `limit` bytes and as many as it has capacity for, and says how many; 0: there is
    /// nothing. Wakes the producer if it sleeps and there is room for half a ring now.
    ///
    /// # Errors
    ///
    /// [`Nonsense`], if the producer has written that; what calling the kernel can end with.
    pub fn read(&mut self, into: &mut Vec<u8>, limit: usize) -> io::Result<usize> {
        let room = into.spare_capacity_mut();
        let limit = limit.min(room.len());
        let len = self.read_to(&mut room[..limit])?.len();
        // SAFETY: that many bytes of the spare capacity have just been written.
        unsafe { into.set_len(into.len() + len) };
        Ok(len)
    }

    /// As [`read`](Self::read), to the beginning of `room`; gives what has been written there.
    ///
    /// # Errors
    ///
    /// As for `read`.
    pub fn read_to<'a>(&mut self, room: &'a mut [MaybeUninit<u8>]) -> io::Result<&'a mut [u8]> {
        self.look()?;
        let there = self.there();
        let len = there.min(room.len());
        let capacity = self.place.capacity();
        let at = self.place.index(self.head);
        let first = len.min(capacity - at);
        let to = room.as_mut_ptr().cast::<u8>();
        // SAFETY: it ends at the end of the ring at the latest, and `to` has room for `len` bytes. The producer has published
        // these bytes and leaves them alone until they have been taken.
        unsafe { self.place.get(at, to, first) };
        // SAFETY: within the room, for `first` is at most `len`.
        let to = unsafe { to.add(first) };
        // SAFETY: as above; what does not stand behind `at` stands before it.
        unsafe { self.place.get(0, to, len - first) };
        self.head += len as u64;
        self.place.header().reader.head.store(self.head, Ordering::Release);
        if there > capacity / 2 {
            // The producer may be about to sleep for want of the room that is here now. If there was as much room before, it
            // was not for want of it; and what it has published since is looked at with the next read, or before this side sleeps.
            fence(Ordering::SeqCst);
        }
        self.make_room_known()?;
        // SAFETY: that many bytes of the room have just been written.
        Ok(unsafe { room[..len].assume_init_mut() })
    }

    /// Whether there is something to read.
    ///
    /// # Errors
    ///
    /// [`Nonsense`], if the producer has written that.
    pub fn has_bytes(&mut self) -> Result<bool, Nonsense> {
        self.look()?;
        Ok(self.there() > 0)
    }

    /// From now on the producer is to wake this side when there is something to read. `true`: it is not, there is something.
    ///
    /// # Errors
    ///
    /// [`Nonsense`], if the producer has written that; what calling the kernel can end with.
    pub fn arm(&mut self, wake: Wake) -> io::Result<bool> {
        self.place.header().writer.reader.note(wake);
        fence(Ordering::SeqCst);
        let something = self.has_bytes()?;
        if something {
            self.disarm();
        }
        self.make_room_known()?;
        Ok(something)
    }

    /// Where a thread of this side sleeps while others may have the consumer.
    pub fn bed(&self) -> Bed {
        Bed::new(self.place.share())
    }

    /// The producer need not wake this side: it looks.
    pub fn disarm(&mut self) {
        self.place.header().writer.reader.clear();
    }

    /// Sleeps until the producer has woken this side, which is [armed](Self::arm) with [`Wake::ByFutex`].
    ///
    /// # Errors
    ///
    /// What calling the kernel can end with.
    pub fn sleep(&mut self, deadline: Option<Instant>) -> io::Result<Waited> {
        self.place.header().writer.reader.sleep(deadline)
    }

    /// Waits until there is something to read: looks for a short time, then sleeps.
    ///
    /// # Errors
    ///
    /// [`Nonsense`], if the producer has written that; what calling the kernel can end with.
    pub fn wait(&mut self) -> io::Result<()> {
        for _ in 0..LOOKS {
            if self.has_bytes()? {
                return Ok(());
            }
            thread::yield_now();
        }
        while !self.arm(Wake::ByFutex)? {
            self.sleep(None)?;
        }
        Ok(())
    }

    fn there(&self) -> usize {
        (self.tail - self.head) as usize
    }

    /// Wakes the producer if it waits for room and there is enough. One that must not be missed has been fenced for.
    fn make_room_known(&self) -> io::Result<()> {
        if self.there() > self.place.capacity() / 2 {
            return Ok(());
        }
        let sleeper = &self.place.header().reader.writer;
        match sleeper.take() {
            Some(wake) => self.place.call(sleeper, wake),
            None => Ok(()),
        }
    }

    /// Looks at how far the producer is.
    fn look(&mut self) -> Result<(), Nonsense> {
        let tail = self.place.header().writer.tail.load(Ordering::Acquire);
        let (claimed, limit) = (tail.wrapping_sub(self.head), self.place.capacity() as u64);
        // It does not take back what it has published.
        if claimed > limit || tail < self.tail {
            return Err(Nonsense { claimed, limit });
        }
        self.tail = tail;
        Ok(())
    }
}
