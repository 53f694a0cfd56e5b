//! What is done with a cell whose type the caller does not know.

use super::state::*;
use super::storage::{Cell, Outcome};
use super::{Header, Ref, Work};
use crate::attach::{self, Attachment};
use crate::codec::Memory;
use crate::error::{TaskError, TaskErrorKind};
use crate::task::{Call, Reply, decode_error, with_running};
use crate::{panics, unobserved};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

type Encoded = Result<Call, TaskErrorKind>;

/// The functions of a cell.
pub(super) struct VTable {
    /// Of the storage.
    pub(super) offset: usize,
    pub(super) free: unsafe fn(NonNull<Header>),
    pub(super) drop_work: unsafe fn(NonNull<Header>),
    /// The second argument: gives the reference away.
    pub(super) run: unsafe fn(NonNull<Header>, bool),
    pub(super) encode: unsafe fn(NonNull<Header>) -> Encoded,
    pub(super) send: unsafe fn(NonNull<Header>, Option<Memory>, &mut Vec<Attachment>) -> Encoded,
    pub(super) store_error: unsafe fn(NonNull<Header>, TaskError),
    /// Gives the flags that the outcome has, if it can be read at once.
    pub(super) store_reply: unsafe fn(NonNull<Header>, Reply) -> Option<u32>,
    pub(super) decode: unsafe fn(NonNull<Header>) -> bool,
}

/// The functions of a cell, by the type of its work.
pub(super) struct TableOf<W>(std::marker::PhantomData<W>);

impl<W: Work> TableOf<W> {
    pub(super) const TABLE: VTable = VTable {
        offset: Cell::<W>::OFFSET,
        free: Self::free,
        drop_work: Self::drop_work,
        run: Self::run,
        encode: Self::encode,
        send: Self::send,
        store_error: Self::store_error,
        store_reply: Self::store_reply,
        decode: Self::decode,
    };

    /// # Safety
    /// The header of a live cell of this type; nobody uses it any more.
    unsafe fn free(header: NonNull<Header>) {
        // No counted reference: there is none any more.
        let last = ManuallyDrop::new(Ref(header));
        let state = last.state();
        if state & (FAILED | CANCELLED | OBSERVED) == FAILED && unobserved::is_hooked() {
            // SAFETY: the caller vouches for it.
            unsafe { Self::report(&last) };
        }
        if state & WORK != 0 {
            // SAFETY: the work is there, and nobody else uses it.
            unsafe { Self::drop_work(header) };
        } else if phase(state) > WRITING && state & ASIDE == 0 {
            // SAFETY: the outcome has been written, and nobody uses it any more.
            match unsafe { last.read_inside::<W::Out>() } {
                // As a rule.
                Outcome::Empty => {}
                Outcome::Ready(Ok(value)) => panics::contain_drop(value),
                other => panics::contain_drop(other),
            }
        }
        if last.extras().is_some() {
            // A destructor of the user's that panics must not take an executor's thread along.
            if state & ASIDE != 0 {
                // SAFETY: nobody uses the cell any more.
                let _ = panics::contain(|| unsafe { last.drop_aside::<W::Out>() });
            }
            // SAFETY: as above; what they held in `aside` is gone.
            let free = || unsafe { last.free_extras() };
            if state & LISTENED == 0 && last.meta().is_none() {
                // There is only the link of an executor, which is no code of the user's.
                free();
            } else {
                let _ = panics::contain(free);
            }
        }
        // SAFETY: it was made by `Cell::make` of this very type; the storage is empty now.
        unsafe { Cell::<W>::free(header) };
    }

    /// Reports an error that nobody has looked at.
    ///
    /// # Safety
    /// A cell of this type, with an outcome; nobody uses it any more.
    unsafe fn report(cell: &Ref) {
        let look = |out: *const Outcome<W::Out>| {
            // SAFETY: the cell is exclusively ours.
            match unsafe { &*out } {
                Outcome::Ready(Err(error)) => Some(error.clone()),
                Outcome::Encoded(reply) => Some(decode_error(&reply.bytes).of_task(|| cell.info())),
                _ => None,
            }
        };
        // SAFETY: the caller vouches for it.
        if let Some(error) = unsafe { cell.with_shared_outcome(look) } {
            unobserved::report(error, cell.home());
        }
    }

    /// # Safety
    /// The header of a live cell of this type whose work is there and the caller's.
    unsafe fn drop_work(header: NonNull<Header>) {
        let cell = ManuallyDrop::new(Ref(header));
        // SAFETY: the caller vouches for it.
        let work = unsafe { cell.read_work::<W>() };
        panics::contain_drop(work);
    }

    /// # Safety
    /// As for `drop_work`; the state is RUNNING, by the caller. With `releases`, the caller gives a reference away.
    unsafe fn run(header: NonNull<Header>, releases: bool) {
        let cell = ManuallyDrop::new(Ref(header));
        // SAFETY: the caller vouches for it.
        let work = unsafe { cell.read_work::<W>() };
        let has_timer = cell.meta().is_some_and(|meta| {
            meta.begin_attempt();
            crate::timer::watch(&cell);
            meta.has_timer()
        });
        if W::SUSPENDS {
            let cell = if releases { ManuallyDrop::into_inner(cell) } else { Ref::clone(&cell) };
            // Nothing is left of it here.
            cell.clear_flags(WORK);
            // SAFETY: it is the cell of this work.
            return unsafe { work.suspend(cell) };
        }
        let outcome = with_running(&*cell, || panics::catch(|| work.run(&cell)));
        let outcome = outcome.map_err(|kind| TaskError::new(kind).of_task(|| cell.info()));
        let failed = outcome.is_err();
        // SAFETY: the storage is the runner's while WORK is set, and its work has been moved out.
        unsafe { cell.write_inside(Outcome::Ready(outcome)) };
        // SAFETY: without `releases` it does not matter; with it, the reference is not used after `true`.
        if unsafe { Ref::publish_run(&cell, failed, releases && !has_timer) } && !has_timer {
            return;
        }
        if has_timer {
            crate::timer::forget(&cell);
        }
        if cell.state() & WORK != 0 {
            // SAFETY: somebody else has resolved it, and so beside the storage: what the runner wrote is there, and its own.
            panics::contain_drop(unsafe { cell.read_inside::<W::Out>() });
            cell.clear_flags(WORK);
        }
        if releases {
            drop(ManuallyDrop::into_inner(cell));
        }
    }

    /// # Safety
    /// The header of a live cell of this type whose work is there, and which nobody else touches.
    unsafe fn encode(header: NonNull<Header>) -> Encoded {
        let cell = ManuallyDrop::new(Ref(header));
        // SAFETY: the caller vouches for it.
        unsafe { cell.with_work(W::encode) }
    }

    /// Moves the work out.
    ///
    /// # Safety
    /// As for `drop_work`.
    unsafe fn send(header: NonNull<Header>, memory: Option<Memory>, attachments: &mut Vec<Attachment>) -> Encoded {
        let cell = ManuallyDrop::new(Ref(header));
        // SAFETY: the caller vouches for it.
        let work = unsafe { cell.read_work::<W>() };
        if W::sends_numbers() { work.send(memory) } else { attach::collect(attachments, || work.send(memory)) }
    }

    /// # Safety
    /// The header of a live cell of this type, in WRITING by the caller.
    unsafe fn store_error(header: NonNull<Header>, error: TaskError) {
        let cell = ManuallyDrop::new(Ref(header));
        // SAFETY: the caller vouches for it.
        unsafe { cell.write::<W::Out>(Outcome::Ready(Err(error))) }
    }

    /// # Safety
    /// As for `store_error`.
    unsafe fn store_reply(header: NonNull<Header>, reply: Reply) -> Option<u32> {
        let cell = ManuallyDrop::new(Ref(header));
        if W::returns_a_number() && !reply.is_error() {
            let outcome = W::decode(reply).map_err(|kind| TaskError::new(kind).of_task(|| cell.info()));
            let flags = if outcome.is_err() { READY | FAILED } else { READY };
            // SAFETY: the caller vouches for it.
            unsafe { cell.write(Outcome::Ready(outcome)) };
            return Some(flags);
        }
        // SAFETY: the caller vouches for it.
        unsafe { cell.write::<W::Out>(Outcome::Encoded(Box::new(reply))) };
        None
    }

    /// True when the outcome is an error.
    ///
    /// # Safety
    /// The header of a live cell of this type, in SETTLING by the caller, with an outcome that is bytes.
    unsafe fn decode(header: NonNull<Header>) -> bool {
        let cell = ManuallyDrop::new(Ref(header));
        let take = |out: *mut Outcome<W::Out>| {
            // SAFETY: the owner of SETTLING alone touches the outcome.
            std::mem::replace(unsafe { &mut *out }, Outcome::Empty)
        };
        // SAFETY: the caller vouches for it.
        let Outcome::Encoded(reply) = (unsafe { cell.with_outcome(take) }) else {
            unreachable!("ENCODED means that there are bytes")
        };
        let outcome = panics::contain_quietly(|| W::decode(*reply)).unwrap_or_else(|message| {
            Err(TaskErrorKind::Codec(crate::CodecError::new(
                crate::CodecStep::DecodeResult,
                std::any::type_name::<W::Out>(),
                message,
            )))
        });
        let outcome = outcome.map_err(|kind| TaskError::new(kind).of_task(|| cell.info()));
        let failed = outcome.is_err();
        let put = |out: *mut Outcome<W::Out>| {
            // SAFETY: as above; what is replaced is empty.
            unsafe { *out = Outcome::Ready(outcome) }
        };
        // SAFETY: the caller vouches for it.
        unsafe { cell.with_outcome(put) };
        failed
    }
}
