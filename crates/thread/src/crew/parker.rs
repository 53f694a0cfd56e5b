//! Where one worker sleeps.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Instant;

pub(crate) struct Parker {
    thread: Thread,
    woken: AtomicBool,
}

impl Parker {
    /// For the calling thread.
    pub(crate) fn new() -> Self {
        Parker { thread: thread::current(), woken: AtomicBool::new(false) }
    }

    /// Sleeps until woken, at most until `deadline`; whether it was woken. Called by its own thread only.
    pub(crate) fn park(&self, deadline: Option<Instant>) -> bool {
        loop {
            if self.woken.swap(false, Ordering::Acquire) {
                return true;
            }
            // Both may end early: anybody may unpark a thread.
            match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
                None => thread::park(),
                Some(left) if left.is_zero() => return false,
                Some(left) => thread::park_timeout(left),
            }
        }
    }

    pub(crate) fn wake(&self) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }

    #[cfg(test)]
    pub(super) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Acquire)
    }
}
