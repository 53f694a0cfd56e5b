//! Pools that grow, shrink and are resized.

mod support;

use concurrent_futures_core::{Executor, ExecutorExt, Shutdown};
use concurrent_futures_process::{ProcessPoolBuilder, ProcessPoolExecutor, StartMethod};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use support::*;

fn square(x: u64) -> u64 {
    x * x
}

fn pid(_: ()) -> u32 {
    std::process::id()
}

fn builder() -> ProcessPoolBuilder {
    ProcessPoolExecutor::builder()
}

/// Also when an assertion fails.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Makes all `n` workers work at the same time.
fn occupy(pool: &ProcessPoolExecutor, n: usize) {
    let place = Place::new();
    let mut gate = place.gate("gate");
    let running: Vec<_> = (0..n).map(|_| pool.submit(wait_at, gate.path())).collect();
    running.iter().for_each(await_start);
    gate.open();
    running.into_iter().for_each(|future| assert!(outcome(future).is_ok()));
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    let error = builder().max_workers(2).min_workers(3).build().unwrap_err();
    assert!(error.to_string().contains("min_workers"), "{error}");
    let pool = pool(1);
    assert!(pool.resize(0).is_err());
    pool.shutdown(Shutdown::WAIT);
    assert!(pool.resize(2).unwrap_err().to_string().contains("shut down"));
}

#[test]
fn the_least_number_of_workers_is_there_without_work_and_stays() {
    with_both(|builder| {
        let pool = builder.max_workers(3).min_workers(2).idle_timeout(Duration::ZERO).build().unwrap();
        eventually("two are up", || pool.worker_pids().len() == 2 && pool.stats().idle == 2);
        let before = pool.worker_pids();
        occupy(&pool, 3);
        eventually("the third leaves", || pool.worker_pids().len() == 2);
        let now = pool.worker_pids();
        assert!(now.iter().any(|pid| before.contains(pid)), "the oldest leaves: of {before:?} none is in {now:?}");
        kill(now[0]);
        eventually("it is replaced without any work", || {
            let pids = pool.worker_pids();
            pids.len() == 2 && !pids.contains(&now[0])
        });
    });
}

#[test]
fn idle_workers_leave_and_come_back_with_the_work() {
    with_both(|builder| {
        let pool = builder.max_workers(3).idle_timeout(Duration::from_millis(20)).build().unwrap();
        for _ in 0..3 {
            occupy(&pool, 3);
            let were_there = pool.worker_pids();
            eventually("all have left", || pool.worker_pids().is_empty());
            assert!(were_there.into_iter().all(is_gone));
        }
        assert_eq!(outcome(pool.submit(square, 5)).unwrap(), 25);
    });
}

#[test]
fn row16_the_exit_of_an_idle_worker_races_a_submit() {
    with_both(|builder| {
        let pool = builder.max_workers(2).idle_timeout(Duration::from_micros(300)).build().unwrap();
        // Each task comes at another instant of the last worker's leaving.
        for n in 0..300 {
            let future = pool.submit(square, n);
            assert_eq!(outcome(future).unwrap(), n * n);
            let start = std::time::Instant::now();
            while start.elapsed() < Duration::from_micros(n * 7 % 1500) {
                std::hint::spin_loop();
            }
        }
        in_time("shutdown", move || pool.shutdown(Shutdown::WAIT));
    });
}

#[test]
fn row16_resizing_races_kills() {
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let builder = builder().start_method(method);
        let pool = Arc::new(builder.max_workers(3).min_workers(1).build().unwrap());
        let tasks = AtomicU64::new(0);
        let running = || tasks.load(Ordering::Relaxed) < 600;
        std::thread::scope(|s| {
            s.spawn(|| {
                for n in (1..5).cycle().take_while(|_| running()) {
                    pool.resize(n).unwrap();
                    assert_eq!(pool.num_workers(), n);
                    std::thread::sleep(Duration::from_micros(500));
                }
            });
            // One kill a task, for a pool whose workers all die before they are ready breaks, and rightly.
            let (kill, victims) = std::sync::mpsc::channel();
            s.spawn(move || {
                for pid in victims {
                    // It may have left since.
                    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            });
            let _end = OnDrop(|| tasks.store(u64::MAX, Ordering::Relaxed));
            let mut died = 0;
            while running() {
                let n = tasks.fetch_add(1, Ordering::Relaxed);
                let future = pool.submit(square, n);
                let pids = pool.worker_pids();
                if n.is_multiple_of(3) && !pids.is_empty() {
                    kill.send(pids[n as usize % pids.len()]).unwrap();
                }
                match outcome(future) {
                    Ok(value) => assert_eq!(value, n * n),
                    Err(error) => {
                        let death = error.death().unwrap_or_else(|| panic!("{error}"));
                        assert!(!death.by_pool() && matches!(death.signal(), Some("SIGKILL") | None), "{error}");
                        died += 1;
                    }
                }
            }
            eprintln!("{died} tasks died");
        });
        pool.resize(2).unwrap();
        assert_eq!(outcome(pool.submit(square, 5)).unwrap(), 25);
        eventually("it has as many as it may", || pool.worker_pids().len() <= 2);
        in_time("shutdown", move || pool.shutdown(Shutdown::WAIT));
    }
}

#[test]
fn a_larger_pool_takes_what_was_waiting() {
    with_both(|builder| {
        let pool = builder.max_workers(1).build().unwrap();
        let place = Place::new();
        let mut gate = place.gate("gate");
        let futures: Vec<_> = (0..3).map(|_| pool.submit(wait_at, gate.path())).collect();
        await_start(&futures[0]);
        let handle = pool.handle();
        pool.resize(3).unwrap();
        assert_eq!((pool.num_workers(), handle.num_workers()), (3, 3));
        futures.iter().for_each(await_start);
        gate.open();
        let pids: std::collections::HashSet<u32> = futures.into_iter().map(|future| outcome(future).unwrap()).collect();
        assert_eq!(pids.len(), 3);
    });
}

#[test]
fn a_smaller_pool_lets_the_idle_go_first_and_the_busy_finish() {
    with_both(|builder| {
        let pool = builder.max_workers(3).build().unwrap();
        occupy(&pool, 3);
        let place = Place::new();
        let mut gate = place.gate("gate");
        let running: Vec<_> = (0..2).map(|_| pool.submit(wait_at, gate.path())).collect();
        running.iter().for_each(await_start);
        pool.resize(2).unwrap();
        eventually("the idle one is gone", || pool.worker_pids().len() == 2);
        assert!(running.iter().all(|future| future.running()));
        let next: Vec<_> = (0..4).map(|_| pool.submit(pid, ())).collect();
        pool.resize(1).unwrap();
        gate.open();
        let first: Vec<u32> = running.into_iter().map(|future| outcome(future).unwrap()).collect();
        let next: Vec<u32> = next.into_iter().map(|future| outcome(future).unwrap()).collect();
        assert!(next.iter().all(|pid| *pid == next[0] && first.contains(pid)), "{first:?} {next:?}");
        eventually("one is left", || pool.worker_pids() == [next[0]]);
    });
}

#[test]
fn a_warm_pool_has_all_its_workers() {
    with_both(|builder| {
        let pool = builder.max_workers(3).idle_timeout(LIMIT).build().unwrap();
        pool.warm_up().unwrap();
        assert_eq!((pool.worker_pids().len(), pool.stats().idle), (3, 3));
        pool.warm_up().unwrap();
        pool.resize(4).unwrap();
        pool.warm_up().unwrap();
        assert_eq!(pool.worker_pids().len(), 4);
        kill(pool.worker_pids()[0]);
        assert_eq!(outcome(pool.submit(square, 3)).unwrap(), 9);
    });
}

#[test]
fn warming_up_ends_also_when_the_pool_cannot_be_warm() {
    let broken = builder().max_workers(2).initializer(|()| Err::<(), _>("no database"), ()).build().unwrap();
    let error = in_time("a failing initializer", move || broken.warm_up()).unwrap_err();
    assert!(error.to_string().contains("no database"), "{error}");

    let place = Place::new();
    let gate = place.gate("gate");
    let wait = |path| drop(std::fs::File::open::<std::path::PathBuf>(path).unwrap());
    let slow = Arc::new(builder().max_workers(2).initializer(wait, gate.path()).build().unwrap());
    std::thread::scope(|s| {
        let warming = s.spawn(|| slow.warm_up());
        eventually("it begins", || slow.worker_pids().len() == 2);
        slow.kill_workers();
        let error = warming.join().unwrap().unwrap_err();
        assert!(error.to_string().contains("shut down"), "{error}");
    });
    in_time("shutdown", move || slow.shutdown(Shutdown::WAIT));
}
