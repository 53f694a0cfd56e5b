//! Tasks that wait for tasks of their own pool. With one worker, each of these would lock up a pool that does nothing about it.

use crate::gate::{FOR_EVER, in_time};
use concurrent_futures_core::{Executor, ExecutorExt, ReturnWhen, as_completed, wait};
use concurrent_futures_thread::ThreadPoolExecutor;
use std::sync::Arc;

/// Runs `f` as a task of a pool with one worker, and gives it the pool.
fn on_one_worker<T: Send + 'static>(f: impl FnOnce(&ThreadPoolExecutor) -> T + Send + 'static) -> T {
    in_time(|| {
        let pool = Arc::new(ThreadPoolExecutor::new(1).unwrap());
        let inner = pool.clone();
        pool.spawn(move || f(&inner)).result().unwrap()
    })
}

fn double(x: u32) -> u32 {
    x * 2
}

#[test]
fn result_runs_the_awaited_task_in_place() {
    let (inner, outer) = on_one_worker(|pool| {
        (pool.spawn(|| std::thread::current().id()).result().unwrap(), std::thread::current().id())
    });
    assert_eq!(inner, outer);
}

#[test]
fn result_and_no_other_task_runs_in_place() {
    let ran = on_one_worker(|pool| {
        let here = std::thread::current().id();
        let before = pool.spawn(move || std::thread::current().id() == here);
        let awaited = pool.spawn(move || std::thread::current().id() == here);
        (awaited.result().unwrap(), before.done())
    });
    assert_eq!(ran, (true, false));
}

#[test]
fn wait_and_exception() {
    on_one_worker(|pool| {
        let future = pool.submit(double, 4);
        future.wait();
        assert_eq!(future.result().unwrap(), 8);
        assert!(pool.submit(double, 4).exception().is_none());
        assert_eq!(*pool.submit(double, 5).shared().result().unwrap(), 10);
    });
}

#[test]
fn waits_with_a_limit() {
    on_one_worker(|pool| {
        assert!(pool.submit(double, 4).wait_timeout(FOR_EVER));
        assert_eq!(pool.submit(double, 4).result_timeout(FOR_EVER).unwrap().unwrap(), 8);
    });
}

#[test]
fn as_completed_and_wait_for_many() {
    on_one_worker(|pool| {
        let mut seen: Vec<_> = as_completed(pool.submit_all(double, 0..10)).map(|f| f.result().unwrap()).collect();
        seen.sort();
        assert_eq!(seen, (0..10).map(double).collect::<Vec<_>>());
        let (done, not_done) = wait(pool.submit_all(double, 0..10), None, ReturnWhen::AllCompleted);
        assert_eq!((done.len(), not_done.len()), (10, 0));
    });
}

#[test]
fn derived_futures() {
    on_one_worker(|pool| {
        assert_eq!(pool.submit(double, 1).map(|x| x + 1).result().unwrap(), 3);
        assert_eq!(pool.submit(double, 1).then(pool, double).result().unwrap(), 4);
        let handle = pool.handle();
        assert_eq!(pool.submit(double, 1).and_then(move |x| handle.submit(double, x)).result().unwrap(), 4);
    });
}

#[test]
fn map_and_its_kin() {
    on_one_worker(|pool| {
        assert_eq!(pool.map(double, 0..100).sum::<Result<u32, _>>().unwrap(), 9900);
        assert_eq!(pool.map_unordered(double, 0..100).sum::<Result<u32, _>>().unwrap(), 9900);
        assert_eq!(pool.tasks(double, 0..).buffersize(3).nth(50).unwrap().unwrap(), 100);
    });
}

#[test]
fn a_task_that_somebody_else_has_started() {
    in_time(|| {
        let pool = Arc::new(ThreadPoolExecutor::new(2).unwrap());
        let gate = crate::gate::Gate::new();
        let held = gate.clone();
        let slow = pool.spawn(move || held.pass());
        gate.wait_for(1);
        // Both workers are taken: one by the slow task, one by a task that waits for it; a third task opens the gate.
        let waiting = pool.spawn(move || slow.result());
        pool.spawn(move || gate.open());
        waiting.result().unwrap().unwrap();
    });
}

fn fibonacci(pool: &Arc<ThreadPoolExecutor>, n: u32) -> u64 {
    if n < 2 {
        return n.into();
    }
    let inner = pool.clone();
    let left = pool.spawn(move || fibonacci(&inner, n - 1));
    let right = fibonacci(pool, n - 2);
    left.result().unwrap() + right
}

#[test]
fn recursion_as_deep_as_it_likes() {
    for workers in [1, 2, 4] {
        let sum = in_time(move || {
            let pool = Arc::new(ThreadPoolExecutor::new(workers).unwrap());
            fibonacci(&pool, 16)
        });
        assert_eq!(sum, 987);
    }
}

#[test]
fn recursion_by_waits_that_need_a_substitute_each() {
    fn down(pool: &Arc<ThreadPoolExecutor>, levels: u32) -> u32 {
        if levels == 0 {
            return 0;
        }
        let inner = pool.clone();
        let below = pool.spawn(move || down(&inner, levels - 1));
        assert!(below.wait_timeout(FOR_EVER));
        below.result().unwrap() + 1
    }
    let levels = in_time(|| down(&Arc::new(ThreadPoolExecutor::new(1).unwrap()), 100));
    assert_eq!(levels, 100);
}

#[test]
fn two_pools_that_wait_for_each_other() {
    let sum = in_time(|| {
        let a = Arc::new(ThreadPoolExecutor::new(1).unwrap());
        let b = Arc::new(ThreadPoolExecutor::new(1).unwrap());
        let (inner_a, inner_b) = (a.clone(), b.clone());
        a.spawn(move || inner_b.spawn(move || inner_a.submit(double, 21).result().unwrap()).result().unwrap()).result()
    });
    assert_eq!(sum.unwrap(), 42);
}
