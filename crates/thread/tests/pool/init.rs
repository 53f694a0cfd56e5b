//! Initializers.

use crate::gate::{Gate, in_time, until};
use concurrent_futures_core::{Executor, ExecutorExt, Refusal, Shutdown, TaskError};
use concurrent_futures_thread::ThreadPoolExecutor;
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

thread_local! {
    static SEEN: Cell<u32> = const { Cell::new(0) };
}

fn why(error: &TaskError) -> &str {
    match error.refusal() {
        Some(Refusal::Broken(why)) => why,
        other => panic!("not broken: {other:?}"),
    }
}

#[test]
fn each_worker_runs_it_before_its_first_task() {
    let pool =
        ThreadPoolExecutor::builder().max_workers(3).initializer(|x| SEEN.set(SEEN.get() + x), 7).build().unwrap();
    let gate = Gate::new();
    let seen: Vec<_> = (0..3)
        .map(|_| {
            let gate = gate.clone();
            pool.spawn(move || {
                gate.pass();
                SEEN.get()
            })
        })
        .collect();
    gate.wait_for(3);
    gate.open();
    let again = pool.spawn(|| SEEN.get());
    assert_eq!(seen.into_iter().map(|f| f.result().unwrap()).collect::<Vec<_>>(), [7, 7, 7]);
    assert_eq!(again.result().unwrap(), 7);
}

#[test]
fn it_may_return_a_result_and_take_what_is_not_sync() {
    let ok = |x: Cell<u8>| if x.get() == 3 { Ok(()) } else { Err("other") };
    let pool = ThreadPoolExecutor::builder().max_workers(1).initializer(ok, Cell::new(3)).build().unwrap();
    assert_eq!(pool.submit(|x: u8| x, 1).result().unwrap(), 1);
}

#[test]
fn an_error_breaks_the_pool() {
    let fails = |x: u32| Err::<(), _>(format!("no licence {x}"));
    let pool = ThreadPoolExecutor::builder().max_workers(2).initializer(fails, 7).build().unwrap();
    let error = pool.submit(|x: u8| x, 1).result().unwrap_err();
    assert!(why(&error).contains("no licence 7"), "{error}");
    until(|| pool.stats().workers == 0);
    let error = pool.submit(|x: u8| x, 1).result().unwrap_err();
    assert!(why(&error).contains("no licence 7"), "{error}");
    let refused = pool.try_submit(|x: u8| x, 9).unwrap_err();
    assert!(matches!((refused.args, refused.why), (9, Refusal::Broken(_))));
    pool.shutdown(Shutdown::WAIT);
}

#[test]
fn so_does_a_panic() {
    let panics = |x: u32| assert!(x > 9, "half-way");
    let pool = ThreadPoolExecutor::builder().max_workers(2).initializer(panics, 7).build().unwrap();
    let error = pool.submit(|x: u8| x, 1).result().unwrap_err();
    assert!(why(&error).contains("half-way") && why(&error).contains("init.rs"), "{error}");
}

#[test]
fn a_clone_that_panics_breaks_it_too() {
    struct Bad;
    impl Clone for Bad {
        fn clone(&self) -> Self {
            panic!("no clone");
        }
    }
    let pool = ThreadPoolExecutor::builder().max_workers(1).initializer(|_: Bad| (), Bad).build().unwrap();
    assert!(why(&pool.submit(|x: u8| x, 1).result().unwrap_err()).contains("no clone"));
}

#[test]
fn what_runs_is_finished_and_what_waits_fails() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    fn second_fails(gate: Gate) -> Result<(), &'static str> {
        if CALLS.fetch_add(1, Ordering::SeqCst) == 0 {
            return Ok(());
        }
        gate.pass();
        Err("the second")
    }
    in_time(|| {
        let (start, work) = (Gate::new(), Gate::new());
        let pool =
            ThreadPoolExecutor::builder().max_workers(2).initializer(second_fails, start.clone()).build().unwrap();
        let held = work.clone();
        let running = pool.spawn(move || {
            held.pass();
            5
        });
        work.wait_for(1);
        let queued: Vec<_> = pool.submit_all(|x: u8| x, 0..4);
        start.wait_for(1);
        start.open();
        for future in queued {
            assert!(why(&future.result().unwrap_err()).contains("the second"));
        }
        assert!(!running.done());
        work.open();
        assert_eq!(running.result().unwrap(), 5);
        drop(pool);
    });
}

#[test]
fn a_slow_one_does_not_hold_back_workers_that_are_ready() {
    static FIRST: AtomicUsize = AtomicUsize::new(0);
    fn second_is_slow(gate: Gate) {
        if FIRST.fetch_add(1, Ordering::SeqCst) > 0 {
            gate.pass();
        }
    }
    in_time(|| {
        let (slow, work) = (Gate::new(), Gate::new());
        let pool =
            ThreadPoolExecutor::builder().max_workers(2).initializer(second_is_slow, slow.clone()).build().unwrap();
        let held = work.clone();
        pool.spawn(move || held.pass());
        work.wait_for(1);
        let second = pool.spawn(|| thread::current().id());
        slow.wait_for(1);
        work.open();
        let first = second.result().unwrap();
        until(|| pool.stats().idle == 1);
        assert_eq!(pool.spawn(|| thread::current().id()).result().unwrap(), first);
        slow.open();
    });
}
