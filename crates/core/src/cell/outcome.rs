//! What may be done with an outcome, and with work, by those who know their types.

use super::state::{FAILED, OBSERVED, WORK};
use super::storage::Outcome;
use super::{Header, Ref, Work};
use crate::error::TaskError;
use std::ptr::NonNull;

impl Ref {
    /// The error, once READY; `None` for a value.
    ///
    /// # Safety
    /// `T` is the type of the cell's outcome, the state has READY, and nobody can take the outcome while the result lives.
    pub(crate) unsafe fn error<'a, T: 'a>(&'a self) -> Option<&'a TaskError> {
        if self.state() & FAILED == 0 {
            return None;
        }
        // SAFETY: the caller vouches for all three.
        unsafe { self.ready::<T>() }.as_ref().err()
    }

    /// The outcome, once READY.
    ///
    /// # Safety
    /// As for [`Ref::error`]; and the caller may look at a `T` in this thread: it is `Sync`, it is an error, or the caller
    /// owns SETTLING.
    pub(crate) unsafe fn ready<T>(&self) -> &Result<T, TaskError> {
        let look = |out: *const Outcome<T>| {
            // SAFETY: READY was seen: nobody writes the outcome any more, and nobody takes it while the result lives.
            unsafe { &*out }
        };
        // SAFETY: the caller vouches for `T`; READY is behind WRITING.
        match unsafe { self.with_shared_outcome(look) } {
            Outcome::Ready(outcome) => {
                if outcome.is_err() {
                    self.set_flag(OBSERVED);
                }
                outcome
            }
            Outcome::Empty | Outcome::Encoded(_) => unreachable!("the outcome is read before it is ready"),
        }
    }

    /// Takes the outcome out.
    ///
    /// # Safety
    /// `T` is the type of the cell's outcome, which is READY, and the caller is its only user: the by-move owner in DONE,
    /// or the last callback of a future that was consumed.
    pub(crate) unsafe fn take<T>(&self) -> Result<T, TaskError> {
        let take = |out: *mut Outcome<T>| {
            // SAFETY: the caller is the only user of the outcome.
            std::mem::replace(unsafe { &mut *out }, Outcome::Empty)
        };
        // SAFETY: the caller vouches for `T`; READY is behind WRITING.
        match unsafe { self.with_outcome(take) } {
            Outcome::Ready(outcome) => outcome,
            Outcome::Empty | Outcome::Encoded(_) => unreachable!("the outcome is taken once, when it is ready"),
        }
    }

    /// Takes back the work of a task that was never claimed and is given up now.
    ///
    /// # Safety
    /// `W` is the type of the cell's work.
    pub(crate) unsafe fn take_work<W: Work>(&self) -> Option<W> {
        if !self.claim_work() {
            return None;
        }
        // SAFETY: the caller vouches for `W`; the claim made us the owner of the work.
        let work = unsafe { self.read_work() };
        self.clear_flags(WORK);
        Some(work)
    }

    /// A second reference from the pointer that a callback gets.
    ///
    /// # Safety
    /// `cell` comes from the call of a callback that is still running.
    pub(crate) unsafe fn from_callback(cell: *mut ()) -> Ref {
        // SAFETY: the caller of the callback passes its own valid pointer.
        let header = unsafe { NonNull::new_unchecked(cell.cast::<Header>()) };
        let borrowed = std::mem::ManuallyDrop::new(Ref(header));
        Ref::clone(&borrowed)
    }
}
