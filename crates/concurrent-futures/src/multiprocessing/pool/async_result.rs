//! The result of a job of a pool.

use super::jobs::Jobs;
use crate::{Future, TaskError, TimedOut};
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// A result that may not be there yet; what the `…_async` methods of a [`Pool`](super::Pool) give.
///
/// Python's `AsyncResult`. It is a [`Future`] with other names, and can be [turned into it](Self::into_future), or awaited.
/// Dropping it changes nothing for the job, and its callbacks run all the same.
///
/// ```
/// use concurrent_futures::multiprocessing::Pool;
/// use std::time::Duration;
///
/// let pool = Pool::new(1)?;
/// let result = pool.apply_async(|x: u64| x * x, 12);
/// result.wait();
/// assert!(result.ready());
/// assert_eq!(result.successful(), Some(true));
/// assert_eq!(result.get()?, 144);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AsyncResult<T> {
    future: Future<T>,
    jobs: Arc<Jobs>,
}

impl<T: Send + 'static> AsyncResult<T> {
    pub(super) fn new(future: Future<T>, jobs: Arc<Jobs>) -> Self {
        AsyncResult { future, jobs }
    }

    /// Has `f` called with the value, if there is one: where it arrives (the worker thread; a thread of the library's own for
    /// processes), or here and now if it is there. Exactly one of this and of [`error_callback`](Self::error_callback) is called.
    ///
    /// It is called before [`get`](Self::get) gives the value away, and should be quick. Should it panic, nothing else is
    /// disturbed.
    ///
    /// ```
    /// use concurrent_futures::multiprocessing::Pool;
    /// use std::sync::mpsc;
    ///
    /// let (tell, told) = mpsc::channel();
    /// let pool = Pool::threads(1)?;
    /// pool.apply_async(|x: u8| x + 1, 1).callback(move |value| tell.send(*value).unwrap());
    /// assert_eq!(told.recv()?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn callback(self, f: impl FnOnce(&T) + Send + 'static) -> Self {
        self.on_done(|outcome| {
            if let Ok(value) = outcome {
                f(value);
            }
        })
    }

    /// Has `f` called with the error, if it comes to that; otherwise as [`callback`](Self::callback).
    pub fn error_callback(self, f: impl FnOnce(&TaskError) + Send + 'static) -> Self {
        self.on_done(|outcome| {
            if let Err(error) = outcome {
                f(error);
            }
        })
    }

    fn on_done(self, f: impl FnOnce(&Result<T, TaskError>) + Send + 'static) -> Self {
        // `join` waits for it.
        let ticket = self.jobs.ticket();
        self.future.add_done_callback(move |outcome| {
            let _ticket = ticket;
            f(outcome);
        });
        self
    }
}

impl<T> AsyncResult<T> {
    /// Waits for the result.
    ///
    /// # Errors
    /// What became of the job instead; see [`TaskError`].
    pub fn get(self) -> Result<T, TaskError> {
        self.future.result()
    }

    /// As [`get`](Self::get), but waits `timeout` at most.
    ///
    /// # Errors
    /// It was not there in time: this very handle comes back, and the job goes on.
    ///
    /// ```
    /// use concurrent_futures::multiprocessing::Pool;
    /// use std::time::Duration;
    ///
    /// let pool = Pool::new(1)?;
    /// let slow = pool.apply_async(|ms| std::thread::sleep(Duration::from_millis(ms)), 1000);
    /// let slow = slow.get_timeout(Duration::ZERO).unwrap_err().0;
    /// slow.get()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_timeout(self, timeout: Duration) -> Result<Result<T, TaskError>, NotReady<T>> {
        let jobs = self.jobs;
        self.future.result_timeout(timeout).map_err(|TimedOut(future)| NotReady(AsyncResult { future, jobs }))
    }

    /// Waits until the result is there.
    pub fn wait(&self) {
        self.future.wait();
    }

    /// Waits until the result is there, at most `timeout`; whether it is.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.future.wait_timeout(timeout)
    }

    /// Whether the result is there, or the error.
    pub fn ready(&self) -> bool {
        self.future.done()
    }

    /// Whether there is a value and no error; `None` while neither is there.
    pub fn successful(&self) -> Option<bool> {
        self.ready().then(|| self.future.exception().is_none())
    }

    /// The future, which can be cancelled, aborted, chained, and waited for together with others.
    ///
    /// ```
    /// use concurrent_futures::multiprocessing::Pool;
    ///
    /// let length = Pool::threads(1)?.apply_async(|s: String| s, "abc".into()).into_future().map(|s| s.len());
    /// # drop(length);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_future(self) -> Future<T> {
        self.future
    }
}

impl<T> std::future::Future for AsyncResult<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.future).poll(cx)
    }
}

impl<T> fmt::Debug for AsyncResult<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncResult").field(&self.future).finish()
    }
}

/// [`AsyncResult::get_timeout`] ran out of time; the handle is inside.
pub struct NotReady<T>(pub AsyncResult<T>);

impl<T> fmt::Debug for NotReady<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NotReady").field(&self.0).finish()
    }
}

impl<T> fmt::Display for NotReady<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the result was not there in time; the job goes on, and its handle is in this error")
    }
}

impl<T> Error for NotReady<T> {}
