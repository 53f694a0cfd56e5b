//! Nothing is kept longer than it is needed, neither here nor in a worker.

use crate::tasks::square;
use concurrent_futures::{ExecutorExt, ThreadPoolExecutor};
use concurrent_futures_conformance::{Kind, Soon, Stage, Witness, tests, until};
use std::sync::Arc;

/// Reads the drops of a witness, of which there is one here and, where tasks travel, one in the worker.
fn witness_drops(kind: Kind, stage: &Stage, word: &str) {
    let own = std::process::id();
    let mut pids: Vec<u32> = stage
        .wait_for(1 + usize::from(kind.is_process()))
        .iter()
        .inspect(|arrival| assert_eq!(arrival.words(), format!("dropped {word}")))
        .map(|arrival| arrival.pid())
        .collect();
    pids.retain(|pid| *pid == own);
    assert_eq!(pids, [own], "one of them was here");
}

/// CPython's `test_no_stale_references` and `test_ressources_gced_in_workers`.
fn the_argument_goes_when_the_task_has_run(kind: Kind) {
    let (ex, stage) = (kind.pool(1), Stage::new());
    let future = ex.submit(|_: Witness| 1, Witness::new(stage.ticket(), "argument"));
    witness_drops(kind, &stage, "argument");
    assert_eq!(future.soon().unwrap(), 1);
    drop(ex.submit(|_: Witness| 1, Witness::new(stage.ticket(), "ignored")));
    witness_drops(kind, &stage, "ignored");
}

fn the_argument_goes_when_the_task_panics(kind: Kind) {
    let (ex, stage) = (kind.pool(1), Stage::new());
    let future = ex.submit(|_: Witness| -> u8 { panic!("with it") }, Witness::new(stage.ticket(), "argument"));
    witness_drops(kind, &stage, "argument");
    assert!(future.soon().unwrap_err().is_panic());
}

fn the_argument_goes_with_the_cancellation(kind: Kind) {
    let (ex, stage) = (kind.pool(1), Stage::new());
    let (_running, _arrivals) = crate::tasks::occupy(&ex, &stage, 1);
    let future = ex.submit(|_: Witness| 1, Witness::new(stage.ticket(), "argument"));
    assert!(future.cancel());
    assert_eq!(stage.next().words(), "dropped argument", "though the worker has not seen it, and perhaps never will");
}

fn a_worker_keeps_no_result(kind: Kind) {
    let (ex, stage) = (kind.pool(1), Stage::new());
    let future = ex.submit(|ticket| Witness::new(ticket, "result"), stage.ticket());
    let arrival = stage.next();
    assert_eq!(arrival.words(), "dropped result");
    assert_ne!(arrival.pid(), std::process::id(), "the worker's own");
    drop(future.soon().unwrap());
    assert_eq!(stage.next().pid(), std::process::id());
}

/// CPython's `test_free_reference`.
fn results_go_as_they_are_taken(kind: Kind) {
    let (ex, stage) = (kind.pool(1), Stage::new());
    for chunksize in [1, 2, 4] {
        let items = (0..4).map(|i: u32| (stage.ticket(), i));
        let make = |(ticket, i): (_, u32)| Witness::new(ticket, i.to_string());
        let mut results = ex.tasks(make, items).chunksize(chunksize).map();
        // The workers' own go first.
        let in_workers = if kind.is_process() { 4 } else { 0 };
        assert_eq!(stage.wait_for(in_workers).len(), in_workers);
        for i in 0..4 {
            drop(results.next().unwrap().unwrap());
            assert_eq!(stage.said(), [format!("dropped {i}")], "chunksize {chunksize}");
        }
    }
}

fn what_a_closure_captured_goes_when_it_has_run(_: Kind) {
    let ex = ThreadPoolExecutor::new(1).unwrap();
    let captured = Arc::new(());
    let held = captured.clone();
    let future = ex.spawn(move || drop(held));
    until("the closure is gone", || Arc::strong_count(&captured) == 1);
    future.soon().unwrap();

    // Though the worker is idle and the future is kept.
    let held = captured.clone();
    let future = ex.spawn(move || Arc::strong_count(&held));
    assert!(future.wait_timeout(concurrent_futures_conformance::PATIENCE));
    until("the closure is gone", || Arc::strong_count(&captured) == 1);
}

fn contexts_go_with_their_last_user(kind: Kind) {
    let (ex, stage) = (kind.pool(1), Stage::new());
    let context = ex.with_context(Witness::new(stage.ticket(), "context"));
    assert_eq!(context.submit(|_: &Witness, x: u64| x, 3).soon().unwrap(), 3);
    assert!(stage.said().is_empty());
    drop(context);
    assert_eq!(stage.next().words(), "dropped context");
    assert_eq!(ex.submit(square, 3).soon().unwrap(), 9);
    drop(ex);
    assert!(stage.said().len() <= 1, "a worker process may keep its copy for as long as it lives");
}

tests! {
    all {
        the_argument_goes_when_the_task_has_run,
        the_argument_goes_when_the_task_panics,
        results_go_as_they_are_taken,
        contexts_go_with_their_last_user,
    }
    parallel {
        the_argument_goes_with_the_cancellation,
    }
    thread {
        what_a_closure_captured_goes_when_it_has_run,
    }
    process {
        a_worker_keeps_no_result,
    }
}
