//! What can happen to a task, one type each.

use parking_lot::Mutex;
use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::Refusal;

/// What happened; the details are in the payloads.
#[derive(Debug)]
#[non_exhaustive]
pub enum TaskErrorKind {
    /// Cancelled before it started.
    Cancelled,
    /// Ran into its own limit (`timeout`, `deadline`), which is given here.
    TimedOut(Duration),
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

impl fmt::Display for TaskErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskErrorKind::Cancelled => f.write_str("was cancelled before it started"),
            TaskErrorKind::TimedOut(limit) => {
                write!(f, "ran out of time: its limit was {limit:?}; give it more with `timeout` or `deadline`")
            }
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

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// It exited with this code.
    Code(i32),
    /// A signal ended it.
    Signal {
        /// The signal's number.
        number: i32,
        /// Whether a core was dumped.
        core_dumped: bool,
    },
    /// Nobody could say: something else had collected its status.
    Unknown,
}

/// The death of a worker process while it ran a task.
///
/// ```
/// use concurrent_futures_core::{Death, Ending};
///
/// let death = Death::new(4711, Ending::Signal { number: 9, core_dumped: false });
/// assert_eq!(death.signal(), Some("SIGKILL"));
/// assert_eq!(death.exit_code(), None);
/// assert!(!death.by_pool());
/// ```
#[derive(Clone, Debug)]
pub struct Death {
    pid: u32,
    ending: Ending,
    by_pool: bool,
    last_words: Option<Box<str>>,
}

impl Death {
    /// A death as its supervisor saw it.
    pub fn new(pid: u32, ending: Ending) -> Self {
        Death { pid, ending, by_pool: false, last_words: None }
    }

    /// Our own pool ended the worker (`terminate_workers`, `kill_workers`).
    #[must_use]
    pub fn caused_by_pool(mut self) -> Self {
        self.by_pool = true;
        self
    }

    /// What the worker could still say, such as its panic message under `panic = "abort"`.
    #[must_use]
    pub fn with_last_words(mut self, words: impl Into<Box<str>>) -> Self {
        self.last_words = Some(words.into());
        self
    }

    /// The process that died.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How it ended.
    pub fn ending(&self) -> Ending {
        self.ending
    }

    /// The exit code, if it exited.
    pub fn exit_code(&self) -> Option<i32> {
        match self.ending {
            Ending::Code(code) => Some(code),
            _ => None,
        }
    }

    /// The name of the signal that ended it, if one did.
    pub fn signal(&self) -> Option<&'static str> {
        match self.ending {
            Ending::Signal { number, .. } => Some(signal_name(number)),
            _ => None,
        }
    }

    /// Whether a core was dumped.
    pub fn core_dumped(&self) -> bool {
        matches!(self.ending, Ending::Signal { core_dumped: true, .. })
    }

    /// Whether our own pool ended it.
    pub fn by_pool(&self) -> bool {
        self.by_pool
    }

    /// What it could still say before it died.
    pub fn last_words(&self) -> Option<&str> {
        self.last_words.as_deref()
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lost its worker: process {} ", self.pid)?;
        match self.ending {
            Ending::Code(code) => write!(f, "exited with code {code} before the task was done")?,
            Ending::Signal { number, core_dumped } => {
                write!(f, "was ended by {} (signal {number})", signal_name(number))?;
                if core_dumped {
                    f.write_str(", core dumped")?;
                }
            }
            Ending::Unknown => f.write_str("ended, and its status is not known")?,
        }
        if self.by_pool {
            f.write_str("; its own pool ended it")?;
        }
        if let Some(words) = &self.last_words {
            write!(f, "; its last words: {words}")?;
        }
        Ok(())
    }
}

fn signal_name(number: i32) -> &'static str {
    // Linux's numbers on the architectures Rust's tier 1 knows.
    const NAMES: [&str; 32] = [
        "signal 0",
        "SIGHUP",
        "SIGINT",
        "SIGQUIT",
        "SIGILL",
        "SIGTRAP",
        "SIGABRT",
        "SIGBUS",
        "SIGFPE",
        "SIGKILL",
        "SIGUSR1",
        "SIGSEGV",
        "SIGUSR2",
        "SIGPIPE",
        "SIGALRM",
        "SIGTERM",
        "SIGSTKFLT",
        "SIGCHLD",
        "SIGCONT",
        "SIGSTOP",
        "SIGTSTP",
        "SIGTTIN",
        "SIGTTOU",
        "SIGURG",
        "SIGXCPU",
        "SIGXFSZ",
        "SIGVTALRM",
        "SIGPROF",
        "SIGWINCH",
        "SIGIO",
        "SIGPWR",
        "SIGSYS",
    ];
    usize::try_from(number).ok().and_then(|n| NAMES.get(n).copied()).unwrap_or("a real-time signal")
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
