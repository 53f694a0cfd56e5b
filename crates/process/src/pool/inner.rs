//! What the executor, its handles and its supervisor share.

use super::item::Item;
use super::setup::SetupCall;
use super::state::{After, Limits, State};
use super::supervisor;
use crate::launch::StartMethod;
use crate::sys::bell::Bell;
use crate::sys::pidfd;
use concurrent_futures_core::task::refuse_priority;
use concurrent_futures_core::{BuildError, PoolId, Refusal, Shutdown, Stats, Task, exit, wait_for_callbacks, worker};
use parking_lot::{Condvar, Mutex, MutexGuard};
use rustix::process::Signal;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle, ThreadId};

/// What the builder has settled.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) limits: Limits,
    pub(super) queue_bound: Option<usize>,
    pub(super) start_method: StartMethod,
    pub(super) prefix: String,
    pub(super) initializer: Option<SetupCall>,
    pub(super) preload: Option<SetupCall>,
}

pub(super) struct Inner {
    pub(super) id: PoolId,
    pub(super) settings: Settings,
    state: Mutex<State>,
    /// Set with `State::close`, for a look without the lock.
    closed: AtomicBool,
    /// There is room in the bounded queue, or no task is taken any more.
    room: Condvar,
    /// A worker has come up, or will not; looked at by those who warm the pool up.
    crew: Condvar,
    pub(super) bell: Bell,
    ending: Mutex<Ending>,
    ended: Condvar,
    /// Somebody has shut it down without waiting: only the end of the process waits for it.
    left: AtomicBool,
}

/// How far the end of the pool has come.
#[derive(Debug)]
enum Ending {
    /// The supervisor is at work.
    Alive(JoinHandle<()>),
    /// A thread waits until the supervisor's thread is gone.
    Joining(ThreadId),
    /// Everything is gone.
    Gone,
}

impl Inner {
    /// Starts the supervisor, which starts what starts workers.
    pub(super) fn start(settings: Settings) -> Result<Arc<Inner>, BuildError> {
        let bell = Bell::new().map_err(|e| BuildError::system("no eventfd for the process pool", e))?;
        let inner = Arc::new(Inner {
            id: PoolId::next(),
            state: Mutex::new(State::new(settings.limits)),
            settings,
            closed: AtomicBool::new(false),
            room: Condvar::new(),
            crew: Condvar::new(),
            bell,
            ending: Mutex::new(Ending::Gone),
            ended: Condvar::new(),
            left: AtomicBool::new(false),
        });
        // The kernel ties what this thread starts to this thread, so all of it is started there.
        let (report, outcome) = mpsc::sync_channel(1);
        let pool = inner.clone();
        let thread = thread::Builder::new()
            .name("cf-supervisor".into())
            .spawn(move || supervisor::run(pool, &report))
            .map_err(|e| BuildError::system("no thread for the process pool's supervisor", e))?;
        match outcome.recv() {
            Ok(Ok(())) => {
                *inner.ending.lock() = Ending::Alive(thread);
                Ok(inner)
            }
            Ok(Err(error)) => {
                // It has nothing left to do; a panic of it would have come in the other arm.
                let _ = thread.join();
                Err(error)
            }
            Err(mpsc::RecvError) => Err(BuildError::invalid("the process pool's supervisor panicked while it started")),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Does what a step of the state has left to do. Not with the lock held.
    pub(super) fn finish(&self, after: After) {
        if after.ring {
            self.bell.ring();
        }
        if after.room && self.settings.queue_bound.is_some() {
            self.room.notify_all();
        }
        if after.crew {
            self.crew.notify_all();
        }
        after.carry_out();
    }

    // ---- tasks in

    pub(super) fn submit(&self, task: Task) {
        match refuse_priority(&task).and_then(|()| self.reserve(true)) {
            Ok(()) => self.accept(task),
            Err(refusal) => task.fail(refusal.into()),
        }
    }

    pub(super) fn try_submit(&self, task: Task) -> Result<(), (Task, Refusal)> {
        match refuse_priority(&task).and_then(|()| self.reserve(false)) {
            Ok(()) => {
                self.accept(task);
                Ok(())
            }
            Err(refusal) => Err((task, refusal)),
        }
    }

    /// Promises a place in a bounded queue, so that it is not held while the task is encoded.
    fn reserve(&self, wait: bool) -> Result<(), Refusal> {
        let Some(bound) = self.settings.queue_bound else {
            return if self.closed.load(Ordering::Acquire) { self.lock().open() } else { Ok(()) };
        };
        let try_reserve = |state: &mut State, after: &mut After| {
            state.open()?;
            if !state.has_room(bound, after) {
                return Err(Refusal::Full);
            }
            state.reserved += 1;
            Ok(())
        };
        let mut after = After::default();
        let mut outcome = try_reserve(&mut self.lock(), &mut after);
        if wait && outcome == Err(Refusal::Full) {
            worker::blocking(|| {
                let mut state = self.lock();
                loop {
                    outcome = try_reserve(&mut state, &mut after);
                    if outcome != Err(Refusal::Full) {
                        return;
                    }
                    self.room.wait(&mut state);
                }
            });
        }
        self.finish(after);
        outcome
    }

    /// Takes a task for which there is room.
    fn accept(&self, task: Task) {
        task.set_home(self.id);
        let item = Item::encode(task);
        if let Some(item) = &item {
            item.task.release_work();
        }
        let mut after = After::default();
        let refused = {
            let mut state = self.lock();
            if self.settings.queue_bound.is_some() {
                state.reserved -= 1;
            }
            match (state.open(), item) {
                (Ok(()), Some(item)) => {
                    state.submit(item, &mut after);
                    None
                }
                // The place that was promised is free again.
                (_, None) => {
                    after.room = true;
                    None
                }
                (Err(refusal), Some(item)) => Some((item, refusal)),
            }
        };
        self.finish(after);
        if let Some((item, refusal)) = refused {
            item.task.fail(refusal.into());
        }
    }

    // ---- workers

    pub(super) fn num_workers(&self) -> usize {
        self.lock().limits.workers
    }

    /// Allows so many workers from now on. `Err`: the pool takes no tasks any more.
    pub(super) fn resize(&self, workers: usize) -> Result<(), Refusal> {
        let mut after = After::default();
        {
            let mut state = self.lock();
            state.open()?;
            state.resize(workers, &mut after);
        }
        self.finish(after);
        Ok(())
    }

    /// Starts all workers that may run and waits until they are ready.
    pub(super) fn warm_up(&self) -> Result<(), Refusal> {
        let mut after = After::default();
        let since = self.lock().warm_up(&mut after);
        self.finish(after);
        worker::blocking(|| {
            let mut state = self.lock();
            loop {
                match state.is_warm(since) {
                    Ok(false) => self.crew.wait(&mut state),
                    outcome => {
                        state.warmed_up();
                        return outcome.map(drop);
                    }
                }
            }
        })
    }

    // ---- the end

    /// Takes no more tasks. Idempotent, and safe to call from several threads.
    pub(super) fn shutdown(self: &Arc<Self>, how: Shutdown) {
        self.closed.store(true, Ordering::Release);
        let mut after = After::default();
        let items = self.lock().close(how.cancel_futures, &mut after);
        self.finish(after);
        if how.cancel_futures {
            self.resolve(items, |task| {
                task.cancel();
            });
        }
        if how.wait {
            self.wait();
        } else if !self.left.swap(true, Ordering::AcqRel) {
            let pool = Arc::downgrade(self);
            exit::wait_for(move || {
                if let Some(pool) = pool.upgrade() {
                    pool.wait();
                }
            });
        }
    }

    /// Takes no more tasks, and fails those that have not started.
    pub(super) fn break_down(&self, why: &str) {
        self.closed.store(true, Ordering::Release);
        let mut after = After::default();
        let items = self.lock().break_down(why, &mut after);
        self.finish(after);
        self.resolve(items, |task| task.fail(Refusal::Broken(why.into()).into()));
    }

    /// The supervisor is gone before its time: nothing that is still in the pool can come to an end.
    pub(super) fn abandon(&self) {
        let items = self.lock().wreck();
        let why: Box<str> = "its supervisor is gone".into();
        self.resolve(items, |task| task.fail(Refusal::Broken(why.clone()).into()));
    }

    /// Resolves tasks that were taken out of the state.
    pub(super) fn resolve(&self, items: Vec<Item>, how: impl Fn(Task)) {
        for item in items {
            how(item.task);
        }
        let mut after = After::default();
        self.lock().resolved(&mut after);
        self.finish(after);
    }

    /// Ends all workers by a signal, cancels what has not started, and takes no more tasks. Does not wait.
    pub(super) fn force(self: &Arc<Self>, signal: Signal) {
        let processes = {
            let mut state = self.lock();
            state.forced = Some(signal);
            state.doom()
        };
        self.shutdown(Shutdown::NO_WAIT.cancel_futures());
        for process in processes {
            // The signal is one that exists, and the process our own: all that can happen is that it is gone.
            let _ = pidfd::signal(&process.pidfd, signal);
        }
    }

    /// Whether somebody has shut it down without waiting.
    pub(super) fn is_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }

    /// Returns when everything is gone: tasks, callbacks, workers, fork server, supervisor.
    fn wait(&self) {
        worker::blocking(|| self.join());
        wait_for_callbacks(self.id);
    }

    fn join(&self) {
        let mut ending = self.ending.lock();
        let supervisor = match &*ending {
            Ending::Alive(thread) => thread.thread().id(),
            Ending::Joining(supervisor) => *supervisor,
            Ending::Gone => return,
        };
        if supervisor == thread::current().id() {
            // A destructor of the user's has ended up here; the supervisor cannot wait for itself.
            return;
        }
        if let Ending::Alive(thread) = std::mem::replace(&mut *ending, Ending::Joining(supervisor)) {
            // Its panics are caught inside.
            MutexGuard::unlocked(&mut ending, || drop(thread.join()));
            *ending = Ending::Gone;
            self.ended.notify_all();
        }
        while matches!(*ending, Ending::Joining(_)) {
            self.ended.wait(&mut ending);
        }
    }

    // ---- looking

    pub(super) fn stats(&self) -> Stats {
        self.lock().stats()
    }

    pub(super) fn worker_pids(&self) -> Vec<u32> {
        self.lock().pids()
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("id", &self.id).field("settings", &self.settings).finish_non_exhaustive()
    }
}
