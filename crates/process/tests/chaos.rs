//! Trouble that the pool makes for its own workers when it is told to. `cargo test --features chaos`.

mod support;

use concurrent_futures_core::{Executor, ExecutorExt, Future, KilledBy, Shutdown, TaskError};
use concurrent_futures_process::{Chaos, ProcessPoolExecutor};
use std::time::Duration;
use support::*;

const MS: Duration = Duration::from_millis(1);

fn square(x: u64) -> u64 {
    x * x
}

fn slow_square(x: u64) -> u64 {
    std::thread::sleep(MS);
    x * x
}

fn double(bytes: Vec<u8>) -> Vec<u8> {
    bytes.into_iter().map(|byte| byte.wrapping_mul(2)).collect()
}

/// Only what chaos can do to a task.
#[track_caller]
fn is_killed(error: &TaskError) {
    let death = error.death().unwrap_or_else(|| panic!("{error}"));
    assert_eq!((death.signal(), death.killed_by()), (Some("SIGKILL"), KilledBy::Chaos), "{error}");
}

/// The right answer, in as many attempts as it takes.
fn insist<T: Send + 'static>(deaths: &mut usize, submit: impl Fn() -> Future<T>) -> T {
    loop {
        match outcome(submit()) {
            Ok(value) => return value,
            Err(error) => {
                is_killed(&error);
                *deaths += 1;
            }
        }
    }
}

/// Threads of this process that are a pool's or its chaos's.
fn threads(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let comms = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    comms.filter(|comm| comm.trim() == name).count()
}

#[test]
fn every_task_that_is_tried_again_ends_right() {
    with_both(|builder| {
        let chaos = Chaos::new(1).kill_every(20 * MS).stop_every(50 * MS, 10 * MS).delay(0.05, 5 * MS).tear(0.02);
        let pool = builder.max_workers(2).chaos(chaos).build().unwrap();
        let mut deaths = 0;
        let futures: Vec<_> = (0..300).map(|x| (x, pool.submit(slow_square, x))).collect();
        for (x, future) in futures {
            let value = outcome(future).unwrap_or_else(|error| {
                is_killed(&error);
                deaths += 1;
                insist(&mut deaths, || pool.submit(slow_square, x))
            });
            assert_eq!(value, x * x);
        }
        assert!(deaths > 0, "there was no chaos");
        pool.shutdown(Shutdown::WAIT);
        assert!(pool.worker_pids().is_empty());
    });
}

#[test]
fn retries_bear_the_chaos() {
    with_both(|builder| {
        let chaos = Chaos::new(11).kill_every(20 * MS).stop_every(50 * MS, 10 * MS).delay(0.05, 5 * MS).tear(0.02);
        let pool = builder.max_workers(2).chaos(chaos).build().unwrap();
        let task = |x| pool.task(slow_square, x).retries(100).submit();
        let futures: Vec<_> = (0..300).map(|x| (x, task(x))).collect();
        let mut retries = 0;
        for (x, future) in futures {
            future.wait_timeout(LIMIT);
            retries += future.attempts() - 1;
            assert_eq!(outcome(future).unwrap(), x * x);
        }
        assert!(retries > 0, "there was no chaos");
        let sum: Result<u64, _> = pool.tasks(slow_square, 0..300).retries(100).map().sum();
        assert_eq!(sum.unwrap(), (0..300).map(|x| x * x).sum());
    });
}

#[test]
fn a_task_that_chaos_kills_too_often_is_given_up() {
    let chaos = Chaos::new(12).tear(1.0);
    let pool = ProcessPoolExecutor::builder().max_workers(1).max_deaths_per_task(3).chaos(chaos).build().unwrap();
    let error = outcome(pool.task(square, 3).retries(100).submit()).unwrap_err();
    is_killed(&error);
    assert_eq!(error.death().unwrap().deaths(), 3);
}

#[test]
fn an_answer_that_breaks_off_is_the_death_of_its_task_alone() {
    let pool = ProcessPoolExecutor::builder().max_workers(2).chaos(Chaos::new(2).tear(1.0)).build().unwrap();
    for len in [0, 1, 100_000, 3 << 20] {
        is_killed(&outcome(pool.submit(double, vec![1; len])).unwrap_err());
    }
    pool.shutdown(Shutdown::WAIT);

    let pool = ProcessPoolExecutor::builder().max_workers(2).chaos(Chaos::new(3).tear(0.3)).build().unwrap();
    let mut deaths = 0;
    for len in [0, 1, 100_000, 3 << 20].repeat(5) {
        assert_eq!(insist(&mut deaths, || pool.submit(double, vec![1; len])), vec![2; len]);
    }
    assert!(deaths > 0, "there was no chaos");
}

#[test]
fn what_is_late_or_stands_still_for_a_while_is_not_lost() {
    let chaos = Chaos::new(4).stop_every(5 * MS, 5 * MS).delay(0.3, 2 * MS);
    let pool = ProcessPoolExecutor::builder().max_workers(3).chaos(chaos).build().unwrap();
    let sum: Result<u64, _> = pool.map(slow_square, 0..300).sum();
    assert_eq!(sum.unwrap(), (0..300).map(|x| x * x).sum());
    pool.shutdown(Shutdown::WAIT);
}

#[test]
fn the_end_of_the_pool_is_the_end_of_the_chaos() {
    for _ in 0..3 {
        let chaos = Chaos::new(5).kill_every(MS).stop_every(MS, 20 * MS);
        let pool = ProcessPoolExecutor::builder().max_workers(2).chaos(chaos).build().unwrap();
        let futures: Vec<_> = (0..20).map(|x| pool.submit(square, x)).collect();
        for future in futures {
            let _ = outcome(future).inspect_err(is_killed);
        }
        pool.shutdown(Shutdown::WAIT);
        assert!(pool.worker_pids().is_empty());
    }
    // Another test's may be there, and goes with its pool.
    eventually("no thread of the chaos is left", || threads("cf-chaos") == 0);
}

#[test]
fn a_neighbour_has_no_part_in_it() {
    let chaos = Chaos::new(6).kill_every(2 * MS).stop_every(2 * MS, MS);
    let pool = ProcessPoolExecutor::builder().max_workers(2).chaos(chaos).build().unwrap();
    let neighbour = ProcessPoolExecutor::new(2).unwrap();
    let troubled: Vec<_> = (0..100).map(|x| pool.submit(slow_square, x)).collect();
    for x in 0..100 {
        assert_eq!(outcome(neighbour.submit(slow_square, x)).unwrap(), x * x);
    }
    for future in troubled {
        let _ = outcome(future).inspect_err(is_killed);
    }
}

#[test]
fn impossible_chaos_is_refused() {
    let error = ProcessPoolExecutor::builder().chaos(Chaos::new(1).tear(2.0)).build().unwrap_err();
    assert!(error.to_string().contains("tear"), "{error}");
}
