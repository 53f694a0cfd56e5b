//! What the executor, its handles and its supervisor share.

mod ending;

use self::ending::Ending;
use super::item::Item;
use super::limits;
use super::settling::Settling;
use super::setup::SetupCall;
use super::state::{After, Limits, State};
use super::stops::Stops;
use super::supervisor;
use super::watch::Watch;
use crate::launch::StartMethod;
use crate::limits::Rules;
use crate::link::DataPath;
use crate::sys::bell::Bell;
use concurrent_futures_core::{BuildError, PoolId, Refusal, Stats, Task, worker};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// What the builder has settled.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) limits: Limits,
    pub(super) queue_bound: Option<usize>,
    /// So many workers may die of one task.
    pub(super) deaths_per_task: Option<u32>,
    /// More than so many deaths within that time break the pool.
    pub(super) restarts: Option<(usize, Duration)>,
    /// How long a worker may take to be ready.
    pub(super) ready_within: Option<Duration>,
    pub(super) start_method: StartMethod,
    pub(super) data_path: DataPath,
    pub(super) prefix: String,
    /// Whether what tasks print is caught.
    pub(super) capture: bool,
    /// What its workers may use.
    pub(super) rules: Rules,
    pub(super) initializer: Option<SetupCall>,
    pub(super) preload: Option<SetupCall>,
    #[cfg(feature = "chaos")]
    pub(super) chaos: Option<crate::chaos::Chaos>,
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
    pub(super) bell: Arc<Bell>,
    pub(super) stops: Arc<Stops>,
    pub(super) settling: Settling,
    pub(super) watch: Watch,
    ending: Ending,
    /// Somebody has shut it down without waiting: only the end of the process waits for it.
    left: AtomicBool,
}

/// How long a submitter waits for room in a bounded queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    None,
    Until(Instant),
    Endless,
}

impl Patience {
    pub(super) fn of(limit: Duration) -> Self {
        Instant::now().checked_add(limit).map_or(Patience::Endless, Patience::Until)
    }
}

impl Inner {
    /// Starts the supervisor, which starts what starts workers.
    pub(super) fn start(settings: Settings) -> Result<Arc<Inner>, BuildError> {
        let bell = Bell::new().map_err(|e| BuildError::system("no eventfd for the process pool", e))?;
        let bell = Arc::new(bell);
        let inner = Arc::new(Inner {
            id: PoolId::next(),
            state: Mutex::new(State::new(settings.limits)),
            settings,
            closed: AtomicBool::new(false),
            room: Condvar::new(),
            crew: Condvar::new(),
            stops: Arc::new(Stops::new(bell.clone())),
            bell,
            settling: Settling::default(),
            watch: Watch::default(),
            ending: Ending::default(),
            left: AtomicBool::new(false),
        });
        // The kernel ties what this thread starts to this thread, so all of it is started there.
        let (report, outcome) = mpsc::sync_channel(1);
        let pool = inner.clone();
        let thread = thread::Builder::new()
            .name("cf-supervisor".into())
            .spawn(move || {
                supervisor::run(pool.clone(), &report);
                pool.ending.is_near();
            })
            .map_err(|e| BuildError::system("no thread for the process pool's supervisor", e))?;
        match outcome.recv() {
            Ok(Ok(())) => {
                inner.ending.begin(thread);
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
        if after.is_nothing() {
            return;
        }
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

    /// No task is taken any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    // ---- tasks in

    pub(super) fn submit(&self, task: Task) {
        match limits::admit(&task).and_then(|()| self.reserve(Patience::Endless)) {
            Ok(()) => self.accept(task),
            Err(refusal) => task.fail(refusal.into()),
        }
    }

    pub(super) fn try_submit(&self, task: Task, patience: Patience) -> Result<(), (Task, Refusal)> {
        match limits::admit(&task).and_then(|()| self.reserve(patience)) {
            Ok(()) => {
                self.accept(task);
                Ok(())
            }
            Err(refusal) => Err((task, refusal)),
        }
    }

    /// Promises a place in a bounded queue, so that it is not held while the task is encoded.
    fn reserve(&self, patience: Patience) -> Result<(), Refusal> {
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
        if patience != Patience::None && outcome == Err(Refusal::Full) {
            worker::blocking(|| {
                let mut state = self.lock();
                loop {
                    outcome = try_reserve(&mut state, &mut after);
                    if outcome != Err(Refusal::Full) {
                        return;
                    }
                    match patience {
                        Patience::Until(end) if self.room.wait_until(&mut state, end).timed_out() => {
                            outcome = try_reserve(&mut state, &mut after);
                            return;
                        }
                        Patience::Until(_) => {}
                        Patience::Endless => self.room.wait(&mut state),
                        Patience::None => return,
                    }
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
