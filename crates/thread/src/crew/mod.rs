//! What a pool, its handles and its workers share: the queue, and the protocol by which workers are called to it.
//!
//! States, counts and proofs: `README.md` beside this file.

mod closing;
mod desk;
mod job;
#[cfg(test)]
mod model;
mod parker;
mod queue;
mod settings;
mod size;
mod state;
mod threads;
mod waiting;
mod whole;
mod worker;

pub(crate) use closing::{AtExit, unfinished};
pub(crate) use desk::Desk;
pub(crate) use job::Job;
pub(crate) use settings::{Initializer, Settings};
pub(crate) use size::Size;

use concurrent_futures_core::worker::{blocking, current_pool};
use concurrent_futures_core::{PoolId, Refusal, Stats};
use parking_lot::{Condvar, Mutex};
use queue::Queue;
use state::{Help, State};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;
use std::{hint, thread};
use whole::{Inbox, Whole};

pub(crate) struct Crew {
    pub(crate) id: PoolId,
    pub(crate) settings: Settings,
    state: Padded<Mutex<State>>,
    /// Locked after the state, if both are.
    inbox: Padded<Mutex<Inbox>>,
    /// The queue may have jobs (or it is over): for those who look without a lock. Set with the inbox locked, and cleared
    /// with both.
    work: Padded<AtomicBool>,
    /// A job was taken while submitters waited for room, or it is over.
    room: Condvar,
    /// A worker was joined, or one can be.
    ended: Condvar,
    /// No worker is being started any more.
    arrived: Condvar,
    /// Jobs that count as finished, or will, and are not the end of a task: async tasks were polled, and wait.
    continued: AtomicU64,
}

/// On cache lines of its own.
#[repr(align(128))]
struct Padded<T>(T);

/// How a submitter takes a full queue.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum WhenFull {
    Wait,
    WaitUntil(Instant),
    Refuse,
}

/// Looks of a submitter before it wakes a parked worker: one that has just finished its job may be about to take the new one,
/// and a wake-up costs far more than the looks.
const LOOKS_BEFORE_WAKING: u32 = 32;
/// The same before it starts a thread, each with a `sched_yield`: a worker whose result the submitter has just got may not have
/// had the time to come back.
const LOOKS_BEFORE_STARTING: u32 = 32;

impl Crew {
    pub(crate) fn new(settings: Settings) -> Arc<Self> {
        let queue = Queue::new(settings.sorted);
        let state = State::new(queue, &settings.size, settings.bound.unwrap_or(usize::MAX));
        let crew = Arc::new(Crew {
            id: PoolId::next(),
            settings,
            state: Padded(Mutex::new(state)),
            inbox: Padded(Mutex::default()),
            work: Padded(AtomicBool::new(false)),
            room: Condvar::new(),
            ended: Condvar::new(),
            arrived: Condvar::new(),
            continued: AtomicU64::new(0),
        });
        // The inbox learns how things are.
        drop(crew.lock());
        crew
    }

    /// Puts a job into the queue and sees to it that somebody takes it.
    pub(crate) fn submit(self: &Arc<Self>, job: Job, when_full: WhenFull) -> Result<(), (Job, Refusal)> {
        let job = match self.submit_quietly(job) {
            Ok(()) => return Ok(()),
            Err(job) => job,
        };
        let state = self.lock();
        match state.refusal() {
            Some(why) => Err((job, why)),
            None if state.is_full() => self.submit_full(state, job, when_full),
            None => {
                self.enqueue(state, job);
                Ok(())
            }
        }
    }

    #[cold]
    fn submit_full(self: &Arc<Self>, state: Whole<'_>, job: Job, when_full: WhenFull) -> Result<(), (Job, Refusal)> {
        let until = match when_full {
            WhenFull::Refuse => return Err((job, Refusal::Full)),
            WhenFull::WaitUntil(until) => Some(until),
            WhenFull::Wait => None,
        };
        // Its own workers make the room: they must not wait for it.
        if current_pool() == Some(self.id) {
            self.enqueue(state, job);
            return Ok(());
        }
        // Another pool may have to be told that its worker sleeps here: not under this pool's lock.
        drop(state);
        blocking(|| self.submit_when_room(job, until))
    }

    fn submit_when_room(self: &Arc<Self>, job: Job, until: Option<Instant>) -> Result<(), (Job, Refusal)> {
        let mut state = self.lock();
        let mut is_late = false;
        loop {
            if let Some(why) = state.refusal() {
                return Err((job, why));
            }
            if !state.is_full() {
                self.enqueue(state, job);
                return Ok(());
            }
            // After the look at the queue: whoever was told of the room may be late, and must not let it go to waste.
            if is_late {
                return Err((job, Refusal::Full));
            }
            state.waiting_for_room += 1;
            match until {
                None => state.wait(&self.room),
                Some(until) => is_late = state.wait_until(&self.room, until),
            }
            state.waiting_for_room -= 1;
        }
    }

    fn enqueue(self: &Arc<Self>, mut state: Whole<'_>, job: Job) {
        state.queue.push(job);
        let alone = state.queue.len() == 1;
        if alone {
            self.work.0.store(true, Ordering::Relaxed);
        }
        let help = state.help();
        let may_come_by_itself = alone && state.has_runner();
        drop(state);
        if help != Help::None && !(may_come_by_itself && self.is_taken_soon(help)) {
            self.call_help();
        }
    }

    /// Looks for a short time whether a worker that was busy takes the only job.
    #[cold]
    fn is_taken_soon(&self, help: Help) -> bool {
        let looks = if help == Help::Start { LOOKS_BEFORE_STARTING } else { LOOKS_BEFORE_WAKING };
        (0..looks).any(|_| {
            if help == Help::Start {
                thread::yield_now();
            } else {
                hint::spin_loop();
            }
            !self.work.0.load(Ordering::Relaxed)
        })
    }

    /// Wakes or starts a worker, if one is still needed.
    #[cold]
    fn call_help(self: &Arc<Self>) {
        let mut state = self.lock();
        match state.help() {
            Help::None => {}
            Help::Wake => {
                let parker = state.wake_one();
                drop(state);
                if let Some(parker) = parker {
                    parker.wake();
                }
            }
            Help::Start => {
                let number = state.reserve();
                drop(state);
                // The jobs that needed it have been told.
                let _ = self.start(number);
            }
        }
    }

    /// Takes all jobs out, in order; they count as finished.
    fn drain(&self, state: &mut State) -> Vec<Job> {
        let jobs = state.queue.drain();
        state.finished += jobs.len() as u64;
        self.work.0.store(state.is_over(), Ordering::Relaxed);
        jobs
    }

    pub(crate) fn stats(&self) -> Stats {
        let state = self.lock();
        Stats::new(
            state.threads(),
            state.idle(),
            state.queue.len(),
            state.finished.saturating_sub(self.continued.load(Ordering::Relaxed)),
        )
    }
}
