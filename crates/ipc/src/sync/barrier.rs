//! Where so many wait for each other.

use super::place::{self, Place};
use super::seats::Seat;
use super::sleepers::{Call, Sleepers};
use super::waiting::{self, Looks};
use super::{Held, travel};
use crate::SharedMemory;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::Release};
use std::time::{Duration, Instant};

/// Where so many wait for each other, again and again. Python's `multiprocessing.Barrier`.
///
/// A clone is the same barrier. It travels: as or inside the argument, the result or the context of a task, whatever process that
/// runs in, or the argument of a process.
///
/// When the last of them has come, all go on, and each gets another number from 0 up. Should one of those who wait be
/// [too late](Self::wait_timeout), should somebody [abort](Self::abort) it, or should one of them die while it waits, the barrier is broken: none
/// of the others would ever see it complete, so all of them, and all who come, get a [`BrokenBarrier`], until somebody has
/// [reset](Self::reset) it. A death is seen within half a second. One that has died before it came is not known here: give a time to wait.
///
/// What one of them did before it came is seen by all when they go on.
///
/// ```
/// use concurrent_futures_ipc::Barrier;
///
/// let barrier = Barrier::new(3)?;
/// let numbers = std::thread::scope(|s| {
///     let waiting = [(); 3].map(|()| s.spawn(|| barrier.wait().unwrap()));
///     let mut numbers = waiting.map(|thread| thread.join().unwrap());
///     numbers.sort();
///     numbers
/// });
/// assert_eq!(numbers, [0, 1, 2]);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Drop
///
/// Its memory goes with the last clone of the last process.
#[derive(Clone)]
pub struct Barrier(Arc<Place<Words>>);

/// Changed under the mutex only.
#[repr(C)]
struct Words {
    parties: AtomicU64,
    /// In nanoseconds; 0: none.
    timeout: AtomicU64,
    /// 1: it is broken.
    broken: AtomicU32,
    /// What has been decided about those who sit there, until each of them has it. Whoever finds that his predecessor has died goes on with
    /// it.
    verdict: AtomicU32,
    sleepers: Sleepers,
}

// SAFETY: atomics of eight and four bytes.
unsafe impl place::Words for Words {}

/// The states of a seat: it waits for the others; it is the last, and does what is to be done before they go on; it may go on; it was
/// in vain.
const WAITING: u32 = 1;
const ACTING: u32 = 2;
const PASSED: u32 = 3;
const IN_VAIN: u32 = 4;

/// What can be decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Verdict {
    /// All may go on.
    Pass = 1,
    /// All of them, and all who come, have waited in vain.
    Break = 2,
    /// All of them have waited in vain, and who comes begins anew.
    Reset = 3,
}

impl Barrier {
    /// A barrier for so many.
    ///
    /// # Errors
    ///
    /// None is not enough, more than some millions too many; no descriptor left, or no memory.
    pub fn new(parties: usize) -> io::Result<Barrier> {
        if parties == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a barrier is for one at least"));
        }
        // Those who may go on have not yet got up when the next ones come.
        let seats = parties.saturating_mul(2);
        let barrier = Barrier(Arc::new(Place::new("concurrent-futures-barrier", seats)?));
        barrier.0.words().parties.store(parties as u64, Relaxed);
        Ok(barrier)
    }

    /// The same, and each [`wait`](Self::wait) is for so long at most.
    ///
    /// # Errors
    ///
    /// As of [`new`](Self::new).
    pub fn with_timeout(parties: usize, timeout: Duration) -> io::Result<Barrier> {
        let barrier = Barrier::new(parties)?;
        let timeout = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX).max(1);
        barrier.0.words().timeout.store(timeout, Relaxed);
        Ok(barrier)
    }

    /// Waits until all have come: the first of them gets 0, the last one the highest number.
    ///
    /// A task of a thread pool that waits here for some milliseconds has a substitute meanwhile. A task of a process pool has none: give
    /// it as many workers as there are parties.
    ///
    /// # Errors
    ///
    /// The barrier is broken, or was while this thread waited. If there is a [time to wait](Self::with_timeout) and it is over, this thread
    /// has broken it.
    pub fn wait(&self) -> Result<usize, BrokenBarrier> {
        self.wait_until(self.default_deadline(), || ())
    }

    /// As [`wait`](Self::wait), for so long at most.
    ///
    /// # Errors
    ///
    /// As of [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<usize, BrokenBarrier> {
        self.wait_until(Instant::now().checked_add(timeout), || ())
    }

    /// As [`wait`](Self::wait); the last one to come calls `action` before all of them go on, itself included.
    ///
    /// ```
    /// use concurrent_futures_ipc::Barrier;
    /// use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
    ///
    /// let (barrier, rounds) = (Barrier::new(2)?, AtomicU32::new(0));
    /// let next_round = || rounds.fetch_add(1, SeqCst);
    /// std::thread::scope(|s| {
    ///     for _ in 0..2 {
    ///         s.spawn(|| {
    ///             barrier.wait_with(|| drop(next_round())).unwrap();
    ///             assert_eq!(rounds.load(SeqCst), 1);
    ///         });
    ///     }
    /// });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As of [`wait`](Self::wait).
    ///
    /// # Panics
    ///
    /// If `action` does. Then the barrier is broken. (Should `action` fork, that holds for the parent alone: the child that comes back
    /// from it gets a [`BrokenBarrier`], and changes nothing.)
    pub fn wait_with(&self, action: impl FnOnce()) -> Result<usize, BrokenBarrier> {
        self.wait_until(self.default_deadline(), action)
    }

    /// Breaks it: all who wait have waited in vain, and so has whoever comes.
    pub fn abort(&self) {
        let held = self.lock();
        wake(self.decide(&held, Verdict::Break));
    }

    /// All who wait have waited in vain; who comes finds it as it was at first.
    pub fn reset(&self) {
        let held = self.lock();
        wake(self.decide(&held, Verdict::Reset));
    }

    /// Whether it is broken.
    pub fn is_broken(&self) -> bool {
        let held = self.lock();
        self.break_if_one_died(&held);
        self.0.words().broken.load(Relaxed) != 0
    }

    /// How many must come.
    pub fn parties(&self) -> usize {
        usize::try_from(self.0.words().parties.load(Relaxed)).unwrap_or(usize::MAX)
    }

    /// How many have come, and wait for the others.
    pub fn n_waiting(&self) -> usize {
        let held = self.lock();
        self.break_if_one_died(&held);
        self.count(&held, WAITING)
    }

    fn default_deadline(&self) -> Option<Instant> {
        match self.0.words().timeout.load(Relaxed) {
            0 => None,
            nanoseconds => Instant::now().checked_add(Duration::from_nanos(nanoseconds)),
        }
    }

    fn lock(&self) -> Held<'_> {
        let held = self.0.lock();
        if held.owner_died() {
            let verdict = match self.0.words().verdict.load(Relaxed) {
                1 => Some(Verdict::Pass),
                2 => Some(Verdict::Break),
                3 => Some(Verdict::Reset),
                _ => None,
            };
            if let Some(verdict) = verdict {
                wake(self.decide(&held, verdict));
            }
        }
        held
    }

    fn wait_until(&self, deadline: Option<Instant>, action: impl FnOnce()) -> Result<usize, BrokenBarrier> {
        let come = waiting::patiently(deadline, |until| self.come(until));
        let (seat, number) = come.unwrap_or_else(|| Err(self.too_late(None)))?;
        if seat.state() == ACTING {
            let broken = BreakOnPanic(self, &seat);
            action();
            std::mem::forget(broken);
            if !seat.is_ours() {
                // It has forked, and this is the child, for whom nobody waits.
                return Err(BrokenBarrier(()));
            }
            let held = self.lock();
            if seat.state() == ACTING {
                wake(self.decide(&held, Verdict::Pass));
            }
        } else if waiting::patiently(deadline, |until| self.sleep(&seat, until)).is_none() {
            self.too_late(Some(&seat));
        }
        if seat.state() == PASSED { Ok(number) } else { Err(BrokenBarrier(())) }
    }

    /// Sits down when those before have gone.
    fn come(&self, until: Option<Instant>) -> Option<Result<(Seat<'_>, usize), BrokenBarrier>> {
        let sleepers = &self.0.words().sleepers;
        let mut looks = Looks::new();
        loop {
            let ticket = {
                let held = self.lock();
                self.break_if_one_died(&held);
                if self.0.words().broken.load(Relaxed) != 0 {
                    return Some(Err(BrokenBarrier(())));
                }
                let number = self.count(&held, WAITING);
                let state = if number + 1 < self.parties() { WAITING } else { ACTING };
                let is_open = self.count(&held, ACTING) == 0;
                if let Some(seat) = is_open.then(|| self.take(&held, state)).flatten() {
                    return Some(Ok((seat, number)));
                }
                sleepers.ticket(&held)
            };
            if waiting::is_over(until) {
                return None;
            }
            sleepers.sleep(ticket, Some(looks.next(until)));
        }
    }

    fn take(&self, held: &Held<'_>, state: u32) -> Option<Seat<'_>> {
        let seats = self.0.seats();
        seats.take(held, state, 0).or_else(|| {
            // Some may have died who had been told, and have not got up.
            for index in seats.used(held) {
                if matches!(seats.words(index).state.load(Relaxed), PASSED | IN_VAIN) {
                    seats.free_if_dead(held, index, || ());
                }
            }
            seats.take(held, state, 0)
        })
    }

    fn sleep(&self, seat: &Seat<'_>, until: Option<Instant>) -> Option<()> {
        let sleepers = &self.0.words().sleepers;
        let mut looks = Looks::new();
        loop {
            let ticket = {
                let held = self.lock();
                self.break_if_one_died(&held);
                if seat.state() != WAITING {
                    return Some(());
                }
                sleepers.ticket(&held)
            };
            if waiting::is_over(until) {
                return None;
            }
            sleepers.sleep(ticket, Some(looks.next(until)));
            if seat.state() != WAITING {
                return Some(());
            }
        }
    }

    /// A time is over: whoever has not been told yet breaks the barrier.
    fn too_late(&self, seat: Option<&Seat<'_>>) -> BrokenBarrier {
        let held = self.lock();
        if seat.is_none_or(|seat| seat.state() == WAITING) {
            wake(self.decide(&held, Verdict::Break));
        }
        BrokenBarrier(())
    }

    fn count(&self, held: &Held<'_>, state: u32) -> usize {
        let seats = self.0.seats();
        seats.used(held).filter(|index| seats.words(*index).state.load(Relaxed) == state).count()
    }

    fn break_if_one_died(&self, held: &Held<'_>) {
        let seats = self.0.seats();
        let mut died = false;
        for index in seats.used(held) {
            if is_undecided(seats.words(index).state.load(Relaxed)) {
                died |= seats.free_if_dead(held, index, || self.begin(Verdict::Break));
            }
        }
        if died {
            wake(self.decide(held, Verdict::Break));
        }
    }

    /// From now on it is so, whoever dies.
    fn begin(&self, verdict: Verdict) {
        self.0.words().verdict.store(verdict as u32, Relaxed);
    }

    fn decide(&self, held: &Held<'_>, verdict: Verdict) -> Option<Call<'_>> {
        let (seats, words) = (self.0.seats(), self.0.words());
        self.begin(verdict);
        let state = if verdict == Verdict::Pass { PASSED } else { IN_VAIN };
        for index in seats.used(held) {
            let seat = &seats.words(index).state;
            if is_undecided(seat.load(Relaxed)) {
                seat.store(state, Release);
            }
        }
        match verdict {
            Verdict::Pass => {}
            Verdict::Break => words.broken.store(1, Relaxed),
            Verdict::Reset => words.broken.store(0, Relaxed),
        }
        words.verdict.store(0, Relaxed);
        words.sleepers.call(held)
    }

    fn memory(&self) -> &SharedMemory {
        self.0.memory()
    }

    fn open(memory: Arc<SharedMemory>) -> io::Result<Barrier> {
        Ok(Barrier(Arc::new(Place::open(memory)?)))
    }
}

fn is_undecided(state: u32) -> bool {
    matches!(state, WAITING | ACTING)
}

/// Should the caller be killed before, they look by themselves.
fn wake(call: Option<Call<'_>>) {
    if let Some(call) = call {
        call.wake(u32::MAX);
    }
}

struct BreakOnPanic<'a>(&'a Barrier, &'a Seat<'a>);

impl Drop for BreakOnPanic<'_> {
    fn drop(&mut self) {
        let BreakOnPanic(barrier, seat) = self;
        if seat.is_ours() {
            barrier.abort();
        }
    }
}

travel::travels!(Barrier);

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("parties", &self.parties())
            .field("waiting", &self.n_waiting())
            .field("broken", &self.is_broken())
            .finish_non_exhaustive()
    }
}

/// The barrier is broken: one of those who waited was too late, or has died, or somebody has called
/// [`abort`](Barrier::abort) or [`reset`](Barrier::reset). [`reset`](Barrier::reset) makes it usable again.
///
/// ```
/// use concurrent_futures_ipc::Barrier;
/// use std::time::Duration;
///
/// let barrier = Barrier::new(2)?;
/// let error = barrier.wait_timeout(Duration::from_millis(1)).unwrap_err();
/// assert!(barrier.is_broken() && error.to_string().starts_with("the barrier is broken"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenBarrier(());

impl fmt::Display for BrokenBarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the barrier is broken: one of those who wait was too late or has died, or somebody has aborted or reset it")
    }
}

impl Error for BrokenBarrier {}
