//! How long a thread sleeps, and what it does about it.

use crate::futex;
use concurrent_futures_core::worker;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

/// A task that waits for longer than this has a substitute in its pool, for what it waits for may be up to a task of that
/// pool. A substitute may be a new thread, so it is not for waits that are over soon.
const ALONE: Duration = Duration::from_millis(2);

/// Calls `wait` with a deadline until it has something, at most until `deadline`. It gives up at each deadline it is given.
pub(super) fn patiently<R>(deadline: Option<Instant>, mut wait: impl FnMut(Option<Instant>) -> Option<R>) -> Option<R> {
    let soon = Instant::now() + ALONE;
    if deadline.is_some_and(|deadline| deadline <= soon) {
        return wait(deadline);
    }
    wait(Some(soon)).or_else(|| worker::blocking(|| wait(deadline)))
}

/// Sleeps as long as `word` is `expected`, until it is woken, or for no reason, at most until `deadline`.
pub(super) fn sleep(word: &AtomicU32, expected: u32, deadline: Option<Instant>) {
    futex::wait(word, expected, deadline).expect("the kernel can wait for a word that is mapped");
}

/// Wakes so many of those who sleep there, and says how many there were.
pub(super) fn wake(word: &AtomicU32, count: u32) -> usize {
    futex::wake(word, count).expect("the kernel can wake at a word that is mapped")
}

/// When to wake up and look whether somebody has died, for the kernel tells nobody. More and more seldom.
#[derive(Debug)]
pub(super) struct Looks(Duration);

impl Looks {
    const FIRST: Duration = Duration::from_millis(25);
    const LAST: Duration = Duration::from_millis(400);

    pub(super) fn new() -> Looks {
        Looks(Looks::FIRST)
    }

    /// The next look, or `deadline` if that is sooner.
    pub(super) fn next(&mut self, deadline: Option<Instant>) -> Instant {
        let look = Instant::now() + self.0;
        self.0 = (2 * self.0).min(Looks::LAST);
        deadline.map_or(look, |deadline| look.min(deadline))
    }
}

pub(super) fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= Instant::now())
}
