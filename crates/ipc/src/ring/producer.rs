//! The side that writes.

use super::place::{Ordering, Place, fence};
use super::{LOOKS, Nonsense, Wake};
use std::io;
use std::thread;

/// Writes bytes into a ring.
///
/// What has been written is there for the consumer when it is [published](Self::publish); a consumer that sleeps has to be
/// [rung](Ringer::ring) then.
#[derive(Debug)]
pub struct Producer {
    place: Place,
    /// How many bytes it has ever written, and how many of them it has published.
    tail: u64,
    published: u64,
    /// How many the consumer had taken when it was last looked at.
    head: u64,
}

/// Wakes the consumer of a ring if it sleeps. By itself, so that nobody need hold the producer while the kernel is called.
#[derive(Debug)]
pub struct Ringer {
    place: Place,
}

impl Producer {
    /// Of a ring that was not used yet.
    pub fn new(place: Place) -> Self {
        Producer { place, tail: 0, published: 0, head: 0 }
    }

    /// In the place of a producer of this process that writes no more: goes on where that has published.
    ///
    /// # Errors
    ///
    /// [`Nonsense`], if the positions in the memory cannot be.
    pub fn taking_over(place: Place) -> Result<Self, Nonsense> {
        let header = place.header();
        let (tail, head) = (header.writer.tail.load(Ordering::Acquire), header.reader.head.load(Ordering::Acquire));
        let (claimed, limit) = (tail.wrapping_sub(head), place.capacity() as u64);
        if claimed > limit {
            return Err(Nonsense { claimed, limit });
        }
        Ok(Producer { place, tail, published: tail, head })
    }

    /// Room for so many bytes there is at least.
    pub fn room(&self) -> usize {
        self.place.capacity() - (self.tail - self.head) as usize
    }

    /// Whether there is room for `len` bytes.
    ///
    /// # Errors
    ///
    /// [`Nonsense`], if the consumer has written that.
    pub fn has_room(&mut self, len: usize) -> Result<bool, Nonsense> {
        if self.room() < len {
            self.look()?;
        }
        Ok(self.room() >= len)
    }

    /// Writes as much of `bytes` as there is room for, and says how much that was.
    ///
    /// # Errors
    ///
    /// [`Nonsense`], if the consumer has written that.
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, Nonsense> {
        let len = if self.has_room(bytes.len())? { bytes.len() } else { self.room() };
        let at = self.place.index(self.tail);
        let (first, second) = bytes[..len].split_at(len.min(self.place.capacity() - at));
        // SAFETY: `first` ends at the end of the ring at the latest. The consumer has left this room: it reads only what has been
        // published and not been taken.
        unsafe { self.place.put(at, first) };
        if !second.is_empty() {
            // SAFETY: as above; what did not fit behind `at` fits before it, for there is room for both.
            unsafe { self.place.put(0, second) };
        }
        self.tail += len as u64;
        Ok(len)
    }

    /// Lets the consumer have what has been written. `false`: it had all of it.
    pub fn publish(&mut self) -> bool {
        if self.published == self.tail {
            return false;
        }
        self.place.header().writer.tail.store(self.tail, Ordering::Release);
        self.published = self.tail;
        true
    }

    /// What wakes the consumer.
    pub fn ringer(&self) -> Ringer {
        Ringer { place: self.place.share() }
    }

    /// From now on the consumer is to wake this side when there is room: half of the ring. `true`: it is not, there is room.
    ///
    /// Everything has to be published, and the consumer rung.
    ///
    /// # Errors
    ///
    /// [`Nonsense`], if the consumer has written that.
    pub fn want_room(&mut self, wake: Wake) -> Result<bool, Nonsense> {
        debug_assert_eq!(self.published, self.tail, "the consumer makes no room where it knows of no bytes");
        self.place.header().reader.writer.note(wake);
        fence(Ordering::SeqCst);
        self.look()?;
        let enough = self.has_enough();
        if enough {
            self.want_none();
        }
        Ok(enough)
    }

    /// The consumer need not wake this side.
    pub fn want_none(&mut self) {
        self.place.header().reader.writer.clear();
    }

    /// Publishes what has been written, wakes the consumer if it sleeps, and waits until half of the ring is free.
    ///
    /// # Errors
    ///
    /// [`Nonsense`], if the consumer has written that; what calling the kernel can end with.
    pub fn wait_for_room(&mut self) -> io::Result<()> {
        self.publish();
        self.ringer().ring()?;
        for _ in 0..LOOKS {
            self.look()?;
            if self.has_enough() {
                return Ok(());
            }
            thread::yield_now();
        }
        while !self.want_room(Wake::ByFutex)? {
            self.place.header().reader.writer.sleep(None)?;
        }
        Ok(())
    }

    fn has_enough(&self) -> bool {
        self.room() >= self.place.capacity() / 2
    }

    /// Looks at how far the consumer is.
    fn look(&mut self) -> Result<(), Nonsense> {
        let head = self.place.header().reader.head.load(Ordering::Acquire);
        // It can have taken what was published, and does not give back what it has taken.
        let (claimed, limit) = (self.published.wrapping_sub(head), self.published - self.head);
        if claimed > limit {
            return Err(Nonsense { claimed, limit });
        }
        self.head = head;
        Ok(())
    }
}

impl Ringer {
    /// Wakes the consumer if it sleeps. To be called after [`Producer::publish`], by the same thread or one that has heard of it.
    ///
    /// # Errors
    ///
    /// What calling the kernel can end with: see [`Doorbell::ring`](crate::Doorbell::ring).
    pub fn ring(&self) -> io::Result<()> {
        fence(Ordering::SeqCst);
        let sleeper = &self.place.header().writer.reader;
        match sleeper.take() {
            Some(wake) => self.place.call(sleeper, wake),
            None => Ok(()),
        }
    }
}
