//! A queue with little room.

use crate::gate::{Gate, in_time, until};
use concurrent_futures_core::{Executor, ExecutorExt, Refusal, Shutdown};
use concurrent_futures_thread::ThreadPoolExecutor;
use std::sync::Arc;
use std::thread;

/// A pool with one worker, which is held at the gate, and a queue for two.
fn held() -> (Arc<ThreadPoolExecutor>, Gate) {
    let pool = ThreadPoolExecutor::builder().max_workers(1).queue_bound(2).build().unwrap();
    let gate = Gate::new();
    let at_gate = gate.clone();
    pool.spawn(move || at_gate.pass());
    gate.wait_for(1);
    (Arc::new(pool), gate)
}

#[test]
fn try_submit_says_that_it_is_full_and_gives_the_argument_back() {
    let (pool, gate) = held();
    let futures = [pool.try_submit(|x: u8| x, 1).unwrap(), pool.try_submit(|x: u8| x, 2).unwrap()];
    let refused = pool.try_submit(|s: String| s, "kept".to_owned()).unwrap_err();
    assert_eq!((refused.args.as_str(), refused.why), ("kept", Refusal::Full));
    gate.open();
    for (future, value) in futures.into_iter().zip(1..) {
        assert_eq!(future.result().unwrap(), value);
    }
    pool.try_submit(|x: u8| x, 3).unwrap();
}

#[test]
fn submit_waits_for_room() {
    in_time(|| {
        let (pool, gate) = held();
        let submitters: Vec<_> = (0..8_u32)
            .map(|x| {
                let pool = pool.clone();
                thread::spawn(move || pool.submit(|x: u32| x, x).result().unwrap())
            })
            .collect();
        until(|| pool.stats().queued == 2);
        assert!(!submitters.iter().any(thread::JoinHandle::is_finished));
        gate.open();
        assert_eq!(submitters.into_iter().map(|s| s.join().unwrap()).sum::<u32>(), 28);
    });
}

#[test]
fn a_worker_does_not_wait_for_the_room_that_it_makes() {
    in_time(|| {
        let (pool, gate) = held();
        gate.open();
        let inner = pool.clone();
        let sum = pool.spawn(move || {
            let futures = inner.submit_all(|x: u32| x, 0..50);
            futures.into_iter().map(|f| f.result().unwrap()).sum::<u32>()
        });
        assert_eq!(sum.result().unwrap(), 1225);
    });
}

#[test]
fn a_worker_of_another_pool_is_replaced_while_it_waits_for_room() {
    in_time(|| {
        let (pool, gate) = held();
        pool.submit_all(|x: u8| x, 0..2);
        let other = ThreadPoolExecutor::new(1).unwrap();
        let inner = pool.clone();
        let waiting = other.spawn(move || inner.submit(|x: u8| x, 7).result());
        // The other pool has one worker, which waits for room.
        other.spawn(move || gate.open()).result().unwrap();
        assert_eq!(waiting.result().unwrap().unwrap(), 7);
    });
}

#[test]
fn the_end_of_the_pool_ends_the_wait_for_room() {
    in_time(|| {
        let (pool, gate) = held();
        let queued = pool.submit_all(|x: u8| x, 0..2);
        let waiting = {
            let pool = pool.clone();
            thread::spawn(move || pool.submit(|x: u8| x, 1).result())
        };
        pool.shutdown(Shutdown::NO_WAIT);
        let error = waiting.join().unwrap().unwrap_err();
        assert_eq!(error.refusal(), Some(&Refusal::ShutDown));
        gate.open();
        for future in queued {
            future.result().unwrap();
        }
    });
}

#[test]
fn everything_gets_through_a_queue_for_one() {
    in_time(|| {
        let pool = ThreadPoolExecutor::builder().max_workers(3).queue_bound(1).build().unwrap();
        let total = thread::scope(|s| {
            let submitters: Vec<_> =
                (0..4).map(|_| s.spawn(|| pool.map(|x: u64| x, 0..500).sum::<Result<u64, _>>().unwrap())).collect();
            submitters.into_iter().map(|s| s.join().unwrap()).sum::<u64>()
        });
        assert_eq!(total, 4 * 124_750);
    });
}
