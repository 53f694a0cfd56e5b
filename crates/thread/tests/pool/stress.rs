//! Many threads at once.

use crate::gate::in_time;
use concurrent_futures_core::{Executor, ExecutorExt, Shutdown, as_completed};
use concurrent_futures_thread::ThreadPoolExecutor;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

#[test]
fn every_task_of_several_submitters_runs_once() {
    in_time(|| {
        for workers in [1, 2, 4, 8] {
            let pool = ThreadPoolExecutor::new(workers).unwrap();
            let runs: Vec<_> = (0..4 * 5_000).map(|_| AtomicUsize::new(0)).collect();
            let runs = Arc::new(runs);
            thread::scope(|s| {
                for submitter in 0..4 {
                    let (pool, runs) = (&pool, &runs);
                    s.spawn(move || {
                        let mut futures = Vec::new();
                        for i in 0..5_000 {
                            let runs = runs.clone();
                            let i = submitter * 5_000 + i;
                            futures.push(pool.spawn(move || runs[i].fetch_add(1, Ordering::Relaxed)));
                            // Sometimes the queue runs dry, and workers go to sleep.
                            if i % 97 == 0 {
                                futures.drain(..).for_each(|f| assert_eq!(f.result().unwrap(), 0));
                            }
                        }
                        futures.into_iter().for_each(|f| assert_eq!(f.result().unwrap(), 0));
                    });
                }
            });
            assert!(runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 1));
            pool.shutdown(Shutdown::WAIT);
            assert_eq!(pool.stats().finished, 20_000);
        }
    });
}

#[test]
fn one_at_a_time_never_hangs() {
    in_time(|| {
        for workers in [1, 2, 3] {
            let pool = ThreadPoolExecutor::new(workers).unwrap();
            for x in 0..20_000_u32 {
                assert_eq!(pool.submit(|x: u32| x, x).result().unwrap(), x);
            }
        }
    });
}

#[test]
fn waits_submits_and_scopes_in_tasks_of_tasks() {
    in_time(|| {
        let pool = Arc::new(ThreadPoolExecutor::new(3).unwrap());
        let tasks: Vec<_> = (0..200_u32)
            .map(|i| {
                let inner = pool.clone();
                pool.spawn(move || {
                    let doubled = inner.submit(|x: u32| x * 2, i);
                    let kind = i % 4;
                    let sum: u32 = match kind {
                        0 => inner.map(|x: u32| x, 0..20).sum::<Result<u32, _>>().unwrap(),
                        1 => as_completed(inner.submit_all(|x: u32| x, 0..20)).map(|f| f.result().unwrap()).sum(),
                        2 => inner.borrow_scope(|scope| scope.map(|x: u32| x + i, 0..20).map(Result::unwrap).sum()),
                        _ => inner.submit(|x: u32| x, 190).map(|x| x + 1).result().unwrap() - 1,
                    };
                    doubled.result().unwrap() + sum - if kind == 2 { 20 * i } else { 0 }
                })
            })
            .collect();
        for (i, task) in (0..).zip(tasks) {
            assert_eq!(task.result().unwrap(), 2 * i + 190);
        }
    });
}

#[test]
fn pools_come_and_go() {
    in_time(|| {
        let total = Arc::new(AtomicUsize::new(0));
        for round in 0..300 {
            let pool = ThreadPoolExecutor::new(1 + round % 4).unwrap();
            for _ in 0..round % 7 {
                let total = total.clone();
                pool.spawn(move || total.fetch_add(1, Ordering::Relaxed));
            }
        }
        assert_eq!(total.load(Ordering::Relaxed), (0..300).map(|round| round % 7).sum::<usize>());
    });
}

#[test]
fn cancel_races_with_the_start() {
    in_time(|| {
        let pool = ThreadPoolExecutor::new(2).unwrap();
        let ran = Arc::new(AtomicUsize::new(0));
        let mut cancelled = 0;
        for _ in 0..10_000 {
            let counter = ran.clone();
            let future = pool.spawn(move || counter.fetch_add(1, Ordering::Relaxed));
            cancelled += usize::from(future.cancel());
        }
        pool.shutdown(Shutdown::WAIT);
        assert_eq!(ran.load(Ordering::Relaxed) + cancelled, 10_000);
    });
}
