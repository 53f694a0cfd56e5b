//! Sleeping until a cell is far enough.

use super::state::*;
use super::{Ref, Wake, Waiter};
use crate::sync::{Ordering, current, park_until, yield_now};
use crate::worker;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

/// How far a waiter needs the cell to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// It has its outcome, perhaps still as bytes.
    Done,
    /// The outcome can be read.
    Ready,
    /// All callbacks have run as well.
    Settled,
}

impl Until {
    fn is_met(self, state: u32) -> bool {
        match self {
            Until::Done => is_done(state),
            Until::Ready => state & READY != 0,
            Until::Settled => phase(state) == DONE,
        }
    }
}

/// Looks before sleeping: a wake-up costs tens of microseconds, a look with `sched_yield` half of one.
const LOOKS: u32 = if cfg!(concurrent_futures_loom) { 0 } else { 24 };

impl Ref {
    /// Sleeps until the cell is that far, at most until `deadline`; whether it is.
    ///
    /// Decodes an outcome that is still bytes, if more than `Done` is asked for. A worker that waits without a deadline for
    /// a task of its own pool which nobody has started runs it here.
    pub(crate) fn wait_until(&self, until: Until, deadline: Option<Instant>) -> bool {
        if self.is_there(until) {
            return true;
        }
        if deadline.is_none() && self.home().is_some() && self.home() == worker::current_pool() {
            self.run();
        }
        for _ in 0..LOOKS {
            if self.is_there(until) {
                return true;
            }
            yield_now();
        }
        worker::blocking(|| self.sleep_until(until, deadline))
    }

    /// Whether it is that far, after decoding it if that is all that is missing.
    fn is_there(&self, until: Until) -> bool {
        if until != Until::Done {
            self.settle(super::Place::Service);
        }
        until.is_met(self.state())
    }

    fn sleep_until(&self, until: Until, deadline: Option<Instant>) -> bool {
        let marker = 0_u8;
        let key = &raw const marker as usize;
        loop {
            // Waking takes an entry out, whatever the sleeper waits for; so it is put in anew each time.
            {
                let mut listeners = self.listeners.lock();
                listeners.remove_waiters(|waiter| waiter.key == key && matches!(waiter.wake, Wake::Thread(_)));
                listeners.add_waiter(Waiter { key, wake: Wake::Thread(current()) });
            }
            self.state.fetch_or(LISTENED, Ordering::AcqRel);
            if !self.is_there(until) && deadline.is_none_or(|at| Instant::now() < at) {
                park_until(deadline);
            }
            let there = self.is_there(until);
            if there || deadline.is_some_and(|at| Instant::now() >= at) {
                let mut listeners = self.listeners.lock();
                listeners.remove_waiters(|waiter| waiter.key == key && matches!(waiter.wake, Wake::Thread(_)));
                return there;
            }
        }
    }

    /// As `Future::poll`: ready when the cell is that far, else `cx` is woken when it may be. `key` names the poller.
    pub(crate) fn poll_until(&self, until: Until, key: usize, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_there(until) {
            return Poll::Ready(());
        }
        self.listeners.lock().set_waker(key, cx.waker());
        self.state.fetch_or(LISTENED, Ordering::AcqRel);
        if self.is_there(until) {
            let mut listeners = self.listeners.lock();
            listeners.remove_waiters(|waiter| waiter.key == key && matches!(waiter.wake, Wake::Waker(_)));
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Tells `set` (item `key`) when this is done; true when it is done already and will not be told.
    pub(crate) fn join_set(&self, set: &Arc<crate::wait::CompletionSet>, key: usize) -> bool {
        if self.is_done() {
            return true;
        }
        let mut listeners = self.listeners.lock();
        listeners.add_waiter(Waiter { key, wake: Wake::Set(set.clone()) });
        let state = self.state.fetch_or(LISTENED, Ordering::AcqRel);
        if is_done(state) {
            listeners.remove_waiters(|waiter| is_of(waiter, set, key));
            return true;
        }
        false
    }

    /// Undoes `join_set`.
    pub(crate) fn leave_set(&self, set: &Arc<crate::wait::CompletionSet>, key: usize) {
        if !self.is_done() {
            self.listeners.lock().remove_waiters(|waiter| is_of(waiter, set, key));
        }
    }

    /// A poller that goes away takes its waker along.
    pub(crate) fn forget_waker(&self, key: usize) {
        if self.state() & LISTENED != 0 {
            self.listeners.lock().remove_waiters(|waiter| waiter.key == key && matches!(waiter.wake, Wake::Waker(_)));
        }
    }
}

fn is_of(waiter: &Waiter, set: &Arc<crate::wait::CompletionSet>, key: usize) -> bool {
    waiter.key == key && matches!(&waiter.wake, Wake::Set(s) if Arc::ptr_eq(s, set))
}
