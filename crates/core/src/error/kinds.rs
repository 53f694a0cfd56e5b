//! What can happen to a task, one type each.

use crate::panics::contain_drop;
use parking_lot::Mutex;
use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::{Death, Refusal};

/// What happened; the details are in the payloads.
#[derive(Debug)]
#[non_exhaustive]
pub enum TaskErrorKind {
    /// Cancelled before it started.
    Cancelled,
    /// Ran into its own limit (`timeout`, `deadline`), which is given here.
    TimedOut(Duration),
    /// Stopped by [`abort`](crate::Future::abort) while it ran.
    Aborted,
    /// Panicked.
    Panicked(Panic),
    /// Its worker process ended while it ran.
    WorkerDied(Death),
    /// Its argument or result could not be encoded or decoded.
    Codec(CodecError),
    /// The executor did not take it.
    Refused(Refusal),
    /// A fallible task returned an error.
    Failed(Failure),
    /// Its promise was dropped.
    Abandoned,
}

impl TaskErrorKind {
    /// Only a task that has started can end like this.
    pub(crate) fn is_of_an_attempt(&self) -> bool {
        match self {
            TaskErrorKind::Panicked(_)
            | TaskErrorKind::WorkerDied(_)
            | TaskErrorKind::Failed(_)
            | TaskErrorKind::Aborted => true,
            TaskErrorKind::Codec(codec) => codec.step() != CodecStep::EncodeArgument,
            TaskErrorKind::Cancelled
            | TaskErrorKind::TimedOut(_)
            | TaskErrorKind::Refused(_)
            | TaskErrorKind::Abandoned => false,
        }
    }
}

impl fmt::Display for TaskErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskErrorKind::Cancelled => f.write_str("was cancelled before it started"),
            TaskErrorKind::TimedOut(limit) => {
                write!(f, "ran out of time: its limit was {limit:?}; give it more with `timeout` or `deadline`")
            }
            TaskErrorKind::Aborted => f.write_str("was aborted while it ran"),
            TaskErrorKind::Panicked(panic) => panic.fmt(f),
            TaskErrorKind::WorkerDied(death) => death.fmt(f),
            TaskErrorKind::Codec(codec) => write!(f, "could not travel: {codec}"),
            TaskErrorKind::Refused(refusal) => write!(f, "was refused: {refusal}"),
            TaskErrorKind::Failed(failure) => write!(f, "failed: {failure}"),
            TaskErrorKind::Abandoned => {
                f.write_str("will never have a result: its promise was dropped without setting one")
            }
        }
    }
}

/// A task's panic: what it said, and where.
pub struct Panic {
    message: Box<str>,
    location: Option<Box<str>>,
    trace: Trace,
    payload: Mutex<Option<Box<dyn Any + Send>>>,
}

/// A backtrace is turned into text only when somebody asks: resolving names costs milliseconds.
enum Trace {
    Here(Option<Backtrace>),
    Text(Box<str>),
}

impl Panic {
    pub(crate) fn caught(
        message: String,
        location: Option<String>,
        backtrace: Option<Backtrace>,
        payload: Box<dyn Any + Send>,
    ) -> Self {
        Panic {
            message: message.into(),
            location: location.map(Into::into),
            trace: Trace::Here(backtrace),
            payload: Mutex::new(Some(payload)),
        }
    }

    /// A panic of which only the words are known: it happened in another process.
    ///
    /// ```
    /// use concurrent_futures_core::Panic;
    ///
    /// let panic = Panic::remote("out of range", Some("src/a.rs:1:2"), "");
    /// assert_eq!(panic.location(), Some("src/a.rs:1:2"));
    /// ```
    pub fn remote(message: &str, location: Option<&str>, backtrace: &str) -> Self {
        Panic {
            message: message.into(),
            location: location.map(Into::into),
            trace: Trace::Text(backtrace.into()),
            payload: Mutex::new(None),
        }
    }

    /// What the panic said.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// `file:line:column`; unknown when the program replaced the panic hook after the first task ran.
    pub fn location(&self) -> Option<&str> {
        self.location.as_deref()
    }

    /// The backtrace as text; empty when `RUST_BACKTRACE=0` turned it off or it is unknown.
    pub fn backtrace(&self) -> String {
        match &self.trace {
            Trace::Here(Some(trace)) if trace.status() == BacktraceStatus::Captured => trace.to_string(),
            Trace::Here(_) => String::new(),
            Trace::Text(text) => text.to_string(),
        }
    }

    /// What `panic_any` was given, or the message as `&str` or `String`. Only tasks of this process have one, and only
    /// the first caller gets it.
    pub fn take_payload(&self) -> Option<Box<dyn Any + Send>> {
        self.payload.lock().take()
    }
}

impl Drop for Panic {
    /// The payload is the user's, and this may be anywhere: in a worker that goes on, or where nothing can unwind.
    fn drop(&mut self) {
        if let Some(payload) = self.payload.get_mut().take() {
            contain_drop(payload);
        }
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panic")
            .field("message", &self.message)
            .field("location", &self.location)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            Some(location) => write!(f, "panicked at {location}: {}", self.message),
            None => write!(f, "panicked: {}", self.message),
        }
    }
}

/// Which step of a task's journey failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum CodecStep {
    /// The argument, in the submitting process.
    EncodeArgument,
    /// The argument, in the worker.
    DecodeArgument,
    /// The result, in the worker.
    EncodeResult,
    /// The result, in the submitting process.
    DecodeResult,
}

/// An argument or result that could not be encoded or decoded.
#[derive(Clone, Debug)]
pub struct CodecError {
    step: CodecStep,
    type_name: Box<str>,
    message: Box<str>,
}

impl CodecError {
    /// Says which step failed, on which type, and what serde said.
    ///
    /// ```
    /// use concurrent_futures_core::{CodecError, CodecStep};
    ///
    /// let error = CodecError::new(CodecStep::EncodeResult, "my::Type", "no");
    /// assert_eq!(error.to_string(), "the result of type `my::Type` could not be encoded in the worker: no");
    /// ```
    pub fn new(step: CodecStep, type_name: impl Into<Box<str>>, message: impl Into<Box<str>>) -> Self {
        CodecError { step, type_name: type_name.into(), message: message.into() }
    }

    /// Which step failed.
    pub fn step(&self) -> CodecStep {
        self.step
    }

    /// The Rust type it failed on.
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    /// What serde, or the type's own code, said.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, side) = match self.step {
            CodecStep::EncodeArgument => ("argument", "encoded in the submitting process"),
            CodecStep::DecodeArgument => ("argument", "decoded in the worker"),
            CodecStep::EncodeResult => ("result", "encoded in the worker"),
            CodecStep::DecodeResult => ("result", "decoded in the submitting process"),
        };
        write!(f, "the {what} of type `{}` could not be {side}: {}", self.type_name, self.message)
    }
}

impl Error for CodecError {}

/// The error that a fallible task returned.
pub struct Failure {
    error: Box<dyn Error + Send + Sync>,
    type_name: Box<str>,
}

impl Failure {
    pub(crate) fn new(error: Box<dyn Error + Send + Sync>, type_name: &str) -> Self {
        Failure { error, type_name: type_name.into() }
    }

    /// What the error says.
    pub fn message(&self) -> String {
        self.error.to_string()
    }

    /// The Rust type that the task returned as its error.
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    /// The error itself, when the task ran in this process; from a worker process only the words come back.
    ///
    /// ```
    /// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
    ///
    /// let ex = SerialExecutor::new();
    /// let error = ex.submit_fallible(|s: String| s.parse::<u8>(), "x".to_string()).result().unwrap_err();
    /// assert!(error.failure().unwrap().downcast_ref::<std::num::ParseIntError>().is_some());
    /// ```
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.error.downcast_ref()
    }

    pub(crate) fn as_error(&self) -> &(dyn Error + 'static) {
        &*self.error
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.error, f)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}
