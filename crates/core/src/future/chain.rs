//! Futures made of futures.

use super::{Future, Promise};
use crate::cell::{Place, Ref};
use crate::error::TaskError;
use crate::executor::{Executor, ExecutorExt};
use crate::task::{Collector, Remote, Stop};
use crate::{Portable, panics};
use std::sync::Arc;

impl<T: Send + 'static> Future<T> {
    /// A future of `f(value)`; an error goes through as it is.
    ///
    /// `f` runs where the value arrives (the worker thread, or a thread of the library's own): short work only. For more,
    /// [`then`](Self::then) submits it. A panic of `f` is the new future's error. Cancelling the new future cancels the task.
    ///
    /// ```
    /// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
    ///
    /// let length = SerialExecutor::new().submit(|s: String| s, "abc".into()).map(|s| s.len());
    /// assert_eq!(length.result().unwrap(), 3);
    /// ```
    pub fn map<U: Send + 'static>(self, f: impl FnOnce(T) -> U + Send + 'static) -> Future<U> {
        derive(self, move |value, promise| {
            // Not if it was cancelled meanwhile: then nobody wants it.
            if promise.cell().claim() {
                let outcome = value.and_then(|value| panics::catch(|| Ok(f(value))).map_err(TaskError::new));
                // It can have timed out, no more.
                let _ = promise.set(outcome);
            }
        })
    }

    /// A future of the future that `f(value)` gives; an error goes through as it is.
    ///
    /// `f` runs where the value arrives: it should submit or chain, not compute. A panic of `f` is the new future's error.
    ///
    /// ```
    /// use concurrent_futures_core::{Executor, ExecutorExt, SerialExecutor};
    ///
    /// let ex = SerialExecutor::new();
    /// let handle = ex.handle();
    /// let sum = ex.submit(|x: u32| x + 1, 1).and_then(move |x| handle.submit(|x: u32| x * 10, x));
    /// assert_eq!(sum.result().unwrap(), 20);
    /// ```
    pub fn and_then<U: Send + 'static>(self, f: impl FnOnce(T) -> Future<U> + Send + 'static) -> Future<U> {
        derive(self, move |value, promise| {
            match value.and_then(|value| panics::catch(|| Ok(f(value))).map_err(TaskError::new)) {
                Err(error) => {
                    let _ = promise.set(Err(error));
                }
                Ok(inner) => {
                    if !promise.cell().set_source(Arc::new(Source(inner.cell().clone()))) {
                        // Cancelled meanwhile: so is what it would have waited for.
                        inner.cancel();
                    }
                    on_arrival(inner, move |value| {
                        let _ = promise.set(value);
                    });
                }
            }
        })
    }

    /// When the value is there, submits `f(value)` to `ex`: `ex.submit(fetch, url).then(&ex, parse)`.
    ///
    /// Does not keep the executor alive: after its shutdown the new future is refused.
    ///
    /// ```
    /// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
    ///
    /// let ex = SerialExecutor::new();
    /// let total = ex.submit(|n: u64| (1..=n).collect(), 4).then(&ex, |v: Vec<u64>| v.iter().sum::<u64>());
    /// assert_eq!(total.result().unwrap(), 10);
    /// ```
    pub fn then<E: Executor + ?Sized, U: Portable>(self, ex: &E, f: fn(T) -> U) -> Future<U>
    where
        T: Portable,
    {
        let ex = ex.handle();
        self.and_then(move |value| ex.submit(f, value))
    }
}

/// A new future, completed by `complete`, which gets the outcome of `source` where it arrives.
fn derive<T: Send + 'static, U: Send + 'static>(
    source: Future<T>,
    complete: impl FnOnce(Result<T, TaskError>, Promise<U>) + Send + 'static,
) -> Future<U> {
    let (promise, future) = Promise::pair();
    // The new future is as far as its source: cancelled with it, running when it runs.
    promise.cell().set_source(Arc::new(Source(source.cell().clone())));
    on_arrival(source, move |outcome| match outcome {
        Err(error) => {
            let _ = promise.set(Err(error));
        }
        Ok(value) => {
            promise.cell().clear_remote();
            complete(Ok(value), promise);
        }
    });
    future
}

/// Moves the outcome of `source` into `f` where it arrives, after all callbacks that were added before.
pub(crate) fn on_arrival<T: Send + 'static>(source: Future<T>, f: impl FnOnce(Result<T, TaskError>) + Send + 'static) {
    let cell = source.into_cell();
    cell.add_callback(Box::new(move |cell| {
        // SAFETY: this is the call of a callback.
        let cell = unsafe { Ref::from_callback(cell) };
        // SAFETY: `T` is the type of the outcome, READY in callbacks; the future was consumed, so this is the by-move owner.
        f(unsafe { cell.take::<T>() });
    }));
}

/// The cell that a derived future waits for. A chain of them may be long, so its other end is looked for step by step.
pub struct Source(Ref);

impl Source {
    /// The end of the chain: what has not been derived, or whose source has its value.
    fn end(&self) -> Ref {
        let mut end = self.0.clone();
        while let Some(remote) = end.remote()
            && let Some(source) = remote.source()
        {
            end = source.0.clone();
        }
        end
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Source").field(&self.0.id()).finish()
    }
}

impl Remote for Source {
    fn try_revoke(&self, _mark: u64) -> bool {
        // What lies between is resolved with it, by the callbacks.
        self.end().cancel(Place::Here)
    }

    fn started(&self, _mark: u64) -> bool {
        self.end().is_running()
    }

    fn stop(&self, _mark: u64, why: Stop, _attempt: u32) {
        // A derived future has no limit of its own.
        if why == Stop::Abort {
            self.end().abort(Place::Here);
        }
    }

    fn abort_parts(&self) {
        if let Some(remote) = self.end().remote() {
            remote.abort_parts();
        }
    }

    fn collector(&self) -> Option<Arc<dyn Collector>> {
        self.end().remote()?.collector()
    }

    fn source(&self) -> Option<&Source> {
        Some(self)
    }
}
