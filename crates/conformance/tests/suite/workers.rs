//! How many workers there are, when they start, and what they are called.

use crate::tasks::{hold, occupy, pid, square};
use concurrent_futures::thread::ThreadPoolBuilder;
use concurrent_futures::{Executor, ExecutorExt, ProcessPoolExecutor, Shutdown, ThreadPoolExecutor};
use concurrent_futures_conformance::{Arrival, Kind, Soon, Stage, Ticket, tests, until};
use std::collections::BTreeSet;

fn places(arrivals: &[Arrival]) -> usize {
    arrivals.iter().map(|arrival| (arrival.pid(), arrival.thread().to_owned())).collect::<BTreeSet<_>>().len()
}

/// CPython's `test_saturation`.
fn are_never_more_than_asked_for(kind: Kind) {
    let (ex, stage) = (kind.pool(3), Stage::new());
    let futures: Vec<_> = (0..45).map(|number| ex.submit(hold, (stage.ticket(), number))).collect();
    let arrivals = stage.wait_for(3);
    assert_eq!(places(&arrivals), 3);
    assert_eq!(ex.stats().workers, 3);
    assert_eq!(futures.iter().filter(|future| future.running()).count(), 3);
    drop(arrivals);
    let mut places = BTreeSet::new();
    for _ in 3..45 {
        let arrival = stage.next();
        places.insert((arrival.pid(), arrival.thread().to_owned()));
    }
    assert!(places.len() <= 3);
    assert!(futures.into_iter().all(|future| future.soon().is_ok()));
}

/// CPython's `test_threads_terminate` and `test_processes_terminate`.
fn start_on_demand(kind: Kind) {
    let (ex, stage) = (kind.pool(5), Stage::new());
    assert_eq!(ex.stats().workers, 0);
    let (_futures, arrivals) = occupy(&ex, &stage, 3);
    assert_eq!((places(&arrivals), ex.stats().workers), (3, 3));
    drop(arrivals);
    ex.shutdown(Shutdown::WAIT);
    assert_eq!(ex.stats().workers, 0);
}

/// CPython's `test_idle_thread_reuse` and `test_idle_process_reuse_one`.
fn that_are_idle_are_used_again(kind: Kind) {
    let ex = kind.pool(4);
    for _ in 0..5 {
        assert_eq!(ex.submit(square, 6).soon().unwrap(), 36);
        // The result may be there a moment before the worker is idle.
        until("the worker is idle", || ex.stats().idle == 1);
        assert_eq!(ex.stats().workers, 1);
    }
}

/// CPython's `test_idle_process_reuse_multiple`.
fn that_are_idle_come_before_new_ones(kind: Kind) {
    let (ex, stage) = (kind.pool(4), Stage::new());
    for workers in [2, 1, 3, 2] {
        let (futures, arrivals) = occupy(&ex, &stage, workers);
        drop(arrivals);
        assert!(futures.into_iter().all(|future| future.soon().is_ok()));
        let known = ex.stats().workers;
        until("all workers are idle", || ex.stats().idle == known);
    }
    assert_eq!(ex.stats().workers, 3);
}

fn have_names(_: Kind) {
    let stage = Stage::new();
    let ex = ThreadPoolBuilder::default().max_workers(3).thread_name_prefix("SpecialPool").build().unwrap();
    let (_futures, arrivals) = occupy(&ex, &stage, 3);
    let names: BTreeSet<_> = arrivals.iter().map(Arrival::thread).collect();
    assert!(names.into_iter().eq(["SpecialPool_0", "SpecialPool_1", "SpecialPool_2"]));

    let [first, second] = [(); 2].map(|()| {
        let ex = ThreadPoolExecutor::new(1).unwrap();
        let (_futures, arrivals) = occupy(&ex, &stage, 1);
        arrivals[0].thread().to_owned()
    });
    for name in [&first, &second] {
        let pool = name.strip_prefix("ThreadPoolExecutor-").and_then(|rest| rest.strip_suffix("_0"));
        assert!(pool.is_some_and(|pool| pool.parse::<u32>().is_ok()), "{name}");
    }
    assert_ne!(first, second, "pools are told apart");
}

fn have_a_default_number(_: Kind) {
    let cpus = std::thread::available_parallelism().unwrap().get();
    let threads = ThreadPoolExecutor::builder().build().unwrap();
    assert_eq!(threads.num_workers(), (cpus + 4).min(32));
    let processes = ProcessPoolExecutor::builder().build().unwrap();
    assert_eq!(processes.num_workers(), cpus);
}

fn are_at_least_one(_: Kind) {
    for error in [ThreadPoolExecutor::new(0).unwrap_err(), ProcessPoolExecutor::new(0).unwrap_err()] {
        assert!(error.to_string().contains("max_workers must be at least 1"), "{error}");
    }
    for error in [
        ThreadPoolExecutor::builder().queue_bound(0).build().unwrap_err(),
        ProcessPoolExecutor::builder().queue_bound(0).build().unwrap_err(),
        ProcessPoolExecutor::builder().max_tasks_per_child(0).build().unwrap_err(),
    ] {
        assert!(error.to_string().contains("must be at least 1"), "{error}");
    }
}

fn are_processes_of_their_own(kind: Kind) {
    let (ex, stage) = (kind.processes(2).build().unwrap(), Stage::new());
    let (futures, arrivals) = occupy(&ex, &stage, 2);
    let mut pids: Vec<_> = arrivals.iter().map(Arrival::pid).collect();
    pids.sort_unstable();
    assert!(pids[0] != pids[1] && !pids.contains(&std::process::id()));
    assert_eq!(ex.worker_pids(), pids);
    drop(arrivals);
    assert!(futures.into_iter().all(|future| future.soon().is_ok()));
    assert!(pids.contains(&ex.submit(pid, ()).soon().unwrap()));
}

fn have_names_that_ps_shows(kind: Kind) {
    let ex = kind.processes(1).worker_name_prefix("render").build().unwrap();
    let name = ex.submit(|()| std::fs::read_to_string("/proc/self/comm").unwrap(), ());
    assert!(name.soon().unwrap().starts_with("render"));
}

/// What a task finds of the parent: its directory and its environment, but no boot variable, and no standard input.
fn know_their_parents_surroundings(kind: Kind) {
    let ex = kind.processes(1).build().unwrap();
    let directory = ex.submit(|()| std::env::current_dir().unwrap(), ());
    assert_eq!(directory.soon().unwrap(), std::env::current_dir().unwrap());
    let variables = |()| std::env::vars_os().map(|(name, _)| name.into_encoded_bytes()).collect::<BTreeSet<_>>();
    assert_eq!(ex.submit(variables, ()).soon().unwrap(), variables(()));
    let input =
        ex.submit(|()| std::io::read_to_string(std::io::stdin()).map(|text| text.len()).map_err(|e| e.to_string()), ());
    assert_eq!(input.soon().unwrap(), Ok(0));
}

fn preload((ticket, value): (Ticket, u64)) {
    PRELOADED.store(value, std::sync::atomic::Ordering::Relaxed);
    ticket.tell("preloaded");
}

static PRELOADED: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

fn find_what_was_preloaded(kind: Kind) {
    let stage = Stage::new();
    let ex = kind.processes(2).preload(preload, (stage.ticket(), 42)).build().unwrap();
    let (futures, arrivals) = {
        // The preload may speak before or between the tasks.
        let futures: Vec<_> = (0..2).map(|number| ex.submit(hold, (stage.ticket(), number))).collect();
        let speakers = if kind.forks() { 1 + 2 } else { 2 + 2 };
        (futures, stage.wait_for(speakers))
    };
    let (preloads, tasks): (Vec<_>, Vec<_>) = arrivals.into_iter().partition(|arrival| arrival.words() == "preloaded");
    let workers: BTreeSet<_> = tasks.iter().map(Arrival::pid).collect();
    assert_eq!(workers.len(), 2);
    let in_workers = preloads.iter().filter(|preload| workers.contains(&preload.pid())).count();
    assert_eq!(in_workers, if kind.forks() { 0 } else { 2 }, "the fork server loads it for all");
    drop(tasks);
    assert!(futures.into_iter().all(|future| future.soon().is_ok()));
    let value = ex.submit(|()| PRELOADED.load(std::sync::atomic::Ordering::Relaxed), ());
    assert_eq!(value.soon().unwrap(), 42);
}

tests! {
    parallel {
        are_never_more_than_asked_for,
        start_on_demand,
        that_are_idle_are_used_again,
        that_are_idle_come_before_new_ones,
    }
    thread {
        have_names,
        have_a_default_number,
        are_at_least_one,
    }
    process {
        are_processes_of_their_own,
        have_names_that_ps_shows,
        know_their_parents_surroundings,
        find_what_was_preloaded,
    }
}
