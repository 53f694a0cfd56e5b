//! One future of many: `gather`, `gather_results`, `Map::gather`; and stopping tasks from elsewhere.

use crate::manual::Manual;
use concurrent_futures_core::{ExecutorExt, Future, Promise, SerialExecutor, TaskError, gather, gather_results};

fn promises<const N: usize>() -> ([Promise<u32>; N], [Future<u32>; N]) {
    let pairs = [(); N].map(|()| Promise::pair());
    let (mut promises, mut futures) = (Vec::new(), Vec::new());
    for (promise, future) in pairs {
        promises.push(promise);
        futures.push(future);
    }
    (promises.try_into().unwrap(), futures.try_into().unwrap())
}

#[test]
fn the_order_is_that_of_the_futures_whatever_comes_first() {
    let ([a, b, c], futures) = promises();
    let whole = gather(futures);
    for (promise, value) in [(&c, 3), (&a, 1)] {
        promise.set_result(value).unwrap();
        assert!(!whole.done());
    }
    b.set_result(2).unwrap();
    assert_eq!(whole.result().unwrap(), [1, 2, 3]);
    assert_eq!(gather(Vec::<Future<u8>>::new()).result().unwrap(), []);
    assert_eq!(gather_results(Vec::<Future<u8>>::new()).result().unwrap().len(), 0);
}

#[test]
fn the_first_error_is_that_of_the_whole_and_the_rest_is_cancelled() {
    let ([a, b, c], futures) = promises();
    let whole = gather(futures);
    c.set_running_or_notify_cancel().unwrap();
    b.set_exception("no").unwrap();
    assert_eq!(whole.result().unwrap_err().failure().unwrap().message(), "no");
    assert!(!a.set_running_or_notify_cancel().unwrap(), "it had not started");
    c.set_result(1).unwrap();
}

#[test]
fn gather_results_keeps_every_outcome() {
    let ([a, b, c], futures) = promises();
    let whole = gather_results(futures);
    b.set_exception("no").unwrap();
    a.set_result(1).unwrap();
    drop(c);
    let outcomes = whole.result().unwrap();
    assert_eq!(*outcomes[0].as_ref().unwrap(), 1);
    assert!(outcomes[1].as_ref().unwrap_err().is_failed());
    assert!(outcomes[2].is_err(), "abandoned");
}

#[test]
fn cancelling_the_whole_cancels_what_has_not_started() {
    for cancel in [|futures| gather(futures).cancel(), |futures| gather_results(futures).cancel()] {
        let ([a, b, c], futures) = promises();
        b.set_running_or_notify_cancel().unwrap();
        assert!(cancel(futures));
        assert!(!a.set_running_or_notify_cancel().unwrap() && !c.set_running_or_notify_cancel().unwrap());
        b.set_result(1).unwrap();
    }
}

#[test]
fn a_cancelled_whole_is_cancelled_for_whoever_waits() {
    let (_keep, futures) = promises::<2>();
    let whole = gather_results(futures);
    assert!(whole.cancel() && whole.cancelled() && whole.cancel());
    assert!(whole.result().unwrap_err().is_cancelled());
}

#[test]
fn aborting_the_whole_or_what_is_derived_from_it_aborts_all_parts() {
    for abort in [|futures| gather_results(futures).abort(), |futures| gather(futures).map(|all| all.len()).abort()] {
        let ([a, b], futures) = promises();
        a.set_running_or_notify_cancel().unwrap();
        assert!(abort(futures));
        assert!(a.set_result(1).is_err(), "aborted while it ran");
        assert!(b.set_result(1).is_err(), "cancelled");
    }
}

#[test]
fn what_is_done_cannot_be_cancelled() {
    let whole = gather([Future::ready(Ok(1)), Future::ready(Ok(2))]);
    assert!(whole.done() && !whole.cancel() && !whole.abort());
    assert_eq!(whole.result().unwrap(), [1, 2]);
}

#[test]
fn callbacks_and_chains_see_the_whole() {
    let ([a, b], futures) = promises();
    let sum = gather(futures).map(|all| all.iter().sum::<u32>());
    a.set_result(20).unwrap();
    b.set_result(22).unwrap();
    assert_eq!(sum.result().unwrap(), 42);
}

#[test]
fn dropping_it_cancels_nothing() {
    let ([a, b], futures) = promises();
    drop(gather(futures));
    assert!(a.set_running_or_notify_cancel().unwrap());
    a.set_result(1).unwrap();
    b.set_result(1).unwrap();
}

#[test]
fn a_map_is_gathered_with_its_first_error_after_all_is_done() {
    let ex = Manual::new();
    let whole = ex.tasks(|x: u32| 100 / x, [5, 0, 4, 0]).chunksize(1).map().gather();
    assert!(ex.run_next());
    assert!(ex.run_next());
    assert!(!whole.done(), "it waits for all");
    ex.run_all();
    let error = whole.result().unwrap_err();
    assert!(error.is_panic());
}

#[test]
fn a_map_is_gathered_whatever_its_chunks_are() {
    let ex = SerialExecutor::new();
    for chunksize in [1, 2, 7, 100] {
        let whole = ex.tasks(|x: u32| x * x, 0..20).chunksize(chunksize).map().gather();
        assert!(whole.result().unwrap().into_iter().eq((0..20).map(|x| x * x)));
        let mut map = ex.tasks(|x: u32| 100 / x, [5, 0, 4]).chunksize(chunksize).map();
        assert_eq!(map.next().unwrap().unwrap(), 20);
        let rest: Vec<Result<u32, TaskError>> = map.gather_results().result().unwrap();
        assert!(rest[0].is_err() && *rest[1].as_ref().unwrap() == 25 && rest.len() == 2);
    }
}

#[test]
fn an_abort_handle_stops_what_somebody_else_waits_for() {
    let ex = Manual::new();
    let future = ex.submit(|x: u32| x, 1);
    let handle = future.abort_handle();
    assert_eq!((handle.id(), handle.done()), (future.id(), false));
    assert!(handle.clone().cancel() && handle.abort() && handle.done());
    assert!(format!("{handle:?}").starts_with("AbortHandle"));
    assert!(future.result().unwrap_err().is_cancelled());
}
