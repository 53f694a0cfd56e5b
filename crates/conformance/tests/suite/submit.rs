//! `submit`: what can be a task, and what becomes of what it does.

use crate::tasks::{hold, invert, square, tell};
use concurrent_futures::{Executor, ExecutorExt, ExecutorKind, Future, Refusal, Shutdown};
use concurrent_futures_conformance::{Kind, Soon, Stage, tests};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

fn gives_the_value(kind: Kind) {
    let ex = kind.pool(1);
    assert_eq!(ex.submit(|(base, exponent)| u64::pow(base, exponent), (2, 8)).soon().unwrap(), 256);
}

fn takes_functions_methods_and_plain_closures(kind: Kind) {
    fn generic<T: std::ops::Add<Output = T> + Copy>(x: T) -> T {
        x + x
    }
    let ex = kind.pool(1);
    assert_eq!(ex.submit(square, 4).soon().unwrap(), 16);
    assert_eq!(ex.submit(generic::<u32>, 4).soon().unwrap(), 8);
    assert_eq!(ex.submit(generic::<f64>, 0.5).soon().unwrap(), 1.0);
    assert_eq!(ex.submit(u32::count_ones, 255).soon().unwrap(), 8);
    assert_eq!(ex.submit(|(a, b, c): (u8, u8, u8)| a + b + c, (1, 2, 3)).soon().unwrap(), 6);
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Nothing,
    Text(String),
    Table { rows: BTreeMap<String, Vec<i64>>, note: Option<char> },
}

fn carries_values_of_all_shapes(kind: Kind) {
    let ex = kind.pool(1);
    let rows = BTreeMap::from([("a".to_string(), vec![1, -2, i64::MAX]), (String::new(), vec![])]);
    for shape in [Shape::Nothing, Shape::Text("äöü\0".into()), Shape::Table { rows, note: Some('✓') }] {
        assert_eq!(ex.submit(|shape: Shape| shape, shape.clone()).soon().unwrap(), shape);
    }
    ex.submit(|()| (), ()).soon().unwrap();
    assert_eq!(ex.submit(|x: u128| x, u128::MAX).soon().unwrap(), u128::MAX);
}

fn carries_large_values(kind: Kind) {
    let ex = kind.pool(2);
    for size in [0, 1, 65_535, 65_536, 5_000_000] {
        let bytes: Vec<u8> = (0..size).map(|i: u32| i as u8).collect();
        let reversed = ex.submit(
            |mut bytes: Vec<u8>| {
                bytes.reverse();
                bytes
            },
            bytes.clone(),
        );
        assert!(reversed.soon().unwrap().iter().rev().eq(&bytes), "{size} bytes");
    }
}

fn runs_in_the_order_of_submission_on_one_worker(kind: Kind) {
    let (ex, stage) = (kind.pool(1), Stage::new());
    for number in 0..50 {
        drop(ex.submit(tell, (stage.ticket(), number)));
    }
    ex.shutdown(Shutdown::WAIT);
    assert!(stage.said().into_iter().eq((0..50).map(|number| number.to_string())));
}

fn runs_what_nobody_waits_for(kind: Kind) {
    let (ex, stage) = (kind.pool(2), Stage::new());
    drop(ex.submit(tell, (stage.ticket(), 7)));
    drop(ex);
    assert_eq!(stage.said(), ["7"]);
}

fn takes_many_from_many_threads(kind: Kind) {
    let ex = kind.pool(2);
    let sum: u64 = thread::scope(|scope| {
        let submit = || {
            let futures = ex.submit_all(square, 0..200);
            futures.into_iter().map(|future| future.soon().unwrap()).sum::<u64>()
        };
        let others: Vec<_> = (0..3).map(|_| scope.spawn(submit)).collect();
        submit() + others.into_iter().map(|other| other.join().unwrap()).sum::<u64>()
    });
    assert_eq!(sum, 4 * (0..200).map(square).sum::<u64>());
}

fn an_err_is_a_value_unless_the_task_is_fallible(kind: Kind) {
    let ex = kind.pool(1);
    let value = ex.submit(|x: i32| if x < 0 { Err("negative".to_string()) } else { Ok(x) }, -1);
    assert_eq!(value.soon().unwrap(), Err("negative".to_string()));

    let parse = |text: String| text.parse::<u8>();
    assert_eq!(ex.submit_fallible(parse, "7".into()).soon().unwrap(), 7);
    let error = ex.submit_fallible(parse, "seven".into()).soon().unwrap_err();
    let failure = error.failure().unwrap();
    assert_eq!(failure.message(), "invalid digit found in string");
    assert!(failure.type_name().ends_with("ParseIntError"));
    let original = failure.downcast_ref::<std::num::ParseIntError>();
    assert_eq!(original.is_some(), !kind.is_process(), "from another process only the words come back");
}

fn a_panic_is_the_tasks_error_and_costs_no_worker(kind: Kind) {
    let ex = kind.pool(1);
    for round in 0..3 {
        let error = ex.task(invert, 0).name("divide").submit().soon().unwrap_err();
        let panic = error.panic().unwrap_or_else(|| panic!("{error}"));
        assert_eq!(panic.message(), "attempt to divide by zero");
        assert!(panic.location().unwrap().contains("tasks.rs:"), "{:?}", panic.location());
        assert_eq!(error.task_name(), Some("divide"));
        assert_eq!(ex.submit(invert, 2).soon().unwrap(), 30, "round {round}");
    }
    assert!(ex.stats().workers <= 1);
}

/// CPython's `test_traceback`: the error shows where in the task it happened.
fn a_panic_comes_with_its_backtrace(kind: Kind) {
    #[inline(never)]
    fn a_function_with_a_name_to_look_for(x: u64) -> u64 {
        invert(x) + 1
    }
    let error = kind.pool(1).submit(a_function_with_a_name_to_look_for, 0).soon().unwrap_err();
    let backtrace = error.panic().unwrap().backtrace();
    let wanted = std::env::var_os("RUST_LIB_BACKTRACE").or_else(|| std::env::var_os("RUST_BACKTRACE"));
    if wanted.is_none_or(|value| value != "0") {
        assert!(backtrace.contains("a_function_with_a_name_to_look_for"), "{backtrace}");
    }
}

fn panics_of_all_kinds_are_carried(kind: Kind) {
    let ex = kind.pool(1);
    let formatted = ex.submit(|x: u8| -> u8 { panic!("no {x}") }, 5).soon().unwrap_err();
    assert_eq!(formatted.panic().unwrap().message(), "no 5");
    let value = ex.submit(|x: u8| -> u8 { std::panic::panic_any(x) }, 5).soon().unwrap_err();
    assert_eq!(value.panic().unwrap().message(), "a value that is no text");
    let payload = value.panic().unwrap().take_payload();
    assert_eq!(payload.and_then(|payload| payload.downcast::<u8>().ok()).is_some(), !kind.is_process());
    let unwound = ex.submit(|(): ()| -> u8 { std::panic::resume_unwind(Box::new("quietly")) }, ()).soon().unwrap_err();
    assert_eq!(unwound.panic().unwrap().message(), "quietly");
}

/// Two errors of one kind are two errors (CPython's `test_broken_process_pool_traceback`); one error is the same however
/// often it is asked for.
fn each_future_has_an_error_of_its_own(kind: Kind) {
    let ex = kind.pool(2);
    let futures = ["one", "two"].map(|name| ex.task(invert, 0).name(name).submit().shared());
    let names = futures.each_ref().map(|future| future.result().unwrap_err().task_name().map(str::to_owned));
    assert_eq!(names, [Some("one".to_owned()), Some("two".to_owned())]);
    let (first, again) = (futures[0].exception().unwrap(), futures[0].exception().unwrap());
    assert!(std::ptr::eq(first, again));
}

fn an_outcome_may_be_asked_for_by_many_threads(kind: Kind) {
    let future = kind.pool(1).submit(square, 5).shared();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(*future.result().unwrap(), 25));
        }
    });
}

fn try_submit_takes_the_task_or_gives_the_argument_back(kind: Kind) {
    let ex = kind.pool(1);
    assert_eq!(ex.try_submit(square, 3).unwrap().soon().unwrap(), 9);
    ex.shutdown(Shutdown::WAIT);
    let refused = ex.try_submit(|text: String| text, "mine".to_string()).unwrap_err();
    assert_eq!((refused.args.as_str(), refused.why), ("mine", Refusal::ShutDown));
}

/// Python's queue is always unbounded; here a bound is an option.
fn a_full_queue_refuses_or_waits(kind: Kind) {
    let (ex, stage) = (kind.pool_with_bound(1, 1), Stage::new());
    let running = ex.submit(hold, (stage.ticket(), 0));
    let arrival = stage.next();
    // A worker process may have been given its next task already; so some are taken, then one is refused.
    let mut queued = Vec::new();
    let refused = loop {
        match ex.try_submit(square, 3) {
            Ok(future) => queued.push(future),
            Err(refused) => break refused,
        }
        assert!(queued.len() < 10, "the queue has no bound");
    };
    assert_eq!((refused.args, refused.why), (3, Refusal::Full));
    thread::scope(|scope| {
        let waits = scope.spawn(|| ex.submit(square, 4));
        arrival.release();
        assert_eq!(waits.join().unwrap().soon().unwrap(), 16);
    });
    assert_eq!(running.soon().unwrap(), 0);
    assert!(queued.into_iter().all(|future| future.soon().unwrap() == 9));
}

fn every_way_to_hold_it_is_an_executor(kind: Kind) {
    fn library(ex: &dyn Executor) -> u64 {
        ex.submit(square, 3).soon().unwrap() + ex.map(square, [1, 2]).map(Result::unwrap).sum::<u64>()
    }
    let boxed: Box<dyn Executor> = kind.pool(1);
    assert_eq!((library(&boxed), library(&*boxed)), (14, 14));
    let shared: Arc<dyn Executor> = Arc::from(boxed);
    let clone = shared.clone();
    assert_eq!(thread::spawn(move || library(&clone)).join().unwrap(), 14);
    assert_eq!((&shared).scope(|ex| library(ex)), 14);
    assert_eq!(library(&shared.handle()), 14);
    assert_eq!(shared.scope(|ex| library(ex)), 14);
}

fn a_handle_does_not_keep_the_executor(kind: Kind) {
    let ex = kind.pool(1);
    let handle = ex.handle();
    assert_eq!(handle.submit(square, 3).soon().unwrap(), 9);
    assert_eq!(handle.num_workers(), ex.num_workers());
    let later = ex.submit(square, 2).then(&handle, square);
    assert_eq!(later.soon().unwrap(), 16);
    drop(ex);
    assert_eq!(handle.submit(square, 3).soon().unwrap_err().refusal(), Some(&Refusal::ShutDown));
    assert_eq!(handle.try_submit(square, 3).unwrap_err().args, 3);
}

fn futures_can_be_awaited(kind: Kind) {
    let ex = kind.pool(2);
    let sum = futures::executor::block_on(async {
        let (a, b) = futures::join!(ex.submit(square, 3), ex.submit(square, 4));
        Ok::<_, concurrent_futures::TaskError>(a? + b?)
    });
    assert_eq!(sum.unwrap(), 25);
}

fn it_counts_what_it_did(kind: Kind) {
    let ex = kind.pool(2);
    assert_eq!(ex.num_workers(), if kind == Kind::Serial { 1 } else { 2 });
    for future in ex.submit_all(square, 0..10) {
        future.soon().unwrap();
    }
    ex.shutdown(Shutdown::WAIT);
    let stats = ex.stats();
    assert_eq!((stats.queued, stats.finished), (0, 10), "{stats:?}");
}

#[test]
fn the_executor_can_be_chosen_by_a_word() {
    for &kind in ExecutorKind::ALL {
        let again: ExecutorKind = kind.to_string().parse().unwrap();
        assert_eq!(again, kind);
        let futures: Vec<Future<u64>> = kind.build(2).unwrap().scope(|ex| ex.submit_all(square, 0..4));
        assert_eq!(futures.into_iter().map(|future| future.soon().unwrap()).sum::<u64>(), 14);
        assert!(kind.build(0).unwrap_err().to_string().contains("at least 1"));
    }
    assert!("cluster".parse::<ExecutorKind>().is_err());
}

tests! {
    all {
        gives_the_value,
        takes_functions_methods_and_plain_closures,
        carries_values_of_all_shapes,
        carries_large_values,
        runs_in_the_order_of_submission_on_one_worker,
        runs_what_nobody_waits_for,
        takes_many_from_many_threads,
        an_err_is_a_value_unless_the_task_is_fallible,
        a_panic_is_the_tasks_error_and_costs_no_worker,
        a_panic_comes_with_its_backtrace,
        panics_of_all_kinds_are_carried,
        each_future_has_an_error_of_its_own,
        an_outcome_may_be_asked_for_by_many_threads,
        try_submit_takes_the_task_or_gives_the_argument_back,
        every_way_to_hold_it_is_an_executor,
        a_handle_does_not_keep_the_executor,
        futures_can_be_awaited,
        it_counts_what_it_did,
    }
    parallel {
        a_full_queue_refuses_or_waits,
    }
}
