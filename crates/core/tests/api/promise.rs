//! The completing side.

use concurrent_futures_core::{InvalidState, Promise, TaskError, TaskErrorKind};
use std::cell::Cell;

fn state_of(refused: Result<impl std::fmt::Debug, InvalidState>) -> &'static str {
    refused.unwrap_err().state()
}

#[test]
fn the_first_value_stays() {
    let (promise, future) = Promise::pair();
    promise.set_result(1).unwrap();
    assert_eq!(state_of(promise.set_result(2)), "finished");
    assert_eq!(state_of(promise.set_exception("late")), "finished");
    assert_eq!(future.result().unwrap(), 1);
}

#[test]
fn the_first_error_stays() {
    let (promise, future) = Promise::<u8>::pair();
    promise.set_exception("first").unwrap();
    assert_eq!(state_of(promise.set_exception("second")), "failed");
    assert_eq!(state_of(promise.set_result(2)), "failed");
    assert_eq!(future.result().unwrap_err().failure().unwrap().message(), "first");
}

#[test]
fn a_cancelled_future_takes_no_outcome() {
    let (promise, future) = Promise::pair();
    assert!(future.cancel());
    assert_eq!(state_of(promise.set_result(2)), "cancelled");
    assert_eq!(state_of(promise.set_exception("x")), "cancelled");
    assert!(future.result().unwrap_err().is_cancelled());
}

#[test]
fn an_outcome_may_be_set_without_running() {
    let (promise, future) = Promise::pair();
    promise.set_result("at once").unwrap();
    assert_eq!(future.result().unwrap(), "at once");
}

#[test]
fn the_start_is_allowed_once_and_says_whether_it_was_cancelled() {
    let (promise, future) = Promise::pair();
    assert!(promise.set_running_or_notify_cancel().unwrap());
    assert_eq!(state_of(promise.set_running_or_notify_cancel()), "running");
    assert!(!future.cancel());
    promise.set_result(1).unwrap();
    assert_eq!(state_of(promise.set_running_or_notify_cancel()), "finished");

    let (promise, _future) = Promise::<u8>::pair();
    promise.set_exception("x").unwrap();
    assert_eq!(state_of(promise.set_running_or_notify_cancel()), "failed");

    let (promise, future) = Promise::<u8>::pair();
    future.cancel();
    assert!(!promise.set_running_or_notify_cancel().unwrap());
    assert!(!promise.set_running_or_notify_cancel().unwrap(), "it may ask again");
}

/// `set_running_or_notify_cancel` at the very moment is among the races.
#[test]
fn a_cancellation_is_seen_while_it_is_being_written() {
    use crate::manual::Manual;
    use concurrent_futures_core::{ExecutorExt, SharedFuture};
    use std::sync::{Arc, Mutex};

    type Seen = (bool, bool, bool, bool, String);

    /// Looks at its own future when it is dropped: in the middle of the cancellation.
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Looks {
        #[serde(skip)]
        future: Arc<Mutex<Option<SharedFuture<()>>>>,
        #[serde(skip)]
        seen: Arc<Mutex<Vec<Seen>>>,
    }
    impl Drop for Looks {
        fn drop(&mut self) {
            let future = self.future.lock().unwrap().take().unwrap();
            let seen = (future.cancelled(), future.done(), future.cancel(), future.running(), format!("{future:?}"));
            self.seen.lock().unwrap().push(seen);
        }
    }

    let ex = Manual::new();
    let (future, seen) = (Arc::default(), Arc::default());
    let looks = Looks { future: Arc::clone(&future), seen: Arc::clone(&seen) };
    let shared = ex.submit(|_: Looks| (), looks).shared();
    *future.lock().unwrap() = Some(shared.clone());
    assert!(shared.cancel());
    let (cancelled, done, cancel, running, debug) = seen.lock().unwrap().pop().unwrap();
    assert_eq!((cancelled, done, cancel, running), (true, true, true, false));
    assert!(debug.ends_with("state: cancelled }"), "{debug}");
}

#[test]
fn an_invalid_state_says_which_and_what_stays() {
    let (promise, _future) = Promise::pair();
    promise.set_result(1).unwrap();
    let error = promise.set_result(2).unwrap_err();
    assert_eq!(error.to_string(), "the future is finished already; its first outcome stays");
    assert_eq!(error, promise.set_result(3).unwrap_err());
}

#[test]
fn a_dropped_promise_abandons_its_future() {
    for running in [false, true] {
        let (promise, future) = Promise::<u8>::pair();
        if running {
            promise.set_running_or_notify_cancel().unwrap();
        }
        drop(promise);
        let error = future.result().unwrap_err();
        assert!(error.is_abandoned(), "{error}");
        assert!(error.to_string().contains("promise was dropped"), "{error}");
    }
}

#[test]
fn a_promise_may_be_dropped_after_it_was_kept() {
    let (promise, future) = Promise::pair();
    promise.set_result(5).unwrap();
    drop(promise);
    assert_eq!(future.result().unwrap(), 5);
}

#[test]
fn a_promise_outlives_its_future() {
    let (promise, future) = Promise::pair();
    drop(future);
    promise.set_result(vec![1, 2, 3]).unwrap();
    assert_eq!(state_of(promise.set_result(vec![])), "finished");
}

#[test]
fn an_error_is_kept_with_its_type() {
    let (promise, future) = Promise::<u8>::pair();
    promise.set_exception("x".parse::<u8>().unwrap_err()).unwrap();
    let error = future.result().unwrap_err();
    assert!(error.failure().unwrap().downcast_ref::<std::num::ParseIntError>().is_some());
    assert!(error.failure().unwrap().type_name().contains("ParseIntError"));
}

#[test]
fn a_task_error_goes_through_as_it_is() {
    let (promise, future) = Promise::<u8>::pair();
    promise.set_exception(TaskError::new(TaskErrorKind::Cancelled)).unwrap();
    assert!(future.cancelled());
    assert!(future.result().unwrap_err().is_cancelled());
}

#[test]
fn values_need_only_be_send() {
    let (promise, future) = Promise::pair();
    std::thread::spawn(move || promise.set_result(Cell::new(7)).unwrap());
    assert_eq!(future.result().unwrap().get(), 7);
}

#[test]
fn a_promise_shows_the_state() {
    let (promise, future) = Promise::<u8>::pair();
    assert_eq!(format!("{promise:?}"), format!("Promise {{ id: {}, state: pending }}", future.id()));
}
