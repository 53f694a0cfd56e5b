//! What a task can learn about itself while it runs.

use crate::cell::Ref;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

/// The task that this thread runs. Outside of a task it has no name, is attempt 0, has all the time, and need not stop.
///
/// What it says is asked for at each call; it stays in the thread of the task. An async task, which has not always the same thread,
/// asks for it anew after each `await`.
///
/// ```
/// use concurrent_futures_core::{ExecutorExt, SerialExecutor, task};
///
/// let ex = SerialExecutor::new();
/// let future = ex.task(|()| (task::current().name(), task::current().attempt()), ()).name("look").submit();
/// assert_eq!(future.result().unwrap(), (Some("look".to_string()), 1));
/// assert_eq!(task::current().attempt(), 0);
/// ```
#[derive(Clone, Copy)]
pub struct Current {
    of_this_thread: PhantomData<*const ()>,
}

/// The task that this thread runs.
pub fn current() -> Current {
    Current { of_this_thread: PhantomData }
}

impl Current {
    /// The name that was given to it.
    pub fn name(&self) -> Option<String> {
        look(None, |task| task.name().map(str::to_owned))
    }

    /// Which attempt this is: 1, and more if it is tried again.
    pub fn attempt(&self) -> u32 {
        look(0, |task| task.attempt())
    }

    /// How long it may still take by its `timeout` and its `deadline`.
    pub fn remaining(&self) -> Option<Duration> {
        look(None, |task| task.remaining())
    }

    /// Whether nobody waits for its result any more: its time is up, or it was aborted. A task that runs long asks now and
    /// then, and returns (anything) when it is so. The answer costs some nanoseconds.
    ///
    /// On threads this is all that a timeout or an abort can do to a running task; in worker processes signals follow, see
    /// [`Grace`](crate::Grace).
    pub fn should_stop(&self) -> bool {
        look(false, |task| task.should_stop())
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current").field("name", &self.name()).field("attempt", &self.attempt()).finish_non_exhaustive()
    }
}

/// What a worker knows about the task that it runs; for authors of executors.
pub trait RunningTask {
    /// See [`Current::name`].
    fn name(&self) -> Option<&str>;
    /// See [`Current::attempt`].
    fn attempt(&self) -> u32;
    /// See [`Current::remaining`].
    fn remaining(&self) -> Option<Duration>;
    /// See [`Current::should_stop`].
    fn should_stop(&self) -> bool;
}

thread_local! {
    /// Valid as long as the call of `with_running` that has set it.
    static RUNNING: Cell<Option<*const (dyn RunningTask + 'static)>> = const { Cell::new(None) };
}

/// Runs `f` as (part of) `task`; for authors of executors whose tasks run as bytes. [`Task::run`](super::Task::run) does it by
/// itself.
///
/// ```
/// use concurrent_futures_core::task::{self, RunningTask};
///
/// struct Mine;
/// impl RunningTask for Mine {
///     fn name(&self) -> Option<&str> { Some("mine") }
///     fn attempt(&self) -> u32 { 1 }
///     fn remaining(&self) -> Option<std::time::Duration> { None }
///     fn should_stop(&self) -> bool { false }
/// }
/// assert_eq!(task::with_running(&Mine, || task::current().name()).as_deref(), Some("mine"));
/// ```
pub fn with_running<T>(task: &dyn RunningTask, f: impl FnOnce() -> T) -> T {
    struct Restore(Option<*const (dyn RunningTask + 'static)>);
    impl Drop for Restore {
        fn drop(&mut self) {
            RUNNING.set(self.0);
        }
    }
    let task: *const (dyn RunningTask + '_) = task;
    // SAFETY: only the lifetime changes, and the pointer is used only while this call, and so the borrow, lasts: `Restore`
    // takes it away, also when `f` unwinds.
    let task =
        unsafe { std::mem::transmute::<*const (dyn RunningTask + '_), *const (dyn RunningTask + 'static)>(task) };
    let _restore = Restore(RUNNING.replace(Some(task)));
    f()
}

fn look<T>(without: T, of: impl FnOnce(&dyn RunningTask) -> T) -> T {
    match RUNNING.get() {
        // SAFETY: it is set only while the call of `with_running` lasts that borrows it.
        Some(task) => of(unsafe { &*task }),
        None => without,
    }
}

/// A task that runs in this process.
impl RunningTask for Ref {
    fn name(&self) -> Option<&str> {
        self.meta()?.name.as_deref()
    }

    fn attempt(&self) -> u32 {
        self.meta().map_or(1, |meta| meta.attempts())
    }

    fn remaining(&self) -> Option<Duration> {
        self.meta()?.remaining()
    }

    fn should_stop(&self) -> bool {
        // Whoever resolves a task that runs has no use for what it returns.
        self.is_done() || self.meta().is_some_and(|meta| meta.is_stopped())
    }
}
