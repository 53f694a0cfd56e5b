//! Futures made of futures: `map`, `and_then`, `then`.

use crate::manual::Manual;
use crate::wire::Wire;
use concurrent_futures_core::{Executor, ExecutorExt, Future, Promise, Shutdown};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

#[test]
fn map_transforms_the_value_where_it_arrives() {
    let (promise, future) = Promise::pair();
    let mapped = future.map(|x: u8| (x + 1, thread::current().id()));
    let completer = thread::spawn(move || promise.set_result(1).unwrap());
    let completer_id = completer.thread().id();
    assert_eq!(mapped.result().unwrap(), (2, completer_id));
    completer.join().unwrap();
    assert_eq!(Future::ready(Ok(1)).map(|_| thread::current().id()).result().unwrap(), thread::current().id());
}

#[test]
fn an_error_goes_through_and_keeps_its_task() {
    let ex = Manual::new();
    let source = ex.task(|x: u8| 1 / x, 0).name("divide").submit();
    let id = source.id();
    let end = source.map(|x| x + 1).and_then(|x| Future::ready(Ok(x))).then(&ex, |x: u8| x);
    ex.run_all();
    let error = end.result().unwrap_err();
    assert!(error.is_panic());
    assert_eq!((error.task_name(), error.task_id()), (Some("divide"), Some(id)));
}

#[test]
fn a_panic_of_the_closure_is_the_new_futures_error() {
    let mapped = Future::ready(Ok(1)).map(|_| -> u8 { panic!("in map") });
    assert_eq!(mapped.result().unwrap_err().panic().unwrap().message(), "in map");
    let chained = Future::ready(Ok(1)).and_then(|_| -> Future<u8> { panic!("in and_then") });
    assert_eq!(chained.result().unwrap_err().panic().unwrap().message(), "in and_then");
}

#[test]
fn and_then_waits_for_the_inner_future() {
    let (outer, future) = Promise::pair();
    let (inner, inner_future) = Promise::pair();
    let chained = future.and_then(move |x: u8| {
        assert_eq!(x, 1);
        inner_future
    });
    outer.set_result(1).unwrap();
    assert!(!chained.done() && !chained.running());
    inner.set_running_or_notify_cancel().unwrap();
    assert!(chained.running(), "it is as far as what it waits for");
    inner.set_result("inner").unwrap();
    assert_eq!(chained.result().unwrap(), "inner");
}

#[test]
fn then_submits_the_next_step() {
    let (fetch, parse) = (Manual::new(), Manual::new());
    let future = fetch.submit(|n: u32| n.to_string(), 12).then(&parse, |s: String| s.len());
    assert_eq!((fetch.queued(), parse.queued()), (1, 0));
    fetch.run_all();
    assert_eq!((future.done(), parse.queued()), (false, 1));
    parse.run_all();
    assert_eq!(future.result().unwrap(), 2);
}

#[test]
fn then_is_refused_after_the_shutdown() {
    let (first, second) = (Manual::new(), Manual::new());
    let future = first.submit(|x: u8| x, 1).then(&second, |x: u8| x);
    second.shutdown(Shutdown::WAIT);
    first.run_all();
    assert!(future.result().unwrap_err().is_refused());
}

#[test]
fn cancelling_the_new_future_cancels_the_task() {
    let ex = Manual::new();
    let mapped = ex.submit(|x: u8| x, 1).map(|x| x + 1).map(|x| x + 1);
    assert!(mapped.cancel() && mapped.cancelled());
    assert!(!ex.run_next(), "the task itself is cancelled");
    assert!(mapped.result().unwrap_err().is_cancelled());
}

#[test]
fn cancelling_the_task_cancels_the_new_future() {
    let (promise, future) = Promise::<u8>::pair();
    let guard = Arc::new(Mutex::new(Some(future)));
    let mapped = guard.lock().unwrap().take().unwrap().map(|x| x);
    drop(promise);
    assert!(mapped.result().unwrap_err().is_abandoned());

    let ex = Manual::new();
    let mapped = ex.submit(|x: u8| x, 1).map(|x| x);
    ex.shutdown(Shutdown::NO_WAIT.cancel_futures());
    assert!(mapped.cancelled());
}

#[test]
fn a_new_future_cannot_be_cancelled_while_its_task_runs() {
    let (promise, future) = Promise::pair();
    let mapped = future.map(|x: u8| x + 1);
    promise.set_running_or_notify_cancel().unwrap();
    assert!(mapped.running() && !mapped.cancel());
    promise.set_result(1).unwrap();
    assert_eq!(mapped.result().unwrap(), 2);
}

#[test]
fn a_new_future_runs_while_the_closure_does() {
    let (promise, future) = Promise::pair();
    let (entered, is_entered) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let mapped = future.map(move |x: u8| {
        entered.send(()).unwrap();
        may_go_on.recv().unwrap();
        x + 1
    });
    promise.set_running_or_notify_cancel().unwrap();
    assert!(mapped.running());
    let completer = thread::spawn(move || promise.set_result(1).unwrap());
    is_entered.recv().unwrap();
    assert!(mapped.running() && !mapped.done(), "as it was before");
    assert!(format!("{mapped:?}").ends_with("state: running }"), "{mapped:?}");
    assert!(!mapped.cancel() && !mapped.cancelled());
    go_on.send(()).unwrap();
    assert_eq!(mapped.result().unwrap(), 2);
    completer.join().unwrap();
}

#[test]
fn cancelling_while_the_closure_of_and_then_runs_cancels_what_it_gives() {
    let (promise, future) = Promise::pair();
    let (entered, is_entered) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let ex = Manual::new();
    let handle = ex.handle();
    let chained = future.and_then(move |x: u8| {
        entered.send(()).unwrap();
        may_go_on.recv().unwrap();
        handle.submit(|x: u8| x, x)
    });
    let completer = thread::spawn(move || promise.set_result(1).unwrap());
    is_entered.recv().unwrap();
    assert!(chained.cancel() && chained.cancelled());
    go_on.send(()).unwrap();
    completer.join().unwrap();
    assert!(!ex.run_next());
}

#[test]
fn cancelling_while_the_inner_future_is_awaited_cancels_that_one() {
    let ex = Manual::new();
    let (outer, future) = Promise::pair();
    let handle = ex.handle();
    let chained = future.and_then(move |x: u8| handle.submit(|x: u8| x, x));
    outer.set_result(1).unwrap();
    assert_eq!(ex.queued(), 1);
    assert!(chained.cancel());
    assert!(!ex.run_next());
}

#[test]
fn the_chain_of_a_task_at_a_worker_follows_it_exactly() {
    let ex = Wire::new();
    let mapped = ex.submit(|x: u8| x, 1).map(|x| x + 1);
    assert!(!mapped.running());
    let sent = ex.take();
    assert!(sent.start() && mapped.running() && !mapped.cancel());
    ex.answer(sent);
    assert_eq!(mapped.result().unwrap(), 2);

    let buffered = ex.submit(|x: u8| x, 1).map(|x| x + 1);
    assert!(buffered.cancel());
    assert!(!ex.take().start());
}

#[test]
fn callbacks_of_the_source_come_before_the_closure() {
    let (promise, future) = Promise::pair();
    let log = Arc::new(Mutex::new(Vec::new()));
    let (early, late) = (log.clone(), log.clone());
    future.add_done_callback(move |_| early.lock().unwrap().push("callback"));
    let mapped = future.map(move |()| late.lock().unwrap().push("map"));
    promise.set_result(()).unwrap();
    mapped.result().unwrap();
    assert_eq!(*log.lock().unwrap(), ["callback", "map"]);
}

#[test]
fn a_new_future_that_is_dropped_does_not_stop_the_chain() {
    let (promise, future) = Promise::pair();
    let (done, is_done) = mpsc::channel();
    drop(future.map(move |x: u8| done.send(x).unwrap()));
    promise.set_result(5).unwrap();
    assert_eq!(is_done.recv().unwrap(), 5);
}

/// The value of the last link of a chain of so many.
fn chain_of(links: u32) -> u32 {
    let (promise, future) = Promise::pair();
    let end = (0..links).fold(future, |future, _| future.map(|x: u32| x + 1));
    promise.set_result(0).unwrap();
    end.result().unwrap()
}

#[test]
fn a_chain_has_as_many_links_as_a_program_writes() {
    assert_eq!(chain_of(100), 100);
}

#[test]
fn a_chain_has_as_many_links_as_a_loop_makes() {
    assert_eq!(chain_of(100_000), 100_000);
}

#[test]
fn a_long_chain_can_be_asked_cancelled_aborted_and_dropped() {
    let chain = || {
        let (promise, future) = Promise::pair();
        (promise, (0..100_000).fold(future, |future, _| future.map(|x: u32| x + 1)))
    };
    let (promise, end) = chain();
    assert!(!end.running());
    promise.set_running_or_notify_cancel().unwrap();
    assert!(end.running() && !end.cancel() && end.abort());
    assert!(end.result().unwrap_err().is_aborted());

    let (promise, end) = chain();
    assert!(end.cancel() && end.cancelled());
    assert!(!promise.set_running_or_notify_cancel().unwrap());
    assert!(end.result().unwrap_err().is_cancelled());

    let (promise, end) = chain();
    drop(promise);
    assert!(end.result().unwrap_err().is_abandoned());
    drop(chain());
}
