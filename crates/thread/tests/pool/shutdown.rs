//! The end of a pool: by `shutdown`, by drop, by its own workers.

use crate::gate::{FOR_EVER, Gate, OnDrop, in_time, until};
use concurrent_futures_core::{Executor, ExecutorExt, OnDrop as WhatDropDoes, Refusal, Shutdown};
use concurrent_futures_thread::ThreadPoolExecutor;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

fn refused(pool: &dyn Executor) -> bool {
    match pool.submit(|x: u8| x, 1).result() {
        Ok(_) => false,
        Err(error) => error.refusal() == Some(&Refusal::ShutDown),
    }
}

/// A pool with one worker, which is held at the gate.
fn held() -> (ThreadPoolExecutor, Gate) {
    let pool = ThreadPoolExecutor::new(1).unwrap();
    let gate = Gate::new();
    let at_gate = gate.clone();
    pool.spawn(move || at_gate.pass());
    gate.wait_for(1);
    (pool, gate)
}

#[test]
fn it_may_be_said_any_number_of_times_in_any_words() {
    let pool = ThreadPoolExecutor::new(2).unwrap();
    let future = pool.submit(|x: u8| x, 1);
    for how in [Shutdown::NO_WAIT, Shutdown::WAIT, Shutdown::WAIT.cancel_futures(), Shutdown::WAIT] {
        pool.shutdown(how);
        assert!(refused(&pool));
    }
    let back = pool.try_submit(|x: u8| x, 9).unwrap_err();
    assert_eq!((back.args, back.why), (9, Refusal::ShutDown));
    assert_eq!(future.result().unwrap(), 1);
    ThreadPoolExecutor::new(2).unwrap().shutdown(Shutdown::WAIT);
}

#[test]
fn waiting_means_that_all_accepted_work_is_done_and_released() {
    let pool = ThreadPoolExecutor::new(2).unwrap();
    let (dropped, drops) = mpsc::channel();
    let gate = Gate::new();
    for _ in 0..50 {
        let (gate, dropped) = (gate.clone(), OnDrop(dropped.clone()));
        pool.spawn(move || {
            gate.pass();
            dropped
        });
    }
    gate.wait_for(2);
    let opener = {
        let gate = gate.clone();
        thread::spawn(move || gate.open())
    };
    pool.shutdown(Shutdown::WAIT);
    assert_eq!(drops.try_iter().count(), 50);
    assert_eq!((pool.stats().workers, pool.stats().queued, pool.stats().finished), (0, 0, 50));
    opener.join().unwrap();
}

#[test]
fn not_waiting_means_that_the_work_is_done_all_the_same() {
    let (pool, gate) = held();
    let futures = pool.submit_all(|x: u32| x, 0..20);
    pool.shutdown(Shutdown::NO_WAIT);
    assert!(refused(&pool) && !futures[0].done());
    drop(pool); // does not wait either: otherwise the gate would never be opened
    gate.open();
    for (future, x) in futures.into_iter().zip(0..) {
        assert_eq!(future.result().unwrap(), x);
    }
}

#[test]
fn what_has_not_started_can_be_cancelled() {
    let (pool, gate) = held();
    let futures = pool.submit_all(|x: u32| x, 0..20);
    let (called, calls) = mpsc::channel();
    futures[0].add_done_callback(move |outcome| called.send(outcome.as_ref().unwrap_err().is_cancelled()).unwrap());
    pool.shutdown(Shutdown::NO_WAIT.cancel_futures());
    assert!(calls.recv_timeout(FOR_EVER).unwrap());
    assert!(futures.iter().all(|future| future.cancelled()));
    gate.open();
    pool.shutdown(Shutdown::WAIT);
    assert_eq!(pool.stats().finished, 21);
}

#[test]
fn callbacks_of_the_cancelled_may_use_the_pool() {
    in_time(|| {
        let (pool, gate) = held();
        let pool = Arc::new(pool);
        let future = pool.submit(|x: u8| x, 1);
        let (inner, (told, answers)) = (pool.clone(), mpsc::channel());
        future.add_done_callback(move |_| {
            told.send((refused(&inner), inner.stats().queued)).unwrap();
            inner.shutdown(Shutdown::NO_WAIT);
        });
        pool.shutdown(Shutdown::NO_WAIT.cancel_futures());
        assert_eq!(answers.recv_timeout(FOR_EVER).unwrap(), (true, 0));
        gate.open();
    });
}

#[test]
fn many_may_wait_for_the_end_at_once() {
    in_time(|| {
        let (pool, gate) = held();
        let futures = pool.submit_all(|x: u32| x, 0..100);
        thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    pool.shutdown(Shutdown::WAIT);
                    assert_eq!(pool.stats().workers, 0);
                    assert!(futures.iter().all(|future| future.done()));
                });
            }
            until(|| pool.try_submit(|x: u32| x, 0).is_err());
            gate.open();
        });
    });
}

#[test]
fn a_task_does_not_wait_for_the_end_of_its_own_pool() {
    in_time(|| {
        let pool = Arc::new(ThreadPoolExecutor::new(1).unwrap());
        let (inner, gate) = (pool.clone(), Gate::new());
        let at_gate = gate.clone();
        let task = pool.spawn(move || {
            at_gate.pass();
            inner.shutdown(Shutdown::WAIT);
            refused(&inner)
        });
        let queued = pool.submit(|x: u8| x, 1);
        gate.open();
        assert!(task.result().unwrap());
        assert_eq!(queued.result().unwrap(), 1);
        pool.shutdown(Shutdown::WAIT);
    });
}

#[test]
fn the_last_owner_may_be_a_task() {
    in_time(|| {
        let pool = Arc::new(ThreadPoolExecutor::new(2).unwrap());
        let (inner, gate) = (pool.clone(), Gate::new());
        let at_gate = gate.clone();
        let task = pool.spawn(move || {
            at_gate.pass();
            Arc::into_inner(inner).is_some()
        });
        let queued = pool.submit(|x: u8| x, 1);
        drop(pool);
        gate.open();
        assert!(task.result().unwrap());
        assert_eq!(queued.result().unwrap(), 1);
    });
}

#[test]
fn the_last_owner_may_be_a_thread_local_of_a_worker() {
    thread_local! {
        static POOL: std::cell::RefCell<Option<(Arc<ThreadPoolExecutor>, OnDrop)>> = const { std::cell::RefCell::new(None) };
    }
    let pool = Arc::new(ThreadPoolExecutor::new(1).unwrap());
    let (dropped, drops) = mpsc::channel();
    let inner = pool.clone();
    pool.spawn(move || POOL.set(Some((inner, OnDrop(dropped))))).result().unwrap();
    pool.shutdown(Shutdown::NO_WAIT);
    drop(pool);
    drops.recv_timeout(FOR_EVER).unwrap();
}

#[test]
fn drop_waits_also_when_the_block_panics() {
    let (dropped, drops) = mpsc::channel();
    let outcome = std::panic::catch_unwind(|| {
        let (pool, gate) = held();
        for _ in 0..10 {
            let dropped = OnDrop(dropped.clone());
            pool.spawn(move || drop(dropped));
        }
        gate.open();
        panic!("out of the block");
    });
    assert!(outcome.is_err());
    assert_eq!(drops.try_iter().count(), 10);
}

#[test]
fn scope_is_a_block() {
    let future = ThreadPoolExecutor::new(2).unwrap().scope(|ex| ex.submit(|x: u8| x, 1));
    assert!(future.done());
    let pool = ThreadPoolExecutor::new(2).unwrap();
    (&pool).scope(|ex| ex.submit(|x: u8| x, 1)).result().unwrap();
    assert!(!refused(&pool));
}

#[test]
fn drop_cancels_what_is_pending_when_told_to() {
    let pool = ThreadPoolExecutor::builder().max_workers(1).on_drop(WhatDropDoes::CancelPending).build().unwrap();
    let gate = Gate::new();
    let at_gate = gate.clone();
    let running = pool.spawn(move || at_gate.pass());
    gate.wait_for(1);
    let queued = pool.submit_all(|x: u8| x, 0..5);
    let (done, told) = mpsc::channel();
    let (cancelled, last) = (Gate::new(), gate.clone());
    let seen = cancelled.clone();
    queued[4].add_done_callback(move |_| seen.open());
    let opener = thread::spawn(move || {
        cancelled.pass();
        done.send(()).unwrap();
        last.open();
    });
    drop(pool);
    assert!(running.done(), "drop waits for what runs");
    told.try_recv().unwrap();
    assert!(queued.iter().all(|future| future.cancelled()));
    opener.join().unwrap();
}

#[test]
fn drop_waits_for_nothing_when_told_to_kill() {
    let pool = ThreadPoolExecutor::builder().max_workers(1).on_drop(WhatDropDoes::Kill).build().unwrap();
    let gate = Gate::new();
    let at_gate = gate.clone();
    let running = pool.spawn(move || at_gate.pass());
    gate.wait_for(1);
    let queued = pool.submit(|x: u8| x, 0);
    drop(pool);
    assert!(queued.cancelled() && running.running());
    gate.open();
    running.result().unwrap();
}

#[test]
fn a_handle_does_not_keep_the_pool_alive() {
    let pool = ThreadPoolExecutor::new(2).unwrap();
    let handle = pool.handle();
    assert_eq!(handle.submit(|x: u8| x + 1, 1).result().unwrap(), 2);
    assert_eq!((handle.num_workers(), handle.stats().workers), (2, 1));
    drop(pool);
    assert!(refused(&handle) && refused(&handle.handle()));
    let back = handle.try_submit(|x: u8| x, 9).unwrap_err();
    assert_eq!((back.args, back.why), (9, Refusal::ShutDown));
    assert_eq!((handle.num_workers(), handle.stats().workers), (2, 0));
    handle.shutdown(Shutdown::WAIT);
    assert!(format!("{handle:?}").contains("ended"));
}

#[test]
fn a_handle_can_end_the_pool() {
    let pool = ThreadPoolExecutor::new(2).unwrap();
    pool.handle().shutdown(Shutdown::WAIT);
    assert!(refused(&pool));
}

#[test]
fn chains_end_with_the_pool() {
    let (pool, gate) = held();
    let chained = pool.submit(|x: u8| x, 1).then(&pool, |x| x + 1);
    pool.shutdown(Shutdown::NO_WAIT);
    gate.open();
    assert_eq!(chained.result().unwrap_err().refusal(), Some(&Refusal::ShutDown));
}

#[test]
fn a_submit_that_races_with_the_end_resolves_its_future() {
    static RUN: AtomicUsize = AtomicUsize::new(0);
    for round in 0..200 {
        RUN.store(0, Ordering::SeqCst);
        let pool = ThreadPoolExecutor::new(1 + round % 3).unwrap();
        let accepted = thread::scope(|s| {
            let submitters: Vec<_> = (0..3)
                .map(|_| {
                    s.spawn(|| {
                        let futures: Vec<_> =
                            (0..50).map(|_| pool.spawn(|| RUN.fetch_add(1, Ordering::SeqCst))).collect();
                        let accepted = |future: concurrent_futures_core::Future<_>| match future.result() {
                            Ok(_) => true,
                            Err(error) => {
                                assert!(error.is_refused() || error.is_cancelled(), "{error}");
                                false
                            }
                        };
                        futures.into_iter().filter_map(|future| accepted(future).then_some(())).count()
                    })
                })
                .collect();
            pool.shutdown(match round % 4 {
                0 => Shutdown::WAIT,
                1 => Shutdown::NO_WAIT,
                2 => Shutdown::WAIT.cancel_futures(),
                _ => Shutdown::NO_WAIT.cancel_futures(),
            });
            submitters.into_iter().map(|s| s.join().unwrap()).sum::<usize>()
        });
        assert_eq!(accepted, RUN.load(Ordering::SeqCst));
    }
}
