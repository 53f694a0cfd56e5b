//! The handle that several owners hold.

use crate::manual::Manual;
use concurrent_futures_core::{ExecutorExt, Promise, ReturnWhen, as_completed, wait};
use std::thread;
use std::time::Duration;

#[test]
fn all_owners_see_the_same_value() {
    let ex = Manual::new();
    let first = ex.submit(|n: usize| vec![7_u8; n], 3).shared();
    let second = first.clone();
    ex.run_all();
    let (a, b) = (first.result().unwrap(), second.result().unwrap());
    assert_eq!(a, &[7, 7, 7]);
    assert!(std::ptr::eq(a, b), "no copy is made");
    drop(first);
    assert_eq!(second.result().unwrap().len(), 3, "as often as it is asked for");
}

#[test]
fn all_owners_see_the_same_error() {
    let ex = Manual::new();
    let future = ex.submit(|(): ()| -> u8 { panic!("no") }, ()).shared();
    ex.run_all();
    let errors = [(); 3].map(|()| future.clone().result().unwrap_err());
    assert!(errors.iter().all(|error| error.panic().unwrap().message() == "no"));
    assert!(future.exception().unwrap().is_panic());
}

#[test]
fn many_threads_may_wait_for_one() {
    let (promise, future) = Promise::pair();
    let future = future.shared();
    let waiters: Vec<_> = (0..8)
        .map(|_| {
            let future = future.clone();
            thread::spawn(move || future.result().cloned().unwrap())
        })
        .collect();
    promise.set_result("for all".to_string()).unwrap();
    assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap() == "for all"));
}

#[test]
fn a_wait_may_run_out_of_time() {
    let (promise, future) = Promise::pair();
    let future = future.shared();
    assert!(future.result_timeout(Duration::ZERO).is_none());
    assert!(future.result_timeout(Duration::from_micros(1)).is_none());
    assert!(!future.wait_timeout(Duration::from_micros(1)));
    promise.set_result(1).unwrap();
    assert_eq!(future.result_timeout(Duration::ZERO).unwrap().unwrap(), &1);
    future.wait();
}

#[test]
fn one_owner_cancels_for_all() {
    let ex = Manual::new();
    let first = ex.submit(|x: u8| x, 1).shared();
    let second = first.clone();
    assert!(first.cancel());
    assert!(second.cancelled() && second.cancel());
    assert!(second.result().unwrap_err().is_cancelled());
    assert!(!ex.run_next());
}

#[test]
fn owners_may_be_waited_for_together() {
    let (promise, future) = Promise::pair();
    let future = future.shared();
    promise.set_result(1).unwrap();
    let (done, not_done) = wait([&future, &future], None, ReturnWhen::AllCompleted);
    assert_eq!((done.len(), not_done.len()), (2, 0));
    assert_eq!(as_completed([future.clone(), future.clone()]).map(|f| *f.result().unwrap()).sum::<i32>(), 2);
}

#[test]
fn awaiting_gives_each_owner_a_clone() {
    let (promise, future) = Promise::pair();
    let future = future.shared();
    let both = futures::future::join(future.clone(), future.clone());
    promise.set_result("x".to_string()).unwrap();
    let (a, b) = futures::executor::block_on(both);
    assert_eq!((a.unwrap(), b.unwrap()), ("x".to_string(), "x".to_string()));
    assert_eq!(future.result().unwrap(), "x");
}

#[test]
fn it_can_be_shared_while_its_callbacks_run() {
    let (promise, future) = Promise::pair();
    future.add_done_callback(|_| {});
    let future = future.shared();
    future.add_done_callback(|value| assert_eq!(*value.as_ref().unwrap(), 3));
    promise.set_result(3).unwrap();
    assert_eq!(future.result().unwrap(), &3);
}
