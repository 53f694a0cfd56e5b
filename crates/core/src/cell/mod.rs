//! The one allocation that a task, its future and its executor share. States and proofs: `README.md` beside this file.

mod away;
mod extras;
mod link;
mod listeners;
#[cfg(all(test, concurrent_futures_loom))]
mod models;
mod nested;
mod outcome;
mod recycle;
mod resolve;
mod settle;
pub(crate) mod state;
mod storage;
mod table;
mod waiting;
mod work;

pub(crate) use link::Link;
pub(crate) use listeners::{Callback, Waiter, Wake};
pub(crate) use waiting::Until;
pub(crate) use work::{NoWork, Work};

use crate::error::TaskInfo;
use crate::output::TaskOutput;
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering, UnsafeCell};
use crate::task::Meta;
use crate::{PoolId, TaskId};
use extras::Extras;
use state::*;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;
use storage::Cell;
use table::VTable;

/// Where callbacks run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In this thread.
    Here,
    /// In the callback service: this thread must not run code of the user's.
    Service,
}

pub(crate) struct Header {
    /// Phase and flags, and above them the number of references.
    word: AtomicU64,
    vtable: &'static VTable,
    /// What few tasks need; null until somebody does.
    extras: AtomicPtr<Extras>,
    id: TaskId,
    /// The pool whose workers may run this task in place while they wait for it; 0 for none.
    home: AtomicU32,
    /// Stands for the storage, which has no type here: loom sees every access.
    guard: UnsafeCell<()>,
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
        let cell = Cell::make(Some(work), (2 * ONE) | u64::from(WORK));
        let pair = (Ref(cell), Ref(cell));
        if let Some(meta) = meta {
            pair.0.put_meta(meta);
        }
        pair
    }

    /// Two references to a cell that somebody else will complete.
    pub(crate) fn empty<T: Send>() -> (Ref, Ref) {
        let cell = Cell::<NoWork<T>>::make(None, 2 * ONE);
        (Ref(cell), Ref(cell))
    }

    pub(crate) fn ptr(&self) -> NonNull<Header> {
        self.0
    }

    // ---- the runner

    /// Claims a pending task and runs it here. False: there was nothing to run.
    pub(crate) fn run(&self) -> bool {
        let claimed = self.claim_work();
        if claimed {
            // SAFETY: the cell lives as long as this reference, and the claim made us the owner of its work.
            unsafe { (self.vtable.run)(self.0, false) };
        }
        claimed
    }

    /// The same, and lets go of the cell.
    pub(crate) fn run_and_release(self) -> bool {
        let claimed = self.claim_work();
        if claimed {
            let cell = std::mem::ManuallyDrop::new(self);
            // SAFETY: as in `run`; this reference is given away, and is not dropped here.
            unsafe { (cell.vtable.run)(cell.0, true) };
        }
        claimed
    }

    /// PENDING to RUNNING.
    pub(crate) fn claim(&self) -> bool {
        self.claim_word().is_some()
    }

    /// The same; whether there is work. (There is none in a promise, or when its bytes were sent elsewhere: somebody else
    /// completes it.)
    fn claim_work(&self) -> bool {
        self.claim_word().is_some_and(|before| before & WORK != 0)
    }

    fn claim_word(&self) -> Option<u32> {
        let mut word = self.word.load(Ordering::Relaxed);
        while phase(word as u32) == PENDING && word as u32 & BUSY == 0 {
            let claimed = moved(word, RUNNING, STARTED, 0);
            match self.word.compare_exchange_weak(word, claimed, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(word as u32),
                Err(now) => word = now,
            }
        }
        None
    }

    pub(crate) fn set_home(&self, pool: PoolId) {
        self.home.store(pool.get(), Ordering::Relaxed);
    }

    // ---- looking

    pub(crate) fn home(&self) -> Option<PoolId> {
        PoolId::from_raw(self.home.load(Ordering::Relaxed))
    }

    /// Phase and flags. (What is above them, in the word, is left out.)
    pub(crate) fn state(&self) -> u32 {
        self.word.load(Ordering::Acquire) as u32
    }

    /// Sets a flag; gives the state before.
    fn set_flag(&self, flag: u32) -> u32 {
        self.word.fetch_or(u64::from(flag), Ordering::AcqRel) as u32
    }

    /// Takes flags away; gives the state before.
    fn clear_flags(&self, flags: u32) -> u32 {
        self.word.fetch_and(!u64::from(flags), Ordering::AcqRel) as u32
    }

    pub(crate) fn is_done(&self) -> bool {
        is_done(self.state())
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        let state = self.state();
        is_done(state) && state & CANCELLED != 0
    }

    pub(crate) fn is_running(&self) -> bool {
        loop {
            match phase(self.state()) {
                RUNNING => return true,
                PENDING => {}
                _ => return false,
            }
            let Some(remote) = self.remote().filter(Link::started) else { return false };
            // It may have been asked where the task is no longer, or the answer may have arrived between the two looks.
            if self.is_linked_to(&remote) {
                return phase(self.state()) == PENDING;
            }
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
        self.extras()?.meta.as_deref()
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
        self.listeners().set_output(output);
    }

    pub(crate) fn output(&self) -> Option<Arc<TaskOutput>> {
        self.known_listeners()?.output()
    }

    // ---- counting

    /// Lets go of a reference whose last use is a change of the word that has taken it away already.
    ///
    /// # Safety
    /// `word` is what that change has left, with `Release` or more, and the caller does not use the reference any more.
    unsafe fn released(cell: NonNull<Header>, word: u64) {
        if count(word) == 0 {
            // SAFETY: no reference is left, so nobody but us has the header.
            let header = unsafe { cell.as_ref() };
            // Behind all that others have done before they let go.
            header.word.load(Ordering::Acquire);
            let free = header.vtable.free;
            // SAFETY: nobody uses the cell any more, and this is its table.
            unsafe { free(cell) }
        }
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
        let before = self.word.fetch_add(ONE, Ordering::Relaxed);
        // As in `Arc`: leaked references must not wrap around.
        if count(before) > u64::MAX / ONE / 2 {
            std::process::abort();
        }
        Ref(self.0)
    }
}

impl Drop for Ref {
    fn drop(&mut self) {
        // With no other reference there is nobody who could make or drop one meanwhile.
        let left = match self.word.load(Ordering::Acquire) {
            word if count(word) == 1 => word - ONE,
            _ => self.word.fetch_sub(ONE, Ordering::Release) - ONE,
        };
        // SAFETY: the reference is gone with this, by the word or because it was the only one.
        unsafe { Ref::released(self.0, left) }
    }
}
