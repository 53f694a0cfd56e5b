//! An async task of this process: a future, and whose it is at the moment.
//!
//! | stage | means | the future is | left by |
//! |---|---|---|---|
//! | `POLLING` | a thread polls it | that thread's | that thread: `IDLE`, or `GONE`; a wake: `WOKEN` |
//! | `WOKEN` | the same, and it was woken meanwhile | that thread's | that thread: `QUEUED`, or `GONE` |
//! | `IDLE` | it waits to be woken | nobody's | a wake, or whoever resolves the task from outside: `QUEUED`; a cancellation: `GONE` |
//! | `QUEUED` | the host is to poll it | nobody's | a worker: `POLLING`; a cancellation: `GONE` |
//! | `GONE` | it has ended | of whoever came here, who drops it | nobody |
//!
//! The cell of the task is `RUNNING` from the first poll to the outcome, without work of its own: the work has moved here. So a
//! timeout or an abort resolves it at any time, as it does a call that runs, and tells this by [`Remote::stop`], which is a wake:
//! whoever polls it next finds the task resolved, and drops the future instead. That is a worker, never the timer.
//! A cancellation is exact: it takes the future away (to `GONE`) before it resolves the task, or it finds it being polled
//! and fails. Each step is a compare-and-swap of one word, so a wake is never lost: it finds `IDLE`, and queues the task; or it finds it
//! polled, and the poller, whose swap to `IDLE` fails, queues it; or it is queued already, and the poll is still to come.

use super::host::{AsyncTask, Host, Local, Poll as Leave};
use crate::cell::{Place, Ref};
use crate::error::{TaskError, TaskErrorKind};
use crate::sync::{AtomicU32, Mutex, Ordering};
use crate::task::{Meta, Remote, Stop, with_running};
use crate::{panics, worker};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};

const POLLING: u32 = 0;
const WOKEN: u32 = 1;
const IDLE: u32 = 2;
const QUEUED: u32 = 3;
const GONE: u32 = 4;

/// What hosts do with it.
pub(super) trait Suspension: Send + Sync {
    fn cell(&self) -> &Ref;
    fn run(self: Arc<Self>);
    fn fail(&self, why: TaskError);
}

pub(super) struct Suspended<F> {
    stage: AtomicU32,
    /// Its outcome is of the type that the future gives.
    cell: Ref,
    host: Arc<dyn Host>,
    /// Never contended: only whom the stage says locks it. Pinned, as all of this is in its `Arc`.
    future: Mutex<Option<F>>,
    me: Weak<Self>,
}

/// Runs a task whose work was moved out of its running cell: as far as it goes without waiting if this thread's pool is a host of
/// its home, else to its end.
///
/// # Safety
/// `T` is the type of the cell's outcome.
pub(super) unsafe fn start<T, F>(cell: Ref, future: F)
where
    T: Send + 'static,
    F: Future<Output = Result<T, TaskErrorKind>> + Send + 'static,
{
    if let Some(host) = worker::host(cell.home()) {
        // SAFETY: the caller vouches for it.
        unsafe { Suspended::begin(cell, host, future) };
        return;
    }
    let local = Local::new();
    // SAFETY: as above.
    if unsafe { Suspended::begin(cell, local.clone(), future) } {
        while let Some(poll) = worker::blocking(|| local.next()) {
            poll.run();
        }
    }
}

impl<T, F> Suspended<F>
where
    T: Send + 'static,
    F: Future<Output = Result<T, TaskErrorKind>> + Send + 'static,
{
    /// Polls it for the first time; whether it waits now.
    ///
    /// # Safety
    /// `T` is the type of the cell's outcome.
    pub(super) unsafe fn begin(cell: Ref, host: Arc<dyn Host>, future: F) -> bool {
        let task = Arc::new_cyclic(|me| {
            let (stage, future, me) = (AtomicU32::new(POLLING), Mutex::new(Some(future)), Weak::clone(me));
            Suspended { stage, cell, host, future, me }
        });
        task.poll(true)
    }

    /// In `POLLING`, by the caller. Whether it waits afterwards.
    fn poll(self: &Arc<Self>, is_first: bool) -> bool {
        if self.cell.is_done() {
            // Timed out or aborted: nobody wants it any more.
            self.leave(!is_first);
            return false;
        }
        match self.poll_future() {
            Ok(None) => self.rest(is_first),
            outcome => {
                let outcome = outcome.map(|value| value.expect("not pending")).map_err(TaskError::new);
                self.finish(outcome, !is_first);
                false
            }
        }
    }

    /// `None`: it is pending.
    fn poll_future(self: &Arc<Self>) -> Result<Option<T>, TaskErrorKind> {
        let waker = Waker::from(Arc::clone(self));
        let mut cx = Context::from_waker(&waker);
        let mut slot = self.future.lock();
        let future = slot.as_mut().expect("it is there before GONE");
        // SAFETY: the `Arc` is not unwrapped, so what it holds stays where it is until it is dropped there; nobody moves the
        // future out of the slot, which is emptied by dropping in place.
        let future = unsafe { Pin::new_unchecked(future) };
        with_running(&self.cell, || {
            panics::catch(|| match future.poll(&mut cx) {
                Poll::Ready(outcome) => outcome.map(Some),
                Poll::Pending => Ok(None),
            })
        })
    }

    /// The future is pending: leaves `POLLING`. Whether it waits.
    fn rest(self: &Arc<Self>, is_first: bool) -> bool {
        if is_first {
            if !self.cell.set_suspended(Arc::<Self>::clone(self)) {
                // Timed out or aborted while it was polled, when nobody could be told.
                self.leave(false);
                return false;
            }
            Arc::clone(&self.host).wait(AsyncTask(Arc::<Self>::clone(self)));
            if self.cell.meta().is_some_and(Meta::is_stopped) {
                // The time of the attempt was up when nobody could be told.
                let _ = self.stage.compare_exchange(POLLING, WOKEN, Ordering::AcqRel, Ordering::Acquire);
            }
        }
        if self.stage.compare_exchange(POLLING, IDLE, Ordering::AcqRel, Ordering::Acquire).is_err() {
            // Woken meanwhile.
            self.stage.store(QUEUED, Ordering::Release);
            self.queue();
        }
        true
    }

    fn queue(self: &Arc<Self>) {
        Arc::clone(&self.host).poll(Leave::new(Arc::<Self>::clone(self)));
    }

    fn finish(&self, outcome: Result<T, TaskError>, is_known: bool) {
        self.stage.store(GONE, Ordering::Release);
        self.drop_future();
        // SAFETY: `T` is the type of the cell's outcome (`begin`).
        if let Err(late) = unsafe { self.cell.set(outcome, Place::Here) } {
            panics::contain_drop(late);
        }
        self.end(is_known);
    }
}

impl<F> Suspended<F> {
    /// In `POLLING`, by the caller: the task has its outcome from somebody else.
    fn leave(&self, is_known: bool) {
        self.stage.store(GONE, Ordering::Release);
        self.drop_future();
        self.end(is_known);
    }

    /// Takes it to `GONE` if nobody polls it.
    fn take(&self) -> bool {
        let waits = |stage| matches!(stage, IDLE | QUEUED).then_some(GONE);
        self.stage.fetch_update(Ordering::AcqRel, Ordering::Acquire, waits).is_ok()
    }

    /// In `GONE`, by whoever came there.
    fn drop_future(&self) {
        let drop_it = || *self.future.lock() = None;
        // Its destructors are the user's.
        let _ = with_running(&self.cell, || panics::contain(drop_it));
    }

    fn end(&self, is_known: bool) {
        if is_known {
            Arc::clone(&self.host).end(self.cell.id());
        }
    }
}

impl<T, F> Wake for Suspended<F>
where
    T: Send + 'static,
    F: Future<Output = Result<T, TaskErrorKind>> + Send + 'static,
{
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let woken = |stage| match stage {
            IDLE => Some(QUEUED),
            POLLING => Some(WOKEN),
            _ => None,
        };
        if self.stage.fetch_update(Ordering::AcqRel, Ordering::Acquire, woken) == Ok(IDLE) {
            self.queue();
        }
    }
}

impl<T, F> Remote for Suspended<F>
where
    T: Send + 'static,
    F: Future<Output = Result<T, TaskErrorKind>> + Send + 'static,
{
    /// It has started, and is taken back all the same, at its await point.
    fn try_revoke(&self, _mark: u64) -> bool {
        let is_taken = self.take();
        if is_taken {
            self.drop_future();
            self.end(true);
        }
        is_taken
    }

    fn started(&self, _mark: u64) -> bool {
        true
    }

    /// Whoever polls it next sees to it.
    fn stop(&self, _mark: u64, _why: Stop, _attempt: u32) {
        if let Some(me) = self.me.upgrade() {
            me.wake();
        }
    }
}

impl<T, F> Suspension for Suspended<F>
where
    T: Send + 'static,
    F: Future<Output = Result<T, TaskErrorKind>> + Send + 'static,
{
    fn cell(&self) -> &Ref {
        &self.cell
    }

    fn run(self: Arc<Self>) {
        if self.stage.compare_exchange(QUEUED, POLLING, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.poll(false);
        }
    }

    fn fail(&self, why: TaskError) {
        let is_taken = self.take();
        // Somebody may have been faster: their outcome stands.
        let _ = self.cell.fail(why, true, Place::Service);
        if is_taken {
            self.drop_future();
            self.end(true);
        } else if let Some(me) = self.me.upgrade() {
            me.wake();
        }
    }
}
