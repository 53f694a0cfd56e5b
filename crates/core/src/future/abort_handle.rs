//! Stopping a task without having its future.

use super::Future;
use crate::TaskId;
use crate::cell::{Place, Ref};
use std::fmt;

/// Stops a task, wherever its [`Future`] is; made by [`Future::abort_handle`].
///
/// It does not wait for the task and does not keep it from anything. It keeps the place of the outcome: drop it when the task is
/// done.
///
/// ```
/// use concurrent_futures_core::Promise;
///
/// let (_promise, future) = Promise::<u8>::pair();
/// let handle = future.abort_handle();
/// let waiter = std::thread::spawn(move || future.result());
/// assert!(handle.abort());
/// assert!(waiter.join().unwrap().unwrap_err().is_cancelled());
/// ```
#[derive(Clone)]
pub struct AbortHandle(Ref);

impl<T> Future<T> {
    /// Something that can cancel and abort the task from elsewhere.
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle(self.cell.clone())
    }
}

impl AbortHandle {
    /// As [`Future::cancel`].
    pub fn cancel(&self) -> bool {
        self.0.cancel(Place::Here)
    }

    /// As [`Future::abort`].
    pub fn abort(&self) -> bool {
        self.0.abort(Place::Here)
    }

    /// As [`Future::done`].
    pub fn done(&self) -> bool {
        self.0.is_done()
    }

    /// As [`Future::id`].
    pub fn id(&self) -> TaskId {
        self.0.id()
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::debug(&self.0, "AbortHandle", f)
    }
}
