//! Those who sleep until something under a mutex has changed.

use super::{Held, waiting};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Instant;

/// Words in shared memory, zero at first. Whoever wants to sleep says so under the mutex, and so does whoever wakes: so none goes
/// to sleep between the two. Where nobody sleeps, waking is no system call.
///
/// One who is killed asleep, or a caller who is killed before he has woken anybody, leaves a wake-up that is not needed, or one that
/// is missing: who uses this says how that is made good.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Sleepers {
    /// Changes with each call. They sleep as long as it does not.
    calls: AtomicU32,
    /// How often somebody has gone to sleep.
    sleeps: AtomicU32,
    /// What `sleeps` was when nobody was found asleep.
    settled: AtomicU32,
}

/// What is needed to sleep.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket(u32);

/// Sleepers who are to be woken.
#[must_use = "they are woken by `wake`"]
#[derive(Debug)]
pub(super) struct Call<'a> {
    sleepers: &'a Sleepers,
    sleeps: u32,
}

impl Sleepers {
    /// Before [`sleep`](Self::sleep).
    pub(super) fn ticket(&self, _held: &Held<'_>) -> Ticket {
        self.sleeps.store(self.sleeps.load(Relaxed).wrapping_add(1), Relaxed);
        Ticket(self.calls.load(Relaxed))
    }

    /// Until a call that was begun after the ticket was taken, or for no reason, at most until `deadline`.
    pub(super) fn sleep(&self, ticket: Ticket, deadline: Option<Instant>) {
        waiting::sleep(&self.calls, ticket.0, deadline);
    }

    /// Begins a call, if somebody may be asleep.
    pub(super) fn call(&self, _held: &Held<'_>) -> Option<Call<'_>> {
        let sleeps = self.sleeps.load(Relaxed);
        if sleeps == self.settled.load(Relaxed) {
            return None;
        }
        self.calls.store(self.calls.load(Relaxed).wrapping_add(1), Relaxed);
        Some(Call { sleepers: self, sleeps })
    }
}

impl Call<'_> {
    /// Wakes so many of them. The mutex need not be held any more.
    pub(super) fn wake(self, count: u32) {
        let woken = waiting::wake(&self.sleepers.calls, count);
        if woken < count as usize {
            // Nobody is left of those who had a ticket when the call began: one who was about to sleep finds that it has.
            // Who has come since then has counted himself again.
            self.sleepers.settled.store(self.sleeps, Relaxed);
        }
    }
}
