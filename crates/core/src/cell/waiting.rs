//! Sleeping until a cell is far enough.

use super::state::*;
use super::{Ref, Waiter, Wake};
use crate::sync::{current, park_until, yield_now};
use crate::task::Collector;
use crate::worker;
use std::cell::Cell;
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
/// Looks at a worker's answers between two yields: its answer may be some hundred nanoseconds away.
const LOOKS_AT_ONCE: u32 = 8;

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
            self.run_in_place();
        }
        let mut collector = None;
        if self.look_until(until, &mut collector) {
            // Decoding is the user's code, and may take long: somebody else looks meanwhile.
            if let Some(collector) = collector.take() {
                collector.leave();
            }
            if self.is_there(until) {
                return true;
            }
        }
        let there = worker::blocking(|| self.sleep_until(until, deadline, &mut collector));
        if let Some(collector) = collector {
            collector.leave();
        }
        there
    }

    /// Looks for some microseconds, also at what the worker has sent that has the task.
    fn look_until(&self, until: Until, collector: &mut Option<Arc<dyn Collector>>) -> bool {
        for look in 0..LOOKS {
            if look > 0 {
                yield_now();
            }
            if collector.is_none() {
                *collector = self.collector();
            }
            if self.has_arrived(until) {
                return true;
            }
            let Some(collector) = collector else { continue };
            for _ in 0..LOOKS_AT_ONCE {
                collector.collect();
                if self.has_arrived(until) {
                    return true;
                }
            }
        }
        false
    }

    /// Where its answer will arrive, if it has been sent away to somewhere where one can look.
    fn collector(&self) -> Option<Arc<dyn Collector>> {
        // Who sends it away sets this flag.
        if self.state() & AWAY == 0 { None } else { self.remote()?.collector() }
    }

    /// Runs it here if nobody has started it. A task that waits for a task that waits for a task must not fill the stack:
    /// from some depth on the pool's substitutes run them.
    fn run_in_place(&self) {
        const DEEPEST: u32 = 64;
        thread_local!(static DEPTH: Cell<u32> = const { Cell::new(0) });
        if DEPTH.get() < DEEPEST {
            DEPTH.set(DEPTH.get() + 1);
            self.run();
            DEPTH.set(DEPTH.get() - 1);
        }
    }

    /// Whether it is that far, but for decoding it.
    fn has_arrived(&self, until: Until) -> bool {
        let state = self.state();
        until.is_met(state) || phase(state) == ENCODED
    }

    /// Whether it is that far, after decoding it if that is all that is missing.
    fn is_there(&self, until: Until) -> bool {
        if until != Until::Done {
            self.settle(super::Place::Service);
        }
        until.is_met(self.state())
    }

    /// Sleeps, at the `collector` if there is one and nobody sleeps there already: who is woken there takes in its answer by
    /// itself. `collector` is left where this thread does not sleep.
    fn sleep_until(&self, until: Until, deadline: Option<Instant>, collector: &mut Option<Arc<dyn Collector>>) -> bool {
        // It may have been sent only now.
        *collector = collector.take().or_else(|| self.collector());
        let mut bed = Bed::claimed(collector.clone());
        if bed.is_none()
            && let Some(collector) = collector.take()
        {
            collector.leave();
        }
        let marker = 0_u8;
        let key = &raw const marker as usize;
        loop {
            // Waking takes an entry out, whatever the sleeper waits for; so it is put in anew each time.
            let mine =
                |waiter: &Waiter| waiter.key == key && matches!(waiter.wake, Wake::Thread(_) | Wake::Collector(_));
            let wake = match &bed {
                Some(Bed(collector)) => Wake::Collector(collector.clone()),
                None => Wake::Thread(current()),
            };
            let old = {
                let mut listeners = self.listeners();
                let old = listeners.remove_waiters(mine);
                listeners.add_waiter(Waiter { key, wake });
                old
            };
            drop(old);
            // Only a look: decoding is the user's code, which may use up the wake-up of a parked thread.
            let may_sleep = |state| !until.is_met(state) && phase(state) != ENCODED;
            let state = self.set_flag(LISTENED);
            if may_sleep(state) && deadline.is_none_or(|at| Instant::now() < at) {
                match &bed {
                    Some(Bed(collector)) => collector.sleep(deadline, &|| may_sleep(self.state())),
                    None => park_until(deadline),
                }
            }
            // As above: nobody else may sleep or arm there while this thread has its claim, and decoding may wait for others.
            if until != Until::Done && phase(self.state()) == ENCODED {
                drop(bed.take());
                if let Some(collector) = collector.take() {
                    collector.leave();
                }
            }
            let there = self.is_there(until);
            if there || deadline.is_some_and(|at| Instant::now() >= at) {
                let old = self.listeners().remove_waiters(mine);
                drop(old);
                return there;
            }
        }
    }

    /// As `Future::poll`: ready when the cell is that far, else `cx` is woken when it may be. `key` names the poller.
    pub(crate) fn poll_until(&self, until: Until, key: usize, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_there(until) {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        let old = self.listeners().set_waker(key, waker);
        drop(old);
        self.set_flag(LISTENED);
        if self.is_there(until) {
            self.forget_waker(key);
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Tells `set` (item `key`) when this is done; true when it is done already and will not be told.
    pub(crate) fn join_set(&self, set: &Arc<crate::wait::CompletionSet>, key: usize) -> bool {
        if self.is_done() {
            return true;
        }
        let mut listeners = self.listeners();
        listeners.add_waiter(Waiter { key, wake: Wake::Set(set.clone()) });
        let state = self.set_flag(LISTENED);
        let done = is_done(state);
        let old = done.then(|| listeners.remove_waiters(|waiter| is_of(waiter, set, key)));
        drop(listeners);
        drop(old);
        done
    }

    /// Undoes `join_set`.
    pub(crate) fn leave_set(&self, set: &Arc<crate::wait::CompletionSet>, key: usize) {
        if !self.is_done() {
            let old = self.listeners().remove_waiters(|waiter| is_of(waiter, set, key));
            drop(old);
        }
    }

    /// A poller that goes away takes its waker along.
    pub(crate) fn forget_waker(&self, key: usize) {
        if self.state() & LISTENED != 0 {
            let mine = |waiter: &Waiter| waiter.key == key && matches!(waiter.wake, Wake::Waker(_));
            let old = self.listeners().remove_waiters(mine);
            drop(old);
        }
    }
}

/// A claim to sleep at a collector.
struct Bed(Arc<dyn Collector>);

impl Bed {
    fn claimed(collector: Option<Arc<dyn Collector>>) -> Option<Bed> {
        collector.filter(|collector| collector.claim()).map(Bed)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.0.release();
    }
}

fn is_of(waiter: &Waiter, set: &Arc<crate::wait::CompletionSet>, key: usize) -> bool {
    waiter.key == key && matches!(&waiter.wake, Wake::Set(s) if Arc::ptr_eq(s, set))
}
