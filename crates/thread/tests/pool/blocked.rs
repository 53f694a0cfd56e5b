//! Substitutes for workers that are asleep in a wait.

use crate::gate::{FOR_EVER, Gate, OnDrop, in_time, until};
use concurrent_futures_core::worker::blocking;
use concurrent_futures_core::{Executor, ExecutorExt, Promise};
use concurrent_futures_thread::ThreadPoolExecutor;
use std::cell::RefCell;
use std::sync::{Arc, mpsc};

thread_local! {
    static LAST: RefCell<Option<OnDrop>> = const { RefCell::new(None) };
}

#[test]
fn a_wait_makes_room_for_one_more_worker() {
    in_time(|| {
        let pool = ThreadPoolExecutor::new(1).unwrap();
        let (promise, future) = Promise::<u8>::pair();
        let waiting = pool.spawn(move || future.result().unwrap());
        // Only a second worker can run this.
        pool.spawn(move || promise.set_result(7)).result().unwrap().unwrap();
        assert_eq!(waiting.result().unwrap(), 7);
    });
}

#[test]
fn a_wait_of_another_kind_can_be_announced() {
    in_time(|| {
        let pool = ThreadPoolExecutor::new(1).unwrap();
        let (send, receive) = mpsc::channel();
        let waiting = pool.spawn(move || blocking(|| receive.recv().unwrap()));
        pool.spawn(move || send.send(5).unwrap());
        assert_eq!(waiting.result().unwrap(), 5);
    });
}

#[test]
fn a_substitute_ends_when_it_is_not_needed_any_more() {
    let pool = ThreadPoolExecutor::new(1).unwrap();
    let (promise, future) = Promise::<u8>::pair();
    let waiting = pool.spawn(move || future.result().unwrap());
    let (dropped, drops) = mpsc::channel();
    let dropped = OnDrop(dropped);
    pool.spawn(move || {
        LAST.set(Some(dropped));
        promise.set_result(7)
    });
    waiting.result().unwrap();
    // Either of the two: the one that parks first while there are two. The other stays.
    until(|| pool.stats().workers == 1);
    assert_eq!(pool.submit(|x: u8| x, 1).result().unwrap(), 1);
    drop(pool);
    drops.recv_timeout(FOR_EVER).unwrap();
}

#[test]
fn substitutes_do_not_make_the_pool_larger() {
    let pool = Arc::new(ThreadPoolExecutor::new(2).unwrap());
    // Four workers: two whose waits have just ended, and their two substitutes.
    let (waits, gate) = (Gate::new(), Gate::new());
    let promises: Vec<_> = (0..2)
        .map(|_| {
            let (promise, future) = Promise::<u8>::pair();
            let waits = waits.clone();
            pool.spawn(move || {
                future.result().unwrap();
                waits.pass();
            });
            promise
        })
        .collect();
    for _ in 0..2 {
        let gate = gate.clone();
        pool.spawn(move || gate.pass());
    }
    gate.wait_for(2);
    for promise in promises {
        promise.set_result(0).unwrap();
    }
    waits.wait_for(2);
    assert_eq!(pool.stats().workers, 4);
    // Two of them come back, and find that two too many are awake.
    gate.open();
    let later = Gate::new();
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let later = later.clone();
            pool.spawn(move || later.pass())
        })
        .collect();
    until(|| pool.stats().idle == 2);
    assert_eq!((later.arrived(), pool.stats().queued), (0, 4));
    waits.open();
    later.wait_for(2);
    assert_eq!(pool.stats().queued, 2);
    later.open();
    for task in tasks {
        task.result().unwrap();
    }
}

#[test]
fn names_of_substitutes_go_on_and_are_used_again() {
    let pool = ThreadPoolExecutor::builder().max_workers(1).thread_name_prefix("w").build().unwrap();
    for _ in 0..3 {
        let (promise, future) = Promise::<u8>::pair();
        let waiting = pool.spawn(move || future.result().unwrap());
        let name = pool.spawn(move || {
            promise.set_result(7).unwrap();
            std::thread::current().name().unwrap().to_owned()
        });
        waiting.result().unwrap();
        let name = name.result().unwrap();
        assert!(["w_0", "w_1"].contains(&&*name), "{name}");
        until(|| pool.stats().workers == 1);
    }
}
