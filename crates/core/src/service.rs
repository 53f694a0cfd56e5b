//! The threads that run callbacks which must not run where an outcome arrives.
//!
//! A supervisor of processes, a timer, or a thread that collects completions for others must never run code of the user's:
//! it could block, or wait for the very pool that it serves. They hand such work to a few threads here. A callback that waits
//! for a future gives its place to a substitute meanwhile (`worker::blocking`), so callbacks can wait for each other's pools.

use crate::worker::{self, WorkerThread};
use crate::{PoolId, panics};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// Threads that may run at once, those asleep in a wait not counted.
const MAX_ACTIVE: usize = 8;
/// A thread without work ends after this time.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

struct Service {
    state: Mutex<State>,
    work: Condvar,
    /// A job was finished.
    finished: Condvar,
    id: PoolId,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(Option<PoolId>, Job)>,
    /// The pools of the jobs that are running, one entry a job.
    running: Vec<Option<PoolId>>,
    threads: usize,
    idle: usize,
    blocked: usize,
}

fn callbacks() -> &'static Arc<Service> {
    static CALLBACKS: OnceLock<Arc<Service>> = OnceLock::new();
    CALLBACKS.get_or_init(Service::new)
}

/// What must not wait for anybody's callback.
fn urgent() -> &'static Arc<Service> {
    static URGENT: OnceLock<Arc<Service>> = OnceLock::new();
    URGENT.get_or_init(Service::new)
}

/// Runs `job` soon, in a thread of the service. `of` is the pool that it concerns, for [`wait_for`].
pub(crate) fn run(of: Option<PoolId>, job: Job) {
    callbacks().run(of, job);
}

/// The same for the end of a task's time, which callbacks that block must not hold up.
pub(crate) fn run_urgent(of: Option<PoolId>, job: Job) {
    urgent().run(of, job);
}

/// Returns when no job of `pool` is queued or running. At once in a thread of the service. `false`: not in time.
pub(crate) fn wait_for(pool: PoolId, until: Option<Instant>) -> bool {
    let current = worker::current_pool();
    if current == Some(callbacks().id) || current == Some(urgent().id) {
        return true;
    }
    // What is urgent makes callbacks.
    urgent().wait_for(pool, until) && callbacks().wait_for(pool, until)
}

impl Service {
    fn new() -> Arc<Self> {
        Arc::new(Service {
            state: Mutex::new(State::default()),
            work: Condvar::new(),
            finished: Condvar::new(),
            id: PoolId::next(),
        })
    }

    fn run(self: &Arc<Self>, of: Option<PoolId>, job: Job) {
        let mut state = self.state.lock();
        state.queue.push_back((of, job));
        self.staff(&mut state);
        let nobody = state.threads == 0;
        drop(state);
        if nobody {
            // No thread can be started at all: better in the wrong thread than never.
            while self.run_one() {}
        }
    }

    fn wait_for(&self, pool: PoolId, until: Option<Instant>) -> bool {
        let mut state = self.state.lock();
        while state.running.contains(&Some(pool)) || state.queue.iter().any(|(of, _)| *of == Some(pool)) {
            match until {
                None => self.finished.wait(&mut state),
                Some(until) if Instant::now() >= until => return false,
                Some(until) => drop(self.finished.wait_until(&mut state, until)),
            }
        }
        true
    }

    /// Sees to it that somebody will take what is queued.
    fn staff(self: &Arc<Self>, state: &mut State) {
        if state.idle >= state.queue.len() {
            self.work.notify_one();
            return;
        }
        if state.threads - state.blocked < MAX_ACTIVE {
            let service = Arc::clone(self);
            let thread = std::thread::Builder::new().name("cf-callbacks".into()).spawn(move || service.serve());
            if thread.is_ok() {
                state.threads += 1;
            }
        }
        self.work.notify_one();
    }

    fn serve(self: Arc<Self>) {
        let _worker = worker::enter(Arc::new(ServiceThread(self.clone())));
        loop {
            while self.run_one() {}
            let mut state = self.state.lock();
            let until = Instant::now() + KEEP_ALIVE;
            state.idle += 1;
            let mut timed_out = false;
            while state.queue.is_empty() && !timed_out {
                timed_out = self.work.wait_until(&mut state, until).timed_out();
            }
            state.idle -= 1;
            if state.queue.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }

    fn run_one(&self) -> bool {
        let mut state = self.state.lock();
        let Some((of, job)) = state.queue.pop_front() else { return false };
        state.running.push(of);
        drop(state);
        // Callbacks are contained one by one where they are called; this is for what is left.
        let _ = panics::contain(job);
        let mut state = self.state.lock();
        if let Some(mine) = state.running.iter().position(|running| *running == of) {
            state.running.swap_remove(mine);
        }
        drop(state);
        self.finished.notify_all();
        true
    }
}

#[derive(Debug)]
struct ServiceThread(Arc<Service>);

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("callback service")
    }
}

impl WorkerThread for ServiceThread {
    fn pool(&self) -> PoolId {
        self.0.id
    }

    fn block_begin(&self) {
        let mut state = self.0.state.lock();
        state.blocked += 1;
        if !state.queue.is_empty() {
            self.0.staff(&mut state);
        }
    }

    fn block_end(&self) {
        self.0.state.lock().blocked -= 1;
    }
}

#[cfg(all(test, not(concurrent_futures_loom)))]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn jobs_that_block_do_not_stop_the_others() {
        let (release, blocked) = mpsc::channel::<()>();
        let blocked = Arc::new(Mutex::new(blocked));
        let pool = PoolId::next();
        for _ in 0..2 {
            let blocked = blocked.clone();
            run(Some(pool), Box::new(move || blocked.lock().recv().unwrap()));
        }
        let (done, waiter) = mpsc::channel();
        run(None, Box::new(move || done.send(()).unwrap()));
        waiter.recv_timeout(Duration::from_secs(30)).unwrap();
        assert!(!wait_for(pool, Some(Instant::now())));
        release.send(()).unwrap();
        release.send(()).unwrap();
        assert!(wait_for(pool, None));
    }
}
