//! Rows 11 and 12: workers are killed all the time, and tasks that kill whoever they meet.

use crate::bystanders::{Bystanders, assert_usable};
use crate::ground::{Ground, Lane, Load, strike_worker};
use crate::rows;
use concurrent_futures::{Executor, ExecutorExt, Future, ProcessPoolExecutor, Refusal, RetryOn};
use concurrent_futures_conformance::{Soon, until};
use rustix::process::Signal;
use std::collections::{BTreeSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Numbers that nobody has chosen.
struct Dice(RandomState, u64);

impl Dice {
    fn new() -> Self {
        Dice(RandomState::new(), 0)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.1 += 1;
        self.0.hash_one(self.1) % n
    }

    /// From zero up, and so on average, as accidents come.
    fn interval(&mut self, mean: Duration) -> Duration {
        let share = (self.below(1 << 20) + 1) as f64 / (1 << 20) as f64;
        mean.mul_f64(-share.ln())
    }
}

/// Takes a while, and says which process has done it.
fn work(x: Load<(u64, u64)>) -> Load<(u64, u32)> {
    let (number, micros) = x.value;
    let start = Instant::now();
    while start.elapsed() < Duration::from_micros(micros) {
        std::hint::spin_loop();
    }
    x.with((number * number, std::process::id()))
}

/// A task with handles cannot be sent twice, and so not be tried again: on their ground every other task has some, and may die.
/// The others must not.
fn may_die(ground: Ground, number: u64) -> bool {
    ground.lane == Lane::Handles && number % 2 == 1
}

/// How long at least, and how often on average.
fn storm(ground: Ground) -> (Duration, Duration) {
    match ground.lane {
        Lane::Bytes => (Duration::from_secs(30), Duration::from_millis(40)),
        Lane::Handles => (Duration::from_secs(10), Duration::from_millis(60)),
    }
}

fn row_11_workers_are_killed_at_random_under_load(ground: Ground) {
    let ex = ground.pool(3);
    let (over, ready, kills) = (AtomicBool::new(false), Mutex::new(BTreeSet::new()), Mutex::new(Vec::new()));
    let (time, mean) = storm(ground);
    let end = Instant::now() + time;
    let (mut done, mut repeated, mut died) = (0_u64, 0_u64, 0_usize);
    // However slow the machine is.
    let is_enough = |done: u64| done > 100 && kills.lock().expect("no panic").len() > 10;
    std::thread::scope(|scope| {
        let _over = Over(&over);
        scope.spawn(|| {
            let mut dice = Dice::new();
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(dice.interval(mean));
                // Workers that have done something: a pool whose workers never get ready is given up, and rightly so.
                let workers: Vec<u32> = ready.lock().expect("no panic").iter().copied().collect();
                let Some(victim) = workers.get(dice.below(workers.len().max(1) as u64) as usize) else { continue };
                ready.lock().expect("no panic").remove(victim);
                if strike_worker(&ex, *victim, Signal::KILL) {
                    kills.lock().expect("no panic").push(*victim);
                }
            }
        });
        let mut dice = Dice::new();
        let mut under_way: VecDeque<(u64, Future<_>)> = VecDeque::new();
        for number in 0.. {
            if Instant::now() < end || !is_enough(done) {
                let lane = if may_die(ground, number) { Lane::Handles } else { Lane::Bytes };
                let load = Ground { lane, ..ground }.load((number, dice.below(2000)));
                let task = ex.task(work, load).retries(1000).retry_on(RetryOn::WORKER_DEATH);
                under_way.push_back((number, task.submit()));
                if under_way.len() < 60 {
                    continue;
                }
            }
            let Some((number, future)) = under_way.pop_front() else { break };
            let attempts = future.attempts();
            match future.soon() {
                Ok(result) => {
                    assert_eq!(result.value.0, number * number, "the result of another task");
                    ready.lock().expect("no panic").insert(result.value.1);
                    done += 1;
                }
                Err(error) if may_die(ground, number) && error.is_worker_death() => died += 1,
                Err(error) => panic!("task {number} is lost: {error}"),
            }
            repeated += u64::from(attempts > 1);
        }
    });
    let kills = kills.into_inner().expect("no panic");
    println!("{done} tasks, {} kills, {repeated} tasks seen in a later attempt, {died} died", kills.len());
    assert!(died <= kills.len(), "each kill costs at most one task");
    until("the deaths are noticed", || ex.worker_pids().iter().all(|worker| !kills.contains(worker)));
    assert_usable(ground, &ex);
}

/// Also when something panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn poison(_: Load<()>) -> Load<()> {
    std::process::abort()
}

/// Leaves a trace of each worker.
fn count_worker(place: PathBuf) {
    std::fs::write(place.join(std::process::id().to_string()), "").expect("a file");
}

fn row_12_a_poison_task_is_given_up(ground: Ground) {
    let place = tempfile::tempdir().expect("a directory");
    let settings = ground.settings(2).max_deaths_per_task(3).initializer(count_worker, place.path().to_owned());
    let ex = settings.build().expect("a pool");
    let before = Bystanders::of(ground, &ex);
    let poisoned = ex.task(poison, ground.load(())).retries(1000).submit();
    let after = Bystanders::of(ground, &ex);
    let error = poisoned.soon().map(drop).expect_err("it is given up");
    let death = error.death().unwrap_or_else(|| panic!("{error}"));
    // One with handles is not tried again.
    let attempts = if ground.lane == Lane::Bytes { 3 } else { 1 };
    assert_eq!((death.deaths(), error.attempts(), death.signal()), (attempts, attempts, Some("SIGABRT")), "{error}");
    before.succeed();
    after.succeed();
    assert_usable(ground, &ex);
    let workers = std::fs::read_dir(place.path()).expect("it is there").count();
    assert!(workers <= 6, "three died, two live, and one may have been started too many: {workers}");
}

fn row_12_a_storm_of_restarts_breaks_the_pool(ground: Ground) {
    let settings = || ground.settings(1).max_restarts(3, Duration::from_secs(600));
    let ex = settings().build().expect("a pool");
    let futures: Vec<_> = (0..6).map(|_| ex.task(poison, ground.load(())).retries(1000).submit()).collect();
    for future in futures {
        let error = future.soon().map(drop).expect_err("it is given up");
        assert!(error.is_worker_death() || error.is_refused(), "{error}");
    }
    let refused = ex.submit(poison, ground.load(())).soon().map(drop).expect_err("it is broken");
    assert!(matches!(refused.refusal(), Some(Refusal::Broken(_))), "{refused}");
    assert_eq!(ex.stats().queued, 0);
    drop(ex);
    // As many deaths as it may have are none too many.
    let ex: ProcessPoolExecutor = settings().build().expect("a pool");
    for _ in 0..3 {
        assert!(ex.submit(poison, ground.load(())).soon().map(drop).expect_err("it dies").is_worker_death());
    }
    assert_usable(ground, &ex);
}

rows! {
    links {
        row_11_workers_are_killed_at_random_under_load,
        row_12_a_poison_task_is_given_up,
        row_12_a_storm_of_restarts_breaks_the_pool,
    }
}
