//! The completing side of a future.

use super::Future;
use crate::cell::{Place, Ref, state};
use crate::error::{Failure, TaskError, TaskErrorKind};
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;

/// Completes a [`Future`]: for whoever makes futures without an executor.
///
/// Dropping it without setting an outcome resolves the future as abandoned.
///
/// ```
/// use concurrent_futures_core::Promise;
///
/// let (promise, future) = Promise::pair();
/// std::thread::spawn(move || promise.set_result(42));
/// assert_eq!(future.result().unwrap(), 42);
/// ```
pub struct Promise<T> {
    cell: Ref,
    /// Invariant: it may be the last owner of a `T`.
    value: PhantomData<fn(T) -> T>,
}

impl<T: Send + 'static> Promise<T> {
    /// A promise and its future.
    pub fn pair() -> (Promise<T>, Future<T>) {
        let (promise, future) = Ref::empty::<T>();
        // SAFETY: the cell was made with `T`, and this is its only by-move owner.
        (Promise { cell: promise, value: PhantomData }, unsafe { Future::from_ref(future) })
    }

    /// Says that the work starts now: afterwards the future cannot be cancelled. False: it has been cancelled, do nothing.
    ///
    /// # Errors
    /// [`InvalidState`] when it was running or finished already.
    pub fn set_running_or_notify_cancel(&self) -> Result<bool, InvalidState> {
        if self.cell.claim() {
            Ok(true)
        } else if self.cell.is_cancelled() {
            Ok(false)
        } else {
            Err(self.invalid())
        }
    }

    /// Sets the value. Callbacks run here.
    ///
    /// # Errors
    /// [`InvalidState`] when the future has its outcome; the first one stays.
    ///
    /// ```
    /// use concurrent_futures_core::Promise;
    ///
    /// let (promise, future) = Promise::pair();
    /// promise.set_result(1).unwrap();
    /// let error = promise.set_result(2).unwrap_err();
    /// assert!(error.to_string().contains("finished"));
    /// assert_eq!(future.result().unwrap(), 1);
    /// ```
    pub fn set_result(&self, value: T) -> Result<(), InvalidState> {
        self.set(Ok(value))
    }

    /// Sets an error: what a fallible task would have returned. Callbacks run here.
    ///
    /// # Errors
    /// [`InvalidState`] when the future has its outcome; the first one stays.
    pub fn set_exception<E: Into<Box<dyn Error + Send + Sync>>>(&self, error: E) -> Result<(), InvalidState> {
        let error = match error.into().downcast::<TaskError>() {
            Ok(error) => *error,
            Err(other) => TaskError::new(TaskErrorKind::Failed(Failure::new(other, std::any::type_name::<E>()))),
        };
        self.set(Err(error))
    }

    pub(crate) fn set(&self, outcome: Result<T, TaskError>) -> Result<(), InvalidState> {
        if let Err(error) = outcome {
            return self.cell.fail(error, true, Place::Here).map_err(|_| self.invalid());
        }
        // SAFETY: the cell was made with `T`.
        unsafe { self.cell.set(outcome, Place::Here) }.map_err(|_| self.invalid())
    }

    pub(crate) fn cell(&self) -> &Ref {
        &self.cell
    }

    fn invalid(&self) -> InvalidState {
        InvalidState { state: state::name(self.cell.state()) }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        if !self.cell.is_done() {
            let _ = self.cell.fail(TaskError::new(TaskErrorKind::Abandoned), true, Place::Here);
        }
    }
}

impl<T> fmt::Debug for Promise<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::debug(&self.cell, "Promise", f)
    }
}

/// A promise was used in a state that does not allow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidState {
    state: &'static str,
}

impl InvalidState {
    /// The state that the future was in: `pending`, `running`, `cancelled`, `failed` or `finished`.
    pub fn state(&self) -> &'static str {
        self.state
    }
}

impl fmt::Display for InvalidState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the future is {} already; its first outcome stays", self.state)
    }
}

impl Error for InvalidState {}
