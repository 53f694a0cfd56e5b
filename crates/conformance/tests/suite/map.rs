//! `map` and its relatives on every executor. Exact counts of what is in flight, and all that needs an executor that waits to
//! be told, are shown by the tests of core (`map*.rs` there).

use crate::tasks::{hold, invert, square, tell};
use concurrent_futures::{Executor, ExecutorExt, Shutdown};
use concurrent_futures_conformance::{Kind, Soon, Stage, Ticket, tests};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

fn equals_that_of_iterators(kind: Kind) {
    let ex = kind.pool(2);
    assert!(ex.map(square, 0..100).map(Result::unwrap).eq((0..100).map(square)));
    for chunksize in [1, 3, 6, 40, 50] {
        let results = ex.tasks(square, 0..40).chunksize(chunksize).map();
        assert!(results.map(Result::unwrap).eq((0..40).map(square)), "chunksize {chunksize}");
    }
    assert_eq!(ex.map(square, []).count(), 0);
}

fn an_error_takes_one_place_and_iteration_goes_on(kind: Kind) {
    let ex = kind.pool(2);
    for chunksize in [1, 2, 5] {
        let mut results = ex.tasks(invert, [5, 2, 0, 0, 3]).chunksize(chunksize).map();
        assert_eq!((results.next().unwrap().unwrap(), results.next().unwrap().unwrap()), (12, 30));
        for _ in 0..2 {
            let error = results.next().unwrap().unwrap_err();
            assert_eq!(error.panic().unwrap().message(), "attempt to divide by zero");
        }
        assert_eq!(results.next().unwrap().unwrap(), 20, "chunksize {chunksize}");
        assert!(results.next().is_none());
    }
    assert!(ex.map(invert, [1, 0]).collect::<Result<Vec<_>, _>>().is_err());
}

fn keeps_the_order_though_the_first_is_the_last_to_end(kind: Kind) {
    let (ex, stage) = (kind.pool(2), Stage::new());
    let mut results = ex.tasks(hold, (0..4).map(|i| (stage.ticket(), i))).chunksize(1).map();
    let (first, others): (Vec<_>, Vec<_>) = stage.wait_for(2).into_iter().partition(|arrival| arrival.words() == "0");
    drop(others);
    stage.next().release();
    stage.next().release();
    drop(first);
    assert!(results.by_ref().map(Result::unwrap).eq(0..4));
}

/// CPython's `test_map_submits_without_iteration`.
fn runs_without_being_iterated(kind: Kind) {
    let (ex, stage) = (kind.pool(2), Stage::new());
    let results = ex.map(tell, (0..10).map(|i| (stage.ticket(), i)));
    ex.shutdown(Shutdown::WAIT);
    assert_eq!(stage.said().len(), 10);
    assert_eq!(results.filter(Result::is_ok).count(), 10);
}

fn dropping_it_cancels_what_has_not_started(kind: Kind) {
    let (ex, stage) = (kind.pool(1), Stage::new());
    let results = ex.tasks(hold, (0..5).map(|i| (stage.ticket(), i))).chunksize(1).map();
    let arrival = stage.next();
    drop(results);
    arrival.release();
    ex.shutdown(Shutdown::WAIT);
    assert!(stage.said().is_empty());
}

fn input_that_panics_cancels_what_has_not_started(kind: Kind) {
    let (ex, stage) = (kind.pool(1), Stage::new());
    let items = (0..10).map(|i| {
        assert!(i < 5, "input of this test panics on purpose");
        (stage.ticket(), i)
    });
    let map = catch_unwind(AssertUnwindSafe(|| {
        // The first has started when the input panics.
        let mut arrivals = Vec::new();
        let items = items.inspect(|(_, i)| {
            if *i == 4 {
                arrivals.push(stage.next());
            }
        });
        drop(ex.tasks(hold, items).chunksize(1).map());
    }));
    assert!(map.is_err());
    ex.shutdown(Shutdown::WAIT);
    assert!(stage.said().is_empty());
}

fn returns_at_once((ticket, number): (Ticket, u32)) -> u32 {
    if number == 2 {
        ticket.enter("held");
    } else if number > 2 {
        ticket.tell("started");
    }
    number
}

/// CPython's `test_map_timeout` and `test_executor_map_current_future_cancel`.
fn a_deadline_ends_the_wait_and_what_has_not_started(kind: Kind) {
    let mut limit = Duration::from_millis(50);
    // A machine may be too busy for the first two to be done and the third to start in time: then they get more.
    let (ex, stage, held, late) = loop {
        let (ex, stage) = (kind.pool(1), Stage::new());
        let items = (0..6).map(|i| (stage.ticket(), i));
        let mut results = ex.tasks(returns_at_once, items).chunksize(1).deadline(Instant::now() + limit).map();
        let in_time = results.by_ref().take(2).filter(Result::is_ok).count();
        let late: Vec<_> = results.collect();
        let held = stage.heard();
        if (in_time, held.len()) == (2, 1) {
            break (ex, stage, held, late);
        }
        limit *= 4;
    };
    assert_eq!(late.len(), 4);
    for late in late {
        let error = late.unwrap_err();
        assert!(error.is_timeout(), "{error}");
        assert!(error.timeout().unwrap() <= limit);
    }
    drop(held);
    ex.shutdown(Shutdown::WAIT);
    assert!(stage.said().is_empty(), "those behind it never ran");
}

fn any_buffer_gives_the_whole(kind: Kind) {
    let ex = kind.pool(2);
    for buffer in [1, 2, 10, 20] {
        let results = ex.tasks(square, 0..10).buffersize(buffer);
        assert!(results.map(Result::unwrap).eq((0..10).map(square)), "buffersize {buffer}");
        let pairs = ex.tasks(|(a, b): (u64, u64)| a * b, (0..10).zip(1..)).buffersize(buffer);
        assert!(pairs.map(Result::unwrap).eq((0..10).map(|x| x * (x + 1))));
    }
    assert!(ex.tasks(square, []).buffersize(3).next().is_none());
}

fn a_buffer_takes_endless_input_as_far_as_needed(kind: Kind) {
    let ex = kind.pool(2);
    let taken = Cell::new(0);
    let mut results = ex.tasks(square, (0..).inspect(|_| taken.set(taken.get() + 1))).buffersize(3);
    assert_eq!(taken.get(), 3);
    for i in 0..20 {
        assert_eq!(results.next().unwrap().unwrap(), i * i);
        assert_eq!(taken.get(), i + 4);
    }
    let mut pairs = ex.tasks(|(a, b): (u64, u64)| a + b, (0..).zip(10..)).chunksize(4).buffersize(2);
    assert_eq!(pairs.nth(100).unwrap().unwrap(), 210);
}

fn nothing_is_too_small(kind: Kind) {
    let ex = kind.pool(1);
    let words = |panic: Box<dyn std::any::Any + Send>| *panic.downcast::<&str>().expect("words");
    let chunks = catch_unwind(AssertUnwindSafe(|| drop(ex.tasks(square, 0..3).chunksize(0)))).unwrap_err();
    assert!(words(chunks).contains("chunksize must be at least 1"));
    let buffer = catch_unwind(AssertUnwindSafe(|| drop(ex.tasks(square, 0..3).buffersize(0)))).unwrap_err();
    assert!(words(buffer).contains("buffersize must be at least 1"));
}

fn after_the_shutdown_a_buffer_is_refused_not_cut_short(kind: Kind) {
    let ex = kind.pool(1);
    let mut results = ex.tasks(square, 0..4).buffersize(2);
    ex.shutdown(Shutdown::WAIT);
    assert_eq!((results.next().unwrap().unwrap(), results.next().unwrap().unwrap()), (0, 1));
    assert!(results.next().unwrap().unwrap_err().is_refused());
    assert!(results.next().unwrap().unwrap_err().is_refused());
    assert!(results.next().is_none());
}

fn unordered_gives_each_once_as_they_are_ready(kind: Kind) {
    let ex = kind.pool(2);
    for chunksize in [1, 7] {
        let mut values: Vec<_> =
            ex.tasks(square, 0..50).chunksize(chunksize).map_unordered().map(Result::unwrap).collect();
        values.sort_unstable();
        assert!(values.into_iter().eq((0..50).map(square)));
    }
}

fn unordered_does_not_wait_for_the_first(kind: Kind) {
    let (ex, stage) = (kind.pool(2), Stage::new());
    let mut results = ex.tasks(hold, (0..3).map(|i| (stage.ticket(), i))).chunksize(1).map_unordered();
    let (first, second): (Vec<_>, Vec<_>) = stage.wait_for(2).into_iter().partition(|arrival| arrival.words() == "0");
    drop(second);
    assert_eq!(results.next().unwrap().unwrap(), 1);
    stage.next().release();
    assert_eq!(results.next().unwrap().unwrap(), 2);
    drop(first);
    assert_eq!(results.next().unwrap().unwrap(), 0);
}

fn has_relatives(kind: Kind) {
    let ex = kind.pool(2);
    assert!(ex.starmap(u64::pow, [(2, 3), (3, 2)]).map(Result::unwrap).eq([8, 9]));
    let parsed = ex.map_fallible(|s: String| s.parse::<u8>(), ["1", "x"].map(String::from));
    assert!(parsed.map(Result::ok).eq([Some(1), None]));
    let futures = ex.submit_all(square, 0..5);
    assert!(futures.into_iter().map(|future| future.soon().unwrap()).eq((0..5).map(square)));

    let stage = Stage::new();
    ex.for_each(|(ticket, i): (Ticket, u32)| ticket.tell(i), (0..5).map(|i| (stage.ticket(), i))).unwrap();
    assert_eq!(stage.said().len(), 5);
    let error = ex.for_each(|x: u32| assert!(x != 3 && x != 4, "not {x}"), 0..6).unwrap_err();
    assert_eq!(error.panic().unwrap().message(), "not 3");
}

fn can_be_a_stream(kind: Kind) {
    use futures::StreamExt;
    let ex = kind.pool(2);
    let values: Vec<_> =
        futures::executor::block_on(ex.tasks(invert, [1, 0, 2]).chunksize(2).map().into_stream().collect());
    assert!(values.into_iter().map(Result::ok).eq([Some(60), None, Some(30)]));
}

tests! {
    all {
        equals_that_of_iterators,
        an_error_takes_one_place_and_iteration_goes_on,
        runs_without_being_iterated,
        any_buffer_gives_the_whole,
        a_buffer_takes_endless_input_as_far_as_needed,
        nothing_is_too_small,
        after_the_shutdown_a_buffer_is_refused_not_cut_short,
        unordered_gives_each_once_as_they_are_ready,
        has_relatives,
        can_be_a_stream,
    }
    parallel {
        keeps_the_order_though_the_first_is_the_last_to_end,
        dropping_it_cancels_what_has_not_started,
        input_that_panics_cancels_what_has_not_started,
        a_deadline_ends_the_wait_and_what_has_not_started,
        unordered_does_not_wait_for_the_first,
    }
}
