//! Two sides of a future at the same moment, thousands of times. The models that go through all interleavings are beside
//! the cell (`cell/models.rs`); these are the real thing.

use concurrent_futures_core::{Future, Promise, ReturnWhen, as_completed, wait};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

const ROUNDS: usize = 10_000;

/// Where two threads meet, closely: neither sleeps.
#[derive(Default)]
struct Meeting(AtomicUsize);

impl Meeting {
    fn meet(&self, round: usize) {
        self.0.fetch_add(1, Ordering::AcqRel);
        let mut looks = 0_u32;
        while self.0.load(Ordering::Acquire) < 2 * (round + 1) {
            looks += 1;
            if looks.is_multiple_of(1_000) {
                thread::yield_now();
            }
            std::hint::spin_loop();
        }
    }
}

/// Calls both at the same moment, in every round; what they gave.
fn both<A: Send, B>(one: impl Fn(usize) -> A + Send, other: impl Fn(usize) -> B) -> Vec<(A, B)> {
    let meeting = Meeting::default();
    let met = |round| {
        meeting.meet(round);
        round
    };
    thread::scope(|scope| {
        let one = scope.spawn(|| (0..ROUNDS).map(met).map(one).collect::<Vec<_>>());
        let other: Vec<_> = (0..ROUNDS).map(met).map(other).collect();
        one.join().unwrap().into_iter().zip(other).collect()
    })
}

/// The two sides of a future, a new one in each round; `check` looks at what they gave.
fn race<A: Send, B>(
    completer: impl Fn(&Promise<usize>) -> A + Sync,
    user: impl Fn(&Future<usize>) -> B,
    check: impl Fn(A, B, Future<usize>),
) {
    let (promises, futures): (Vec<_>, Vec<_>) = (0..ROUNDS).map(|_| Promise::pair()).unzip();
    let given = both(|round| completer(&promises[round]), |round| user(&futures[round]));
    for ((a, b), future) in given.into_iter().zip(futures) {
        check(a, b, future);
    }
}

#[test]
fn cancel_against_start() {
    race(
        |promise| promise.set_running_or_notify_cancel(),
        |future| (future.cancel(), future.cancelled()),
        |started, (cancelled, is_cancelled), _| {
            assert_eq!(started.expect("it is pending or cancelled"), !cancelled, "one of them wins");
            assert_eq!(is_cancelled, cancelled);
        },
    );
}

#[test]
fn cancel_against_a_value() {
    race(
        |promise| promise.set_result(1).is_ok(),
        |future| (future.cancel(), future.cancelled()),
        |set, (cancelled, is_cancelled), future| {
            assert_eq!((set, is_cancelled), (!cancelled, cancelled), "one of them wins");
            assert_eq!(future.result().is_ok(), set, "and its outcome is the outcome");
        },
    );
}

#[test]
fn cancel_against_cancel() {
    let futures: Vec<_> = (0..ROUNDS).map(|_| Promise::<()>::pair()).collect();
    let cancel = |round: usize| {
        let future = &futures[round].1;
        (future.cancel(), future.cancelled(), future.done())
    };
    for given in both(cancel, cancel) {
        assert_eq!(given, ((true, true, true), (true, true, true)), "who is told so sees it");
    }
}

#[test]
fn a_value_against_an_error() {
    let (promises, futures): (Vec<_>, Vec<_>) = (0..ROUNDS).map(|_| Promise::pair()).unzip();
    let given = both(|i| promises[i].set_result(1).is_ok(), |i| promises[i].set_exception("no").is_ok());
    for ((value, error), future) in given.into_iter().zip(futures) {
        assert_ne!(value, error, "exactly one is taken");
        assert_eq!(future.result().is_ok(), value);
    }
}

#[test]
fn a_callback_against_completion_runs_exactly_once() {
    let runs = Arc::new(AtomicUsize::new(0));
    race(
        |promise| promise.set_result(1).unwrap(),
        |future| {
            for _ in 0..3 {
                let runs = runs.clone();
                future.add_done_callback(move |_| {
                    runs.fetch_add(1, Ordering::Relaxed);
                });
            }
        },
        // Callbacks have run when the value is handed out.
        |(), (), future| assert_eq!(future.result().unwrap(), 1),
    );
    assert_eq!(runs.load(Ordering::Relaxed), 3 * ROUNDS);
}

#[test]
fn callbacks_of_two_threads_never_overlap() {
    for _ in 0..ROUNDS / 20 {
        let busy = Arc::new(AtomicBool::new(false));
        let overlaps = Arc::new(AtomicUsize::new(0));
        let (promise, future) = Promise::pair();
        let add = || {
            for _ in 0..4 {
                let (busy, overlaps) = (busy.clone(), overlaps.clone());
                future.add_done_callback(move |_: &Result<u8, _>| {
                    overlaps.fetch_add(usize::from(busy.swap(true, Ordering::AcqRel)), Ordering::Relaxed);
                    thread::yield_now();
                    busy.store(false, Ordering::Release);
                });
            }
        };
        thread::scope(|scope| {
            scope.spawn(add);
            scope.spawn(|| promise.set_result(1).unwrap());
            add();
        });
        assert_eq!(future.result().unwrap(), 1);
        assert_eq!(overlaps.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn waiting_against_completion() {
    race(
        |promise| promise.set_result(1).unwrap(),
        |future| future.exception().is_none(),
        |(), no_error, future| assert!(no_error && future.result().unwrap() == 1),
    );
}

#[test]
fn wait_against_completion() {
    race(
        |promise| promise.set_result(1).unwrap(),
        |future| wait([future], None, ReturnWhen::AllCompleted).0.len(),
        |(), done, _| assert_eq!(done, 1),
    );
}

#[test]
fn as_completed_against_completion() {
    race(
        |promise| promise.set_result(1).unwrap(),
        |future| as_completed([future, future]).count(),
        |(), done, _| assert_eq!(done, 2),
    );
}

#[test]
fn awaiting_against_completion() {
    for _ in 0..ROUNDS / 20 {
        let (promise, future) = Promise::pair();
        let completer = thread::spawn(move || promise.set_result(1).unwrap());
        assert_eq!(futures::executor::block_on(future).unwrap(), 1);
        completer.join().unwrap();
    }
}

#[test]
fn debug_against_completion() {
    race(
        |promise| {
            promise.set_running_or_notify_cancel().unwrap();
            promise.set_result(1).unwrap();
        },
        |future| format!("{future:?}"),
        |(), shown, _| {
            assert!(
                ["pending", "running", "finished"].iter().any(|state| shown.ends_with(&format!("{state} }}"))),
                "{shown}"
            );
        },
    );
}

#[test]
fn dropping_against_completion() {
    for _ in 0..ROUNDS / 20 {
        let (promise, future) = Promise::pair();
        let completer = thread::spawn(move || promise.set_result(vec![1, 2, 3]));
        drop(future);
        completer.join().unwrap().unwrap();
    }
}

#[test]
fn everybody_who_looks_sees_the_same() {
    let (promise, future) = Promise::pair();
    let future = future.shared();
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let future = future.clone();
            thread::spawn(move || (0..1_000).all(|_| *future.result().unwrap() == 42))
        })
        .collect();
    promise.set_result(42).unwrap();
    assert!(readers.into_iter().all(|reader| reader.join().unwrap()));
}

/// CPython's `test_pending_calls_race`: many that finish at once do not lose count.
#[test]
fn many_that_finish_at_once_are_all_counted() {
    for _ in 0..20 {
        let (promises, futures): (Vec<_>, Vec<_>) = (0..100).map(|_| Promise::<()>::pair()).unzip();
        let start = Barrier::new(promises.len() + 1);
        thread::scope(|scope| {
            for promise in &promises {
                scope.spawn(|| {
                    start.wait();
                    promise.set_result(()).unwrap();
                });
            }
            start.wait();
            assert_eq!(wait(&futures, None, ReturnWhen::AllCompleted).0.len(), 100);
        });
    }
}
