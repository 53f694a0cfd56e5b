//! The life of one worker.

use super::parker::Parker;
use super::state::{Help, Next, State};
use super::whole::Whole;
use super::{Crew, Desk, Job};
use concurrent_futures_core::PoolId;
use concurrent_futures_core::task::Host;
use concurrent_futures_core::worker::{self, WorkerThread};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{fmt, thread};

/// Looks of the one idle worker that looks, each with a `sched_yield`: about twenty microseconds.
const LOOKS_BEFORE_PARKING: u32 = 48;

/// How a worker's sleep ended.
enum Sleep {
    Called,
    /// Nobody has called in this time.
    TimedOut(Duration),
}

/// Works until there is nothing left to do and nothing more can come.
pub(super) fn serve(crew: &Arc<Crew>, number: usize) {
    let _guard = worker::enter(Arc::new(Seat { crew: Arc::clone(crew), waits: AtomicUsize::new(0) }));
    crew.initialize();
    let parker = Arc::new(Parker::new());
    let desk = Arc::new(Desk::new());
    let mut has_searched = false;
    let mut state = crew.lock();
    crew.arrive(&mut state);
    state.set_desk(number, Arc::clone(&desk));
    loop {
        match state.next(has_searched) {
            Next::Run(job) => {
                crew.after_taking(state);
                run(job, &desk);
                state = loop {
                    match crew.next_quietly() {
                        Ok(job) => run(job, &desk),
                        Err(state) => break state,
                    }
                };
                has_searched = false;
            }
            Next::Search => {
                crew.note_empty(&state);
                drop(state);
                crew.search();
                has_searched = true;
                state = crew.lock();
                state.end_search();
            }
            Next::Park => {
                let sleep;
                (state, sleep) = crew.sleep(state, &parker);
                match sleep {
                    Sleep::Called => has_searched = false,
                    Sleep::TimedOut(slept) if state.is_expendable(slept) => break,
                    Sleep::TimedOut(_) => has_searched = true,
                }
            }
            Next::End => break,
        }
    }
    crew.release(&mut state, number);
}

/// Tasks and their callbacks contain their own panics; what is left (the waker of a foreign runtime) must not cost the worker.
fn run(job: Job, desk: &Desk) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| job.run(desk))) {
        // The hook has printed it. Its destructor is the user's, too.
        std::mem::forget(payload);
    }
    desk.end();
}

impl Crew {
    fn initialize(self: &Arc<Self>) {
        if let Some(initializer) = &self.settings.initializer
            && let Err(why) = initializer.call()
        {
            self.break_down(&format!("an initializer failed: {why}"));
        }
    }

    /// A job was taken out: says so to those who look, wait for room, or are needed for the rest.
    fn after_taking(self: &Arc<Self>, state: Whole<'_>) {
        self.note_empty(&state);
        let help = state.help();
        let wanted = state.waiting_for_room > 0;
        drop(state);
        if wanted {
            self.room.notify_one();
        }
        if help != Help::None {
            self.call_help();
        }
    }

    /// Those who look without a lock are to see it.
    fn note_empty(&self, state: &State) {
        if state.queue.is_empty() && !state.is_over() {
            self.work.0.store(false, Ordering::Relaxed);
        }
    }

    /// Looks for work without the lock, for a short time.
    fn search(&self) {
        for _ in 0..LOOKS_BEFORE_PARKING {
            if self.work.0.load(Ordering::Relaxed) {
                return;
            }
            thread::yield_now();
        }
    }

    /// Sleeps until called; a worker that need not be kept only for a time.
    fn sleep<'a>(&'a self, mut state: Whole<'a>, parker: &Arc<Parker>) -> (Whole<'a>, Sleep) {
        state.park(parker);
        let patience = state.patience();
        drop(state);
        // An end that no clock can tell is no end.
        let until = patience.and_then(|limit| Instant::now().checked_add(limit));
        if !parker.park(until) {
            let mut state = self.lock();
            if state.unpark(parker) {
                return (state, Sleep::TimedOut(patience.unwrap_or_default()));
            }
            drop(state);
            // Somebody took this worker out of the list just now, and is about to wake it.
            parker.park(None);
        }
        let mut state = self.lock();
        state.end_search();
        (state, Sleep::Called)
    }
}

/// What core knows of a worker.
struct Seat {
    crew: Arc<Crew>,
    /// Waits that this thread is in, one inside the other.
    waits: AtomicUsize,
}

impl WorkerThread for Seat {
    fn pool(&self) -> PoolId {
        self.crew.id
    }

    fn host(&self) -> Option<Arc<dyn Host>> {
        Some(Arc::clone(&self.crew) as Arc<dyn Host>)
    }

    fn block_begin(&self) {
        if self.waits.fetch_add(1, Ordering::Relaxed) > 0 {
            return;
        }
        let mut state = self.crew.lock();
        state.block();
        let help = state.help();
        drop(state);
        if help != Help::None {
            self.crew.call_help();
        }
    }

    fn block_end(&self) {
        if self.waits.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.crew.lock().unblock();
        }
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Worker").field(&self.crew.id).finish()
    }
}
