//! A handle to an outcome for more than one owner.

use crate::cell::{Place, Ref, Until};
use crate::error::TaskError;
use crate::output::TaskOutput;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

/// A future that several owners hold; made by [`Future::shared`](super::Future::shared).
///
/// It gives references to the value (for `T: Sync`), or clones of it when awaited. Its `result` returns as soon as the value
/// is there; callbacks may still be running.
///
/// ```
/// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
///
/// let a = SerialExecutor::new().submit(|x: u8| vec![x; 3], 7).shared();
/// let b = a.clone();
/// assert_eq!(a.result().unwrap(), &[7, 7, 7]);
/// assert_eq!(b.result().unwrap().len(), 3);
/// ```
pub struct SharedFuture<T> {
    cell: Ref,
    /// Names this handle among those that are polled.
    key: usize,
    value: PhantomData<fn() -> T>,
}

impl<T> SharedFuture<T> {
    pub(super) fn new(cell: Ref) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        SharedFuture { cell, key: NEXT.fetch_add(1, Ordering::Relaxed), value: PhantomData }
    }

    pub(crate) fn cell(&self) -> &Ref {
        &self.cell
    }

    /// Waits for the outcome and gives a reference to the value.
    ///
    /// # Errors
    /// See [`TaskError`].
    pub fn result(&self) -> Result<&T, TaskError>
    where
        T: Sync,
    {
        self.cell.wait_until(Until::Ready, None);
        // SAFETY: `T` is the type of the outcome, which is READY; handles of this kind never take it out; `T` is `Sync`.
        unsafe { self.cell.ready::<T>() }.as_ref().map_err(Clone::clone)
    }

    /// As [`result`](Self::result), but waits `timeout` at most; `None` when time ran out.
    pub fn result_timeout(&self, timeout: Duration) -> Option<Result<&T, TaskError>>
    where
        T: Sync,
    {
        self.cell.wait_until(Until::Ready, super::deadline(timeout)).then(|| self.result())
    }

    /// Waits for the outcome and gives its error; `None` when the task succeeded.
    pub fn exception(&self) -> Option<&TaskError> {
        self.cell.wait_until(Until::Ready, None);
        // SAFETY: `T` is the type of the outcome, which is READY, and handles of this kind never take it out.
        unsafe { self.cell.error::<T>() }
    }

    /// Waits until the future is done.
    pub fn wait(&self) {
        self.cell.wait_until(Until::Done, None);
    }

    /// Waits until the future is done, at most `timeout`; whether it is.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.cell.wait_until(Until::Done, super::deadline(timeout))
    }

    /// Cancels the task if it has not started; whether it is cancelled now. For all owners.
    pub fn cancel(&self) -> bool {
        self.cell.cancel(Place::Here)
    }

    /// As [`Future::abort`](super::Future::abort), for all owners.
    pub fn abort(&self) -> bool {
        self.cell.abort(Place::Here)
    }

    /// As [`Future::attempts`](super::Future::attempts).
    pub fn attempts(&self) -> u32 {
        self.cell.attempts()
    }

    /// As [`Future::output`](super::Future::output).
    pub fn output(&self) -> Option<TaskOutput> {
        self.cell.output().map(|output| (*output).clone())
    }

    /// Whether it was cancelled.
    pub fn cancelled(&self) -> bool {
        self.cell.is_cancelled()
    }

    /// Whether the task has been started and is not done.
    pub fn running(&self) -> bool {
        self.cell.is_running()
    }

    /// Whether the outcome is there.
    pub fn done(&self) -> bool {
        self.cell.is_done()
    }

    /// As [`Future::add_done_callback`](super::Future::add_done_callback). `T: Sync`, since other owners may look at the
    /// value meanwhile.
    pub fn add_done_callback(&self, callback: impl FnOnce(&Result<T, TaskError>) + Send + 'static)
    where
        T: Send + Sync + 'static,
    {
        self.cell.add_callback(Box::new(move |cell| {
            // SAFETY: this is the call of a callback.
            let cell = unsafe { Ref::from_callback(cell) };
            // SAFETY: `T` is the type of the outcome, which is READY when callbacks run; `T` is `Sync`.
            callback(unsafe { cell.ready::<T>() });
        }));
    }
}

impl<T> Clone for SharedFuture<T> {
    fn clone(&self) -> Self {
        SharedFuture::new(self.cell.clone())
    }
}

impl<T> Drop for SharedFuture<T> {
    fn drop(&mut self) {
        self.cell.forget_waker(self.key);
    }
}

impl<T: Clone + Send + Sync> Future for SharedFuture<T> {
    type Output = Result<T, TaskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.cell.poll_until(Until::Ready, self.key, cx).map(|()| self.result().cloned())
    }
}

impl<T> fmt::Debug for SharedFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::debug(&self.cell, "SharedFuture", f)
    }
}
