//! Where the answers of one worker are taken in: by the supervisor, or by a thread that waits for one of them.

use super::inner::Inner;
use super::news::News;
use crate::launch::WorkerId;
use crate::link::{Frame, Inbound, Inflow};
use crate::wire::Up;
use concurrent_futures_core::task::Collector;
use concurrent_futures_ipc::ring::Bed;
use parking_lot::{Mutex, MutexGuard};
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::{Duration, Instant};

/// A thread that sleeps at a link looks so often, whatever happens: the word on which it sleeps is one that the worker writes.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// How much a thread that waits takes in at once.
const BUDGET: usize = 64 * 1024;

/// One link's parent end. Whoever has its lock takes frames from it, and has the state know of them before it lets go: so the
/// state hears of them in their order, and all that has been taken before a death counts.
pub(super) struct Intake {
    worker: WorkerId,
    pool: Weak<Inner>,
    /// A look costs next to nothing, and the worker tells of what comes only when it is asked to.
    quiet: bool,
    /// What comes can be done by any thread: threads that wait look by themselves.
    for_all: bool,
    /// Where one of them may sleep until something comes.
    bed: Option<Bed>,
    /// One does, or is about to.
    asleep: AtomicBool,
    desk: Mutex<Desk>,
}

#[derive(Debug)]
pub(super) struct Desk {
    inbound: Box<dyn Inbound>,
    /// The worker rings when it has something.
    armed: bool,
    /// Somebody sleeps here, and looks before and after.
    claimed: bool,
    /// Nothing is received any more.
    closed: bool,
    /// Taken in and not dealt with; between two calls only what a thread has met that only the supervisor can deal with.
    pub(super) frames: Vec<Frame<Up>>,
    /// How a thread's look has ended, if not well: for the supervisor.
    outcome: Option<io::Result<Inflow>>,
    /// What a thread has found wrong with a frame: for the supervisor.
    wrong: Option<String>,
    /// Used again and again.
    news: News,
}

impl Intake {
    pub(super) fn new(worker: WorkerId, inbound: Box<dyn Inbound>, pool: Weak<Inner>, captured: bool) -> Self {
        // What a task prints is read by the supervisor before its answer is dealt with.
        let quiet = inbound.is_quiet();
        let for_all = quiet && !captured;
        let bed = inbound.bed().filter(|_| for_all);
        let desk = Desk {
            inbound,
            armed: false,
            claimed: false,
            closed: false,
            frames: Vec::new(),
            outcome: None,
            wrong: None,
            news: News::default(),
        };
        Intake { worker, pool, quiet, for_all, bed, asleep: AtomicBool::new(false), desk: Mutex::new(desk) }
    }

    // ---- the supervisor

    /// Its worker tells of what comes only when it is armed.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock()
    }

    /// Whether threads that wait may look by themselves.
    pub(super) fn is_for_all(&self) -> bool {
        self.for_all
    }

    fn take_in(&self, mut desk: MutexGuard<'_, Desk>) {
        if desk.closed || desk.is_for_the_supervisor() {
            return;
        }
        let Desk { inbound, frames, outcome, .. } = &mut *desk;
        match inbound.receive(BUDGET, frames) {
            Ok(Inflow::Dry) => {}
            ended => *outcome = Some(ended),
        }
        if frames.is_empty() && outcome.is_none() {
            return;
        }
        let Some(pool) = self.pool.upgrade() else { return };
        let mut news = std::mem::take(&mut desk.news);
        let mine = desk.frames.iter().position(|(head, _)| !is_for_all(head)).unwrap_or(desk.frames.len());
        if mine > 0 {
            desk.wrong = news.take(&pool, self.worker, desk.frames.drain(..mine)).err();
        }
        let ring = desk.is_for_the_supervisor();
        drop(desk);
        if ring {
            pool.bell.ring();
        }
        news.settle(&pool);
        if let Some(mut desk) = self.desk.try_lock() {
            desk.news = news;
        }
    }
}

impl Collector for Intake {
    fn collect(&self) {
        if let Some(mut desk) = self.desk.try_lock() {
            desk.disarm();
            self.take_in(desk);
        }
    }

    fn leave(&self) {
        let Some(pool) = self.pool.upgrade() else { return };
        if pool.watch.is_on_patrol() {
            return;
        }
        let found = self.desk.lock().arm();
        if found {
            // Somebody else's answer has come this moment, or something that only the supervisor can deal with.
            pool.bell.ring();
        }
    }

    fn claim(&self) -> bool {
        self.bed.is_some() && !std::mem::replace(&mut self.desk.lock().claimed, true)
    }

    fn sleep(&self, deadline: Option<Instant>, wanted: &dyn Fn() -> bool) {
        let Some(bed) = &self.bed else { return };
        // Whoever makes that there is nothing to wait for any more does it first, and looks at this word then.
        self.asleep.store(true, Ordering::SeqCst);
        let found = {
            let mut desk = self.desk.lock();
            desk.armed = false;
            if desk.closed || desk.is_for_the_supervisor() {
                // What is in the link is not for this thread.
                bed.note();
                false
            } else {
                desk.inbound.arm_bed()
            }
        };
        if !found && wanted() {
            let until = Instant::now() + LONGEST_SLEEP;
            // An error would be a nap of no length; the caller looks again.
            let _ = bed.sleep(Some(deadline.map_or(until, |deadline| deadline.min(until))));
        }
        self.asleep.store(false, Ordering::Relaxed);
        let mut desk = self.desk.lock();
        desk.inbound.disarm();
        self.take_in(desk);
    }

    fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed)
            && let Some(bed) = &self.bed
            && let Err(error) = bed.wake()
        {
            unreachable!("a futex in memory that is mapped is woken: {error}");
        }
    }

    fn release(&self) {
        self.desk.lock().claimed = false;
    }
}

impl Desk {
    /// Takes in what is there, up to about so much, behind what a thread has left.
    pub(super) fn receive(&mut self, budget: usize) -> io::Result<Inflow> {
        if self.closed {
            return Ok(Inflow::Dry);
        }
        match self.outcome.take() {
            Some(outcome) => outcome,
            None => self.inbound.receive(budget, &mut self.frames),
        }
    }

    /// What is wrong with a frame that a thread has taken in.
    pub(super) fn take_wrong(&mut self) -> Option<String> {
        self.wrong.take()
    }

    /// Nothing is received any more.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.frames = Vec::new();
    }

    /// From now on the worker rings. `true`: it does not, for something is there already.
    pub(super) fn arm(&mut self) -> bool {
        if self.closed {
            return false;
        }
        // Who sleeps here looks by itself. Others arm anew each time: a worker may have been stopped before it rang.
        if !self.claimed {
            self.armed = !self.inbound.arm();
        }
        !self.armed && !self.claimed || self.is_for_the_supervisor()
    }

    /// Somebody looks.
    pub(super) fn disarm(&mut self) {
        if std::mem::replace(&mut self.armed, false) {
            self.inbound.disarm();
        }
    }

    /// Whether there is something that only the supervisor can deal with.
    fn is_for_the_supervisor(&self) -> bool {
        !self.frames.is_empty() || self.outcome.is_some() || self.wrong.is_some()
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.inbound.descriptor()
    }
}

/// What any thread may deal with: it touches nothing but the state, descriptors that are there, and the task.
fn is_for_all(head: &Up) -> bool {
    match head {
        Up::Result { handles, retire, .. } => !handles && !retire,
        Up::Started(_) | Up::Revoked(_) | Up::Attached(_) => true,
        Up::Ready | Up::SetupFailed { .. } | Up::Lane => false,
    }
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake").field("worker", &self.worker).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// A link on which nothing comes.
    #[derive(Debug)]
    struct Silence;

    impl Inbound for Silence {
        fn receive(&mut self, _budget: usize, _frames: &mut Vec<Frame<Up>>) -> io::Result<Inflow> {
            Ok(Inflow::Dry)
        }

        fn arm(&mut self) -> bool {
            false
        }

        fn disarm(&mut self) {}

        fn is_quiet(&self) -> bool {
            true
        }

        fn descriptor(&self) -> BorrowedFd<'_> {
            unreachable!("nobody watches it")
        }
    }

    impl Intake {
        /// For tests that have no link.
        pub(in crate::pool) fn silent(worker: WorkerId) -> Arc<Intake> {
            Arc::new(Intake::new(worker, Box::new(Silence), Weak::new(), false))
        }
    }
}
