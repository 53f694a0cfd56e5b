//! A task's own limit. It fails the future at once; a task that is given time to return goes on until it does.

use crate::tasks::{hold, occupy, square};
use concurrent_futures::{Executor, ExecutorExt, Grace, Shutdown};
use concurrent_futures_conformance::{Kind, Soon, Stage, tests};
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(10);
const LONG: Duration = Duration::from_secs(3600);
/// The task is asked to return, and nothing more happens to it.
const PATIENT: Grace = Grace::new().ask(LONG);

fn that_is_reached_fails_the_future_while_the_task_goes_on(kind: Kind) {
    let (ex, stage) = (kind.pool(1), Stage::new());
    let future = ex.task(hold, (stage.ticket(), 1)).name("slow").timeout(SHORT).grace(PATIENT).submit();
    let arrival = stage.next();
    let error = future.soon().unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert_eq!((error.timeout(), error.task_name()), (Some(SHORT), Some("slow")));
    arrival.release();
    assert_eq!(ex.submit(square, 3).soon().unwrap(), 9, "its worker is free when the task returns");
}

fn that_is_not_reached_does_nothing(kind: Kind) {
    let ex = kind.pool(1);
    assert_eq!(ex.task(square, 3).timeout(LONG).submit().soon().unwrap(), 9);
    assert!(ex.tasks(square, 0..10).timeout(LONG).map().map(Result::unwrap).eq((0..10).map(square)));
}

fn does_not_run_while_the_task_waits(kind: Kind) {
    let (ex, stage) = (kind.pool(1), Stage::new());
    let (_running, arrivals) = occupy(&ex, &stage, 1);
    let future = ex.task(square, 3).timeout(SHORT).submit();
    assert!(!future.wait_timeout(3 * SHORT), "it has not started");
    assert!(future.cancel());
    drop(arrivals);
}

fn is_waited_out_by_the_shutdown(kind: Kind) {
    let (ex, stage) = (kind.pool(1), Stage::new());
    let future = ex.task(hold, (stage.ticket(), 1)).timeout(SHORT).grace(PATIENT).submit();
    let arrival = stage.next();
    assert!(future.soon().unwrap_err().is_timeout());
    std::thread::scope(|scope| {
        let (finished, is_finished) = std::sync::mpsc::channel();
        let ex = &ex;
        scope.spawn(move || {
            ex.shutdown(Shutdown::WAIT);
            finished.send(()).unwrap();
        });
        assert!(is_finished.recv_timeout(3 * SHORT).is_err(), "the task is still running, though its future is done");
        arrival.release();
        is_finished.recv_timeout(concurrent_futures_conformance::PATIENCE).unwrap();
    });
}

fn of_the_whole_ends_what_has_not_started(kind: Kind) {
    let (ex, stage) = (kind.pool(1), Stage::new());
    let (running, arrivals) = occupy(&ex, &stage, 1);
    let at = Instant::now() + SHORT;
    let futures = ex.tasks(hold, (1..4).map(|number| (stage.ticket(), number))).deadline(at).submit_all();
    for future in futures {
        assert!(future.soon().unwrap_err().is_timeout());
    }
    drop(arrivals);
    assert!(running.into_iter().all(|future| future.soon().is_ok()));
    ex.shutdown(Shutdown::WAIT);
    assert!(stage.said().is_empty(), "they never ran");
}

tests! {
    all {
        that_is_not_reached_does_nothing,
    }
    parallel {
        that_is_reached_fails_the_future_while_the_task_goes_on,
        does_not_run_while_the_task_waits,
        is_waited_out_by_the_shutdown,
        of_the_whole_ends_what_has_not_started,
    }
}
