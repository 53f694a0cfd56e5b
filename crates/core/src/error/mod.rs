//! Why a task has no value.

mod build;
mod death;
mod kinds;
mod record;
mod refusal;

pub use build::BuildError;
pub use death::{Death, Ending, KilledBy, OomEvidence};
pub use kinds::{CodecError, CodecStep, Failure, Panic, TaskErrorKind};
pub use refusal::{Refusal, TrySubmitError};

pub(crate) use record::ErrorRecord;

use crate::TaskId;
use crate::output::TaskOutput;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Why a future holds no value: the task was cancelled, ran out of time, panicked, lost its worker, could not be encoded
/// or decoded, was refused, or (for fallible tasks) returned an error.
///
/// Opaque, the size of a pointer, and cheap to clone. Ask with the predicates, or match on [`kind`](Self::kind).
/// What a task of [`submit`](crate::ExecutorExt::submit) returns as `Err` is the task's value, not a `TaskError`.
///
/// ```
/// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
///
/// let ex = SerialExecutor::new();
/// let error = ex.task(|x: u32| 10 / x, 0).name("divide").submit().result().unwrap_err();
/// assert!(error.is_panic());
/// assert_eq!(error.task_name(), Some("divide"));
/// assert!(error.panic().unwrap().message().contains("divide by zero"));
/// assert!(error.to_string().starts_with("task `divide` panicked"));
/// ```
#[derive(Clone)]
pub struct TaskError(Arc<Inner>);

struct Inner {
    kind: TaskErrorKind,
    task: Option<TaskInfo>,
}

/// Which task an error belongs to.
#[derive(Clone, Debug)]
pub(crate) struct TaskInfo {
    pub(crate) id: TaskId,
    pub(crate) name: Option<Box<str>>,
    pub(crate) attempts: u32,
    pub(crate) output: Option<Arc<TaskOutput>>,
}

impl TaskError {
    /// An error that belongs to no task yet; for authors of executors.
    ///
    /// The task that is [failed](crate::Task::fail) with it lends it its name.
    ///
    /// ```
    /// use concurrent_futures_core::{TaskError, TaskErrorKind};
    ///
    /// assert!(TaskError::new(TaskErrorKind::Cancelled).is_cancelled());
    /// ```
    pub fn new(kind: TaskErrorKind) -> Self {
        TaskError(Arc::new(Inner { kind, task: None }))
    }

    /// The same error, belonging to `task`, unless it belongs to one already.
    pub(crate) fn of_task(self, task: impl FnOnce() -> TaskInfo) -> Self {
        if self.0.task.is_some() {
            return self;
        }
        match Arc::try_unwrap(self.0) {
            Ok(inner) => TaskError(Arc::new(Inner { kind: inner.kind, task: Some(task()) })),
            // Somebody else holds it too: it stays as they know it.
            Err(shared) => TaskError(shared),
        }
    }

    /// What happened, with all that is known about it.
    pub fn kind(&self) -> &TaskErrorKind {
        &self.0.kind
    }

    /// The task was cancelled before it started.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.0.kind, TaskErrorKind::Cancelled)
    }

    /// The task ran into its own limit (`timeout` or `deadline`); never "my wait ran out".
    pub fn is_timeout(&self) -> bool {
        matches!(self.0.kind, TaskErrorKind::TimedOut(_))
    }

    /// The task was stopped by [`abort`](crate::Future::abort) while it ran.
    pub fn is_aborted(&self) -> bool {
        matches!(self.0.kind, TaskErrorKind::Aborted)
    }

    /// The task panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.0.kind, TaskErrorKind::Panicked(_))
    }

    /// The process that ran the task ended before the task did.
    pub fn is_worker_death(&self) -> bool {
        matches!(self.0.kind, TaskErrorKind::WorkerDied(_))
    }

    /// The argument or the result could not be encoded or decoded.
    pub fn is_codec(&self) -> bool {
        matches!(self.0.kind, TaskErrorKind::Codec(_))
    }

    /// The executor did not take the task: shut down, broken, or not able to do what was asked.
    pub fn is_refused(&self) -> bool {
        matches!(self.0.kind, TaskErrorKind::Refused(_))
    }

    /// A fallible task returned an error.
    pub fn is_failed(&self) -> bool {
        matches!(self.0.kind, TaskErrorKind::Failed(_))
    }

    /// Nobody will ever complete the future: its [`Promise`](crate::Promise) was dropped.
    pub fn is_abandoned(&self) -> bool {
        matches!(self.0.kind, TaskErrorKind::Abandoned)
    }

    /// The panic, if it was one.
    pub fn panic(&self) -> Option<&Panic> {
        match &self.0.kind {
            TaskErrorKind::Panicked(panic) => Some(panic),
            _ => None,
        }
    }

    /// The death of the worker, if it was one.
    pub fn death(&self) -> Option<&Death> {
        match &self.0.kind {
            TaskErrorKind::WorkerDied(death) => Some(death),
            _ => None,
        }
    }

    /// What could not be encoded or decoded, if that was it.
    pub fn codec(&self) -> Option<&CodecError> {
        match &self.0.kind {
            TaskErrorKind::Codec(codec) => Some(codec),
            _ => None,
        }
    }

    /// Why the task was refused, if it was.
    pub fn refusal(&self) -> Option<&Refusal> {
        match &self.0.kind {
            TaskErrorKind::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// What a fallible task returned, if that was it.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.0.kind {
            TaskErrorKind::Failed(failure) => Some(failure),
            _ => None,
        }
    }

    /// The limit that a timed-out task ran into.
    pub fn timeout(&self) -> Option<Duration> {
        match self.0.kind {
            TaskErrorKind::TimedOut(limit) => Some(limit),
            _ => None,
        }
    }

    /// The name that was given to the task.
    pub fn task_name(&self) -> Option<&str> {
        self.0.task.as_ref()?.name.as_deref()
    }

    /// How often the task was attempted: 0 when it never started, more than 1 when it was tried again.
    pub fn attempts(&self) -> u32 {
        let known = self.0.task.as_ref().map_or(0, |task| task.attempts);
        known.max(u32::from(self.0.kind.is_of_an_attempt()))
    }

    /// What the task had printed, where the executor captures it.
    pub fn output(&self) -> Option<&TaskOutput> {
        self.0.task.as_ref()?.output.as_deref()
    }

    /// The task's number.
    pub fn task_id(&self) -> Option<TaskId> {
        Some(self.0.task.as_ref()?.id)
    }
}

impl From<TaskErrorKind> for TaskError {
    fn from(kind: TaskErrorKind) -> Self {
        TaskError::new(kind)
    }
}

impl From<Refusal> for TaskError {
    fn from(refusal: Refusal) -> Self {
        TaskError::new(TaskErrorKind::Refused(refusal))
    }
}

/// So that a function that makes a pool may return `Result<_, TaskError>`.
impl From<BuildError> for TaskError {
    fn from(error: BuildError) -> Self {
        TaskError::new(TaskErrorKind::Refused(Refusal::Broken(error.to_string().into())))
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.task {
            Some(TaskInfo { name: Some(name), .. }) => write!(f, "task `{name}` {}", self.0.kind)?,
            Some(TaskInfo { id, .. }) => write!(f, "task {id} {}", self.0.kind)?,
            None => write!(f, "task {}", self.0.kind)?,
        }
        match self.attempts() {
            0 | 1 => Ok(()),
            attempts => write!(f, " (in the last of {attempts} attempts)"),
        }
    }
}

impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("TaskError");
        if let Some(task) = &self.0.task {
            out.field("task", &task.id);
            if let Some(name) = &task.name {
                out.field("name", name);
            }
        }
        out.field("kind", &self.0.kind).finish()
    }
}

impl Error for TaskError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0.kind {
            // The failure's own words are in ours already; what is behind them is not.
            TaskErrorKind::Failed(failure) => failure.as_error().source(),
            _ => None,
        }
    }
}

const _: () = assert!(size_of::<TaskError>() == size_of::<usize>());
const _: () = {
    const fn shareable<T: Clone + Send + Sync + 'static>() {}
    shareable::<TaskError>();
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_one_pointer_and_so_is_its_option() {
        assert_eq!(size_of::<TaskError>(), size_of::<usize>());
        assert_eq!(size_of::<Option<TaskError>>(), size_of::<usize>());
    }

    #[test]
    fn says_which_task_what_happened_and_what_to_do() {
        let error = TaskError::from(Refusal::ShutDown).of_task(|| TaskInfo {
            id: TaskId::next(),
            name: Some("render".into()),
            attempts: 0,
            output: None,
        });
        let text = error.to_string();
        assert!(text.starts_with("task `render` was refused"), "{text}");
        assert!(text.contains("shut down"), "{text}");
    }

    #[test]
    fn a_shared_error_keeps_its_owner() {
        let error = TaskError::new(TaskErrorKind::Cancelled);
        let kept = error.clone();
        let named = error.of_task(|| TaskInfo { id: TaskId::next(), name: None, attempts: 0, output: None });
        assert_eq!(named.task_id(), kept.task_id());
    }
}
