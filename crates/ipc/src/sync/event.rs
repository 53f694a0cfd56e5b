//! A flag that others wait for.

use super::place::{self, Place};
use super::sleepers::Sleepers;
use super::{travel, waiting};
use crate::SharedMemory;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::time::{Duration, Instant};

/// A flag that is set or not, and that others wait for. Python's `multiprocessing.Event`.
///
/// A clone is the same event. It travels: as or inside the argument, the result or the context of a task, whatever process that
/// runs in, or the argument of a process.
///
/// To ask for it costs no more than to read a word, and so does to wait for one that is set. A process that is killed, while it waits or
/// while it sets the event, keeps nobody waiting: the event is then set, and all are awake, or it is not.
///
/// What one thread did before it set the event is seen by those who find it set.
///
/// ```
/// use concurrent_futures_ipc::Event;
/// use std::time::Duration;
///
/// let ready = Event::new()?;
/// assert!(!ready.wait_timeout(Duration::from_millis(1)));
/// std::thread::scope(|s| {
///     s.spawn(|| ready.wait());
///     ready.set();
/// });
/// assert!(ready.is_set());
/// ready.clear();
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Drop
///
/// Its memory goes with the last clone of the last process.
#[derive(Clone)]
pub struct Event(Arc<Place<Words>>);

#[repr(C)]
struct Words {
    /// Twice the number of times that it was set, and one more if it is set now.
    state: AtomicU64,
    sleepers: Sleepers,
}

// SAFETY: atomics of eight and four bytes.
unsafe impl place::Words for Words {}

const SET: u64 = 1;

impl Event {
    /// A new event, not set.
    ///
    /// # Errors
    ///
    /// No descriptor left, or no memory.
    pub fn new() -> io::Result<Event> {
        Ok(Event(Arc::new(Place::new("concurrent-futures-event", 0)?)))
    }

    /// Sets it, and wakes all who wait. Nothing happens if it is set already.
    pub fn set(&self) {
        if self.is_set() {
            return;
        }
        let held = self.0.lock();
        let Words { state, sleepers } = self.0.words();
        let before = state.load(Relaxed);
        if before & SET != 0 {
            return;
        }
        // First they are woken, then it is set: so a death in between leaves nobody asleep beside an event that is set. Who is awake
        // before it is set waits for the mutex.
        if let Some(call) = sleepers.call(&held) {
            call.wake(u32::MAX);
        }
        state.store(before.wrapping_add(2) | SET, Release);
    }

    /// Makes it not set any more. Those who waited when it was set get on nevertheless.
    pub fn clear(&self) {
        let _held = self.0.lock();
        let state = &self.0.words().state;
        state.store(state.load(Relaxed) & !SET, Release);
    }

    /// Whether it is set. That may be otherwise already when this returns.
    pub fn is_set(&self) -> bool {
        self.state() & SET != 0
    }

    /// Waits until it is set, however long that takes.
    ///
    /// A task of a thread pool that waits here for some milliseconds has a substitute meanwhile. A task of a process pool has none:
    /// it must not wait for what only another task of its pool can do.
    pub fn wait(&self) {
        self.wait_until(None);
    }

    /// Waits until it is set, for so long at most; whether it is, or was meanwhile.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.is_set() || self.wait_until(Instant::now().checked_add(timeout))
    }

    fn state(&self) -> u64 {
        self.0.words().state.load(Acquire)
    }

    fn wait_until(&self, deadline: Option<Instant>) -> bool {
        let before = self.state();
        // Set now, or set and cleared since then.
        let is_over = || self.state() & SET != 0 || self.state() >> 1 != before >> 1;
        is_over() || waiting::patiently(deadline, |until| self.sleep(&is_over, until)).is_some()
    }

    fn sleep(&self, is_over: &dyn Fn() -> bool, until: Option<Instant>) -> Option<()> {
        let sleepers = &self.0.words().sleepers;
        loop {
            let ticket = {
                let held = self.0.lock();
                if is_over() {
                    return Some(());
                }
                sleepers.ticket(&held)
            };
            if waiting::is_over(until) {
                return None;
            }
            sleepers.sleep(ticket, until);
            if is_over() {
                return Some(());
            }
        }
    }

    fn memory(&self) -> &SharedMemory {
        self.0.memory()
    }

    fn open(memory: Arc<SharedMemory>) -> io::Result<Event> {
        Ok(Event(Arc::new(Place::open(memory)?)))
    }
}

travel::travels!(Event);

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("set", &self.is_set()).finish_non_exhaustive()
    }
}
