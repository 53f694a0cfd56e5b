//! A worker that takes nothing, and submitters that bring much.

mod support;

use concurrent_futures_core::{Executor, ExecutorExt, Refusal, Shutdown};
use concurrent_futures_process::{ProcessPoolExecutor, StartMethod};
use rustix::process::Signal;
use serde_bytes::ByteBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::*;

/// Many times what a socket holds.
const LARGE: usize = 8 << 20;
const BOUND: usize = 2;
const SUBMITTERS: usize = 4;

fn length(bytes: ByteBuf) -> usize {
    bytes.len()
}

#[test]
fn row23_a_stopped_worker_holds_up_nobody_but_those_who_wait_for_room() {
    with_both(|builder| {
        let pool = Arc::new(builder.max_workers(1).queue_bound(BOUND).build().unwrap());
        pool.warm_up().unwrap();
        let worker = pool.worker_pids()[0];
        stop(worker);
        // The first one fills the socket, the next ones the queue, and the others wait.
        let submitted = AtomicUsize::new(0);
        std::thread::scope(|s| {
            let submitters: Vec<_> = (0..SUBMITTERS)
                .map(|_| {
                    s.spawn(|| {
                        let one = || pool.submit(length, ByteBuf::from(vec![7; LARGE]));
                        let counted = |future| (submitted.fetch_add(1, Ordering::SeqCst), future).1;
                        [counted(one()), counted(one())]
                    })
                })
                .collect();
            eventually("the queue is full", || submitted.load(Ordering::SeqCst) == 1 + BOUND);
            // Nobody who looks, tries or has little time is held up.
            let others = pool.clone();
            in_time("whatever needs the lock", move || {
                assert_eq!((others.stats().queued, others.worker_pids().len()), (BOUND, 1));
                assert_eq!(others.try_submit(length, ByteBuf::new()).map(drop).unwrap_err().why, Refusal::Full);
                let late = others.submit_timeout(length, ByteBuf::new(), Duration::from_millis(20));
                assert_eq!(late.map(drop).unwrap_err().why, Refusal::Full);
                others.resize(1).unwrap();
            });
            assert_eq!(submitted.load(Ordering::SeqCst), 1 + BOUND, "what is in the socket is not more than one task");
            signal(worker, Signal::CONT);
            for future in submitters.into_iter().flat_map(|submitter| submitter.join().unwrap()) {
                assert_eq!(outcome(future).unwrap(), LARGE);
            }
        });
        in_time("shutdown", move || pool.shutdown(Shutdown::WAIT));
    });
}

#[test]
fn row23_killing_a_pool_with_a_stopped_worker_frees_those_who_wait() {
    with_both(|builder| {
        let pool = Arc::new(builder.max_workers(1).queue_bound(1).build().unwrap());
        pool.warm_up().unwrap();
        stop(pool.worker_pids()[0]);
        let submitters: Vec<_> = (0..4)
            .map(|_| {
                let pool = pool.clone();
                std::thread::spawn(move || pool.submit(length, ByteBuf::from(vec![7; LARGE])))
            })
            .collect();
        eventually("the queue is full", || pool.stats().queued == 1);
        pool.kill_workers();
        for submitter in submitters {
            let future = in_time("a submitter", move || submitter.join().unwrap());
            let error = outcome(future).unwrap_err();
            assert!(
                error.is_refused() || error.is_cancelled() || error.death().is_some_and(|d| d.by_pool()),
                "{error}"
            );
        }
        in_time("shutdown", move || pool.shutdown(Shutdown::WAIT));
    });
}

/// Says how much memory ten million tasks need: `cargo test --release --test backpressure -- --ignored --nocapture`.
#[test]
#[ignore = "takes minutes; a measurement"]
fn ten_million_tasks_through_a_bounded_queue() {
    fn square(x: u64) -> u64 {
        x.wrapping_mul(x)
    }
    let peak = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let tasks: u64 = std::env::var("TASKS").map_or(10_000_000, |n| n.parse().unwrap());
    let pool = ProcessPoolExecutor::builder().max_workers(2).queue_bound(1000);
    let pool = pool.build().unwrap();
    pool.warm_up().unwrap();
    let before = peak();
    let start = std::time::Instant::now();
    let sum = Arc::new(std::sync::atomic::AtomicU64::new(0));
    for n in 0..tasks {
        let sum = sum.clone();
        pool.submit(square, n).add_done_callback(move |outcome| {
            sum.fetch_add(outcome.as_ref().copied().unwrap(), Ordering::Relaxed);
        });
    }
    pool.shutdown(Shutdown::WAIT);
    let expected = (0..tasks).fold(0_u64, |sum, n| sum.wrapping_add(n.wrapping_mul(n)));
    assert_eq!(sum.load(Ordering::Relaxed), expected);
    let (time, after) = (start.elapsed(), peak());
    println!("{tasks} tasks in {time:.1?}; peak of memory before {before} KiB, after {after} KiB");
}

#[test]
fn row23_a_worker_that_is_stopped_while_it_is_idle_keeps_no_task_and_no_pool() {
    fn square(x: u64) -> u64 {
        x * x
    }
    std::thread::scope(|s| {
        for method in [StartMethod::ForkServer, StartMethod::Spawn] {
            let builder = move || ProcessPoolExecutor::builder().start_method(method);
            s.spawn(move || {
                // Two: the other one takes it.
                let pool = builder().max_workers(2).build().unwrap();
                pool.warm_up().unwrap();
                stop(pool.worker_pids()[0]);
                let futures: Vec<_> = (0..20).map(|n| pool.submit(square, n)).collect();
                for (n, future) in futures.into_iter().enumerate() {
                    assert_eq!(outcome(future).unwrap(), square(n as u64));
                }
                in_time("a shutdown", move || pool.shutdown(Shutdown::WAIT));
            });
            s.spawn(move || {
                // One: it is replaced. Also what is limited to one worker's life comes to an end.
                let pool = builder().max_workers(1).build().unwrap();
                pool.warm_up().unwrap();
                let stopped = pool.worker_pids()[0];
                stop(stopped);
                let future = pool.submit(square, 7);
                assert_eq!(outcome(future).unwrap(), 49);
                assert!(is_gone(stopped));
            });
        }
    });
}
