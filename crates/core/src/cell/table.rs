//! What is done with a cell whose type the caller does not know.

use super::state::{CANCELLED, FAILED, OBSERVED};
use super::{Cell, Header, Outcome, Place, Ref, Work};
use crate::error::{TaskError, TaskErrorKind};
use crate::task::{Call, Reply, decode_error, with_running};
use crate::{panics, unobserved};
use std::ptr::NonNull;

/// The functions of a cell.
pub(super) struct VTable {
    pub(super) free: unsafe fn(NonNull<Header>),
    pub(super) drop_work: unsafe fn(NonNull<Header>),
    pub(super) run: unsafe fn(NonNull<Header>) -> bool,
    pub(super) encode: unsafe fn(NonNull<Header>) -> Option<Result<Call, TaskErrorKind>>,
    pub(super) store_error: unsafe fn(NonNull<Header>, TaskError),
    pub(super) store_reply: unsafe fn(NonNull<Header>, Reply),
    pub(super) decode: unsafe fn(NonNull<Header>) -> bool,
}

/// The functions of a cell, by the type of its work.
pub(super) struct TableOf<W>(std::marker::PhantomData<W>);

impl<W: Work> TableOf<W> {
    pub(super) const TABLE: VTable = VTable {
        free: Self::free,
        drop_work: Self::drop_work,
        run: Self::run,
        encode: Self::encode,
        store_error: Self::store_error,
        store_reply: Self::store_reply,
        decode: Self::decode,
    };

    /// # Safety
    /// The header of a live cell of this type; nobody uses it any more.
    unsafe fn free(header: NonNull<Header>) {
        if unobserved::is_hooked() {
            // SAFETY: the caller vouches for it.
            unsafe { Self::report(header) };
        }
        // SAFETY: it was made by `Box::new` of this very type, in `Ref::pair`.
        let cell = unsafe { Box::from_raw(header.cast::<Cell<W>>().as_ptr()) };
        // A destructor of the user's that panics must not take an executor's thread along.
        let _ = panics::contain(|| drop(cell));
    }

    /// Reports an error that nobody has looked at.
    ///
    /// # Safety
    /// As for `free`, which follows.
    unsafe fn report(header: NonNull<Header>) {
        // No counted reference: there is none any more.
        let last = std::mem::ManuallyDrop::new(Ref(header));
        let state = last.state();
        if state & FAILED == 0 || state & (CANCELLED | OBSERVED) != 0 {
            return;
        }
        // SAFETY: the caller vouches for it.
        let cell = unsafe { Self::cell(header) };
        let error = cell.slot.outcome.with(|out| {
            // SAFETY: the cell is exclusively ours.
            match unsafe { &*out } {
                Outcome::Ready(Err(error)) => Some(error.clone()),
                Outcome::Encoded(reply) => Some(decode_error(&reply.bytes).of_task(|| last.info())),
                _ => None,
            }
        });
        if let Some(error) = error {
            unobserved::report(error, last.home());
        }
    }

    /// # Safety
    /// The header of a live cell of this type.
    unsafe fn cell<'a>(header: NonNull<Header>) -> &'a Cell<W> {
        // SAFETY: the caller vouches for it.
        unsafe { header.cast::<Cell<W>>().as_ref() }
    }

    /// # Safety
    /// The header of a live cell of this type whose work the caller owns.
    unsafe fn take(header: NonNull<Header>) -> Option<W> {
        // SAFETY: the caller vouches for it.
        let cell = unsafe { Self::cell(header) };
        cell.work.with_mut(|work| {
            // SAFETY: the caller owns the work.
            unsafe { (*work).take() }
        })
    }

    /// # Safety
    /// As for `take`.
    unsafe fn drop_work(header: NonNull<Header>) {
        // SAFETY: the caller vouches for it.
        let work = unsafe { Self::take(header) };
        // The argument's destructor is the user's.
        let _ = panics::contain(|| drop(work));
    }

    /// # Safety
    /// As for `take`; the state is RUNNING, by the caller.
    unsafe fn run(header: NonNull<Header>) -> bool {
        let cell = std::mem::ManuallyDrop::new(Ref(header));
        // SAFETY: the caller vouches for it.
        let Some(work) = (unsafe { Self::take(header) }) else {
            // Nothing to run (its bytes were sent elsewhere, or it is a promise): somebody else completes it.
            return false;
        };
        if let Some(meta) = cell.meta() {
            meta.begin_attempt();
            crate::timer::watch(&cell);
        }
        let outcome = with_running(&*cell, || panics::catch(|| work.run(&cell))).map_err(TaskError::new);
        // SAFETY: `W::Out` is the type of the cell's outcome.
        if let Err(late) = unsafe { cell.set::<W::Out>(outcome, Place::Here) } {
            let _ = panics::contain(|| drop(late));
        }
        true
    }

    /// # Safety
    /// The header of a live cell of this type whose work nobody else touches.
    unsafe fn encode(header: NonNull<Header>) -> Option<Result<Call, TaskErrorKind>> {
        // SAFETY: the caller vouches for it.
        let cell = unsafe { Self::cell(header) };
        cell.work.with(|work| {
            // SAFETY: nobody else touches the work.
            unsafe { &*work }.as_ref().map(W::encode)
        })
    }

    /// # Safety
    /// The header of a live cell of this type whose outcome the caller owns.
    unsafe fn store(header: NonNull<Header>, outcome: Outcome<W::Out>) {
        // SAFETY: the caller vouches for it.
        let cell = unsafe { Self::cell(header) };
        cell.slot.outcome.with_mut(|out| {
            // SAFETY: the caller owns the outcome.
            unsafe { *out = outcome }
        });
    }

    /// # Safety
    /// As for `store`.
    unsafe fn store_error(header: NonNull<Header>, error: TaskError) {
        // SAFETY: the caller vouches for it.
        unsafe { Self::store(header, Outcome::Ready(Err(error))) }
    }

    /// # Safety
    /// As for `store`.
    unsafe fn store_reply(header: NonNull<Header>, reply: Reply) {
        // SAFETY: the caller vouches for it.
        unsafe { Self::store(header, Outcome::Encoded(Box::new(reply))) }
    }

    /// True when the outcome is an error.
    ///
    /// # Safety
    /// As for `store`.
    unsafe fn decode(header: NonNull<Header>) -> bool {
        // SAFETY: the caller vouches for it.
        let cell = unsafe { Self::cell(header) };
        let stored = cell.slot.outcome.with_mut(|out| {
            // SAFETY: the caller owns the outcome.
            std::mem::replace(unsafe { &mut *out }, Outcome::Empty)
        });
        let Outcome::Encoded(reply) = stored else { unreachable!("ENCODED means that there are bytes") };
        let outcome = panics::contain_quietly(|| W::decode(*reply)).unwrap_or_else(|message| {
            Err(TaskErrorKind::Codec(crate::CodecError::new(
                crate::CodecStep::DecodeResult,
                std::any::type_name::<W::Out>(),
                message,
            )))
        });
        let borrowed = std::mem::ManuallyDrop::new(Ref(header));
        let outcome = outcome.map_err(|kind| TaskError::new(kind).of_task(|| borrowed.info()));
        let failed = outcome.is_err();
        // SAFETY: the caller vouches for it.
        unsafe { Self::store(header, Outcome::Ready(outcome)) };
        failed
    }
}
