//! Rows 15 to 17: pools that replace, start and end workers while workers die.

use crate::bystanders::{Bystanders, assert_usable};
use crate::ground::{Ground, Load, assert_killed_by_others, death, occupy, pid, square, strike, strike_worker};
use crate::row::{Scene, scene, ticket};
use crate::rows;
use concurrent_futures::{Executor, ExecutorExt, Future, ProcessPoolExecutor, Shutdown};
use concurrent_futures_conformance::{Soon, Stage, Ticket, until, wait_for_end};
use rustix::process::Signal;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Runs `f` while a thread kills the pool's workers, with pauses of some milliseconds. Each has done a task before it is killed:
/// a pool of which no worker ever gets ready is given up, and rightly so. Gives the number of kills.
fn under_fire<T>(ground: Ground, ex: &ProcessPoolExecutor, pause: Duration, f: impl FnOnce() -> T) -> (T, usize) {
    let (over, killed) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let outcome = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // One that dies of the last kill has shown nothing.
                let Ok(worker) = ex.submit(pid, ground.load(())).soon() else { continue };
                thread::sleep(pause);
                if strike_worker(ex, worker.value, Signal::KILL) {
                    killed.lock().expect("no panic").push(worker.value);
                }
            }
        });
        let _over = Over(&over);
        f()
    });
    let killed = killed.into_inner().expect("no panic");
    // Handles that are sent to a worker that is dead already are lost.
    until("the deaths are noticed", || ex.worker_pids().iter().all(|worker| !killed.contains(worker)));
    (outcome, killed.len())
}

/// Also when something panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Each has its right value or died by a kill from outside. Gives the number of deaths.
#[track_caller]
fn count_deaths(futures: Vec<(u64, Future<Load<u64>>)>) -> usize {
    let mut deaths = 0;
    for (number, future) in futures {
        match future.soon() {
            Ok(value) => assert_eq!(value.value, number * number),
            outcome => {
                assert_killed_by_others(&death(outcome), "SIGKILL");
                deaths += 1;
            }
        }
    }
    deaths
}

fn squares(ground: Ground, ex: &ProcessPoolExecutor, count: u64) -> Vec<(u64, Future<Load<u64>>)> {
    (0..count).map(|number| (number, ex.submit(square, ground.load(number)))).collect()
}

fn row_15_recycling_with_a_backlog_under_fire(ground: Ground) {
    let ex = ground.settings(2).max_tasks_per_child(3).build().expect("a pool");
    let (deaths, kills) = under_fire(ground, &ex, Duration::from_millis(3), || count_deaths(squares(ground, &ex, 150)));
    assert!(deaths <= kills, "each kill costs at most one task: {deaths} deaths by {kills} kills");
    assert_usable(ground, &ex);
}

fn row_15_recycling_races_the_end_of_the_pool(ground: Ground) {
    for round in 0..12 {
        let ex = ground.settings(2).max_tasks_per_child(1).build().expect("a pool");
        let futures = squares(ground, &ex, 8);
        thread::sleep(Duration::from_micros(round * 1500));
        match round % 3 {
            0 => ex.shutdown(Shutdown::NO_WAIT),
            1 => ex.kill_workers(),
            _ => {}
        }
        drop(ex);
        for (number, future) in futures {
            match future.soon() {
                Ok(value) => assert_eq!(value.value, number * number),
                Err(error) if round % 3 == 1 && error.is_cancelled() => {}
                Err(error) if round % 3 == 1 => assert!(death::<()>(Err(error)).by_pool()),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn row_16_an_idle_end_races_a_submit(ground: Ground) {
    let ex = ground.settings(2).idle_timeout(Duration::from_millis(1)).build().expect("a pool");
    for step in 0..100_u64 {
        let value = ex.submit(square, ground.load(step)).soon();
        assert_eq!(value.unwrap_or_else(|error| panic!("step {step}: {error}")).value, step * step);
        thread::sleep(Duration::from_micros(step % 10 * 300));
    }
    assert_usable(ground, &ex);
}

fn row_16_resize_races_kills(ground: Ground) {
    let ex = ground.pool(2);
    let work = || {
        (1..40).map(|size| {
            ex.resize(size % 4 + 1).expect("a size");
            count_deaths(squares(ground, &ex, 4))
        })
    };
    let (deaths, kills) = under_fire(ground, &ex, Duration::from_millis(4), || work().sum::<usize>());
    assert!(deaths <= kills, "{deaths} deaths by {kills} kills");
    ex.resize(2).expect("a size");
    assert_usable(ground, &ex);
    // They are told to leave, and are there until they have.
    until("the surplus workers have left", || ex.worker_pids().len() <= 2);
}

fn row_17_a_shutdown_while_a_worker_is_dying(ground: Ground) {
    for waits in [true, false] {
        let (ex, stage) = (ground.pool(2), Stage::new());
        let (running, mut arrivals) = occupy(ground, &ex, &stage, 2);
        let queued = Bystanders::of(ground, &ex);
        strike(arrivals[0].pid(), Signal::KILL);
        let neighbour = arrivals.pop().expect("two");
        let ends = thread::spawn(move || ex.shutdown(if waits { Shutdown::WAIT } else { Shutdown::NO_WAIT }));
        queued.succeed();
        neighbour.release();
        ends.join().expect("no panic");
        let outcomes: Vec<_> = running.into_iter().map(Soon::soon).collect();
        let [Err(dead), Ok(other)] = &outcomes[..] else { panic!("{outcomes:?}") };
        assert!(dead.is_worker_death() && other.value == 1);
    }
    assert_usable(ground, &ground.pool(1));
}

fn crash_when_told(x: Load<Ticket>) -> Load<()> {
    x.value.enter("about to crash");
    std::process::abort()
}

fn row_17_a_pool_is_dropped_while_a_task_is_about_to_crash(ground: Ground) {
    let (ex, stage) = (ground.pool(1), Stage::new());
    let crash = ex.submit(crash_when_told, ground.load(stage.ticket()));
    let queued = Bystanders::of(ground, &ex);
    let arrival = stage.next();
    let drops = thread::spawn(move || drop(ex));
    arrival.release();
    assert_eq!(death(crash.soon()).signal(), Some("SIGABRT"));
    queued.succeed();
    drops.join().expect("no panic");
}

fn park(x: Load<Ticket>) -> Load<()> {
    x.value.tell("parked");
    loop {
        thread::park();
    }
}

fn row_17_the_process_exits_with_work_pending(ground: Ground) {
    if let Some(how) = scene() {
        let ex = ground.pool(2);
        let ticket = ticket();
        let _pending: Vec<_> = (0..4).map(|_| ex.submit(park, ground.load(ticket.clone()))).collect();
        ticket.enter("main");
        if how == "a worker is dying" {
            ex.worker_pids().into_iter().for_each(|worker| strike(worker, Signal::KILL));
        }
        std::process::exit(5);
    }
    for how in ["workers are busy", "a worker is dying"] {
        let stage = Stage::new();
        let program = Scene::new(how).heard_by(&stage).start();
        let heard = stage.wait_for(3);
        let workers: Vec<_> = heard.iter().map(|one| one.pid()).filter(|pid| *pid != program.pid()).collect();
        assert_eq!(workers.len(), 2);
        drop(heard);
        let ended = program.wait();
        assert_eq!(ended.status.code(), Some(5), "{ended:?}");
        workers.into_iter().for_each(wait_for_end);
    }
    assert_usable(ground, &ground.pool(1));
}

rows! {
    links {
        row_15_recycling_with_a_backlog_under_fire,
        row_15_recycling_races_the_end_of_the_pool,
        row_16_an_idle_end_races_a_submit,
        row_16_resize_races_kills,
        row_17_a_shutdown_while_a_worker_is_dying,
        row_17_a_pool_is_dropped_while_a_task_is_about_to_crash,
        row_17_the_process_exits_with_work_pending,
    }
}
