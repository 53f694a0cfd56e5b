//! A submitted task, as executors see it.

mod asynchronous;
mod body;
mod chunk;
mod context;
mod current;
mod function;
mod meta;
mod plain;
mod policy;
mod retried;
mod serve;

pub use asynchronous::{AsyncTask, Host, Outcome, Poll, block_on, spawned};
pub use body::{closure, scoped_closure};
pub use context::{Context, StoredContext};
pub use current::{Current, RunningTask, current, with_running};
pub use policy::{Backoff, Grace, Limits, RetryOn, Stop, Verdict};
pub use serve::{DecodeScope, Entry, Reply, Served, Status, WorkerEnv, decode_error, encode_error, serve};

pub(crate) use asynchronous::{Async, AsyncFallible, AsyncFunction, Call as AsyncCall};
pub(crate) use body::One;
pub(crate) use chunk::{Chunk, Places};
pub(crate) use context::{Bound, Unbound};
pub(crate) use function::{Fallible, Function, Plain, Star, WithContext, WithContextFallible};
pub(crate) use meta::{Deadline, Due, Meta};
pub(crate) use retried::{Again, Cloner, Retried, call};

use crate::attach::Attachment;
use crate::cell::{Link, Place, Ref, Work, state};
use crate::codec::{Memory, Parts, Stream};
use crate::error::{Refusal, TaskError, TaskErrorKind};
use crate::future::Future;
use crate::output::TaskOutput;
use crate::{PoolId, TaskId};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A task on its way through an executor: the executor's half of a [`Future`].
///
/// For authors of executors. Every task is consumed by exactly one of [`run`](Self::run), [`complete`](Self::complete) and
/// [`fail`](Self::fail); one that is dropped before it is resolved resolves its future as abandoned.
///
/// ```
/// use concurrent_futures_core::{Executor, ExecutorExt, Handle, Refusal, Shutdown, Task};
///
/// /// Runs every task in a thread of its own.
/// #[derive(Debug, Clone)]
/// struct ThreadPerTask;
///
/// impl Executor for ThreadPerTask {
///     fn submit_task(&self, task: Task) {
///         std::thread::spawn(move || task.run());
///     }
///     fn try_submit_task(&self, task: Task) -> Result<(), (Task, Refusal)> {
///         self.submit_task(task);
///         Ok(())
///     }
///     fn num_workers(&self) -> usize { usize::MAX }
///     fn shutdown(&self, _how: Shutdown) {}
///     fn handle(&self) -> Handle { Handle::new(self.clone()) }
/// }
///
/// assert_eq!(ThreadPerTask.submit(|x: u64| x * x, 12).result().unwrap(), 144);
/// ```
pub struct Task(Ref);

/// A task as bytes, for a worker process that runs the same program.
#[derive(Debug)]
pub struct Call {
    /// What to call, by addresses in this process.
    pub entry: Entry,
    /// The encoded argument.
    pub input: Stream,
    /// Its large blocks, if [`Task::send`] has made this and there are any.
    pub parts: Option<Box<Parts>>,
    /// What the worker needs to have before it runs this.
    pub context: Option<Box<Context>>,
    /// Channel handles were met while encoding, and are parked in a thread-local of `ipc-channel`: they must be sent from
    /// this thread before anything else is.
    pub handles: bool,
    /// The address of the task's `retry_if`, for [`WorkerEnv::judge`].
    pub judge: Option<usize>,
}

/// Who knows where a task is that was sent away.
///
/// One may know many tasks: each question names the one that is meant, by the mark that it had in [`Task::set_remote`]. It may come
/// late, when that task has moved on and has another link, or none: then nobody heeds the answer, but what is done must not touch
/// another task that has the same place now. So no mark is used twice.
///
/// Both answers must be exact and come without blocking.
pub trait Remote: Send + Sync {
    /// Takes the task back, if it has not been started. After `true` it never will be.
    fn try_revoke(&self, mark: u64) -> bool;
    /// The task that was taken back is resolved now.
    fn revoked(&self, mark: u64) {
        let _ = mark;
    }
    /// Whether it has been started.
    fn started(&self, mark: u64) -> bool;
    /// The attempt that runs is to be ended: the task is resolved already, or will be tried again. `attempt` is its number
    /// (0: it was not known to have begun); a later one must be left alone. Must not block.
    fn stop(&self, mark: u64, why: Stop, attempt: u32) {
        let _ = (mark, why, attempt);
    }
    /// Where its answer will arrive, if a thread that waits for it may take it in itself; see [`Collector`].
    fn collector(&self) -> Option<Arc<dyn Collector>> {
        None
    }
    /// For gathered futures only, and what is derived from them: their parts are aborted, before the whole is cancelled.
    #[doc(hidden)]
    fn abort_parts(&self) {}
    /// For derived futures only.
    #[doc(hidden)]
    fn source(&self) -> Option<&crate::future::Source> {
        None
    }
}

/// Where answers arrive that any thread can take in.
///
/// A thread that waits for a task has nothing better to do than to take in the answers of the worker that has it: that is
/// quicker than to be woken by another thread that does. It looks again and again for some microseconds, then it leaves,
/// and sleeps if it has to.
pub trait Collector: Send + Sync {
    /// Takes in what has arrived, and completes those tasks. Never waits, and runs nothing of the user's: the caller may hold
    /// any lock of theirs.
    fn collect(&self);
    /// The caller looks no more. From now on somebody else does, or is told when something arrives.
    fn leave(&self);
    /// The caller wants to [`sleep`](Self::sleep) here. `false`: it cannot, since another thread does, say.
    fn claim(&self) -> bool {
        false
    }
    /// Sleeps until something has arrived, which it takes in, or until [`wake`](Self::wake) is called, or the deadline has
    /// passed; may end for no reason. Only for the one that has [claimed](Self::claim) this.
    ///
    /// When everything is ready for a `wake`, `wanted` is asked whether there is still something to sleep for: what happened
    /// before is seen by it, and after what happens later there is a `wake`.
    fn sleep(&self, deadline: Option<Instant>, wanted: &dyn Fn() -> bool) {
        let _ = (deadline, wanted);
    }
    /// Ends a [`sleep`](Self::sleep), if there is one.
    fn wake(&self) {}
    /// The claim is given up. The caller looks still, until it [leaves](Self::leave).
    fn release(&self) {}
}

/// Makes a task and its future.
pub(crate) fn pair<W: Work + Send>(work: W, meta: Option<Box<Meta>>) -> (Task, Future<W::Out>)
where
    W::Out: Send,
{
    let (task, future) = Ref::of_work(work, meta);
    // SAFETY: `W::Out` is the type of the cell's outcome, and this is its only by-move owner.
    (Task(task), unsafe { Future::from_ref(future) })
}

impl Task {
    /// The number of the task; its future has the same.
    pub fn id(&self) -> TaskId {
        self.0.id()
    }

    /// The name that was given to it.
    pub fn name(&self) -> Option<&str> {
        self.0.meta()?.name.as_deref()
    }

    /// Higher runs earlier; 0 unless asked for. An executor that does not sort refuses others.
    pub fn priority(&self) -> i32 {
        self.0.meta().map_or(0, |meta| meta.priority)
    }

    /// How long one attempt may take, from its start. [`run`](Self::run) sees to it by itself.
    pub fn timeout(&self) -> Option<Duration> {
        self.0.meta()?.timeout
    }

    /// Whether it is resolved already (cancelled, timed out): there is nothing left to run.
    pub fn is_done(&self) -> bool {
        self.0.is_done()
    }

    /// Whether somebody runs it: a worker, or who waits for it.
    pub fn is_running(&self) -> bool {
        self.0.is_running()
    }

    /// Runs the task here and now, and its callbacks after it. False: it was resolved before, and did not run.
    ///
    /// A panic of the task's is caught and becomes its outcome.
    pub fn run(self) -> bool {
        self.into_ref().run_and_release()
    }

    /// Lets workers of `pool` that wait for this task run it in place, while nobody else has started it.
    pub fn set_home(&self, pool: PoolId) {
        self.0.set_home(pool);
    }

    /// Cancels it, unless it has started; whether it is cancelled now. Callbacks run here.
    pub fn cancel(&self) -> bool {
        self.0.cancel(Place::Here)
    }

    /// Resolves it with an error, unless it is resolved or running already. Callbacks run in a thread of the library's own.
    pub fn fail(self, why: TaskError) {
        // Somebody was faster (a timeout, a cancellation, a worker that waited for it and runs it): their outcome stands.
        let _ = self.into_ref().fail(why, false, Place::Service);
    }

    /// The task as bytes. Runs the user's `Serialize` in this thread; its panics are caught.
    ///
    /// # Errors
    /// The argument cannot be encoded, the task is a closure, or it is resolved already: fail it with this error.
    pub fn encode(&self) -> Result<Call, TaskError> {
        match self.0.encode() {
            Some(result) => result.map_err(TaskError::new),
            None => Err(TaskError::new(TaskErrorKind::Cancelled)),
        }
    }

    /// As [`encode`](Self::encode) and [`release_work`](Self::release_work) in one: large blocks of bytes and plain numbers are
    /// not copied but lent to the call, where the argument can lend them; the others are copied. `memory` is where those copies are
    /// made, and where all blocks go when the call is dropped.
    /// Descriptors that go along are [collected](crate::attach::collect) in `attachments`.
    ///
    /// # Errors
    /// As for `encode`; the work is gone then, too.
    pub fn send(&self, memory: Option<Memory>, attachments: &mut Vec<Attachment>) -> Result<Call, TaskError> {
        match self.0.send(memory, attachments) {
            Some(result) => result.map_err(TaskError::new),
            None => Err(TaskError::new(TaskErrorKind::Cancelled)),
        }
    }

    /// Drops function and argument, once they are sent as bytes: only [`complete`](Self::complete) can resolve it now.
    pub fn release_work(&self) {
        self.0.release_work();
    }

    /// The task was sent away: `remote`, who knows it by this mark, knows from now on whether it has started, and can take it back.
    ///
    /// It may be kept as long as the future is: it should hold no more than it needs when the task is over.
    ///
    /// False: it is resolved already and must not be sent.
    pub fn set_remote(&self, remote: Arc<dyn Remote>, mark: u64) -> bool {
        self.0.set_remote(Link::new(remote, mark))
    }

    /// The task is back in the queue.
    pub fn clear_remote(&self) {
        self.0.clear_remote();
    }

    /// The worker has started it: an attempt begins, and its timeout runs.
    pub fn begin_attempt(&self) {
        if let Some(meta) = self.0.meta() {
            meta.begin_attempt();
            crate::timer::watch(&self.0);
        }
    }

    /// Attempts that have begun.
    pub fn attempts(&self) -> u32 {
        self.0.attempts()
    }

    /// Something was asked for that an attempt has to know of: a name, limits, retries.
    pub fn has_policy(&self) -> bool {
        self.0.meta().is_some()
    }

    /// The time of the attempt is up, but not that of the task: another one follows when this one is over.
    pub fn attempt_stopped(&self) -> bool {
        self.0.meta().is_some_and(|meta| meta.is_stopped())
    }

    /// The attempt has ended without an answer. After which pause the task is to be tried again; `None`: fail it.
    pub fn retry_after(&self, verdict: Verdict) -> Option<Duration> {
        if self.is_done() {
            return None;
        }
        self.0.meta()?.end_attempt(verdict)
    }

    /// The attempt has ended with an answer. After which pause the task is to be tried again; `None`: complete it.
    pub fn judge(&self, reply: &Reply) -> Option<Duration> {
        let meta = self.0.meta()?;
        if meta.retry.more == 0 || self.is_done() {
            return None;
        }
        let verdict = if meta.is_stopped() { Some(Verdict::TimedOut) } else { reply.verdict() };
        meta.end_attempt(verdict?)
    }

    /// When the task must be done, all attempts included.
    pub fn deadline(&self) -> Option<Instant> {
        Some(self.0.meta()?.deadline?.at)
    }

    /// How it is to be stopped.
    pub fn grace(&self) -> Grace {
        self.0.meta().map_or_else(Grace::default, |meta| meta.grace)
    }

    /// The limits of its own.
    pub fn limits(&self) -> Limits {
        self.0.meta().map_or_else(Limits::default, |meta| meta.limits)
    }

    /// What the task has printed, for its future and its error: before it is completed or failed.
    pub fn attach_output(&self, output: TaskOutput) {
        self.0.attach_output(output);
    }

    /// Resolves it with what a worker answered. The bytes are decoded later, by whoever looks at the outcome first, so
    /// that no code of the user's runs here; a number is decoded at once. The answer to a task that is resolved already is dropped.
    pub fn complete(self, reply: Reply) {
        self.into_ref().complete(reply);
    }

    /// Takes the work out of a task that its executor gave back.
    pub(crate) fn into_work<W: Work>(self, of: &Future<W::Out>) -> W {
        assert!(of.is_of(&self.0), "the executor gave back another task than the one it was given");
        // SAFETY: the caller made this very cell with work of type `W`.
        let work = unsafe { self.into_ref().take_work::<W>() };
        work.expect("a task that its executor gives back has not been run, sent or cancelled")
    }

    pub(crate) fn cell(&self) -> &Ref {
        &self.0
    }

    fn into_ref(self) -> Ref {
        let task = std::mem::ManuallyDrop::new(self);
        // SAFETY: `task` is not dropped, so the reference is moved out once.
        unsafe { std::ptr::read(&raw const task.0) }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // One that runs will be resolved by its runner.
        if state::phase(self.0.state()) == state::PENDING {
            let _ = self.0.fail(TaskError::new(TaskErrorKind::Abandoned), false, Place::Service);
        }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("id", &self.id()).field("name", &self.name()).finish_non_exhaustive()
    }
}

/// Calls `f` as a task is called: a panic becomes an error, with message, location, backtrace and payload. For authors of
/// executors, where one task makes several calls, or where a call that is no task can fail (an initializer).
///
/// # Errors
/// The panic.
///
/// ```
/// let error = concurrent_futures_core::task::catch(|| -> u8 { panic!("no") }).unwrap_err();
/// assert_eq!(error.panic().unwrap().message(), "no");
/// ```
pub fn catch<T>(f: impl FnOnce() -> T) -> Result<T, TaskError> {
    crate::panics::catch(|| Ok(f())).map_err(TaskError::new)
}

/// Refuses what only a sorted queue can do; for executors that have none.
///
/// ```
/// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
///
/// // The serial executor runs each task at once: there is nothing to sort, so any priority is fine.
/// assert!(SerialExecutor::new().task(|x: u8| x, 1).priority(5).submit().result().is_ok());
/// ```
pub fn refuse_priority(task: &Task) -> Result<(), Refusal> {
    match task.priority() {
        0 => Ok(()),
        priority => Err(Refusal::Unsupported(
            format!("priority {priority} needs a priority queue, and this executor's queue is first in, first out")
                .into(),
        )),
    }
}

/// Refuses limits of a task's own; for executors that cannot enforce them.
///
/// ```
/// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
///
/// let error = SerialExecutor::new().task(|x: u8| x, 1).memory_limit(1 << 30).submit().result().unwrap_err();
/// assert!(error.is_refused());
/// ```
pub fn refuse_limits(task: &Task) -> Result<(), Refusal> {
    if task.limits().is_empty() {
        return Ok(());
    }
    Err(Refusal::Unsupported("limits of memory, CPU time or open files need a worker process of the task's own".into()))
}
