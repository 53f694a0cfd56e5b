//! `buffersize`: input is taken as the results are.

use crate::manual::Manual;
use crate::timeouts::at_a_deadline;
use concurrent_futures_core::{Executor, ExecutorExt, SerialExecutor, Shutdown};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

fn next(x: u32) -> u32 {
    x + 1
}

#[test]
fn any_buffer_gives_the_whole_in_order() {
    for buffer in [1, 2, 10, 20] {
        for chunksize in [1, 3] {
            let ex = SerialExecutor::new();
            let results = ex.tasks(next, 0..10).chunksize(chunksize).buffersize(buffer);
            assert!(results.map(Result::unwrap).eq(1..=10), "buffersize {buffer}, chunksize {chunksize}");
        }
    }
}

#[test]
fn exactly_so_many_are_in_flight() {
    let ex = Manual::new();
    let taken = Cell::new(0);
    let mut results = ex.tasks(next, (0..).inspect(|_| taken.set(taken.get() + 1))).buffersize(3);
    assert_eq!((ex.queued(), taken.get()), (3, 3), "submitted at the call, and no more");
    for i in 0..10 {
        assert!(ex.run_next());
        assert_eq!(ex.queued(), 2);
        assert_eq!(results.next().unwrap().unwrap(), i + 1);
        // The next was submitted after the result had come: never one too many.
        assert_eq!((ex.queued(), taken.get()), (3, i + 4));
    }
}

#[test]
fn a_result_that_is_there_already_makes_room_for_one_only() {
    let ex = Manual::new();
    let mut results = ex.tasks(next, 0..).buffersize(3);
    assert_eq!(ex.run_all(), 3);
    assert_eq!(ex.queued(), 0, "nothing is taken before a result is");
    results.next();
    assert_eq!(ex.queued(), 1);
}

#[test]
fn the_buffer_counts_chunks() {
    let ex = Manual::new();
    let taken = Cell::new(0);
    let items = (0..).inspect(|_| taken.set(taken.get() + 1));
    let mut results = ex.tasks(next, items).chunksize(4).buffersize(2);
    assert_eq!((ex.queued(), taken.get()), (2, 8));
    ex.run_all();
    results.next();
    assert_eq!((ex.queued(), taken.get()), (1, 12));
    results.nth(2);
    assert_eq!((ex.queued(), taken.get()), (1, 12), "the rest of the chunk needs nothing new");
    results.next();
    assert_eq!((ex.queued(), taken.get()), (2, 16));
}

#[test]
fn endless_inputs_may_be_zipped() {
    let ex = SerialExecutor::new();
    let sums = ex.tasks(|(a, b): (u64, u64)| a + b, (0..).zip(10..)).buffersize(2);
    assert!(sums.take(3).map(Result::unwrap).eq([10, 12, 14]));
}

#[test]
fn the_end_of_the_input_is_the_end() {
    let ex = SerialExecutor::new();
    let mut results = ex.tasks(next, [1]).buffersize(8);
    assert_eq!(results.next().unwrap().unwrap(), 2);
    assert!(results.next().is_none() && results.next().is_none());
    assert!(ex.tasks(next, []).buffersize(1).next().is_none());
}

#[test]
fn a_buffer_holds_at_least_one() {
    let ex = SerialExecutor::new();
    let refused = catch_unwind(AssertUnwindSafe(|| drop(ex.tasks(next, [1]).buffersize(0)))).unwrap_err();
    let words = refused.downcast_ref::<&str>().expect("words");
    assert!(words.contains("buffersize must be at least 1"), "{words}");
}

#[test]
fn an_error_does_not_end_the_iteration() {
    let ex = SerialExecutor::new();
    let results = ex.tasks(|x: u32| 6 / x, [1, 0, 2]).buffersize(2);
    assert!(results.map(Result::ok).eq([Some(6), None, Some(3)]));
}

#[test]
fn dropping_cancels_what_has_not_started() {
    let ex = Manual::new();
    let mut results = ex.tasks(next, 0..).buffersize(3);
    ex.run_next();
    results.next();
    drop(results);
    assert_eq!((ex.queued(), ex.run_all()), (3, 0));
}

#[test]
fn after_the_shutdown_items_are_refused_not_lost() {
    let ex = Manual::new();
    let mut results = ex.tasks(next, 0..4).buffersize(2);
    ex.shutdown(Shutdown::WAIT);
    assert_eq!(results.next().unwrap().unwrap(), 1);
    assert_eq!(results.next().unwrap().unwrap(), 2);
    assert!(results.next().unwrap().unwrap_err().is_refused());
    assert!(results.next().unwrap().unwrap_err().is_refused());
    assert!(results.next().is_none());
}

#[test]
fn input_that_panics_at_the_call_cancels_what_was_submitted() {
    let ex = Manual::new();
    let items = (0..).inspect(|i| assert!(*i < 2, "input of this test panics on purpose"));
    assert!(catch_unwind(AssertUnwindSafe(|| drop(ex.tasks(next, items).buffersize(5)))).is_err());
    assert_eq!((ex.queued(), ex.run_all()), (2, 0));
}

#[test]
fn input_that_panics_later_loses_no_result() {
    let ex = Manual::new();
    let items = (0..).inspect(|i| assert!(*i != 2, "input of this test panics on purpose"));
    let mut results = ex.tasks(next, items).buffersize(2);
    ex.run_all();
    assert!(catch_unwind(AssertUnwindSafe(|| results.next())).is_err());
    assert_eq!(results.next().unwrap().unwrap(), 1, "the one that it was about to give");
    assert_eq!(results.next().unwrap().unwrap(), 2);
}

#[test]
fn a_deadline_holds_for_the_whole() {
    let ex = Manual::new();
    let mut results = at_a_deadline(|at| {
        ex.run_all();
        let results = ex.tasks(next, 0..).deadline(at).buffersize(2);
        ex.run_any(0);
        results
    });
    assert_eq!(results.next().unwrap().unwrap(), 1, "it is there");
    for _ in 0..3 {
        assert!(results.next().unwrap().unwrap_err().is_timeout(), "also those that were submitted later");
    }
}

#[test]
fn input_may_borrow() {
    let ex = SerialExecutor::new();
    let numbers = vec![1, 2, 3];
    let results = ex.tasks(next, numbers.iter().copied()).buffersize(2);
    assert_eq!(results.map(Result::unwrap).sum::<u32>(), 9);
    drop(numbers);
}
