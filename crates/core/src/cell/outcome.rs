//! What may be done with an outcome, and with work, by those who know their types.

use super::state::{FAILED, OBSERVED};
use super::{Cell, Header, Outcome, Ref, Slot, Work};
use crate::error::TaskError;
use crate::sync::Ordering;
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
        // SAFETY: the caller vouches for `T`.
        let slot = unsafe { self.slot::<T>() };
        slot.outcome.with(|out| {
            // SAFETY: READY was seen: nobody writes the outcome any more, and nobody takes it while the result lives.
            match unsafe { &*out } {
                Outcome::Ready(outcome) => {
                    if outcome.is_err() {
                        self.state.fetch_or(OBSERVED, Ordering::Relaxed);
                    }
                    outcome
                }
                Outcome::Empty | Outcome::Encoded(_) => unreachable!("the outcome is read before it is ready"),
            }
        })
    }

    /// Takes the outcome out.
    ///
    /// # Safety
    /// `T` is the type of the cell's outcome, which is READY, and the caller is its only user: the by-move owner in DONE,
    /// or the last callback of a future that was consumed.
    pub(crate) unsafe fn take<T>(&self) -> Result<T, TaskError> {
        // SAFETY: the caller vouches for `T`.
        let slot = unsafe { self.slot::<T>() };
        let outcome = slot.outcome.with_mut(|out| {
            // SAFETY: the caller is the only user of the outcome.
            std::mem::replace(unsafe { &mut *out }, Outcome::Empty)
        });
        match outcome {
            Outcome::Ready(outcome) => outcome,
            Outcome::Empty | Outcome::Encoded(_) => unreachable!("the outcome is taken once, when it is ready"),
        }
    }

    /// Takes back the work of a task that was never claimed and is given up now.
    ///
    /// # Safety
    /// `W` is the type of the cell's work.
    pub(crate) unsafe fn take_work<W: Work>(&self) -> Option<W> {
        if !self.claim() {
            return None;
        }
        let cell = self.0.cast::<Cell<W>>();
        // SAFETY: the caller vouches for `W`; the cell lives.
        let cell = unsafe { cell.as_ref() };
        cell.work.with_mut(|work| {
            // SAFETY: the claim made us the owner of the work.
            unsafe { (*work).take() }
        })
    }

    /// # Safety
    /// `T` is the type of the cell's outcome.
    pub(super) unsafe fn slot<T>(&self) -> &Slot<T> {
        // SAFETY: the cell lives as long as this reference; a `Slot<T>` is at its beginning (`repr(C)`).
        unsafe { self.0.cast::<Slot<T>>().as_ref() }
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
