//! What a future says in each of its states, and waiting for it.

use crate::manual::Manual;
use concurrent_futures_core::{ExecutorExt, Future, Promise, ReturnWhen, SerialExecutor, TimedOut, wait};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// A future in each of its states, by name. The promises are kept: dropping one would resolve its future.
fn every_state() -> [(&'static str, Promise<u8>, Future<u8>); 5] {
    ["pending", "running", "cancelled", "failed", "finished"].map(|state| {
        let (promise, future) = Promise::pair();
        match state {
            "running" => assert!(promise.set_running_or_notify_cancel().unwrap()),
            "cancelled" => assert!(future.cancel()),
            "failed" => promise.set_exception("no luck").unwrap(),
            "finished" => promise.set_result(42).unwrap(),
            _ => {}
        }
        (state, promise, future)
    })
}

fn table<T>(ask: impl Fn(Future<u8>) -> T) -> [(&'static str, T); 5] {
    every_state().map(|(state, promise, future)| {
        let answer = ask(future);
        drop(promise);
        (state, answer)
    })
}

#[test]
fn cancel_succeeds_only_before_the_start_and_can_be_repeated() {
    let expected = [("pending", true), ("running", false), ("cancelled", true), ("failed", false), ("finished", false)];
    assert_eq!(table(|future| future.cancel()), expected);
    assert_eq!(table(|future| (future.cancel(), future.cancel()).1), expected);
    assert_eq!(table(|future| (future.cancel(), future.cancelled()).1), expected);
}

#[test]
fn a_cancel_in_vain_changes_nothing() {
    let debug = table(|future| {
        future.cancel();
        (future.running(), future.done(), format!("{future:?}").contains("cancelled"))
    });
    let expected = [
        ("pending", (false, true, true)),
        ("running", (true, false, false)),
        ("cancelled", (false, true, true)),
        ("failed", (false, true, false)),
        ("finished", (false, true, false)),
    ];
    assert_eq!(debug, expected);
}

#[test]
fn cancelled_running_and_done_in_every_state() {
    let expected = [
        ("pending", (false, false, false)),
        ("running", (false, true, false)),
        ("cancelled", (true, false, true)),
        ("failed", (false, false, true)),
        ("finished", (false, false, true)),
    ];
    assert_eq!(table(|future| (future.cancelled(), future.running(), future.done())), expected);
    assert_eq!(
        table(|future| {
            let shared = future.shared();
            (shared.cancelled(), shared.running(), shared.done())
        }),
        expected
    );
}

fn in_words(result: Result<u8, concurrent_futures_core::TaskError>) -> String {
    match result {
        Ok(value) => value.to_string(),
        Err(error) if error.is_cancelled() => "cancelled".into(),
        Err(error) => error.failure().expect("nothing else happens here").message(),
    }
}

#[test]
fn result_without_waiting_in_every_state() {
    let expected = [
        ("pending", "timed out"),
        ("running", "timed out"),
        ("cancelled", "cancelled"),
        ("failed", "no luck"),
        ("finished", "42"),
    ];
    let result = |future: Future<u8>| match future.result_timeout(Duration::ZERO) {
        Ok(result) => in_words(result),
        Err(TimedOut(_)) => "timed out".into(),
    };
    assert_eq!(table(result), expected.map(|(state, answer)| (state, answer.to_string())));
    let try_result = |future: Future<u8>| future.try_result().map_or_else(|_| "timed out".into(), in_words);
    assert_eq!(table(try_result), expected.map(|(state, answer)| (state, answer.to_string())));
}

#[test]
fn exception_and_waiting_in_every_state() {
    let done = |future: &Future<u8>| future.wait_timeout(Duration::ZERO);
    let exception = table(|future| done(&future).then(|| future.exception().map(|error| in_words(Err(error.clone())))));
    let expected = [
        ("pending", None),
        ("running", None),
        ("cancelled", Some(Some("cancelled"))),
        ("failed", Some(Some("no luck"))),
        ("finished", Some(None)),
    ];
    assert_eq!(exception, expected.map(|(state, answer)| (state, answer.map(|error| error.map(str::to_string)))));
}

#[test]
fn a_future_is_as_good_as_before_when_a_wait_ran_out() {
    let ex = Manual::new();
    let mut future = ex.submit(|x: u8| x + 1, 41);
    for _ in 0..3 {
        let late = future.result_timeout(Duration::from_micros(1)).unwrap_err();
        assert!(late.to_string().contains("not affected"), "{late}");
        future = late.0;
    }
    assert!(!future.wait_timeout(Duration::from_micros(1)));
    ex.run_all();
    assert_eq!(future.result().unwrap(), 42);
}

#[test]
fn waits_of_any_length_are_allowed() {
    let longest = || Future::ready(Ok(1)).result_timeout(Duration::MAX);
    assert_eq!(longest().unwrap().unwrap(), 1);
    let (promise, future) = Promise::pair();
    let waiter = thread::spawn(move || future.result_timeout(Duration::MAX).unwrap().unwrap());
    promise.set_result(2).unwrap();
    assert_eq!(waiter.join().unwrap(), 2);
}

/// Calls `wait` in another thread, and `complete` when that thread is about to wait.
fn while_waiting<T: Send + 'static>(
    wait: impl FnOnce(Future<u8>) -> T + Send + 'static,
    complete: impl FnOnce(Promise<u8>),
) -> T {
    let (promise, future) = Promise::pair();
    let (ready, is_ready) = mpsc::channel();
    let waiter = thread::spawn(move || {
        ready.send(()).unwrap();
        wait(future)
    });
    is_ready.recv().unwrap();
    complete(promise);
    waiter.join().unwrap()
}

#[test]
fn a_blocked_result_wakes_with_the_value() {
    let value = while_waiting(|future| future.result().unwrap(), |promise| promise.set_result(42).unwrap());
    assert_eq!(value, 42);
    let value = while_waiting(
        |future| future.result_timeout(Duration::from_secs(60)).unwrap().unwrap(),
        |promise| promise.set_result(43).unwrap(),
    );
    assert_eq!(value, 43);
}

#[test]
fn a_blocked_exception_wakes_with_the_error() {
    let error = while_waiting(
        |future| future.exception().cloned(),
        |promise| {
            promise.set_running_or_notify_cancel().unwrap();
            promise.set_exception(std::io::Error::other("disk")).unwrap();
        },
    );
    assert_eq!(error.unwrap().failure().unwrap().message(), "disk");
    let none = while_waiting(|future| future.exception().cloned(), |promise| promise.set_result(0).unwrap());
    assert!(none.is_none());
}

#[test]
fn a_blocked_wait_wakes_on_any_outcome() {
    assert!(while_waiting(
        |future| {
            future.wait();
            future.done()
        },
        |promise| promise.set_exception("x").unwrap(),
    ));
    assert!(while_waiting(|future| future.wait_timeout(Duration::from_secs(60)), drop));
}

#[test]
fn all_who_wait_wake_when_it_is_cancelled() {
    let (_promise, future) = Promise::<u8>::pair();
    thread::scope(|scope| {
        let (ready, is_ready) = mpsc::channel();
        let future = &future;
        let waiters: Vec<_> = (0..8)
            .map(|_| {
                let ready = ready.clone();
                scope.spawn(move || {
                    ready.send(()).unwrap();
                    future.exception().is_some_and(|error| error.is_cancelled())
                })
            })
            .collect();
        (0..8).for_each(|_| is_ready.recv().unwrap());
        assert!(future.cancel());
        assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap()));
    });
    assert!(future.result().unwrap_err().is_cancelled());
}

#[test]
fn a_wake_up_without_reason_does_not_end_a_wait() {
    let waits: [fn(&Future<u8>); 4] = [
        |future| future.wait(),
        |future| assert!(future.wait_timeout(Duration::from_secs(60))),
        |future| assert!(future.exception().is_none()),
        |future| assert_eq!(wait([future], None, ReturnWhen::AllCompleted).0.len(), 1),
    ];
    for wait in waits {
        let (promise, future) = Promise::pair();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                wait(&future);
                assert!(future.done());
            });
            for _ in 0..100 {
                waiter.thread().unpark();
                thread::yield_now();
            }
            promise.set_result(1).unwrap();
        });
    }
}

#[test]
fn debug_shows_the_state_and_the_name() {
    for (state, _promise, future) in every_state() {
        assert_eq!(format!("{future:?}"), format!("Future {{ id: {}, state: {state} }}", future.id()));
        let id = future.id();
        let guard = future.cancel_on_drop();
        assert_eq!(format!("{guard:?}"), format!("CancelOnDrop {{ id: {id}, state: {state} }}"));
        let shared = guard.detach().shared();
        assert_eq!(format!("{shared:?}"), format!("SharedFuture {{ id: {id}, state: {state} }}"));
    }
    let named = SerialExecutor::new().task(|x: u8| x, 1).name("one").submit();
    assert_eq!(format!("{named:?}"), format!("Future {{ id: {}, name: \"one\", state: finished }}", named.id()));
}

#[test]
fn a_task_has_a_number_and_perhaps_a_name() {
    let ex = Manual::new();
    let (plain, named) = (ex.submit(|x: u8| x, 1), ex.task(|x: u8| x, 1).name("second").submit());
    assert_ne!(plain.id(), named.id());
    assert_eq!((plain.name(), named.name()), (None, Some("second")));
    let (first, second) = (ex.take(0), ex.take(0));
    assert_eq!((first.id(), second.id()), (plain.id(), named.id()));
    assert_eq!(second.name(), Some("second"));
}

#[test]
fn ready_is_done() {
    let future = Future::ready(Ok("there"));
    assert!(future.done() && !future.cancel());
    assert_eq!(future.result().unwrap(), "there");
    let error = SerialExecutor::new().submit(|(): ()| -> u8 { panic!("gone") }, ()).result().unwrap_err();
    let failed = Future::<u8>::ready(Err(error));
    assert!(failed.exception().unwrap().is_panic());
}

#[test]
fn dropping_a_future_does_not_cancel() {
    let ex = Manual::new();
    drop(ex.submit(|x: u8| x, 1));
    assert!(ex.run_next(), "it is run all the same");
}

#[test]
fn cancel_on_drop_cancels_unless_it_is_detached() {
    let ex = Manual::new();
    drop(ex.submit(|x: u8| x, 1).cancel_on_drop());
    assert!(!ex.run_next());
    let kept = ex.submit(|x: u8| x, 1).cancel_on_drop().detach();
    assert!(ex.run_next());
    assert_eq!(kept.result().unwrap(), 1);
    let guard = ex.submit(|x: u8| x, 2).cancel_on_drop();
    assert!(!guard.done(), "the guard answers as the future does");
    ex.run_all();
    assert!(guard.exception().is_none());
}

#[test]
fn handles_are_small_and_may_go_anywhere() {
    assert_eq!(size_of::<Future<[u8; 100]>>(), size_of::<usize>());
    assert_eq!(size_of::<Promise<[u8; 100]>>(), size_of::<usize>());
    assert_eq!(size_of::<Option<Future<u8>>>(), size_of::<usize>());
    fn anywhere<T: Send + Sync + Unpin>() {}
    anywhere::<Future<std::cell::RefCell<u8>>>();
    anywhere::<Promise<std::cell::RefCell<u8>>>();
    anywhere::<concurrent_futures_core::SharedFuture<u8>>();
}
