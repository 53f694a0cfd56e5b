//! A queue that is sorted.

use crate::gate::Gate;
use concurrent_futures_core::{Executor, ExecutorExt, Refusal};
use concurrent_futures_thread::ThreadPoolExecutor;
use std::sync::Mutex;

static ORDER: Mutex<Vec<u32>> = Mutex::new(Vec::new());

fn record(x: u32) {
    ORDER.lock().unwrap().push(x);
}

#[test]
fn the_highest_runs_first_and_equals_in_the_order_in_which_they_came() {
    let pool = ThreadPoolExecutor::builder().max_workers(1).priority_queue(true).build().unwrap();
    let gate = Gate::new();
    let at_gate = gate.clone();
    pool.spawn(move || at_gate.pass());
    gate.wait_for(1);
    for (x, priority) in [(5, -1), (2, 1), (4, 0), (0, i32::MAX), (3, 1), (6, i32::MIN), (1, 7)] {
        pool.task(record, x).priority(priority).submit();
    }
    pool.submit(record, 7); // as 4: nothing was asked for
    gate.open();
    drop(pool);
    assert_eq!(*ORDER.lock().unwrap(), [0, 1, 2, 3, 4, 7, 5, 6]);
}

#[test]
fn other_pools_refuse_what_they_cannot_do() {
    let pool = ThreadPoolExecutor::new(1).unwrap();
    let error = pool.task(|x: u8| x, 1).priority(1).submit().result().unwrap_err();
    assert!(matches!(error.refusal(), Some(Refusal::Unsupported(why)) if why.contains("priority")));
    let refused = pool.task(|x: u8| x, 1).priority(1).try_submit().unwrap_err();
    assert!(matches!(refused.why, Refusal::Unsupported(_)));
    assert_eq!(pool.task(|x: u8| x, 1).priority(0).submit().result().unwrap(), 1);
    assert_eq!(pool.stats().workers, 1);
}
