//! Why an executor does not take a task.

use std::error::Error;
use std::fmt;

/// Why an executor did not take a task.
///
/// ```
/// use concurrent_futures_core::{Executor, ExecutorExt, Refusal, SerialExecutor, Shutdown};
///
/// let ex = SerialExecutor::new();
/// ex.shutdown(Shutdown::WAIT);
/// let error = ex.submit(|x: u8| x, 1).result().unwrap_err();
/// assert_eq!(error.refusal(), Some(&Refusal::ShutDown));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The executor has been shut down.
    ShutDown,
    /// The executor cannot work any more, for the reason given.
    Broken(Box<str>),
    /// There is no worker, and none could be started, for the reason given. The executor is as good as before: what comes
    /// later is tried again.
    NoWorker(Box<str>),
    /// The bounded queue is full (`try_submit` only; `submit` waits).
    Full,
    /// The executor cannot do what was asked for this task.
    Unsupported(Box<str>),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::ShutDown => f.write_str("the executor has been shut down; make a new one"),
            Refusal::Broken(why) => write!(f, "the executor is broken ({why}); make a new one"),
            Refusal::NoWorker(why) => {
                write!(f, "the executor has no worker ({why}); it is not broken: try again when there is room")
            }
            Refusal::Full => f.write_str("the executor's queue is full; try again later, or use `submit`, which waits"),
            Refusal::Unsupported(what) => write!(f, "the executor cannot do this: {what}"),
        }
    }
}

impl Error for Refusal {}

/// [`try_submit`](crate::ExecutorExt::try_submit) was refused; the argument comes back.
///
/// ```
/// use concurrent_futures_core::{Executor, ExecutorExt, Refusal, SerialExecutor, Shutdown};
///
/// let ex = SerialExecutor::new();
/// ex.shutdown(Shutdown::WAIT);
/// let refused = ex.try_submit(|s: String| s.len(), "kept".to_string()).unwrap_err();
/// assert_eq!((refused.args.as_str(), refused.why), ("kept", Refusal::ShutDown));
/// ```
pub struct TrySubmitError<A> {
    /// What the task would have got.
    pub args: A,
    /// Why it was not taken.
    pub why: Refusal,
}

impl<A> fmt::Debug for TrySubmitError<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrySubmitError").field("why", &self.why).finish_non_exhaustive()
    }
}

impl<A> fmt::Display for TrySubmitError<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the task was refused: {}", self.why)
    }
}

impl<A> Error for TrySubmitError<A> {}
