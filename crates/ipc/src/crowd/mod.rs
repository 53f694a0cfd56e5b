//! Threads and tasks of one process that sleep at the same end of a ring, for the same.
//!
//! A ring has room for one note that somebody sleeps there. So whoever takes what all of them wait for, or stops to wait for it, wakes the
//! others: they look, and note anew. The rule, for all of them: [join](Crowd::join); look, and note, under one lock; sleep. And for who
//! has taken something under that lock, or has [left](Crowd::leave): [rouse](Crowd::rouse), afterwards.

#[cfg(all(test, concurrent_futures_loom))]
mod models;

#[cfg(concurrent_futures_loom)]
use loom::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::io;
#[cfg(not(concurrent_futures_loom))]
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// How many they are.
#[derive(Debug)]
pub(crate) struct Crowd(AtomicUsize);

impl Crowd {
    pub(crate) fn new() -> Crowd {
        Crowd(AtomicUsize::new(0))
    }

    /// One more is about to sleep, and has not noted it yet.
    pub(crate) fn join(&self) {
        self.0.fetch_add(1, SeqCst);
    }

    /// One of them sleeps no more.
    pub(crate) fn leave(&self) {
        self.0.fetch_sub(1, SeqCst);
    }

    /// Whether nobody sleeps, or is about to.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.load(SeqCst) == 0
    }

    /// Has them look, by `ring`, which all of them hear. `joined`: the caller is one of them, and need not hear it.
    pub(crate) fn rouse(&self, joined: bool, ring: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if self.0.load(SeqCst) > usize::from(joined) { ring() } else { Ok(()) }
    }
}
