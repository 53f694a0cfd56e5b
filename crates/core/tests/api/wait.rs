//! `wait`: which condition ends it, and what comes back.

use crate::manual::Manual;
use crate::wire::Wire;
use concurrent_futures_core::Executor;
use concurrent_futures_core::{ExecutorExt, Future, Promise, ReturnWhen, SerialExecutor, Shutdown, Waitable, wait};
use std::collections::HashMap;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ReturnWhen::{AllCompleted, FirstCompleted, FirstException};

const LONG: Duration = Duration::from_secs(60);

type Named = (&'static str, Future<u8>);

/// Futures with their names, in the states that are named: `pending`, `value`, `error`, `cancelled`.
fn futures<const N: usize>(states: [&'static str; N]) -> (Vec<Promise<u8>>, Vec<Named>) {
    let make = |state| {
        let (promise, future) = Promise::pair();
        match state {
            "value" => promise.set_result(1).unwrap(),
            "error" => promise.set_exception("an error").unwrap(),
            "cancelled" => assert!(future.cancel()),
            _ => {}
        }
        (promise, (state, future))
    };
    states.map(make).into_iter().unzip()
}

fn names<'a, F>(items: &[(&'a str, F)]) -> Vec<&'a str> {
    items.iter().map(|(name, _)| *name).collect()
}

/// What `wait` gives without waiting.
fn at_once<const N: usize>(states: [&'static str; N], when: ReturnWhen) -> (Vec<&'static str>, Vec<&'static str>) {
    let (_promises, futures) = futures(states);
    let (done, not_done) = wait(futures, LONG, when);
    (names(&done), names(&not_done))
}

/// What `wait` gives when `complete` is called while it waits.
fn meanwhile<const N: usize>(
    states: [&'static str; N],
    when: ReturnWhen,
    complete: impl FnOnce(&[Promise<u8>]),
) -> (Vec<&'static str>, Vec<&'static str>) {
    let (promises, futures) = futures(states);
    let (ready, is_ready) = mpsc::channel();
    let waiter = thread::spawn(move || {
        ready.send(()).unwrap();
        let (done, not_done) = wait(futures, LONG, when);
        (names(&done), names(&not_done))
    });
    is_ready.recv().unwrap();
    complete(&promises);
    waiter.join().unwrap()
}

#[test]
fn the_first_completed_ends_it() {
    let (done, not_done) = meanwhile(["a", "b"], FirstCompleted, |promises| promises[1].set_result(1).unwrap());
    assert_eq!((done, not_done), (vec!["b"], vec!["a"]));
}

#[test]
fn a_condition_that_holds_already_ends_it_at_once() {
    assert_eq!(at_once(["pending", "value", "error"], FirstCompleted), (vec!["value", "error"], vec!["pending"]));
    assert_eq!(at_once(["pending", "cancelled"], FirstCompleted), (vec!["cancelled"], vec!["pending"]));
    assert_eq!(at_once(["pending", "error", "value"], FirstException), (vec!["error", "value"], vec!["pending"]));
    assert_eq!(at_once(["value", "cancelled"], AllCompleted), (vec!["value", "cancelled"], vec![]));
    assert_eq!(at_once([], AllCompleted), (vec![], vec![]));
    assert_eq!(at_once([], FirstCompleted), (vec![], vec![]));
}

#[test]
fn the_first_exception_ends_it() {
    let (done, not_done) = meanwhile(["a", "b", "c"], FirstException, |promises| {
        promises[0].set_result(1).unwrap();
        promises[1].set_exception("b fails").unwrap();
    });
    assert_eq!((done, not_done), (vec!["a", "b"], vec!["c"]));
}

#[test]
fn values_and_cancellations_are_no_exceptions() {
    let (done, not_done) = meanwhile(["value", "cancelled", "a", "b"], FirstException, |promises| {
        promises[2].set_result(1).unwrap();
        promises[3].set_exception("at last").unwrap();
    });
    assert_eq!((done, not_done), (vec!["value", "cancelled", "a", "b"], vec![]));
    assert_eq!(at_once(["value", "cancelled", "value"], FirstException).0.len(), 3, "then it waits for all");
}

#[test]
fn an_exception_that_comes_as_bytes_counts() {
    let ex = Wire::new();
    let futures = ex.submit_all(|x: u8| 1 / x, [0, 1]);
    let sent = ex.take();
    ex.answer(sent);
    let (done, not_done) = wait(futures, LONG, FirstException);
    assert_eq!((done.len(), not_done.len()), (1, 1));
}

#[test]
fn all_completed_waits_for_all() {
    let (done, not_done) = meanwhile(["value", "a", "error", "b"], AllCompleted, |promises| {
        promises[1].set_exception("a").unwrap();
        promises[3].set_result(1).unwrap();
    });
    assert_eq!((done, not_done), (vec!["value", "a", "error", "b"], vec![]));
}

#[test]
fn running_out_of_time_is_no_error() {
    for timeout in [Duration::ZERO, Duration::from_millis(5)] {
        let (_promises, futures) = futures(["value", "pending", "cancelled"]);
        let (done, not_done) = wait(futures, timeout, AllCompleted);
        assert_eq!((names(&done), names(&not_done)), (vec!["value", "cancelled"], vec!["pending"]));
    }
}

#[test]
fn a_future_that_was_not_done_can_be_waited_for_again() {
    let (promises, futures) = futures(["pending"]);
    let (_, not_done) = wait(futures, Duration::ZERO, AllCompleted);
    let (_, not_done) = wait(not_done, Duration::from_micros(1), FirstCompleted);
    promises[0].set_result(7).unwrap();
    let (done, _) = wait(not_done, None, AllCompleted);
    assert_eq!(done.into_iter().map(|(_, future)| future.result().unwrap()).collect::<Vec<_>>(), [7]);
}

#[test]
fn a_cancelled_future_is_done_at_once() {
    let (promises, futures) = futures(["a", "b"]);
    let (ready, is_ready) = mpsc::channel();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            ready.send(()).unwrap();
            wait(futures.iter().map(|(_, future)| future), LONG, FirstCompleted).0.len()
        });
        is_ready.recv().unwrap();
        futures[0].1.cancel();
        assert_eq!(waiter.join().unwrap(), 1);
    });
    drop(promises);
}

/// Python waits for ever here.
#[test]
fn a_shutdown_that_cancels_ends_the_wait() {
    let ex = Manual::new();
    let futures = ex.submit_all(|x: u8| x, 0..3);
    ex.shutdown(Shutdown::NO_WAIT.cancel_futures());
    let (done, not_done) = wait(&futures, None, AllCompleted);
    assert_eq!((done.len(), not_done.len()), (3, 0));
    assert!(done.iter().all(|future| future.cancelled()));
}

#[test]
fn every_item_comes_back_also_a_duplicate() {
    let future = Future::ready(Ok(1));
    let (done, not_done) = wait([&future, &future, &future], None, AllCompleted);
    assert_eq!((done.len(), not_done.len()), (3, 0));
    let (_promise, never) = Promise::<u8>::pair();
    let (done, not_done) = wait([&never, &never], Duration::ZERO, FirstCompleted);
    assert_eq!((done.len(), not_done.len()), (0, 2));
}

#[test]
fn futures_may_come_from_different_executors() {
    let (manual, wire, serial) = (Manual::new(), Wire::new(), SerialExecutor::new());
    let futures = [manual.submit(|x: u8| x, 1), wire.submit(|x: u8| x, 2), serial.submit(|x: u8| x, 3)];
    let (done, not_done) = wait(futures, Duration::ZERO, AllCompleted);
    assert_eq!((done.len(), not_done.len()), (1, 2));
    manual.run_all();
    wire.answer_all();
    let (done, _) = wait(not_done, LONG, AllCompleted);
    assert!(done.into_iter().map(|future| future.result().unwrap()).eq([1, 2]));
}

#[test]
fn anything_with_a_future_in_it_can_be_waited_for() {
    let serial = SerialExecutor::new();
    // Values of different types, with keys, boxed.
    let number: Box<dyn Waitable> = Box::new(serial.submit(|x: u8| x, 1));
    let text: Box<dyn Waitable> = Box::new(("key", serial.submit(|x: String| x, "text".into())));
    let shared: Box<dyn Waitable> = Box::new(serial.submit(|x: u8| x, 1).shared());
    let guard: Box<dyn Waitable> = Box::new(serial.submit(|x: u8| x, 1).cancel_on_drop());
    let (done, not_done) = wait([number, text, shared, guard], None, AllCompleted);
    assert_eq!((done.len(), not_done.len()), (4, 0));

    let by_name: HashMap<String, _> =
        ["one", "three"].map(|word| (word.to_string(), serial.submit(|s: String| s.len(), word.into()))).into();
    let (done, _) = wait(by_name, None, AllCompleted);
    for (word, length) in done {
        assert_eq!(length.result().unwrap(), word.len());
    }
}

#[test]
fn both_come_back_in_the_order_in_which_they_were_given() {
    let (promises, futures): (Vec<_>, Vec<_>) = (0..20).map(|_| Promise::<u8>::pair()).unzip();
    for i in [13, 3, 7, 1, 19] {
        promises[i].set_result(0).unwrap();
    }
    let (done, not_done) = wait(futures.into_iter().enumerate(), None, FirstCompleted);
    assert!(done.iter().map(|(i, _)| *i).eq([1, 3, 7, 13, 19]));
    assert_eq!(not_done.len(), 15);
    assert!(not_done.is_sorted_by_key(|(i, _)| *i));
}
