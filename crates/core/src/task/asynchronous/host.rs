//! What a pool does for async tasks that wait.

use super::suspended::Suspension;
use crate::error::TaskError;
use crate::{TaskId, UnfinishedTask};
use parking_lot::{Condvar, Mutex};
use std::fmt;
use std::sync::Arc;

/// A pool in which async tasks wait without a worker; for authors of executors that run tasks in this process.
///
/// Its workers' [`WorkerThread`](crate::worker::WorkerThread) gives it. Without one, an async task is polled to its end by the
/// thread that has begun to run it.
///
/// A task is polled for the first time by [`Task::run`](crate::Task::run). If it is not done then, its host is told that it
/// [waits](Self::wait), and from then on it is work of the pool until it [ends](Self::end). In between, each time when it is
/// woken, the host is asked to [poll](Self::poll) it.
///
/// ```
/// use concurrent_futures_core::task::{AsyncTask, Host, Poll, spawned};
/// use concurrent_futures_core::worker::{self, WorkerThread};
/// use concurrent_futures_core::{PoolId, Promise, TaskId};
/// use std::sync::{Arc, mpsc};
///
/// /// A pool of one thread.
/// #[derive(Debug)]
/// struct Mine(PoolId, mpsc::Sender<Poll>);
///
/// impl Host for Mine {
///     fn wait(self: Arc<Self>, _task: AsyncTask) { /* one more to be waited for at the end */ }
///     fn poll(self: Arc<Self>, poll: Poll) {
///         let _ = self.1.send(poll); // if nobody is there, the task is abandoned
///     }
///     fn end(self: Arc<Self>, _id: TaskId) { /* one less */ }
/// }
///
/// #[derive(Debug)]
/// struct Worker(Arc<Mine>);
///
/// impl WorkerThread for Worker {
///     fn pool(&self) -> PoolId { self.0.0 }
///     fn block_begin(&self) {}
///     fn block_end(&self) {}
///     fn host(&self) -> Option<Arc<dyn Host>> { Some(self.0.clone()) }
/// }
///
/// let (queue, polls) = mpsc::channel();
/// let mine = Arc::new(Mine(PoolId::next(), queue));
/// let _guard = worker::enter(Arc::new(Worker(mine.clone())));
/// let (promise, answer) = Promise::pair();
/// let (task, future) = spawned(async move { answer.await.map(|x: u32| x + 1) });
/// task.set_home(mine.0);
/// task.run(); // it waits, and this thread does not
/// promise.set_result(1).unwrap();
/// polls.recv().unwrap().run();
/// assert_eq!(future.result().unwrap().unwrap(), 2);
/// ```
pub trait Host: Send + Sync {
    /// A task waits: the pool is not idle before it has ended.
    fn wait(self: Arc<Self>, task: AsyncTask);
    /// A worker is to [run](Poll::run) this soon, after whatever waits already. It must be taken, also after a shutdown. Called
    /// from any thread, and must not block.
    fn poll(self: Arc<Self>, poll: Poll);
    /// A task that waited has ended. Its [`Poll`] may still come to a worker, and does nothing.
    fn end(self: Arc<Self>, id: TaskId);
}

/// An async task that has begun, for its [`Host`].
#[derive(Clone)]
pub struct AsyncTask(pub(super) Arc<dyn Suspension>);

impl AsyncTask {
    /// The number of the task.
    pub fn id(&self) -> TaskId {
        self.0.cell().id()
    }

    /// As in [`shutdown_timeout`](crate::Executor::shutdown_timeout)'s error.
    pub fn unfinished(&self) -> UnfinishedTask {
        let name = self.0.cell().meta().and_then(|meta| meta.name.clone());
        UnfinishedTask::new(self.id(), name, true)
    }

    /// Cancels it, unless it is being polled; whether it is cancelled now. Callbacks run here.
    pub fn cancel(&self) -> bool {
        self.0.cell().cancel(crate::cell::Place::Here)
    }

    /// Ends it with an error, unless it has ended. Callbacks run in a thread of the library's own.
    pub fn fail(&self, why: TaskError) {
        self.0.fail(why);
    }
}

impl fmt::Debug for AsyncTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncTask").field(&self.unfinished()).finish()
    }
}

/// Leave to poll an async task once. Dropped without that, the task is abandoned.
pub struct Poll(Option<Arc<dyn Suspension>>);

impl Poll {
    pub(super) fn new(task: Arc<dyn Suspension>) -> Self {
        Poll(Some(task))
    }

    fn suspension(&self) -> &Arc<dyn Suspension> {
        self.0.as_ref().expect("it is there until it is run or dropped")
    }

    /// Polls it here, unless it has ended. A panic becomes its outcome.
    pub fn run(mut self) {
        if let Some(task) = self.0.take() {
            task.run();
        }
    }

    /// The task.
    pub fn task(&self) -> AsyncTask {
        AsyncTask(self.suspension().clone())
    }

    /// See [`Task::priority`](crate::Task::priority).
    pub fn priority(&self) -> i32 {
        self.suspension().cell().meta().map_or(0, |meta| meta.priority)
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.fail(TaskError::new(crate::TaskErrorKind::Abandoned));
        }
    }
}

impl fmt::Debug for Poll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Poll").field(&self.0.as_ref().map(|task| task.cell().id())).finish()
    }
}

/// The host of a task that has none: the thread that runs it.
pub(super) struct Local {
    state: Mutex<LocalState>,
    changed: Condvar,
}

#[derive(Default)]
struct LocalState {
    poll: Option<Poll>,
    has_ended: bool,
}

impl Local {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Local { state: Mutex::default(), changed: Condvar::new() })
    }

    /// The next time that the task is to be polled; `None` when it has ended.
    pub(super) fn next(&self) -> Option<Poll> {
        let mut state = self.state.lock();
        loop {
            if let Some(poll) = state.poll.take() {
                return Some(poll);
            }
            if state.has_ended {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }
}

impl Host for Local {
    fn wait(self: Arc<Self>, _task: AsyncTask) {}

    fn poll(self: Arc<Self>, poll: Poll) {
        self.state.lock().poll = Some(poll);
        self.changed.notify_one();
    }

    fn end(self: Arc<Self>, _id: TaskId) {
        self.state.lock().has_ended = true;
        self.changed.notify_one();
    }
}
