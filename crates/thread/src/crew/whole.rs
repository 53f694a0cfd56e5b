//! The two locks of a pool: one for those who put a job in, and one for all else.

use super::queue::Segments;
use super::state::State;
use super::{Crew, Job};
use parking_lot::{Condvar, MutexGuard};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Where submitters put their jobs while nobody need be called for them.
#[derive(Default)]
pub(super) struct Inbox {
    /// A job may be put in without a look at the state: it is open, without a bound, unsorted, and nobody could be called.
    is_quiet: bool,
    jobs: Segments,
}

/// Both locks: the state, with all jobs in its queue.
pub(super) struct Whole<'a> {
    crew: &'a Crew,
    /// Released in `drop`, before the other.
    inbox: Option<MutexGuard<'a, Inbox>>,
    state: MutexGuard<'a, State>,
}

impl Crew {
    pub(super) fn lock(&self) -> Whole<'_> {
        self.widen(self.state.0.lock())
    }

    /// The second lock to the first.
    pub(super) fn widen<'a>(&'a self, state: MutexGuard<'a, State>) -> Whole<'a> {
        let mut whole = Whole { crew: self, inbox: None, state };
        whole.collect();
        whole
    }

    /// Puts a job in if nobody need be called for it; else gives it back.
    pub(super) fn submit_quietly(&self, job: Job) -> Result<(), Job> {
        let mut inbox = self.inbox.0.lock();
        if !inbox.is_quiet {
            return Err(job);
        }
        if inbox.jobs.is_empty() {
            self.work.0.store(true, Ordering::Relaxed);
        }
        inbox.jobs.push(job);
        Ok(())
    }

    /// What a worker that has finished a job does next, if it is to run another and nobody need be told.
    pub(super) fn next_quietly(&self) -> Result<Job, Whole<'_>> {
        let mut state = self.state.0.lock();
        state.finished += 1;
        match state.next_quietly() {
            Some(job) => Ok(job),
            None => Err(self.widen(state)),
        }
    }
}

impl Whole<'_> {
    fn collect(&mut self) {
        let mut inbox = self.crew.inbox.0.lock();
        if !inbox.jobs.is_empty() {
            self.state.queue.append(&mut inbox.jobs);
        }
        self.inbox = Some(inbox);
    }

    /// Waits with both locks released.
    pub(super) fn wait(&mut self, condition: &Condvar) {
        self.part();
        condition.wait(&mut self.state);
        self.collect();
    }

    /// The same until then at most; whether it is then.
    pub(super) fn wait_until(&mut self, condition: &Condvar, until: Instant) -> bool {
        self.part();
        let timed_out = condition.wait_until(&mut self.state, until).timed_out();
        self.collect();
        timed_out
    }

    /// Lets submitters in, as far as the state allows.
    fn part(&mut self) {
        if let Some(mut inbox) = self.inbox.take() {
            inbox.is_quiet = self.state.is_quiet();
        }
    }
}

impl Drop for Whole<'_> {
    fn drop(&mut self) {
        self.part();
    }
}

impl Deref for Whole<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Whole<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}
