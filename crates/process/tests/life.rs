//! Initializers, preloads, recycling, and pools that cannot start their workers.

mod support;

use concurrent_futures_core::{Executor, ExecutorExt, Refusal, Shutdown};
use concurrent_futures_process::{ProcessPoolExecutor, StartMethod};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use support::*;

static LEVEL: AtomicU64 = AtomicU64::new(0);

fn level(_: ()) -> (u32, u64) {
    (std::process::id(), LEVEL.load(Ordering::Relaxed))
}

fn add(n: u64) {
    LEVEL.fetch_add(n, Ordering::Relaxed);
}

fn pid(_: ()) -> u32 {
    std::process::id()
}

#[test]
fn the_initializer_runs_in_every_worker_before_its_first_task() {
    with_both(|builder| {
        let pool = builder.max_workers(3).initializer(add, 7).build().unwrap();
        let all: Vec<(u32, u64)> = pool.map(level, vec![(); 100]).collect::<Result<_, _>>().unwrap();
        assert!(all.iter().all(|(_, level)| *level == 7), "{all:?}");
        kill(all[0].0);
        let again: Vec<(u32, u64)> = pool.map(level, vec![(); 10]).map(|r| r.unwrap_or((0, 7))).collect();
        assert!(again.iter().all(|(_, level)| *level == 7), "{again:?}");
    });
    assert_eq!(LEVEL.load(Ordering::Relaxed), 0, "it does not run here");
}

#[test]
fn a_failing_initializer_breaks_the_pool_and_says_why() {
    fn fails(_: ()) -> Result<(), String> {
        Err("no database".to_owned())
    }
    fn panics(_: ()) {
        panic!("no database")
    }
    let check = |pool: ProcessPoolExecutor| {
        let queued: Vec<_> = (0..5).map(|_| pool.submit(pid, ())).collect();
        for future in queued {
            let error = outcome(future).unwrap_err();
            let Some(Refusal::Broken(why)) = error.refusal() else { panic!("not broken: {error}") };
            assert!(why.contains("initializer") && why.contains("no database"), "{why}");
        }
        assert!(matches!(outcome(pool.submit(pid, ())).unwrap_err().refusal(), Some(Refusal::Broken(_))));
        assert!(matches!(pool.try_submit(pid, ()).unwrap_err().why, Refusal::Broken(_)));
        pool.kill_workers();
        in_time("shutdown of a broken pool", move || pool.shutdown(Shutdown::WAIT));
    };
    with_both(|builder| check(builder.max_workers(2).initializer(fails, ()).build().unwrap()));
    with_both(|builder| check(builder.max_workers(2).initializer(panics, ()).build().unwrap()));
}

#[test]
fn dropping_a_broken_pool_waits_until_nothing_is_left() {
    let pool = ProcessPoolExecutor::builder().max_workers(2).initializer(|()| Err::<(), _>("no"), ()).build().unwrap();
    assert!(outcome(pool.submit(pid, ())).unwrap_err().is_refused());
    let handle = pool.handle();
    in_time("drop", move || drop(pool));
    assert_eq!(handle.stats().workers, 0);
}

#[test]
fn a_pool_in_a_task_of_a_pool_works_and_ends_with_it() {
    let pool = pool(1);
    let nested = |n: u64| {
        let pool = ProcessPoolExecutor::new(2).unwrap();
        let sum: u64 = pool.map(|x: u64| x * x, 0..n).map(|square| square.unwrap()).sum();
        (sum, pool.worker_pids())
    };
    let (sum, inner) = outcome(pool.submit(nested, 100)).unwrap();
    assert_eq!(sum, 328_350);
    assert!(!inner.is_empty());
    for pid in inner {
        assert!(is_gone(pid), "process {pid}");
    }
}

#[test]
fn running_tasks_finish_when_a_later_initializer_fails() {
    let place = Place::new();
    let mut gate = place.gate("gate");
    // The first worker finds no file and makes it; the second one finds it and fails.
    let once = |path: std::path::PathBuf| std::fs::File::create_new(path).map(drop);
    let pool = ProcessPoolExecutor::builder().max_workers(2).initializer(once, place.path("once")).build().unwrap();
    let running = pool.submit(wait_at, gate.path());
    await_start(&running);
    let refused = outcome(pool.submit(pid, ())).unwrap_err();
    assert!(refused.is_refused(), "{refused}");
    assert!(running.running());
    gate.open();
    assert!(outcome(running).is_ok());
}

#[test]
fn workers_that_die_before_they_are_ready_break_the_pool() {
    with_both(|builder| {
        let exit = |()| {
            std::process::exit(41);
        };
        let pool = builder.max_workers(2).initializer::<_, ()>(exit, ()).build().unwrap();
        let error = outcome(pool.submit(pid, ())).unwrap_err();
        let Some(Refusal::Broken(why)) = error.refusal() else { panic!("not broken: {error}") };
        assert!(why.contains("41"), "{why}");
        in_time("shutdown", move || pool.shutdown(Shutdown::WAIT));
    });
}

#[test]
fn a_worker_that_dies_in_its_initializer_now_and_then_is_replaced() {
    let place = Place::new();
    // Every worker but the third and later ones dies.
    let third = |dir: std::path::PathBuf| {
        for n in 0..2 {
            if std::fs::File::create_new(dir.join(format!("try{n}"))).is_ok() {
                std::process::abort();
            }
        }
    };
    let pool = ProcessPoolExecutor::builder().max_workers(1).initializer(third, place.path(".")).build().unwrap();
    assert!(outcome(pool.submit(pid, ())).is_ok());
}

#[test]
fn a_preload_is_there_in_every_worker() {
    with_both(|builder| {
        let pool = builder.max_workers(2).preload(|n: u64| LEVEL.store(n, Ordering::Relaxed), 40).build().unwrap();
        assert_eq!(outcome(pool.submit(level, ())).unwrap().1, 40);
        // An initializer comes on top.
        let pool = ProcessPoolExecutor::builder()
            .max_workers(1)
            .preload(|n: u64| LEVEL.store(n, Ordering::Relaxed), 40)
            .initializer(add, 2)
            .build()
            .unwrap();
        assert_eq!(outcome(pool.submit(level, ())).unwrap().1, 42);
    });
}

#[test]
fn a_failing_preload_breaks_the_pool() {
    with_both(|builder| {
        let pool = builder.max_workers(2).preload(|()| Err::<(), _>("no model"), ()).build().unwrap();
        let error = outcome(pool.submit(pid, ())).unwrap_err();
        let Some(Refusal::Broken(why)) = error.refusal() else { panic!("not broken: {error}") };
        assert!(why.contains("preload") && why.contains("no model"), "{why}");
        in_time("shutdown", move || pool.shutdown(Shutdown::WAIT));
    });
}

#[test]
fn a_worker_ends_after_its_share_of_tasks() {
    with_both(|builder| {
        let pool = builder.max_workers(1).max_tasks_per_child(3).build().unwrap();
        let pids: Vec<u32> = (0..7).map(|_| outcome(pool.submit(pid, ())).unwrap()).collect();
        assert!(pids[0] == pids[1] && pids[1] == pids[2] && pids[2] != pids[3], "{pids:?}");
        assert!(pids[3] == pids[4] && pids[4] == pids[5] && pids[5] != pids[6], "{pids:?}");
    });
}

#[test]
fn recycling_is_exact_with_a_backlog() {
    with_both(|builder| {
        const TASKS: usize = 60;
        let pool = builder.max_workers(2).max_tasks_per_child(4).build().unwrap();
        let futures: Vec<_> = (0..TASKS).map(|_| pool.submit(pid, ())).collect();
        let mut served: HashMap<u32, usize> = HashMap::new();
        for future in futures {
            *served.entry(outcome(future).unwrap()).or_default() += 1;
        }
        assert!(served.values().all(|n| *n <= 4), "{served:?}");
        assert!(served.len() >= TASKS / 4);
        in_time("shutdown", move || pool.shutdown(Shutdown::WAIT));
    });
}

#[test]
fn recycling_and_shutdown_at_once() {
    for workers in [1, 3] {
        let pool = ProcessPoolExecutor::builder().max_workers(workers).max_tasks_per_child(1).build().unwrap();
        let futures: Vec<_> = (0..6).map(|n: u64| pool.submit(|n| n * n, n)).collect();
        pool.shutdown(Shutdown::NO_WAIT);
        for (n, future) in futures.into_iter().enumerate() {
            assert_eq!(outcome(future).unwrap(), (n * n) as u64);
        }
        in_time("shutdown", move || pool.shutdown(Shutdown::WAIT));
    }
}

/// With no descriptors left no worker can be started: what waits fails in words, and the pool works when there are some.
#[test]
fn a_pool_that_cannot_start_workers_fails_its_tasks_and_recovers() {
    // The limit is the process's: a process of its own for this.
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let outcome_in_worker = pool.submit(
        |()| {
            let pool = ProcessPoolExecutor::builder().max_workers(1).start_method(StartMethod::Spawn).build().unwrap();
            let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
            let few = rustix::process::Rlimit { current: Some(0), ..limit };
            rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();
            let error = pool.submit(|x: u64| x + 1, 1).result().unwrap_err().to_string();
            rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
            (error, pool.submit(|x: u64| x + 1, 1).result().map_err(|e| e.to_string()))
        },
        (),
    );
    let (error, then) = outcome(outcome_in_worker).unwrap();
    assert!(error.contains("no worker process could be started"), "{error}");
    assert_eq!(then, Ok(2));
}

#[test]
fn row13_an_initializer_that_hangs_breaks_the_pool_in_time() {
    fn hang(mark: std::path::PathBuf) {
        touch(mark);
        loop {
            std::thread::park();
        }
    }
    with_both(|builder| {
        let place = Place::new();
        let limit = std::time::Duration::from_millis(300);
        let pool =
            builder.max_workers(2).initializer(hang, place.path("a")).initializer_timeout(limit).build().unwrap();
        let error = outcome(pool.submit(pid, ())).unwrap_err();
        let Some(Refusal::Broken(why)) = error.refusal() else { panic!("not broken: {error}") };
        assert!(why.contains("300ms") && why.contains("initializer"), "{why}");
        in_time("shutdown", move || pool.shutdown(Shutdown::WAIT));
    });
    with_both(|builder| {
        let place = Place::new();
        let limit = std::time::Duration::from_millis(300);
        let pool = builder.max_workers(2).preload(hang, place.path("a")).initializer_timeout(limit).build().unwrap();
        let error = outcome(pool.submit(pid, ())).unwrap_err();
        assert!(matches!(error.refusal(), Some(Refusal::Broken(_))), "{error}");
        in_time("shutdown", move || pool.shutdown(Shutdown::WAIT));
    });
}

#[test]
fn an_initializer_that_is_slow_but_in_time_is_no_trouble() {
    with_both(|builder| {
        let slow = |()| std::thread::sleep(std::time::Duration::from_millis(50));
        let pool = builder.max_workers(2).initializer(slow, ()).initializer_timeout(LIMIT).build().unwrap();
        pool.warm_up().unwrap();
        assert_eq!(pool.worker_pids().len(), 2);
        // The limit is over for those who are ready.
        assert!(outcome(pool.submit(pid, ())).is_ok());
    });
}

#[test]
fn row12_too_many_deaths_in_a_time_break_the_pool() {
    with_both(|builder| {
        let place = Place::new();
        let mut gate = place.gate("gate");
        let pool = builder.max_workers(2).max_restarts(3, LIMIT * 10).max_tasks_per_child(2).build().unwrap();
        // Workers that leave are not counted.
        for _ in 0..20 {
            outcome(pool.submit(pid, ())).unwrap();
        }
        let running = pool.submit(wait_at, gate.path());
        await_start(&running);
        let poison = pool.task::<(), ()>(|()| std::process::abort(), ()).retries(u32::MAX).submit();
        let error = outcome(poison).unwrap_err();
        assert_eq!((error.death().unwrap().signal(), error.attempts()), (Some("SIGABRT"), 4), "{error}");
        let error = outcome(pool.submit(pid, ())).unwrap_err();
        let Some(Refusal::Broken(why)) = error.refusal() else { panic!("not broken: {error}") };
        assert!(why.contains("more than 3") && why.contains("SIGABRT"), "{why}");
        assert!(running.running());
        gate.open();
        assert!(outcome(running).is_ok());
        in_time("shutdown", move || pool.shutdown(Shutdown::WAIT));
    });
}
