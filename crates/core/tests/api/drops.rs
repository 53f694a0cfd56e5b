//! Nothing is kept longer than it is needed, and everything is dropped exactly once.

use crate::manual::Manual;
use crate::wire::Wire;
use concurrent_futures_core::{Executor, ExecutorExt, Promise, Shutdown, as_completed};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Something that can be an argument or a result, and whose copies are counted (in this process).
#[derive(Debug, Default, Serialize, Deserialize)]
struct Counted {
    #[serde(skip)]
    _count: Arc<()>,
}

impl Counted {
    fn new() -> (Self, Arc<()>) {
        let count = Arc::new(());
        (Counted { _count: count.clone() }, count)
    }
}

fn alive(count: &Arc<()>) -> usize {
    Arc::strong_count(count) - 1
}

#[test]
fn the_argument_is_dropped_after_the_run() {
    let ex = Manual::new();
    let (argument, count) = Counted::new();
    let future = ex.submit(|_: Counted| (), argument);
    assert_eq!(alive(&count), 1);
    ex.run_all();
    assert_eq!(alive(&count), 0, "though the future is still there");
    future.result().unwrap();
}

#[test]
fn the_argument_is_dropped_when_the_task_panics() {
    let ex = Manual::new();
    let (argument, count) = Counted::new();
    let future = ex.submit(|_: Counted| -> u8 { panic!("with the argument") }, argument);
    ex.run_all();
    assert_eq!(alive(&count), 0);
    future.result().unwrap_err();
}

#[test]
fn the_argument_is_dropped_at_the_cancellation() {
    let ex = Manual::new();
    let (argument, count) = Counted::new();
    let future = ex.submit(|_: Counted| (), argument);
    assert!(future.cancel());
    assert_eq!(alive(&count), 0, "though the task is still in the queue");
    assert_eq!(ex.queued(), 1);
}

#[test]
fn the_argument_is_dropped_when_the_task_is_refused() {
    let ex = Manual::new();
    ex.shutdown(Shutdown::WAIT);
    let (argument, count) = Counted::new();
    let future = ex.submit(|_: Counted| (), argument);
    assert_eq!(alive(&count), 0);
    future.result().unwrap_err();
}

#[test]
fn the_argument_is_dropped_once_it_is_sent() {
    let ex = Wire::new();
    let (argument, count) = Counted::new();
    let future = ex.submit(|_: Counted| 1, argument);
    assert_eq!(alive(&count), 0, "its bytes are enough");
    ex.answer_all();
    assert_eq!(future.result().unwrap(), 1);
}

#[test]
fn the_argument_comes_back_from_a_refused_try() {
    let ex = Manual::new();
    ex.shutdown(Shutdown::WAIT);
    let (argument, count) = Counted::new();
    let refused = ex.try_submit(|_: Counted| (), argument).unwrap_err();
    assert_eq!(alive(&count), 1);
    drop(refused.args);
    assert_eq!(alive(&count), 0);
}

#[test]
fn a_value_that_nobody_takes_is_dropped_with_the_future() {
    let (promise, future) = Promise::pair();
    let (value, count) = Counted::new();
    promise.set_result(value).unwrap();
    drop(promise);
    assert_eq!(alive(&count), 1);
    drop(future);
    assert_eq!(alive(&count), 0);
}

#[test]
fn a_value_that_nobody_waits_for_any_more_is_dropped_at_once() {
    let (promise, future) = Promise::pair();
    let (value, count) = Counted::new();
    drop(future);
    promise.set_result(value).unwrap();
    drop(promise);
    assert_eq!(alive(&count), 0);
}

#[test]
fn a_value_that_comes_too_late_is_dropped() {
    let (promise, _future) = Promise::pair();
    let ((first, kept), (second, late)) = (Counted::new(), Counted::new());
    promise.set_result(first).unwrap();
    promise.set_result(second).unwrap_err();
    assert_eq!((alive(&kept), alive(&late)), (1, 0));
}

#[test]
fn the_value_moves_out() {
    let (promise, future) = Promise::pair();
    let (value, count) = Counted::new();
    promise.set_result(value).unwrap();
    let value = future.result().unwrap();
    drop(promise);
    assert_eq!(alive(&count), 1, "only the one that was taken");
    drop(value);
    assert_eq!(alive(&count), 0);
}

#[test]
fn the_last_owner_of_a_shared_value_drops_it() {
    let (promise, future) = Promise::pair();
    let (value, count) = Counted::new();
    let first = future.shared();
    let second = first.clone();
    promise.set_result(value).unwrap();
    drop((promise, first));
    assert_eq!(alive(&count), 1);
    drop(second);
    assert_eq!(alive(&count), 0);
}

#[test]
fn callbacks_are_dropped_after_they_ran() {
    let (promise, future) = Promise::pair();
    let ((early, first), (late, second)) = (Counted::new(), Counted::new());
    future.add_done_callback(move |_| drop(early));
    promise.set_result(()).unwrap();
    assert_eq!(alive(&first), 0, "though the future is still there");
    future.add_done_callback(move |_| drop(late));
    assert_eq!(alive(&second), 0);
}

#[test]
fn callbacks_of_an_abandoned_future_are_dropped() {
    let (promise, future) = Promise::<()>::pair();
    let (captured, count) = Counted::new();
    future.add_done_callback(move |_| drop(captured));
    drop((future, promise));
    assert_eq!(alive(&count), 0);
}

#[test]
fn as_completed_keeps_nothing_that_it_gave_back() {
    let ((a, first), (b, second)) = (Counted::new(), Counted::new());
    let pairs = [Promise::pair(), Promise::pair()];
    let (promises, futures): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let mut completed = as_completed(futures);
    // One that is done before it is asked for, one that comes later.
    promises[0].set_result(a).unwrap();
    drop(completed.next());
    promises[1].set_result(b).unwrap();
    drop(promises);
    assert_eq!((alive(&first), alive(&second)), (0, 1));
    drop(completed.next());
    assert_eq!(alive(&second), 0);
    assert!(completed.next().is_none());
}

#[test]
fn map_keeps_nothing_that_it_gave_back() {
    for chunksize in [1, 2, 4] {
        let ex = Manual::new();
        let (items, counts): (Vec<_>, Vec<_>) = (0..4).map(|_| Counted::new()).unzip();
        let mut results = ex.tasks(|item: Counted| item, items).chunksize(chunksize).map();
        ex.run_all();
        for count in &counts {
            assert_eq!(alive(count), 1);
            drop(results.next());
            assert_eq!(alive(count), 0, "chunksize {chunksize}");
        }
    }
}

#[test]
fn results_that_nobody_takes_are_dropped_with_the_map() {
    let ex = Manual::new();
    let (items, counts): (Vec<_>, Vec<_>) = (0..4).map(|_| Counted::new()).unzip();
    let mut results = ex.tasks(|item: Counted| item, items).chunksize(2).map();
    ex.run_all();
    results.next();
    drop(results);
    assert!(counts.iter().all(|count| alive(count) == 0));
}

#[test]
fn a_context_is_dropped_with_its_last_task() {
    let ex = Manual::new();
    let (context, count) = Counted::new();
    let future = ex.with_context(context).submit(|_: &Counted, x: u8| x, 1);
    assert_eq!(alive(&count), 1, "the task needs it");
    ex.run_all();
    assert_eq!(alive(&count), 0);
    assert_eq!(future.result().unwrap(), 1);
}
