//! The handle of a task that borrows.

use super::Ledger;
use concurrent_futures_core::{Future, Sealed, Slot, TaskError, Waitable};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// The outcome of a task of a [`Scope`](super::Scope), which may not be there yet.
///
/// Goes into [`wait`](concurrent_futures_core::wait) and [`as_completed`](concurrent_futures_core::as_completed) like any
/// other future. Dropping it cancels nothing; a panic of the task then resurfaces at the end of the scope.
///
/// ```
/// use concurrent_futures_core::as_completed;
/// use concurrent_futures_thread::ThreadPoolExecutor;
///
/// let pool = ThreadPoolExecutor::new(2)?;
/// let words = ["a", "bcd"];
/// pool.borrow_scope(|scope| {
///     for (word, length) in as_completed(words.iter().map(|word| (word, scope.spawn(|| word.len())))) {
///         assert_eq!(length.result().unwrap(), word.len());
///     }
/// });
/// # Ok::<(), concurrent_futures_core::BuildError>(())
/// ```
pub struct ScopedFuture<'scope, T> {
    future: Future<T>,
    ledger: Arc<Ledger>,
    number: u64,
    scope: PhantomData<&'scope ()>,
}

impl<T> ScopedFuture<'_, T> {
    pub(super) fn new(future: Future<T>, ledger: Arc<Ledger>, number: u64) -> Self {
        ScopedFuture { future, ledger, number, scope: PhantomData }
    }

    /// Waits for the outcome and gives it. In a task of the same pool, a task that nobody has started yet is run here.
    ///
    /// # Errors
    /// See [`TaskError`]. A panic that is given here does not resurface at the end of the scope.
    pub fn result(self) -> Result<T, TaskError> {
        let outcome = self.future.result();
        if outcome.as_ref().is_err_and(TaskError::is_panic) {
            self.ledger.forget_panic(self.number);
        }
        outcome
    }

    /// Waits until the task is done.
    pub fn wait(&self) {
        self.future.wait();
    }

    /// Waits until the task is done, at most `timeout`; whether it is.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.future.wait_timeout(timeout)
    }

    /// Cancels the task if it has not started; whether it is cancelled now.
    pub fn cancel(&self) -> bool {
        self.future.cancel()
    }

    /// Whether it was cancelled.
    pub fn cancelled(&self) -> bool {
        self.future.cancelled()
    }

    /// Whether the task has been started and is not done.
    pub fn running(&self) -> bool {
        self.future.running()
    }

    /// Whether the outcome is there: a value, an error, or a cancellation.
    pub fn done(&self) -> bool {
        self.future.done()
    }
}

impl<T> Waitable for ScopedFuture<'_, T> {
    fn slot(&self) -> Slot<'_> {
        self.future.slot()
    }
}

impl<T> Sealed for ScopedFuture<'_, T> {}

impl<T> fmt::Debug for ScopedFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ScopedFuture").field(&self.future).finish()
    }
}
