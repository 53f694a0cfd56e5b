//! Waiting for what others do under a lock.

use super::place::{self, Place};
use super::seats::{FREE, Seat};
use super::waiting::{self, Looks};
use super::{Held, LockGuard, OwnerDied, RLockGuard, travel};
use crate::SharedMemory;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::Release};
use std::time::{Duration, Instant};

/// Where those wait, under a lock, who need something that others will do under the same lock. Python's `multiprocessing.Condition`.
///
/// It goes with a [`Lock`](super::Lock) or an [`RLock`](super::RLock) that its users agree on: who waits gives its guard and gets it back, in
/// between the lock is free. Several conditions can go with one lock ("not empty", "not full").
///
/// A clone is the same condition. It travels: as or inside the argument, the result or the context of a task, whatever process that
/// runs in, or the argument of a process.
///
/// [`notify`](Self::notify) wakes that many of those who wait, the first ones first, and none who has died. Should one die who has been woken,
/// before it has the lock, another one is woken in its place, within half a second. Nobody wakes for no reason, with two exceptions:
/// a death in the middle of all that may wake one too many, and so may more than 4,096 who wait at once. So look again at what you wait for,
/// or use [`wait_for`](Self::wait_for).
///
/// Who notifies should have the lock: else it may happen between another's look at the state of things and its wait.
///
/// ```
/// use concurrent_futures_ipc::{Condition, Event, Lock};
///
/// let (lock, changed) = (Lock::new()?, Condition::new()?);
/// let door = Event::new()?; // stands for anything that is shared: a value, an array, a file
/// std::thread::scope(|s| {
///     s.spawn(|| {
///         let guard = lock.lock().unwrap();
///         let _guard = changed.wait_for(guard, || door.is_set()).unwrap();
///     });
///     let _guard = lock.lock().unwrap();
///     door.set();
///     changed.notify_all();
/// });
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Drop
///
/// Its memory goes with the last clone of the last process.
#[derive(Clone)]
pub struct Condition(Arc<Place<Words>>);

#[repr(C)]
struct Words {
    /// How many have ever waited: each has the number of its turn.
    turns: AtomicU64,
}

// SAFETY: an atomic of eight bytes.
unsafe impl place::Words for Words {}

/// The states of a seat. Who sits there sleeps on that word.
const WAITING: u32 = 1;
const NOTIFIED: u32 = 2;

/// So many can wait at a time.
const SEATS: usize = 4096;

/// What [`Condition::wait`] takes and gives back: a guard of one of the locks here.
pub trait WaitGuard: Sized + sealed::Sealed {}

impl WaitGuard for LockGuard<'_> {}
impl WaitGuard for RLockGuard<'_> {}

pub(super) mod sealed {
    use super::OwnerDied;
    use crate::sync::RobustMutex;

    /// A lock that was let go, and how often it was held.
    #[derive(Debug)]
    pub struct Released<'a> {
        pub(in crate::sync) lock: &'a RobustMutex,
        pub(in crate::sync) depth: u32,
    }

    /// A lock that is held, and can be let go and taken again.
    pub trait Sealed: Sized {
        /// With the lifetime of the guard.
        type Released;

        /// Lets it go.
        fn release(self) -> Self::Released;

        /// Takes it again, as often as before.
        fn acquire(released: Self::Released) -> Result<Self, OwnerDied<Self>>;
    }
}

impl Condition {
    /// A new condition, for any lock.
    ///
    /// # Errors
    ///
    /// No descriptor left, or no memory.
    pub fn new() -> io::Result<Condition> {
        Ok(Condition(Arc::new(Place::new("concurrent-futures-condition", SEATS)?)))
    }

    /// Lets the lock go, waits until it is notified, and locks again. An [`RLock`](super::RLock) is let go however often this thread has it, and
    /// had as often again.
    ///
    /// A task of a thread pool that waits here for some milliseconds has a substitute meanwhile. A task of a process pool has none:
    /// it must not wait for what only another task of its pool can do.
    ///
    /// # Errors
    ///
    /// The lock is this thread's again, but whoever had it before has died with it.
    pub fn wait<G: WaitGuard>(&self, guard: G) -> Result<G, OwnerDied<G>> {
        self.wait_until(guard, None).map_err(|OwnerDied((guard, _))| OwnerDied(guard)).map(|(guard, _)| guard)
    }

    /// As [`wait`](Self::wait), for so long at most (and as long as others have the lock then); whether it was notified.
    ///
    /// # Errors
    ///
    /// As of [`wait`](Self::wait).
    pub fn wait_timeout<G: WaitGuard>(&self, guard: G, timeout: Duration) -> Result<(G, bool), OwnerDied<(G, bool)>> {
        self.wait_until(guard, after(timeout))
    }

    /// Waits until `is_so`, which is asked under the lock: now, and whenever this is notified.
    ///
    /// # Errors
    ///
    /// The lock is this thread's, but whoever had it before has died with it, and it is not known whether it is so. Look at what is left,
    /// and wait again.
    pub fn wait_for<G: WaitGuard>(&self, mut guard: G, mut is_so: impl FnMut() -> bool) -> Result<G, OwnerDied<G>> {
        while !is_so() {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// As [`wait_for`](Self::wait_for), for so long at most; whether it is so.
    ///
    /// # Errors
    ///
    /// As of [`wait_for`](Self::wait_for); what is said beside the guard is whether it was notified.
    pub fn wait_for_timeout<G: WaitGuard>(
        &self,
        mut guard: G,
        timeout: Duration,
        mut is_so: impl FnMut() -> bool,
    ) -> Result<(G, bool), OwnerDied<(G, bool)>> {
        let deadline = after(timeout);
        loop {
            if is_so() {
                return Ok((guard, true));
            }
            if waiting::is_over(deadline) {
                return Ok((guard, false));
            }
            guard = self.wait_until(guard, deadline)?.0;
        }
    }

    /// Wakes the one that has waited longest, if anybody waits.
    pub fn notify_one(&self) {
        self.notify(1);
    }

    /// Wakes so many, those who have waited longest, or all if there are not so many.
    pub fn notify(&self, count: usize) {
        let held = self.0.lock();
        self.replace_dead(&held);
        self.notify_first(&held, count);
    }

    /// Wakes all who wait.
    pub fn notify_all(&self) {
        self.notify(usize::MAX);
    }

    fn wait_until<G: WaitGuard>(&self, guard: G, deadline: Option<Instant>) -> Result<(G, bool), OwnerDied<(G, bool)>> {
        let seat = {
            let held = self.0.lock();
            let turns = &self.0.words().turns;
            let turn = turns.load(Relaxed);
            turns.store(turn.wrapping_add(1), Relaxed);
            self.0.seats().take(&held, WAITING, turn)
        };
        let released = guard.release();
        if let Some(seat) = &seat {
            waiting::patiently(deadline, |until| self.sleep(seat, until));
        } else {
            // Nobody can notify this thread: it looks again by itself.
            std::thread::yield_now();
        }
        let guard = G::acquire(released);
        // Only now: should this thread have died before, somebody else gets its notification.
        let notified = {
            let _held = self.0.lock();
            seat.is_none_or(|seat| seat.state() == NOTIFIED)
        };
        guard.map_err(|OwnerDied(guard)| OwnerDied((guard, notified))).map(|guard| (guard, notified))
    }

    fn sleep(&self, seat: &Seat<'_>, until: Option<Instant>) -> Option<()> {
        let mut looks = Looks::new();
        while seat.state() == WAITING {
            if waiting::is_over(until) {
                return None;
            }
            waiting::sleep(&seat.words().state, WAITING, Some(looks.next(until)));
            if seat.state() == WAITING {
                self.replace_dead(&self.0.lock());
            }
        }
        Some(())
    }

    /// Notifies others in place of those who were notified, and have died before they had the lock.
    fn replace_dead(&self, held: &Held<'_>) {
        let seats = self.0.seats();
        for index in seats.used(held) {
            if seats.words(index).state.load(Relaxed) == NOTIFIED {
                // Whoever dies in between leaves one to be replaced again: one wakes too many, rather than too few.
                seats.free_if_dead(held, index, || self.notify_first(held, 1));
            }
        }
    }

    fn notify_first(&self, held: &Held<'_>, count: usize) {
        let seats = self.0.seats();
        let mut turns: Vec<(u64, usize)> = seats
            .used(held)
            .map(|index| (seats.words(index), index))
            .filter(|(words, _)| words.state.load(Relaxed) == WAITING)
            .map(|(words, index)| (words.number.load(Relaxed), index))
            .collect();
        turns.sort_unstable();
        let mut left = count;
        for (_, index) in turns {
            if left == 0 {
                return;
            }
            if !seats.free_if_dead(held, index, || ()) {
                let state = &seats.words(index).state;
                state.store(NOTIFIED, Release);
                waiting::wake(state, 1);
                left -= 1;
            }
        }
    }

    fn memory(&self) -> &SharedMemory {
        self.0.memory()
    }

    fn open(memory: Arc<SharedMemory>) -> io::Result<Condition> {
        Ok(Condition(Arc::new(Place::open(memory)?)))
    }
}

fn after(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

travel::travels!(Condition);

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.0.lock();
        let seats = self.0.seats();
        let waiting = seats.used(&held).filter(|index| seats.words(*index).state.load(Relaxed) != FREE).count();
        f.debug_struct("Condition").field("waiting", &waiting).finish_non_exhaustive()
    }
}
