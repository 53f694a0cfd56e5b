//! Many submitters, many tasks, and everything at once.

mod support;

use concurrent_futures_core::{Executor, ExecutorExt};
use concurrent_futures_process::ProcessPoolExecutor;
use support::*;

fn square(x: u64) -> u64 {
    x * x
}

#[test]
fn four_submitters_and_thousands_of_tasks() {
    const EACH: u64 = 5000;
    with_both(|builder| {
        let pool = builder.max_workers(3).build().unwrap();
        std::thread::scope(|s| {
            for thread in 0..4 {
                let pool = &pool;
                s.spawn(move || {
                    let futures: Vec<_> = (0..EACH).map(|n| pool.submit(square, thread * EACH + n)).collect();
                    for (n, future) in futures.into_iter().enumerate() {
                        assert_eq!(outcome(future).unwrap(), square(thread * EACH + n as u64));
                    }
                });
            }
        });
        eventually("everything is counted", || pool.stats().finished == 4 * EACH);
    });
}

#[test]
fn one_at_a_time_from_many_threads() {
    let pool = pool(2);
    std::thread::scope(|s| {
        for thread in 0..4_u64 {
            let pool = &pool;
            s.spawn(move || {
                for n in 0..500 {
                    assert_eq!(outcome(pool.submit(square, thread + n)).unwrap(), square(thread + n));
                }
            });
        }
    });
}

#[test]
fn cancelling_races_with_starting_and_nothing_runs_that_was_cancelled() {
    let place = Place::new();
    let pool = ProcessPoolExecutor::builder().max_workers(2).build().unwrap();
    let (mut cancelled, mut finished) = (0, 0);
    for round in 0..60 {
        let mut futures: Vec<_> = (0..40)
            .map(|n| {
                let mark = place.path(&format!("{round}-{n}"));
                (mark.clone(), pool.submit(touch, mark))
            })
            .collect();
        // The workers are at it when the race begins.
        assert!(outcome(futures.remove(0).1).is_ok());
        let outcomes: Vec<_> = futures
            .into_iter()
            .rev()
            .map(|(mark, future)| {
                let claimed = future.cancel();
                (mark, claimed, outcome(future))
            })
            .collect();
        for (mark, claimed, outcome) in outcomes {
            assert_eq!(claimed, outcome.as_ref().is_err_and(|error| error.is_cancelled()));
            assert_eq!(claimed, !exists(&mark), "cancelled means: it never ran");
            assert!(claimed || outcome.is_ok());
            if claimed { cancelled += 1 } else { finished += 1 }
        }
    }
    eprintln!("{cancelled} cancelled, {finished} finished");
}

#[test]
fn sizes_of_all_kinds() {
    let pool = pool(2);
    let sizes: Vec<usize> = (0..300).map(|n| (n * n * 37) % 200_000 + n % 3 * 70_000).collect();
    let echo = |bytes: serde_bytes::ByteBuf| bytes;
    let made = |n: usize| serde_bytes::ByteBuf::from((0..n).map(|i| (i * 31 + n) as u8).collect::<Vec<_>>());
    let futures: Vec<_> = sizes.iter().map(|n| pool.submit(echo, made(*n))).collect();
    for (n, future) in sizes.iter().zip(futures) {
        assert!(outcome(future).unwrap() == made(*n));
    }
}
