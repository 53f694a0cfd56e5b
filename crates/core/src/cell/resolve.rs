//! Resolving a task: who may write the outcome, and telling that it is there.

use super::state::*;
use super::storage::Outcome;
use super::{Link, Place, Ref};
use crate::error::{TaskError, TaskErrorKind};
use crate::service;
use crate::sync::Ordering;
use crate::task::{Reply, Stop};
use std::mem::ManuallyDrop;

impl Ref {
    /// Gains the right to write the outcome. `flags` are those of the outcome to come. Drops work that nobody uses.
    fn begin_write(&self, also_running: bool, flags: u32) -> bool {
        let before = self.swap_to_writing(also_running, flags);
        before.inspect(|before| self.drop_unused_work(*before)).is_some()
    }

    /// Gives the state before, if it was one to write from.
    fn swap_to_writing(&self, also_running: bool, flags: u32) -> Option<u32> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let phase = phase(word as u32);
            if !(phase == PENDING || also_running && phase == RUNNING) {
                return None;
            }
            match self.swap_this_to_writing(word, flags) {
                Ok(state) => return Some(state),
                Err(now) => word = now,
            }
        }
    }

    /// From exactly this word. The outcome goes beside the storage if somebody is at the work.
    fn swap_this_to_writing(&self, word: u64, flags: u32) -> Result<u32, u64> {
        let state = word as u32;
        let (more, less) = if is_work_unused(state) || state & WORK == 0 { (0, WORK) } else { (ASIDE, 0) };
        let writing = moved(word, WRITING, flags | more, less);
        self.word.compare_exchange_weak(word, writing, Ordering::AcqRel, Ordering::Relaxed).map(|_| state)
    }

    fn drop_unused_work(&self, before: u32) {
        if is_work_unused(before) {
            // SAFETY: nobody had claimed the work and nobody borrows it, and with WRITING nobody can: it is ours.
            unsafe { (self.vtable.drop_work)(self.0) };
        }
    }

    /// Resolves with an error, from outside or as the executor. Gives the error back when somebody was faster.
    pub(crate) fn fail(&self, why: TaskError, also_running: bool, place: Place) -> Result<(), TaskError> {
        let flags = flags_of(&why);
        if !self.begin_write(also_running, flags) {
            return Err(why);
        }
        self.write_error(why, flags, place);
        Ok(())
    }

    /// In WRITING, which the caller has won.
    fn write_error(&self, why: TaskError, flags: u32, place: Place) {
        let why = why.of_task(|| self.info());
        // SAFETY: the cell lives, and in WRITING its winner has the outcome alone.
        unsafe { (self.vtable.store_error)(self.0, why) };
        self.publish(flags | READY, place);
    }

    /// Resolves with a value (or an error) of the cell's own type.
    ///
    /// # Safety
    /// `T` is the type of the cell's outcome.
    pub(crate) unsafe fn set<T>(
        &self,
        outcome: Result<T, TaskError>,
        place: Place,
    ) -> Result<(), Result<T, TaskError>> {
        let flags = if outcome.is_err() { FAILED } else { 0 };
        if !self.begin_write(true, flags) {
            return Err(outcome);
        }
        let outcome = outcome.map_err(|error| error.of_task(|| self.info()));
        // SAFETY: the caller vouches for `T`; `begin_write` gave us WRITING.
        unsafe { self.write(Outcome::Ready(outcome)) };
        self.publish(flags | READY, place);
        Ok(())
    }

    /// Resolves with a worker's bytes, and lets go of the cell. A late reply is dropped.
    pub(crate) fn complete(self, reply: Reply) {
        let flags = STARTED | if reply.is_error() { FAILED } else { 0 };
        if !self.begin_write(true, flags) {
            return;
        }
        // SAFETY: the cell lives, and `begin_write` gave us the outcome alone.
        let ready = unsafe { (self.vtable.store_reply)(self.0, reply) };
        let flags = flags | ready.unwrap_or(0);
        if self.meta().is_some_and(|meta| meta.has_timer()) {
            return self.publish(flags, Place::Service);
        }
        let cell = ManuallyDrop::new(self);
        match cell.publish_unheard(flags, ONE) {
            // SAFETY: the swap has taken our reference away, which is not used any more.
            Some(published) => unsafe { Ref::released(cell.0, published) },
            None => ManuallyDrop::into_inner(cell).publish(flags, Place::Service),
        }
    }

    /// As `fail`, also for a task that runs; then the executor is told to stop it.
    pub(crate) fn fail_and_stop(
        &self,
        why: TaskError,
        stop: Stop,
        attempt: u32,
        place: Place,
    ) -> Result<(), TaskError> {
        let flags = flags_of(&why);
        if !self.begin_write(true, flags) {
            return Err(why);
        }
        // Now that no other link can be made any more, and before this one is taken out of the list.
        let remote = self.remote();
        self.write_error(why, flags, place);
        if let Some(remote) = remote {
            remote.stop(stop, attempt);
        }
        Ok(())
    }

    /// The attempt that runs is over, and the executor is told to stop it; the task goes on.
    pub(crate) fn stop_attempt(&self, attempt: u32) {
        let remote = self.remote();
        if let Some(remote) = remote {
            remote.stop(Stop::Timeout, attempt);
        }
    }

    /// As `Future::abort`: whether the task is cancelled or aborted now.
    pub(crate) fn abort(&self, place: Place) -> bool {
        if let Some(remote) = self.remote() {
            remote.abort_parts();
        }
        let why = || TaskError::new(TaskErrorKind::Aborted);
        self.cancel(place) || self.fail_and_stop(why(), Stop::Abort, self.attempts(), place).is_ok()
    }

    /// As `Future::cancel`: whether the task is cancelled now.
    pub(crate) fn cancel(&self, place: Place) -> bool {
        self.fail_unstarted(TaskError::new(TaskErrorKind::Cancelled), place);
        self.state() & CANCELLED != 0
    }

    /// Resolves with an error unless somebody has started the task, here or in a worker process. An async task that waits can
    /// be taken back, too.
    pub(crate) fn fail_unstarted(&self, why: TaskError, place: Place) -> bool {
        let flags = FAILED | if why.is_cancelled() { CANCELLED } else { 0 };
        let (before, remote) = loop {
            let word = self.word.load(Ordering::Acquire);
            let is_running = phase(word as u32) == RUNNING;
            if !(phase(word as u32) == PENDING || is_running && word as u32 & AWAY != 0) {
                return false;
            }
            if word as u32 & AWAY == 0 {
                // Nobody knows better whether it has started: `set_remote` would have set the flag.
                match self.swap_this_to_writing(word, flags) {
                    Ok(before) => break (before, None),
                    Err(_) => continue,
                }
            }
            // Without the lock: revoking may resolve this very cell (a derived future cancels its source).
            let remote = self.remote();
            // What runs and has no link (any more) runs here.
            let revoked = remote.as_ref().map_or(!is_running, Link::try_revoke);
            // Under the lock, with which `set_remote` sends the task away: what was asked is still all there is to ask.
            let listeners = self.listeners();
            if listeners.remote() != remote.as_ref() {
                continue;
            }
            let before = if revoked { self.swap_to_writing(is_running, flags) } else { None };
            drop(listeners);
            let Some(before) = before else { return false };
            break (before, remote);
        };
        self.drop_unused_work(before);
        self.write_error(why, flags, place);
        if let Some(remote) = remote {
            remote.revoked();
        }
        true
    }

    /// Leaves WRITING. `flags` has READY for an outcome that can be read, else it is ENCODED.
    fn publish(&self, flags: u32, place: Place) {
        if self.meta().is_some_and(|meta| meta.has_timer()) {
            crate::timer::forget(self);
        }
        if self.publish_unheard(flags, 0).is_some() {
            return;
        }
        if flags & READY != 0 {
            self.step(WRITING, SETTLING, flags);
            self.finish(place);
        } else {
            self.step(WRITING, ENCODED, flags);
            let (waiters, has_callbacks, remote) = {
                let mut listeners = self.listeners();
                (listeners.take_waiters(), listeners.has_callbacks(), listeners.set_remote(None))
            };
            drop(remote);
            waiters.fire();
            if has_callbacks {
                let cell = self.clone();
                service::run(self.home(), Box::new(move || cell.settle(Place::Here)));
            }
        }
    }

    /// Leaves WRITING if nobody has ever listened, and with `released` references taken away. Gives the word.
    fn publish_unheard(&self, flags: u32, released: u64) -> Option<u64> {
        let last = if flags & READY != 0 { DONE } else { ENCODED };
        let mut word = self.word.load(Ordering::Relaxed);
        while word as u32 & LISTENED == 0 {
            let published = moved(word, last, flags, 0) - released;
            match self.word.compare_exchange_weak(word, published, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(published),
                Err(now) => word = now,
            }
        }
        None
    }

    /// The runner's outcome is in the storage, which is its own (WORK): leaves RUNNING. `releases`: gives the reference away,
    /// and does not use it any more. False: somebody else has resolved the task; the outcome is the caller's still.
    ///
    /// # Safety
    /// With `releases`, `cell` is not used or dropped after this if it gives true.
    pub(super) unsafe fn publish_run(cell: &Ref, failed: bool, releases: bool) -> bool {
        let flags = READY | if failed { FAILED } else { 0 };
        let mut word = cell.word.load(Ordering::Relaxed);
        while phase(word as u32) == RUNNING {
            let is_heard = word as u32 & LISTENED != 0;
            let mut published = moved(word, if is_heard { SETTLING } else { DONE }, flags, WORK);
            if releases && !is_heard {
                published -= ONE;
            }
            match cell.word.compare_exchange_weak(word, published, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) if is_heard => {
                    cell.finish(Place::Here);
                    if releases {
                        // SAFETY: the caller gives this reference away.
                        drop(unsafe { std::ptr::read(cell) });
                    }
                    return true;
                }
                Ok(_) => {
                    if releases {
                        // SAFETY: the swap has taken the reference away, which the caller gave.
                        unsafe { Ref::released(cell.0, published) };
                    }
                    return true;
                }
                Err(now) => word = now,
            }
        }
        false
    }
}

/// Those of an outcome that is this error.
fn flags_of(why: &TaskError) -> u32 {
    let cancelled = if why.is_cancelled() { CANCELLED } else { 0 };
    let started = if why.kind().is_of_an_attempt() { STARTED } else { 0 };
    FAILED | cancelled | started
}

/// Nobody has claimed the work, and nobody borrows it.
const fn is_work_unused(state: u32) -> bool {
    phase(state) == PENDING && state & (WORK | BUSY) == WORK
}
