//! The handle of a result that may not be there yet.

mod abort_handle;
mod chain;
mod gather;
mod promise;
mod shared;

pub use abort_handle::AbortHandle;
pub use chain::Source;
pub use gather::{gather, gather_results};
pub use promise::{InvalidState, Promise};
pub use shared::SharedFuture;

pub(crate) use chain::on_arrival;
pub(crate) use gather::Gathering;

use crate::TaskId;
use crate::cell::{Place, Ref, Until, state};
use crate::error::TaskError;
use crate::output::TaskOutput;
use crate::task::Meta;
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// The outcome of a task, which may not be there yet: a value, or a [`TaskError`].
///
/// Every `submit` gives one. It can be waited for ([`result`](Self::result)), awaited on any async runtime, cancelled while
/// the task has not started, asked about, given callbacks, and chained. Dropping it does *not* cancel the task; see
/// [`cancel_on_drop`](Self::cancel_on_drop). It is not `Clone`; [`shared`](Self::shared) makes a handle that is.
///
/// After Python's `concurrent.futures.Future`.
///
/// ```
/// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
///
/// let future = SerialExecutor::new().submit(|x: u64| x * x, 12);
/// future.add_done_callback(|outcome| assert_eq!(*outcome.as_ref().unwrap(), 144));
/// assert_eq!(future.result()?, 144);
/// # Ok::<(), concurrent_futures_core::TaskError>(())
/// ```
pub struct Future<T> {
    cell: Ref,
    value: PhantomData<fn() -> T>,
}

impl<T> Future<T> {
    /// # Safety
    /// `T` is the type of the cell's outcome, and no other by-move owner of the outcome exists.
    pub(crate) unsafe fn from_ref(cell: Ref) -> Self {
        Future { cell, value: PhantomData }
    }

    pub(crate) fn cell(&self) -> &Ref {
        &self.cell
    }

    pub(crate) fn into_cell(self) -> Ref {
        let future = ManuallyDrop::new(self);
        future.cell.forget_waker(0);
        // SAFETY: `future` is not dropped, so the reference is moved out once.
        unsafe { std::ptr::read(&raw const future.cell) }
    }

    pub(crate) fn is_of(&self, cell: &Ref) -> bool {
        self.cell.ptr() == cell.ptr()
    }

    /// A future that has its outcome already.
    ///
    /// ```
    /// let future = concurrent_futures_core::Future::ready(Ok(7));
    /// assert!(future.done());
    /// assert_eq!(future.result().unwrap(), 7);
    /// ```
    pub fn ready(outcome: Result<T, TaskError>) -> Self
    where
        T: Send + 'static,
    {
        let (promise, future) = Ref::empty::<T>();
        // SAFETY: the cell was made with `T`.
        let set = unsafe { promise.set(outcome, Place::Here) };
        debug_assert!(set.is_ok(), "a new cell is pending");
        // SAFETY: the cell was made with `T`, and this is its only by-move owner.
        unsafe { Future::from_ref(future) }
    }

    /// A future that nobody completes; its deadline, if any, does.
    pub(crate) fn unfulfilled(meta: Meta) -> Self
    where
        T: Send + 'static,
    {
        let (promise, future) = Ref::empty::<T>();
        promise.put_meta(Box::new(meta));
        crate::timer::watch(&promise);
        // SAFETY: the cell was made with `T`, and this is its only by-move owner.
        unsafe { Future::from_ref(future) }
    }

    /// The number of the task.
    pub fn id(&self) -> TaskId {
        self.cell.id()
    }

    /// The name that was given to the task.
    pub fn name(&self) -> Option<&str> {
        self.cell.meta()?.name.as_deref()
    }

    /// Waits for the outcome and gives it. All callbacks that were added before have run by then.
    ///
    /// On a worker of the pool that the task is queued in, a task that nobody has started yet is run here, so that tasks
    /// may wait for tasks of their own pool. A caller that holds a lock which a callback of this future takes waits for ever.
    ///
    /// # Errors
    /// See [`TaskError`].
    pub fn result(self) -> Result<T, TaskError> {
        self.cell.wait_until(Until::Settled, None);
        // SAFETY: `T` is the type of the outcome; DONE was seen, and `self` is the only by-move owner.
        unsafe { self.cell.take() }
    }

    /// As [`result`](Self::result), but waits `timeout` at most. Zero asks without waiting.
    ///
    /// # Errors
    /// [`TimedOut`] when time ran out; the future is inside, as good as before, and the task goes on.
    ///
    /// ```
    /// use concurrent_futures_core::Promise;
    /// use std::time::Duration;
    ///
    /// let (promise, future) = Promise::pair();
    /// let future = future.result_timeout(Duration::ZERO).unwrap_err().0;
    /// promise.set_result(1).unwrap();
    /// assert_eq!(future.result().unwrap(), 1);
    /// ```
    pub fn result_timeout(self, timeout: Duration) -> Result<Result<T, TaskError>, TimedOut<T>> {
        if self.cell.wait_until(Until::Settled, deadline(timeout)) {
            // SAFETY: as in `result`.
            Ok(unsafe { self.cell.take() })
        } else {
            Err(TimedOut(self))
        }
    }

    /// The outcome if it is there, else the future back.
    ///
    /// # Errors
    /// The future itself, when it is not done or its callbacks are still running.
    pub fn try_result(self) -> Result<Result<T, TaskError>, Self> {
        self.result_timeout(Duration::ZERO).map_err(|TimedOut(future)| future)
    }

    /// Waits for the outcome and gives its error; `None` when the task succeeded.
    pub fn exception(&self) -> Option<&TaskError> {
        self.cell.wait_until(Until::Ready, None);
        // SAFETY: `T` is the type of the outcome, READY was seen, and only `self` by move can take the outcome out, which
        // the borrow in the result keeps from happening.
        unsafe { self.cell.error::<T>() }
    }

    /// Waits until the future is done.
    pub fn wait(&self) {
        self.cell.wait_until(Until::Done, None);
    }

    /// Waits until the future is done, at most `timeout`; whether it is.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.cell.wait_until(Until::Done, deadline(timeout))
    }

    /// Cancels the task if it has not started; whether it is cancelled now.
    ///
    /// A task that runs is not stopped. (An async task of this process that waits is cancelled all the same: its future is dropped
    /// where it waits, here.) Whoever waits is woken at once, and callbacks run here, before this returns.
    ///
    /// ```
    /// use concurrent_futures_core::Promise;
    ///
    /// let (promise, future) = Promise::<u8>::pair();
    /// assert!(future.cancel() && future.cancelled() && future.cancel());
    /// assert!(!promise.set_running_or_notify_cancel().unwrap());
    /// ```
    pub fn cancel(&self) -> bool {
        self.cell.cancel(Place::Here)
    }

    /// Stops the task, also if it runs; whether it is cancelled or aborted now.
    ///
    /// What has not started is cancelled. What runs fails at once with [`TaskErrorKind::Aborted`](crate::TaskErrorKind),
    /// what it returns is dropped, and there are no more attempts. Its worker process is stopped by the steps of the task's
    /// [`Grace`](crate::Grace); on threads a task can only be asked, see
    /// [`should_stop`](crate::task::Current::should_stop). Callbacks run here, before this returns.
    ///
    /// ```
    /// use concurrent_futures_core::Promise;
    ///
    /// let (promise, future) = Promise::<u8>::pair();
    /// promise.set_running_or_notify_cancel().unwrap();
    /// assert!(!future.cancel() && future.abort());
    /// assert!(future.result().unwrap_err().is_aborted());
    /// ```
    pub fn abort(&self) -> bool {
        self.cell.abort(Place::Here)
    }

    /// How often the task was attempted until now: 0 when it has not started, more than 1 when it was tried again.
    pub fn attempts(&self) -> u32 {
        self.cell.attempts()
    }

    /// What the task has printed, once it is done, where the executor captures it (see `capture_output` of the process
    /// pool's builder).
    pub fn output(&self) -> Option<TaskOutput> {
        self.cell.output().map(|output| (*output).clone())
    }

    /// Whether it was cancelled.
    pub fn cancelled(&self) -> bool {
        self.cell.is_cancelled()
    }

    /// Whether the task has been started and is not done. Exact on every executor: what is only buffered does not count.
    pub fn running(&self) -> bool {
        self.cell.is_running()
    }

    /// Whether the outcome is there: a value, an error, or a cancellation.
    pub fn done(&self) -> bool {
        self.cell.is_done()
    }

    /// Has `callback` called with the outcome, once: in the thread where it arrives, or here and now if it is there.
    ///
    /// Callbacks run in the order in which they were added, one at a time, before [`result`](Self::result) hands the value
    /// out. One that panics is contained (the panic hook prints its message), and the others still run. Tasks of a thread
    /// pool run their callbacks on the worker, so keep them short; those of a process pool run on threads of the library's
    /// own.
    pub fn add_done_callback(&self, callback: impl FnOnce(&Result<T, TaskError>) + Send + 'static)
    where
        T: Send + 'static,
    {
        self.cell.add_callback(Box::new(move |cell| {
            // SAFETY: this is the call of a callback.
            let cell = unsafe { Ref::from_callback(cell) };
            // SAFETY: `T` is the type of the outcome; callbacks are run by the owner of SETTLING once it is READY, and the
            // outcome is taken only after them.
            callback(unsafe { cell.ready::<T>() });
        }));
    }

    /// A handle that can be cloned and gives references to the value.
    pub fn shared(self) -> SharedFuture<T> {
        SharedFuture::new(self.into_cell())
    }

    /// Cancels the task when the handle is dropped.
    ///
    /// ```
    /// use concurrent_futures_core::Promise;
    ///
    /// let (promise, future) = Promise::<u8>::pair();
    /// drop(future.cancel_on_drop());
    /// assert!(!promise.set_running_or_notify_cancel().unwrap());
    /// ```
    pub fn cancel_on_drop(self) -> CancelOnDrop<T> {
        CancelOnDrop(Some(self))
    }
}

/// When a wait that begins now ends; `None` for one that is too long to be named.
pub(crate) fn deadline(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

impl<T> std::future::Future for Future<T> {
    type Output = Result<T, TaskError>;

    /// Ready when the outcome is there and all callbacks have run. Must not be polled again after that.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.cell.poll_until(Until::Settled, 0, cx) {
            // SAFETY: `T` is the type of the outcome; DONE was seen, and `self` is the only by-move owner.
            Poll::Ready(()) => Poll::Ready(unsafe { self.cell.take() }),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Also tells the compiler that a `T` may be dropped here.
impl<T> Drop for Future<T> {
    fn drop(&mut self) {
        // An async task that gave up must not be kept by its waker.
        self.cell.forget_waker(0);
    }
}

impl<T> fmt::Debug for Future<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(&self.cell, "Future", f)
    }
}

pub(crate) fn debug(cell: &Ref, handle: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut out = f.debug_struct(handle);
    out.field("id", &cell.id());
    if let Some(name) = cell.meta().and_then(|meta| meta.name.as_deref()) {
        out.field("name", &name);
    }
    let name = if cell.is_running() { "running" } else { state::name(cell.state()) };
    out.field("state", &format_args!("{name}")).finish()
}

/// [`Future::result_timeout`] ran out of time; the future is inside.
pub struct TimedOut<T>(pub Future<T>);

impl<T> fmt::Debug for TimedOut<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TimedOut").field(&self.0).finish()
    }
}

impl<T> fmt::Display for TimedOut<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the wait ran out of time; the task is not affected, and the future is in this error")
    }
}

impl<T> Error for TimedOut<T> {}

/// A [`Future`] whose task is cancelled when the handle is dropped; see [`Future::cancel_on_drop`].
#[must_use = "dropping it cancels the task"]
pub struct CancelOnDrop<T>(Option<Future<T>>);

impl<T> CancelOnDrop<T> {
    /// The plain future: from now on dropping it does not cancel.
    pub fn detach(mut self) -> Future<T> {
        self.0.take().expect("it is there until it is detached or dropped")
    }
}

impl<T> Deref for CancelOnDrop<T> {
    type Target = Future<T>;

    fn deref(&self) -> &Future<T> {
        self.0.as_ref().expect("it is there until it is detached or dropped")
    }
}

impl<T> Drop for CancelOnDrop<T> {
    fn drop(&mut self) {
        if let Some(future) = &self.0 {
            future.cancel();
        }
    }
}

impl<T> std::future::Future for CancelOnDrop<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let future = self.0.as_mut().expect("it is there until it is detached or dropped");
        Pin::new(future).poll(cx)
    }
}

impl<T> fmt::Debug for CancelOnDrop<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(&self.cell, "CancelOnDrop", f)
    }
}

const _: () = {
    const fn bounds<T: Send + Sync + Unpin>() {}
    bounds::<Future<std::cell::Cell<u8>>>();
};
