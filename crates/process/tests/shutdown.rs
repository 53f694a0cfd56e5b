//! The end of a pool, in all its forms.

mod support;

use concurrent_futures_core::{Executor, ExecutorExt, OnDrop, Refusal, Shutdown};
use concurrent_futures_process::ProcessPoolExecutor;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::*;

fn square(x: u64) -> u64 {
    x * x
}

/// Workers that live, and their fork server.
fn server_and_workers(pool: &ProcessPoolExecutor) -> Vec<u32> {
    let workers = pool.worker_pids();
    workers.into_iter().flat_map(|pid| [pid, parent_of(pid)]).filter(|pid| *pid != std::process::id()).collect()
}

/// None of these processes is left when `end` has returned.
fn leaves_nothing(
    what: &str,
    processes: Vec<u32>,
    pool: ProcessPoolExecutor,
    end: impl FnOnce(ProcessPoolExecutor) + Send + 'static,
) {
    assert!(!processes.is_empty());
    in_time(what, move || end(pool));
    for pid in processes {
        assert!(is_gone(pid), "{what}: process {pid} is still there");
    }
}

fn parent_of(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn waiting_finishes_everything_and_leaves_nothing() {
    with_both(|builder| {
        let pool = builder.max_workers(2).build().unwrap();
        let futures: Vec<_> = (0..50).map(|n| pool.submit(square, n)).collect();
        eventually("the workers are up", || pool.worker_pids().len() == 2);
        leaves_nothing("shutdown", server_and_workers(&pool), pool, |pool| {
            pool.shutdown(Shutdown::WAIT);
            pool.shutdown(Shutdown::WAIT.cancel_futures());
            assert_eq!(pool.submit(square, 1).result().unwrap_err().refusal(), Some(&Refusal::ShutDown));
        });
        for (n, future) in futures.into_iter().enumerate() {
            assert!(future.done());
            assert_eq!(outcome(future).unwrap(), square(n as u64));
        }
    });
}

#[test]
fn not_waiting_returns_at_once_and_finishes_everything() {
    let pool = pool(2);
    let place = Place::new();
    let mut gate = place.gate("gate");
    let futures: Vec<_> = (0..5).map(|_| pool.submit(wait_at, gate.path())).collect();
    pool.shutdown(Shutdown::NO_WAIT);
    assert!(futures.iter().all(|future| !future.done()));
    assert!(pool.submit(square, 1).result().unwrap_err().is_refused());
    drop(pool);
    gate.open();
    for future in futures {
        outcome(future).unwrap();
    }
}

#[test]
fn cancelling_takes_everything_that_has_not_started() {
    with_both(|builder| {
        let pool = builder.max_workers(1).build().unwrap();
        let place = Place::new();
        let (mut first_gate, mut second_gate) = (place.gate("first"), place.gate("second"));
        let first = pool.submit(wait_at, first_gate.path());
        let second = pool.submit(wait_at, second_gate.path());
        let marks: Vec<_> = (0..50).map(|n| place.path(&n.to_string())).collect();
        let pending: Vec<_> = marks.iter().map(|mark| pool.submit(touch, mark.clone())).collect();
        first_gate.open();
        await_start(&second);
        pool.shutdown(Shutdown::NO_WAIT.cancel_futures());
        for future in &pending {
            assert!(future.cancelled(), "also what had been given to the worker already");
        }
        second_gate.open();
        in_time("shutdown", move || pool.shutdown(Shutdown::WAIT));
        assert!(outcome(first).is_ok() && outcome(second).is_ok());
        assert!(!marks.iter().any(|mark| exists(mark)));
    });
}

#[test]
fn callbacks_have_run_when_a_waiting_shutdown_returns() {
    let pool = pool(2);
    let called = Arc::new(AtomicUsize::new(0));
    for n in 0..100 {
        let called = called.clone();
        pool.submit(square, n).add_done_callback(move |_| {
            called.fetch_add(1, Ordering::SeqCst);
        });
    }
    pool.shutdown(Shutdown::WAIT);
    assert_eq!(called.load(Ordering::SeqCst), 100);
}

#[test]
fn shutdown_from_a_callback_of_the_pool_does_not_deadlock() {
    for how in [Shutdown::WAIT, Shutdown::NO_WAIT, Shutdown::WAIT.cancel_futures()] {
        let pool = Arc::new(pool(2));
        let (done, ended) = std::sync::mpsc::channel();
        let inside = pool.clone();
        let first = pool.submit(square, 2);
        first.add_done_callback(move |_| {
            inside.shutdown(how);
            done.send(()).unwrap();
        });
        let rest: Vec<_> = (0..10).map(|n| pool.submit(square, n)).collect();
        ended.recv_timeout(LIMIT).unwrap();
        for future in rest {
            let outcome = outcome(future);
            assert!(outcome.as_ref().is_ok_and(|_| true) || outcome.is_err_and(|e| e.is_refused() || e.is_cancelled()));
        }
        in_time("drop", move || drop(pool));
    }
}

#[test]
fn the_last_owner_may_be_a_callback() {
    let pool = Arc::new(pool(1));
    let (done, ended) = std::sync::mpsc::channel();
    let inside = pool.clone();
    pool.submit(square, 2).add_done_callback(move |_| {
        drop(inside);
        done.send(()).unwrap();
    });
    drop(pool);
    ended.recv_timeout(LIMIT).unwrap();
}

#[test]
fn dropping_waits_cancels_or_kills() {
    let place = Place::new();
    let mark = place.path("mark");
    let pool = ProcessPoolExecutor::builder().max_workers(1).build().unwrap();
    for _ in 0..20 {
        pool.submit(square, 1);
    }
    pool.submit(touch, mark.clone());
    drop(pool);
    assert!(exists(&mark), "by default dropping waits for all work");

    let mut gate = place.gate("gate");
    let pool = ProcessPoolExecutor::builder().max_workers(1).on_drop(OnDrop::CancelPending).build().unwrap();
    let running = pool.submit(wait_at, gate.path());
    let pending: Vec<_> = (0..10).map(|n| pool.submit(square, n)).collect();
    await_start(&running);
    std::thread::scope(|s| {
        s.spawn(|| drop(pool));
        eventually("the rest is cancelled", || pending.iter().all(|future| future.cancelled()));
        gate.open();
    });
    assert!(outcome(running).is_ok());

    let closed = place.gate("closed");
    let pool = ProcessPoolExecutor::builder().max_workers(2).on_drop(OnDrop::Kill).build().unwrap();
    let running: Vec<_> = (0..2).map(|_| pool.submit(wait_at, closed.path())).collect();
    let pending = pool.submit(square, 3);
    running.iter().for_each(await_start);
    leaves_nothing("drop", server_and_workers(&pool), pool, drop);
    for future in running {
        let error = outcome(future).unwrap_err();
        let death = error.death().unwrap();
        assert!(death.by_pool() && death.signal() == Some("SIGKILL"), "{error}");
    }
    assert!(outcome(pending).unwrap_err().is_cancelled());
}

#[test]
fn terminate_and_kill_end_the_workers() {
    with_both(|builder| {
        let place = Place::new();
        let closed = place.gate("closed");
        let pool = builder.max_workers(2).build().unwrap();
        let running = pool.submit(wait_at, closed.path());
        await_start(&running);
        let pending: Vec<_> = (0..10).map(|_| pool.submit(wait_at, closed.path())).collect();
        let processes = server_and_workers(&pool);
        pool.terminate_workers();
        assert!(pool.submit(square, 1).result().unwrap_err().is_refused());
        let error = outcome(running).unwrap_err();
        assert!(error.death().unwrap().by_pool() && error.death().unwrap().signal() == Some("SIGTERM"), "{error}");
        for future in pending {
            let error = outcome(future).unwrap_err();
            assert!(error.is_cancelled() || error.death().is_some_and(|death| death.by_pool()), "{error}");
        }
        pool.kill_workers();
        leaves_nothing("shutdown", processes, pool, |pool| pool.shutdown(Shutdown::WAIT));
    });
}

#[test]
fn a_pool_that_did_nothing_ends_at_once() {
    with_both(|builder| {
        let pool = builder.max_workers(2).build().unwrap();
        pool.terminate_workers();
        pool.kill_workers();
        in_time("shutdown", move || pool.shutdown(Shutdown::WAIT));
    });
    for _ in 0..20 {
        drop(pool(1));
    }
}

#[test]
fn submitting_and_cancelling_at_once_does_not_hang_the_shutdown() {
    for _ in 0..30 {
        let pool = pool(1);
        let future = pool.submit(square, 1);
        future.cancel();
        in_time("shutdown", move || pool.shutdown(Shutdown::WAIT));
        assert!(future.done());
    }
}

#[test]
fn many_submitters_and_shutdowns_race_and_every_future_resolves() {
    for round in 0..10 {
        let pool = Arc::new(pool(2));
        let stop = AtomicBool::new(false);
        let futures = Mutex::new(Vec::new());
        std::thread::scope(|s| {
            for _ in 0..3 {
                s.spawn(|| {
                    let mut n = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let future = pool.submit(square, n);
                        futures.lock().unwrap().push((n, future));
                        n += 1;
                    }
                });
            }
            eventually("there is some work", || futures.lock().unwrap().len() > 200);
            let enders: Vec<_> = (0..3)
                .map(|n| {
                    let pool = pool.clone();
                    let how = match (n + round) % 3 {
                        0 => Shutdown::WAIT,
                        1 => Shutdown::NO_WAIT,
                        _ => Shutdown::WAIT.cancel_futures(),
                    };
                    s.spawn(move || pool.shutdown(how))
                })
                .collect();
            for ender in enders {
                ender.join().unwrap();
            }
            stop.store(true, Ordering::Relaxed);
        });
        for (n, future) in futures.into_inner().unwrap() {
            match outcome(future) {
                Ok(value) => assert_eq!(value, square(n)),
                Err(error) => assert!(error.is_cancelled() || error.is_refused(), "{error}"),
            }
        }
    }
}

#[test]
fn no_descriptor_and_no_thread_is_left() {
    // In a worker, where no other test opens and closes things.
    let outer = pool(1);
    let left = outer.submit(
        |()| {
            let run = || {
                let pool = ProcessPoolExecutor::new(2).unwrap();
                pool.map(square, 0..100).count();
                pool.submit::<(), ()>(|()| std::process::abort(), ()).wait();
            };
            run();
            let before = files_and_threads((usize::MAX, usize::MAX));
            for _ in 0..10 {
                run();
            }
            files_and_threads(before);
        },
        (),
    );
    outcome(left).unwrap();
}

#[test]
fn a_shutdown_with_a_limit_says_what_is_not_done() {
    with_both(|builder| {
        let place = Place::new();
        let mut gate = place.gate("gate");
        let pool = builder.max_workers(1).build().unwrap();
        let running = pool.task(wait_at, gate.path()).name("first").submit();
        await_start(&running);
        let waiting: Vec<_> = (0..3).map(|_| pool.submit(wait_at, gate.path())).collect();
        let late = pool.shutdown_timeout(Shutdown::WAIT, Duration::from_millis(20)).unwrap_err();
        let [first, rest @ ..] = late.tasks() else { panic!("{late}") };
        assert!(first.running && first.id == running.id() && first.name.as_deref() == Some("first"), "{late}");
        assert!(rest.iter().all(|task| !task.running && task.name.is_none()), "{late}");
        let ids = |tasks: &[concurrent_futures_core::UnfinishedTask]| tasks.iter().map(|t| t.id).collect::<Vec<_>>();
        assert_eq!(ids(rest), waiting.iter().map(|future| future.id()).collect::<Vec<_>>());
        let late = pool.shutdown_timeout(Shutdown::WAIT.cancel_futures(), Duration::from_millis(20)).unwrap_err();
        assert_eq!(ids(late.tasks()), [running.id()]);
        assert!(waiting.iter().all(|future| future.cancelled()));
        gate.open();
        pool.shutdown_timeout(Shutdown::WAIT, LIMIT).unwrap();
        assert!(running.done() && pool.worker_pids().is_empty());
        pool.shutdown_timeout(Shutdown::WAIT, Duration::ZERO).unwrap();
    });
}

#[test]
fn a_shutdown_with_a_limit_waits_for_callbacks_too() {
    let pool = pool(1);
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let future = pool.submit(square, 2);
    future.add_done_callback(move |_| blocked.recv().unwrap());
    eventually("the task is done", || future.done());
    let late = pool.shutdown_timeout(Shutdown::WAIT, Duration::from_millis(50)).unwrap_err();
    assert!(late.tasks().is_empty(), "{late}");
    release.send(()).unwrap();
    pool.shutdown_timeout(Shutdown::WAIT, LIMIT).unwrap();
}
