//! So many at a time: what both semaphores are.

use super::place::{self, Place};
use super::seats::Seat;
use super::sleepers::{Call, Sleepers};
use super::waiting::{self, Looks};
use super::{Held, Permit};
use crate::SharedMemory;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Instant;

/// The number of permits, who has them, and who waits for one.
#[derive(Debug)]
pub(super) struct Permits(Place<Words>);

/// Changed under the mutex only.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Words {
    /// So many permits are there: those in nobody's hand, and those of the guards.
    there: AtomicU32,
    /// So many seats are taken, each for a permit with a guard. Counted anew by whoever finds that his predecessor has died.
    held: AtomicU32,
    /// More than this there cannot be.
    most: AtomicU32,
    sleepers: Sleepers,
}

// SAFETY: atomics of four bytes.
unsafe impl place::Words for Words {}

/// The state of a seat whose thread has a permit.
const HELD: u32 = 1;

/// So many guards there can be at a time, in all processes.
const SEATS: usize = 4096;

/// More permits cannot be counted.
pub(super) const MOST: u32 = i32::MAX.cast_unsigned();

impl Permits {
    pub(super) fn new(name: &str, value: u32, most: u32) -> io::Result<Permits> {
        if value > most {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("more than {most} permits cannot be counted"),
            ));
        }
        let place = Place::<Words>::new(name, SEATS)?;
        place.words().there.store(value, Relaxed);
        place.words().most.store(most, Relaxed);
        Ok(Permits(place))
    }

    pub(super) fn open(memory: Arc<SharedMemory>) -> io::Result<Permits> {
        Ok(Permits(Place::open(memory)?))
    }

    pub(super) fn memory(&self) -> &SharedMemory {
        self.0.memory()
    }

    fn lock(&self) -> Held<'_> {
        let held = self.0.lock();
        if held.owner_died() {
            // All other changes are one store.
            let seats = self.0.seats();
            let taken = seats.used(&held).filter(|index| seats.words(*index).state.load(Relaxed) == HELD).count();
            self.0.words().held.store(taken as u32, Relaxed);
        }
        held
    }

    fn free(&self) -> u32 {
        let Words { there, held, .. } = self.0.words();
        there.load(Relaxed).saturating_sub(held.load(Relaxed))
    }

    pub(super) fn value(&self) -> u32 {
        let held = self.lock();
        self.collect(&held);
        self.free()
    }

    pub(super) fn try_acquire(&self) -> Option<Permit<'_>> {
        let held = self.lock();
        let permit = self.take(&held);
        if permit.is_some() || !self.collect(&held) {
            return permit;
        }
        self.take(&held)
    }

    pub(super) fn acquire_until(&self, deadline: Option<Instant>) -> Option<Permit<'_>> {
        let first = self.take(&self.lock());
        first.or_else(|| waiting::patiently(deadline, |until| self.wait(until)))
    }

    fn wait(&self, until: Option<Instant>) -> Option<Permit<'_>> {
        let sleepers = &self.0.words().sleepers;
        let mut looks = Looks::new();
        loop {
            let ticket = {
                let held = self.lock();
                let permit = self.take(&held);
                if permit.is_some() {
                    return permit;
                }
                if self.collect(&held) {
                    // One of them for this thread, the others for others.
                    let call = sleepers.call(&held);
                    drop(held);
                    wake(call, u32::MAX);
                    continue;
                }
                sleepers.ticket(&held)
            };
            if waiting::is_over(until) {
                return None;
            }
            sleepers.sleep(ticket, Some(looks.next(until)));
        }
    }

    fn take(&self, held: &Held<'_>) -> Option<Permit<'_>> {
        if self.free() == 0 {
            return None;
        }
        let seat = self.0.seats().take(held, HELD, 0)?;
        let count = &self.0.words().held;
        count.store(count.load(Relaxed) + 1, Relaxed);
        Some(Permit::new(self, seat))
    }

    /// Takes back what the dead had; whether there was anything.
    fn collect(&self, held: &Held<'_>) -> bool {
        let (seats, words) = (self.0.seats(), self.0.words());
        let mut any = false;
        for index in seats.used(held) {
            if seats.words(index).state.load(Relaxed) == HELD && seats.free_if_dead(held, index, || ()) {
                words.held.store(words.held.load(Relaxed).saturating_sub(1), Relaxed);
                any = true;
            }
        }
        any
    }

    /// A guard gives back what it has.
    pub(super) fn give_back(&self, seat: Seat<'_>) {
        let held = self.lock();
        let call = self.get_up(&held, seat);
        drop(held);
        wake(call, 1);
    }

    /// A guard is gone, but not its permit: nobody has it.
    pub(super) fn disown(&self, seat: Seat<'_>) {
        let held = self.lock();
        let there = &self.0.words().there;
        // A death between these two: it was disowned, and then the owner of nothing has died.
        there.store(there.load(Relaxed).saturating_sub(1), Relaxed);
        let call = self.get_up(&held, seat);
        drop(held);
        // There may be somebody who waits for a seat.
        wake(call, 1);
    }

    fn get_up(&self, held: &Held<'_>, seat: Seat<'_>) -> Option<Call<'_>> {
        let Words { held: count, sleepers, .. } = self.0.words();
        drop(seat);
        count.store(count.load(Relaxed).saturating_sub(1), Relaxed);
        sleepers.call(held)
    }

    pub(super) fn release(&self, count: u32) -> Result<(), OverRelease> {
        let held = self.lock();
        let Words { there, most, sleepers, .. } = self.0.words();
        let (now, most) = (there.load(Relaxed), most.load(Relaxed));
        if most.saturating_sub(now) < count {
            return Err(OverRelease { most });
        }
        there.store(now + count, Relaxed);
        let call = sleepers.call(&held);
        drop(held);
        wake(call, count);
        Ok(())
    }
}

/// A caller who is killed before he wakes anybody has them wait until they look the next time; so has one who is woken and killed
/// before he takes a permit.
fn wake(call: Option<Call<'_>>, count: u32) {
    if let Some(call) = call {
        call.wake(count);
    }
}

/// There would be more permits than there can be: somebody has released what was not acquired.
///
/// ```
/// use concurrent_futures_ipc::BoundedSemaphore;
///
/// let semaphore = BoundedSemaphore::new(2)?;
/// let error = semaphore.release().unwrap_err();
/// assert_eq!(error.to_string(), "released more often than acquired: there are 2 permits at most");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverRelease {
    most: u32,
}

impl fmt::Display for OverRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "released more often than acquired: there are {} permits at most", self.most)
    }
}

impl Error for OverRelease {}
