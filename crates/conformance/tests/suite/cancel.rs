//! `cancel`: exact, also for what a worker process has been given to do next.

use crate::tasks::{hold, occupy, square, tell};
use concurrent_futures::{Executor, ExecutorExt, ReturnWhen, Shutdown, as_completed, wait};
use concurrent_futures_conformance::{Kind, PATIENCE, Soon, Stage, tests};
use std::thread;

fn only_what_runs_is_running(kind: Kind) {
    let (ex, stage) = (kind.pool(1), Stage::new());
    let (running, arrivals) = occupy(&ex, &stage, 1);
    // Python says of the next ones that they run.
    let queued = ex.submit_all(square, 0..5);
    assert!(running[0].running() && !running[0].done());
    assert!(queued.iter().all(|future| !future.running() && !future.done()));
    drop(arrivals);
    for future in queued {
        future.soon().unwrap();
    }
}

fn what_runs_cannot_be_cancelled(kind: Kind) {
    let (ex, stage) = (kind.pool(1), Stage::new());
    let (mut running, arrivals) = occupy(&ex, &stage, 1);
    let future = running.remove(0);
    assert!(!future.cancel() && !future.cancelled() && future.running());
    drop(arrivals);
    assert_eq!(future.soon().unwrap(), 0);
}

/// Python cannot cancel the second of two tasks on one worker.
fn what_is_only_queued_can_be_cancelled_and_never_runs(kind: Kind) {
    let (ex, stage) = (kind.pool(1), Stage::new());
    let (running, arrivals) = occupy(&ex, &stage, 1);
    let queued: Vec<_> = (0..50).map(|number| ex.submit(tell, (stage.ticket(), number))).collect();
    let (even, odd): (Vec<_>, Vec<_>) = queued.into_iter().enumerate().partition(|(i, _)| i % 2 == 0);
    for (_, future) in &even {
        assert!(future.cancel() && future.cancelled() && future.done() && future.cancel());
    }
    drop(arrivals);
    for (i, future) in odd {
        assert_eq!(future.soon().unwrap() as usize, i);
    }
    for (_, future) in even {
        assert!(future.soon().unwrap_err().is_cancelled());
    }
    ex.shutdown(Shutdown::WAIT);
    assert!(stage.said().into_iter().eq((0..50).filter(|i| i % 2 == 1).map(|i| i.to_string())));
    assert!(running.into_iter().all(|future| future.soon().is_ok()));
}

fn what_is_done_cannot_be_cancelled(kind: Kind) {
    let future = kind.pool(1).submit(square, 3);
    assert!(future.wait_timeout(PATIENCE));
    assert!(!future.cancel() && !future.cancelled());
    assert_eq!(future.soon().unwrap(), 9);
}

fn who_waits_is_told_at_once(kind: Kind) {
    let (ex, stage) = (kind.pool(1), Stage::new());
    let (_running, _arrivals) = occupy(&ex, &stage, 1);
    let futures = ex.submit_all(square, 0..3);
    thread::scope(|scope| {
        let result = scope.spawn(|| futures[0].exception().is_some_and(|error| error.is_cancelled()));
        let wait = scope.spawn(|| wait(&futures, PATIENCE, ReturnWhen::AllCompleted).0.len());
        let completed = scope.spawn(|| as_completed(&futures).timeout(PATIENCE).filter(Result::is_ok).count());
        for future in &futures {
            assert!(future.cancel());
        }
        assert!(result.join().unwrap());
        assert_eq!((wait.join().unwrap(), completed.join().unwrap()), (3, 3));
    });
}

/// CPython's `test_hang_gh94440`.
fn a_shutdown_right_after_it_does_not_hang(kind: Kind) {
    for _ in 0..20 {
        let ex = kind.pool(1);
        ex.submit(square, 3).cancel();
        ex.shutdown(Shutdown::WAIT);
    }
}

fn a_task_of_a_chain_is_cancelled_through_its_end(kind: Kind) {
    let (ex, stage) = (kind.pool(1), Stage::new());
    let (_running, arrivals) = occupy(&ex, &stage, 1);
    let chain = ex.submit(tell, (stage.ticket(), 7)).map(|x| x + 1).then(&ex, |x: u32| x);
    assert!(!chain.running());
    assert!(chain.cancel());
    drop(arrivals);
    ex.shutdown(Shutdown::WAIT);
    assert!(stage.said().is_empty(), "the task itself never ran");
}

fn cancel_on_drop_is_asked_for(kind: Kind) {
    let (ex, stage) = (kind.pool(1), Stage::new());
    let (_running, arrivals) = occupy(&ex, &stage, 1);
    drop(ex.submit(tell, (stage.ticket(), 1)));
    drop(ex.submit(tell, (stage.ticket(), 2)).cancel_on_drop());
    let kept = ex.submit(tell, (stage.ticket(), 3)).cancel_on_drop();
    drop(arrivals);
    assert_eq!(kept.detach().soon().unwrap(), 3);
    assert_eq!(stage.said(), ["1", "3"]);
}

/// The window between a worker's start and the cancellation, many times.
fn it_is_cancelled_or_it_ran(kind: Kind) {
    let (ex, stage) = (kind.pool(2), Stage::new());
    let (mut cancelled, mut ran) = (Vec::new(), Vec::new());
    for round in 0..300 {
        let future = ex.submit(tell, (stage.ticket(), round));
        for _ in 0..round % 50 {
            thread::yield_now();
        }
        if future.cancel() {
            assert!(future.cancelled());
            assert!(future.soon().unwrap_err().is_cancelled());
            cancelled.push(round);
        } else {
            assert_eq!(future.soon().unwrap(), round);
            ran.push(round);
        }
    }
    let mut said: Vec<u32> = stage.said().iter().map(|number| number.parse().unwrap()).collect();
    said.sort_unstable();
    assert_eq!(said, ran, "cancelled: {cancelled:?}");
}

fn a_held_task_is_told_from_a_queued_one_by_every_worker(kind: Kind) {
    let (ex, stage) = (kind.pool(2), Stage::new());
    let futures: Vec<_> = (0..8).map(|number| ex.submit(hold, (stage.ticket(), number))).collect();
    let arrivals = stage.wait_for(2);
    let running = futures.iter().filter(|future| future.running()).count();
    assert_eq!(running, 2);
    let cancelled = futures.iter().filter(|future| future.cancel()).count();
    assert_eq!(cancelled, 6);
    drop(arrivals);
    assert_eq!(futures.into_iter().filter_map(|future| future.soon().ok()).count(), 2);
}

tests! {
    all {
        what_is_done_cannot_be_cancelled,
        a_shutdown_right_after_it_does_not_hang,
        it_is_cancelled_or_it_ran,
    }
    parallel {
        only_what_runs_is_running,
        what_runs_cannot_be_cancelled,
        what_is_only_queued_can_be_cancelled_and_never_runs,
        who_waits_is_told_at_once,
        a_task_of_a_chain_is_cancelled_through_its_end,
        cancel_on_drop_is_asked_for,
        a_held_task_is_told_from_a_queued_one_by_every_worker,
    }
}
