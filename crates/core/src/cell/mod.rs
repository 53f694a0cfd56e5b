//! The one allocation that a task, its future and its executor share. States and proofs: `README.md` beside this file.

mod listeners;
#[cfg(all(test, concurrent_futures_loom))]
mod models;
mod nested;
mod outcome;
pub(crate) mod state;
mod table;
mod waiting;
mod work;

pub(crate) use listeners::{Callback, Waiter, Wake};
pub(crate) use waiting::Until;
pub(crate) use work::{NoWork, Work};

use crate::error::{TaskError, TaskErrorKind, TaskInfo};
use crate::output::TaskOutput;
use crate::sync::{AtomicU32, AtomicUsize, Mutex, Ordering, UnsafeCell, fence};
use crate::task::{Call, Meta, Remote, Reply, Stop};
use crate::{PoolId, TaskId, panics, service};
use listeners::Listeners;
use nested::Nested;
use state::*;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;
use table::{TableOf, VTable};

/// Where callbacks run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In this thread.
    Here,
    /// In the callback service: this thread must not run code of the user's.
    Service,
}

pub(crate) struct Header {
    state: AtomicU32,
    /// The pool whose workers may run this task in place while they wait for it; 0 for none.
    home: AtomicU32,
    refs: AtomicUsize,
    vtable: &'static VTable,
    id: TaskId,
    meta: Option<Box<Meta>>,
    listeners: Mutex<Listeners>,
}

/// What a future sees: the header and the outcome.
#[repr(C)]
pub(crate) struct Slot<T> {
    header: Header,
    outcome: UnsafeCell<Outcome<T>>,
}

/// The whole allocation.
#[repr(C)]
struct Cell<W: Work> {
    slot: Slot<W::Out>,
    work: UnsafeCell<Option<W>>,
}

enum Outcome<T> {
    Empty,
    Encoded(Box<Reply>),
    Ready(Result<T, TaskError>),
}

/// A counted reference to a cell of any type.
pub(crate) struct Ref(NonNull<Header>);

// SAFETY: a cell is made only of work and outcomes that are `Send` (`Ref::of_work` and `Ref::empty` ask for it, or their
// callers promise it), the header is `Sync`, and the state machine lets one thread at a time touch work or outcome.
unsafe impl Send for Ref {}
// SAFETY: as above; shared access to an outcome goes through `Ref::error`, or through `Ref::value`, which needs `T: Sync`.
unsafe impl Sync for Ref {}

impl Ref {
    /// Two references to a new cell: for the executor and for the future.
    pub(crate) fn of_work<W: Work + Send>(work: W, meta: Option<Box<Meta>>) -> (Ref, Ref)
    where
        W::Out: Send,
    {
        Self::pair(Some(work), meta)
    }

    /// Two references to a cell that somebody else will complete.
    pub(crate) fn empty<T: Send>() -> (Ref, Ref) {
        Self::pair::<NoWork<T>>(None, None)
    }

    fn pair<W: Work>(work: Option<W>, meta: Option<Box<Meta>>) -> (Ref, Ref) {
        let cell = Box::new(Cell {
            slot: Slot {
                header: Header {
                    state: AtomicU32::new(PENDING),
                    home: AtomicU32::new(0),
                    refs: AtomicUsize::new(2),
                    vtable: &TableOf::<W>::TABLE,
                    id: TaskId::next(),
                    meta,
                    listeners: Mutex::new(Listeners::default()),
                },
                outcome: UnsafeCell::new(Outcome::Empty),
            },
            work: UnsafeCell::new(work),
        });
        let header = NonNull::from(Box::leak(cell)).cast::<Header>();
        (Ref(header), Ref(header))
    }

    pub(crate) fn ptr(&self) -> NonNull<Header> {
        self.0
    }

    // ---- the runner

    /// Claims a pending task and runs it here. False: there was nothing to run.
    pub(crate) fn run(&self) -> bool {
        if !self.claim() {
            return false;
        }
        // SAFETY: the cell lives as long as this reference, and the claim made us the owner of the work.
        unsafe { (self.vtable.run)(self.0) }
    }

    /// PENDING to RUNNING.
    pub(crate) fn claim(&self) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while phase(state) == PENDING && state & BUSY == 0 {
            match self.state.compare_exchange_weak(
                state,
                state | RUNNING | STARTED,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    // ---- resolving

    /// Gains the right to write the outcome. `flags` are those of the outcome to come. Drops work that nobody uses.
    fn begin_write(&self, also_running: bool, flags: u32) -> bool {
        let before = self.swap_to_writing(also_running, flags);
        before.inspect(|before| self.drop_unused_work(*before)).is_some()
    }

    /// Gives the state before, if it was one to write from.
    fn swap_to_writing(&self, also_running: bool, flags: u32) -> Option<u32> {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            if !(phase(state) == PENDING || also_running && phase(state) == RUNNING) {
                return None;
            }
            let writing = (state & !PHASE) | WRITING | flags;
            match self.state.compare_exchange_weak(state, writing, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(state),
                Err(now) => state = now,
            }
        }
    }

    fn drop_unused_work(&self, before: u32) {
        if phase(before) == PENDING && before & BUSY == 0 {
            // SAFETY: nobody had claimed the work and nobody borrows it, and with WRITING nobody can: it is ours.
            unsafe { (self.vtable.drop_work)(self.0) };
        }
    }

    /// Resolves with an error, from outside or as the executor. Gives the error back when somebody was faster.
    pub(crate) fn fail(&self, why: TaskError, also_running: bool, place: Place) -> Result<(), TaskError> {
        let cancelled = if why.is_cancelled() { CANCELLED } else { 0 };
        let started = if why.kind().is_of_an_attempt() { STARTED } else { 0 };
        let flags = FAILED | cancelled | started;
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
        // SAFETY: the caller vouches for `T`.
        let slot = unsafe { self.slot::<T>() };
        slot.outcome.with_mut(|out| {
            // SAFETY: `begin_write` gave us the outcome alone; nobody reads it before `publish`.
            unsafe { *out = Outcome::Ready(outcome) }
        });
        self.publish(flags | READY, place);
        Ok(())
    }

    /// Resolves with a worker's bytes. A late reply is dropped.
    pub(crate) fn complete(&self, reply: Reply) {
        let flags = STARTED | if reply.is_error() { FAILED } else { 0 };
        if self.begin_write(true, flags) {
            // SAFETY: the cell lives, and `begin_write` gave us the outcome alone.
            unsafe { (self.vtable.store_reply)(self.0, reply) };
            self.publish(flags, Place::Service);
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
        // Whoever resolves takes it out of the list.
        let remote = self.remote();
        self.fail(why, true, place)?;
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
        let why = || TaskError::new(TaskErrorKind::Aborted);
        self.cancel(place) || self.fail_and_stop(why(), Stop::Abort, self.attempts(), place).is_ok()
    }

    /// As `Future::cancel`: whether the task is cancelled now.
    pub(crate) fn cancel(&self, place: Place) -> bool {
        self.fail_unstarted(TaskError::new(TaskErrorKind::Cancelled), place);
        self.state.load(Ordering::Acquire) & CANCELLED != 0
    }

    /// Resolves with an error unless somebody has started the task, here or in a worker process.
    pub(crate) fn fail_unstarted(&self, why: TaskError, place: Place) -> bool {
        let flags = FAILED | if why.is_cancelled() { CANCELLED } else { 0 };
        loop {
            if phase(self.state.load(Ordering::Acquire)) != PENDING {
                return false;
            }
            // Without the lock: revoking may resolve this very cell (a derived future cancels its source).
            let remote = self.remote();
            let revoked = remote.as_ref().is_none_or(|remote| remote.try_revoke());
            // Under the lock, with which `set_remote` sends the task away: what was asked is still all there is to ask.
            let listeners = self.listeners.lock();
            if !listeners.has_remote(remote.as_ref()) {
                continue;
            }
            let before = if revoked { self.swap_to_writing(false, flags) } else { None };
            drop(listeners);
            let Some(before) = before else { return false };
            self.drop_unused_work(before);
            self.write_error(why, flags, place);
            return true;
        }
    }

    /// Leaves WRITING. `flags` has READY for an outcome that can be read, else it is ENCODED.
    fn publish(&self, flags: u32, place: Place) {
        if self.meta.as_ref().is_some_and(|meta| meta.has_timer()) {
            crate::timer::forget(self);
        }
        let last = if flags & READY != 0 { DONE } else { ENCODED };
        let mut state = self.state.load(Ordering::Relaxed);
        while state & LISTENED == 0 {
            let published = (state & !PHASE) | last | flags;
            match self.state.compare_exchange_weak(state, published, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => state = now,
            }
        }
        if last == DONE {
            self.step(WRITING, SETTLING, flags);
            self.finish(place);
        } else {
            self.step(WRITING, ENCODED, flags);
            let (waiters, has_callbacks, remote) = {
                let mut listeners = self.listeners.lock();
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

    /// Decodes an outcome that is still bytes, unless somebody else does or did.
    pub(crate) fn settle(&self, place: Place) {
        if phase(self.state.load(Ordering::Acquire)) == ENCODED && self.step(ENCODED, SETTLING, 0) {
            self.decode();
            self.finish(place);
        }
    }

    fn decode(&self) {
        // SAFETY: the cell lives; as the owner of SETTLING we alone touch the outcome, which holds bytes.
        let failed = unsafe { (self.vtable.decode)(self.0) };
        self.state.fetch_or(if failed { READY | FAILED } else { READY }, Ordering::AcqRel);
    }

    /// The owner of SETTLING, with a readable outcome, runs all callbacks and leaves for DONE.
    fn finish(&self, place: Place) {
        // A callback may resolve another cell, whose callback resolves a third: a long chain must not fill the stack.
        let place = if Nested::too_deep() { Place::Service } else { place };
        let home = self.home().or_else(Nested::home);
        loop {
            let (waiters, callbacks, remote) = {
                let mut listeners = self.listeners.lock();
                let (waiters, remote) = (listeners.take_waiters(), listeners.set_remote(None));
                if place == Place::Service && listeners.has_callbacks() {
                    (waiters, None, remote)
                } else {
                    let callbacks = listeners.take_callbacks();
                    if callbacks.is_empty() {
                        self.step(SETTLING, DONE, 0);
                    }
                    (waiters, Some(callbacks), remote)
                }
            };
            drop(remote);
            waiters.fire();
            match callbacks {
                None => {
                    let cell = self.clone();
                    service::run(home, Box::new(move || cell.finish(Place::Here)));
                    return;
                }
                Some(callbacks) if callbacks.is_empty() => return,
                Some(callbacks) => {
                    let _nested = Nested::begin(home);
                    for callback in callbacks {
                        // Its message has been printed by the panic hook; the others must still run.
                        let _ = panics::contain(|| callback(self.0.as_ptr().cast()));
                    }
                }
            }
        }
    }

    /// Runs `callback` when the outcome is there: here and now if it is, else where it arrives.
    pub(crate) fn add_callback(&self, callback: Callback) {
        let mut listeners = self.listeners.lock();
        listeners.add_callback(callback);
        let state = self.state.fetch_or(LISTENED, Ordering::AcqRel);
        if phase(state) == DONE && self.step(DONE, SETTLING, 0) {
            drop(listeners);
            self.finish(Place::Here);
        } else if phase(state) == ENCODED && self.step(ENCODED, SETTLING, 0) {
            drop(listeners);
            self.decode();
            self.finish(Place::Here);
        }
    }

    /// Moves from one phase to another, whatever the flags do meanwhile; false when it is not in `from` (any more).
    fn step(&self, from: u32, to: u32, flags: u32) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while phase(state) == from {
            let next = (state & !PHASE) | to | flags;
            match self.state.compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    // ---- the executor that sends bytes

    /// The work as bytes; `None` when the task is resolved already.
    pub(crate) fn encode(&self) -> Option<Result<Call, TaskErrorKind>> {
        self.borrow_work(|cell| {
            // SAFETY: the cell lives, and BUSY keeps everybody else away from the work.
            unsafe { (cell.vtable.encode)(cell.0) }
        })
        .flatten()
    }

    /// Drops the work: from now on only bytes can complete this task.
    pub(crate) fn release_work(&self) {
        self.borrow_work(|cell| {
            // SAFETY: the cell lives, and BUSY keeps everybody else away from the work.
            unsafe { (cell.vtable.drop_work)(cell.0) }
        });
    }

    fn borrow_work<T>(&self, f: impl FnOnce(&Self) -> T) -> Option<T> {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            if phase(state) != PENDING || state & BUSY != 0 {
                return None;
            }
            match self.state.compare_exchange_weak(state, state | BUSY, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        let result = f(self);
        let before = self.state.fetch_and(!BUSY, Ordering::AcqRel);
        if phase(before) != PENDING {
            // SAFETY: it was resolved while we were at it, and whoever did left the work to us (BUSY).
            unsafe { (self.vtable.drop_work)(self.0) };
        }
        Some(result)
    }

    /// From now on `remote` knows whether the task has started. False: it is resolved already.
    pub(crate) fn set_remote(&self, remote: Arc<dyn Remote>) -> bool {
        let mut listeners = self.listeners.lock();
        let before = listeners.set_remote(Some(remote));
        // Whoever resolves looks at the list then, and drops the link.
        let state = self.state.fetch_or(LISTENED, Ordering::AcqRel);
        let pending = phase(state) == PENDING;
        let after = if pending { None } else { listeners.set_remote(None) };
        drop(listeners);
        drop((before, after));
        pending
    }

    pub(crate) fn remote(&self) -> Option<Arc<dyn Remote>> {
        self.listeners.lock().remote()
    }

    pub(crate) fn clear_remote(&self) {
        let remote = self.listeners.lock().set_remote(None);
        drop(remote);
    }

    pub(crate) fn set_home(&self, pool: PoolId) {
        self.home.store(pool.get(), Ordering::Relaxed);
    }

    // ---- looking

    pub(crate) fn home(&self) -> Option<PoolId> {
        PoolId::from_raw(self.home.load(Ordering::Relaxed))
    }

    pub(crate) fn state(&self) -> u32 {
        self.state.load(Ordering::Acquire)
    }

    pub(crate) fn is_done(&self) -> bool {
        is_done(self.state())
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        let state = self.state();
        is_done(state) && state & CANCELLED != 0
    }

    pub(crate) fn is_running(&self) -> bool {
        match phase(self.state()) {
            RUNNING => true,
            PENDING => {
                let remote = self.remote();
                // The answer may arrive between the two looks.
                remote.is_some_and(|remote| remote.started()) && phase(self.state()) == PENDING
            }
            _ => false,
        }
    }

    /// An outcome that is an error other than a cancellation. Decodes first if need be.
    pub(crate) fn has_failed(&self) -> bool {
        if !self.is_done() {
            return false;
        }
        // Another thread may be decoding it, which may fail.
        self.wait_until(Until::Ready, None);
        let state = self.state();
        state & FAILED != 0 && state & CANCELLED == 0
    }

    pub(crate) fn id(&self) -> TaskId {
        self.id
    }

    pub(crate) fn meta(&self) -> Option<&Meta> {
        self.meta.as_deref()
    }

    pub(crate) fn info(&self) -> TaskInfo {
        let name = self.meta().and_then(|meta| meta.name.clone());
        TaskInfo { id: self.id, name, attempts: self.attempts(), output: self.output() }
    }

    /// Attempts that have begun. Of a task that nothing was asked for there is one at most.
    pub(crate) fn attempts(&self) -> u32 {
        match self.meta() {
            Some(meta) => meta.attempts(),
            None => u32::from(self.state() & STARTED != 0 || self.is_running()),
        }
    }

    pub(crate) fn attach_output(&self, output: TaskOutput) {
        self.listeners.lock().set_output(output);
    }

    pub(crate) fn output(&self) -> Option<Arc<TaskOutput>> {
        self.listeners.lock().output()
    }
}

impl Deref for Ref {
    type Target = Header;

    fn deref(&self) -> &Header {
        // SAFETY: the cell lives as long as any reference, and its header is only shared.
        unsafe { self.0.as_ref() }
    }
}

impl Clone for Ref {
    fn clone(&self) -> Self {
        let before = self.refs.fetch_add(1, Ordering::Relaxed);
        // As in `Arc`: leaked references must not wrap around.
        if before > usize::MAX / 2 {
            std::process::abort();
        }
        Ref(self.0)
    }
}

impl Drop for Ref {
    fn drop(&mut self) {
        if self.refs.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            // SAFETY: this was the last reference, and the fence orders all other uses before this.
            unsafe { (self.vtable.free)(self.0) }
        }
    }
}
