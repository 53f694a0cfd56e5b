//! Two sides at the same moment, on the real thing. The races of a bare future are shown by the tests of core (`races.rs`
//! there), all their interleavings by its models (`cell/models.rs`).

use crate::tasks::square;
use concurrent_futures::{Executor, ExecutorExt, Future, ReturnWhen, Shutdown, as_completed, wait};
use concurrent_futures_conformance::{Kind, PATIENCE, Soon, tests};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Looks at many new futures, each a different moment after its submission.
fn at_many_moments(kind: Kind, look: impl Fn(&Future<u64>, u64)) {
    let ex = kind.pool(2);
    for round in 0..500 {
        let future = ex.submit(square, round);
        for _ in 0..round % 40 {
            thread::yield_now();
        }
        look(&future, round);
        assert_eq!(future.soon().unwrap(), square(round));
    }
}

fn callbacks_against_completion_run_exactly_once(kind: Kind) {
    let runs = Arc::new(AtomicUsize::new(0));
    at_many_moments(kind, |future, round| {
        for _ in 0..2 {
            let runs = runs.clone();
            future.add_done_callback(move |outcome| {
                assert_eq!(*outcome.as_ref().unwrap(), square(round));
                runs.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(runs.load(Ordering::Relaxed), 1_000);
}

fn waiting_against_completion(kind: Kind) {
    at_many_moments(kind, |future, _| {
        assert!(future.wait_timeout(PATIENCE));
        assert!(future.exception().is_none());
    });
    at_many_moments(kind, |future, _| assert_eq!(wait([future], PATIENCE, ReturnWhen::AllCompleted).0.len(), 1));
    at_many_moments(kind, |future, _| assert!(as_completed([future]).timeout(PATIENCE).all(|item| item.is_ok())));
}

fn awaiting_against_completion(kind: Kind) {
    let ex = kind.pool(2);
    for round in 0..500 {
        assert_eq!(futures::executor::block_on(ex.submit(square, round)).unwrap(), square(round));
    }
}

fn looking_against_completion(kind: Kind) {
    at_many_moments(kind, |future, _| {
        let (done, running) = (future.done(), future.running());
        assert!(!(done && running), "what was done does not run any more");
        let shown = format!("{future:?}");
        let states = ["pending", "running", "finished"];
        assert!(states.iter().any(|state| shown.ends_with(&format!("state: {state} }}"))), "{shown}");
    });
}

fn dropping_against_completion(kind: Kind) {
    let ex = kind.pool(2);
    for round in 0..500 {
        drop(ex.submit(square, round));
    }
    ex.shutdown(Shutdown::WAIT);
    assert_eq!(ex.stats().finished, 500);
}

fn shutdowns_of_all_kinds_at_once(kind: Kind) {
    for _ in 0..10 {
        let ex = kind.pool(2);
        let futures = ex.submit_all(square, 0..50);
        thread::scope(|scope| {
            for how in [Shutdown::WAIT, Shutdown::NO_WAIT, Shutdown::WAIT.cancel_futures(), Shutdown::NO_WAIT] {
                let ex = &ex;
                scope.spawn(move || ex.shutdown(how));
            }
            for future in &futures[..5] {
                future.cancel();
            }
        });
        ex.shutdown(Shutdown::WAIT);
        assert!(futures.iter().all(Future::done));
    }
}

fn cancelling_against_shutdown(kind: Kind) {
    for _ in 0..10 {
        let ex = kind.pool(2);
        let futures = ex.submit_all(square, 0..100);
        thread::scope(|scope| {
            scope.spawn(|| ex.shutdown(Shutdown::WAIT.cancel_futures()));
            for future in futures.iter().rev() {
                future.cancel();
            }
        });
        for (i, future) in (0..).zip(futures) {
            match future.soon() {
                Ok(value) => assert_eq!(value, square(i)),
                Err(error) => assert!(error.is_cancelled()),
            }
        }
    }
}

tests! {
    all {
        callbacks_against_completion_run_exactly_once,
        waiting_against_completion,
        awaiting_against_completion,
        looking_against_completion,
        dropping_against_completion,
        shutdowns_of_all_kinds_at_once,
        cancelling_against_shutdown,
    }
}
