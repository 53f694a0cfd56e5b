//! `wait` on futures of every executor. The truth about each state of a future is shown by the tests of core (`wait.rs`
//! there).

use crate::tasks::{hold, invert, occupy, square};
use concurrent_futures::{Executor, ExecutorExt, ReturnWhen, wait};
use concurrent_futures_conformance::{Kind, PATIENCE, Soon, Stage, tests};
use std::time::Duration;

use ReturnWhen::{AllCompleted, FirstCompleted, FirstException};

fn for_all(kind: Kind) {
    let ex = kind.pool(2);
    let futures = ex.submit_all(invert, [1, 0, 2]);
    let (done, not_done) = wait(futures, PATIENCE, AllCompleted);
    assert!(not_done.is_empty());
    assert!(done.into_iter().map(|future| future.soon().ok()).eq([Some(60), None, Some(30)]));
}

fn for_the_first(kind: Kind) {
    let (ex, stage) = (kind.pool(2), Stage::new());
    let (futures, mut arrivals) = occupy(&ex, &stage, 2);
    arrivals.pop();
    let (done, not_done) = wait(futures.into_iter().enumerate(), PATIENCE, FirstCompleted);
    assert!(done.iter().map(|(i, _)| *i).eq([1]) && not_done.iter().map(|(i, _)| *i).eq([0]));
}

fn for_the_first_exception(kind: Kind) {
    let (ex, stage) = (kind.pool(2), Stage::new());
    let (mut futures, _arrivals) = occupy(&ex, &stage, 1);
    // Bad luck behind good luck, on the worker that is free.
    futures.push(ex.submit(|x: u32| x, 1));
    futures.push(ex.submit(|x: u32| 1 / x, 0));
    let (done, not_done) = wait(futures.into_iter().enumerate(), PATIENCE, FirstException);
    assert!(done.iter().map(|(i, _)| *i).eq([1, 2]) && not_done.iter().map(|(i, _)| *i).eq([0]));
}

fn a_cancellation_is_no_exception(kind: Kind) {
    let (ex, stage) = (kind.pool(1), Stage::new());
    let (_running, arrivals) = occupy(&ex, &stage, 1);
    let futures = ex.submit_all(square, 0..3);
    assert!(futures[1].cancel());
    drop(arrivals);
    let (done, not_done) = wait(futures, PATIENCE, FirstException);
    assert_eq!((done.len(), not_done.len()), (3, 0), "it waited for all");
}

fn for_no_longer_than_it_should(kind: Kind) {
    let (ex, stage) = (kind.pool(2), Stage::new());
    let (mut futures, _arrivals) = occupy(&ex, &stage, 1);
    let done = ex.submit(|x: u32| x, 1);
    assert!(done.wait_timeout(PATIENCE));
    futures.push(done);
    for timeout in [Duration::ZERO, Duration::from_millis(10)] {
        let (done, not_done) = wait(&futures, timeout, AllCompleted);
        assert_eq!((done.len(), not_done.len()), (1, 1));
    }
    let (done, not_done) = wait(&futures, PATIENCE, FirstCompleted);
    assert_eq!((done.len(), not_done.len()), (1, 1), "one is done already");
}

fn for_nothing(kind: Kind) {
    let futures = kind.pool(1).submit_all(square, []);
    assert_eq!(wait(futures, None, AllCompleted).0.len(), 0);
}

/// CPython's `test_pending_calls_race`.
fn for_many_that_end_at_once(kind: Kind) {
    let ex = kind.pool(2);
    for _ in 0..10 {
        let futures = ex.submit_all(square, 0..100);
        let (done, not_done) = wait(futures, PATIENCE, AllCompleted);
        assert_eq!((done.len(), not_done.len()), (100, 0));
    }
}

#[test]
fn for_futures_of_different_executors() {
    let pools: Vec<Box<dyn Executor>> = Kind::ALL.into_iter().map(|kind| kind.pool(1)).collect();
    let stage = Stage::new();
    let futures: Vec<_> = pools[1..].iter().map(|ex| ex.submit(hold, (stage.ticket(), 1))).collect();
    let arrivals = stage.wait_for(futures.len());
    let serial = pools[0].submit(|x: u32| x, 1);
    let all = || futures.iter().chain([&serial]);
    assert_eq!(wait(all(), Duration::ZERO, AllCompleted).0.len(), 1);
    drop(arrivals);
    assert_eq!(wait(all(), PATIENCE, AllCompleted).0.len(), Kind::ALL.len());
}

tests! {
    all {
        for_all,
        for_nothing,
        for_many_that_end_at_once,
    }
    parallel {
        for_the_first,
        for_the_first_exception,
        a_cancellation_is_no_exception,
        for_no_longer_than_it_should,
    }
}
