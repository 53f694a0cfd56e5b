//! `as_completed`: order, pushing, time, streams, and what it keeps.

use crate::manual::Manual;
use crate::wire::Wire;
use concurrent_futures_core::{
    Executor, ExecutorExt, Future, Promise, SerialExecutor, Shutdown, Waitable, as_completed,
};
use futures::StreamExt;
use std::collections::HashMap;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

fn pairs(n: usize) -> (Vec<Promise<usize>>, Vec<Future<usize>>) {
    (0..n).map(|_| Promise::pair()).unzip()
}

#[test]
fn those_that_are_done_come_first_in_the_order_given() {
    let (promises, futures) = pairs(4);
    promises[3].set_result(3).unwrap();
    promises[1].set_result(1).unwrap();
    let mut completed = as_completed(futures);
    assert_eq!(completed.next().unwrap().result().unwrap(), 1);
    assert_eq!(completed.next().unwrap().result().unwrap(), 3);
    assert_eq!((completed.len(), completed.is_empty()), (2, false));
}

#[test]
fn the_others_come_in_the_order_in_which_they_are_done() {
    let (promises, futures) = pairs(4);
    let mut completed = as_completed(futures);
    for i in [2, 0, 3, 1] {
        promises[i].set_result(i).unwrap();
    }
    assert!(completed.by_ref().map(|future| future.result().unwrap()).eq([2, 0, 3, 1]));
    assert!(completed.next().is_none() && completed.is_empty());
}

#[test]
fn it_waits_for_what_is_not_there() {
    let (promises, futures) = pairs(100);
    let (ready, is_ready) = mpsc::channel();
    let waiter = thread::spawn(move || {
        ready.send(()).unwrap();
        as_completed(futures).map(|future| future.result().unwrap()).collect::<Vec<_>>()
    });
    is_ready.recv().unwrap();
    for (i, promise) in promises.iter().enumerate() {
        promise.set_result(i).unwrap();
    }
    let mut seen = waiter.join().unwrap();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..100));
}

#[test]
fn errors_and_cancellations_come_like_values() {
    let (promises, futures) = pairs(3);
    futures[1].cancel();
    promises[0].set_exception("x").unwrap();
    promises[2].set_result(2).unwrap();
    let completed: Vec<_> = as_completed(futures).map(Future::result).collect();
    assert!(completed[0].as_ref().unwrap_err().is_failed());
    assert!(completed[1].as_ref().unwrap_err().is_cancelled());
    assert_eq!(*completed[2].as_ref().unwrap(), 2);
}

#[test]
fn a_cancelled_future_comes_at_once() {
    let (_promises, futures) = pairs(2);
    let mut completed = as_completed(&futures);
    futures[1].cancel();
    assert!(completed.next().unwrap().cancelled());
}

/// Python waits for ever here.
#[test]
fn a_shutdown_that_cancels_ends_the_iteration() {
    let ex = Manual::new();
    let futures = ex.submit_all(|x: u8| x, 0..3);
    let completed = as_completed(futures);
    ex.shutdown(Shutdown::NO_WAIT.cancel_futures());
    assert_eq!(completed.filter(Future::cancelled).count(), 3);
}

#[test]
fn what_comes_as_bytes_is_decoded_by_who_takes_it() {
    let ex = Wire::new();
    let mut completed = as_completed(ex.submit_all(|x: u8| x + 1, 0..3));
    ex.answer_all();
    assert!(completed.by_ref().map(|future| future.result().unwrap()).eq([1, 2, 3]));
}

#[test]
fn every_item_comes_back_also_a_duplicate() {
    let future = Future::ready(Ok(1));
    assert_eq!(as_completed([&future; 3]).count(), 3);
    let (promise, later) = Promise::pair();
    let completed = as_completed([&later; 3]);
    promise.set_result(1).unwrap();
    assert_eq!(completed.count(), 3);
}

#[test]
fn keys_travel_with_their_futures() {
    let ex = SerialExecutor::new();
    let by_word: HashMap<&str, Future<usize>> =
        ["a", "bcd"].into_iter().map(|word| (word, ex.submit(|s: String| s.len(), word.into()))).collect();
    for (word, length) in as_completed(by_word) {
        assert_eq!(length.result().unwrap(), word.len());
    }
}

#[test]
fn boxes_of_different_futures() {
    let ex = Manual::new();
    let items: [Box<dyn Waitable>; 2] =
        [Box::new(ex.submit(|x: u8| x, 1)), Box::new(ex.submit(|x: String| x, "x".into()))];
    let completed = as_completed(items);
    ex.run_all();
    assert_eq!(completed.count(), 2);
}

#[test]
fn more_can_be_pushed_while_it_goes_on() {
    let ex = Manual::new();
    let mut completed = as_completed([(0, ex.submit(|depth: u32| depth, 0))]);
    let mut seen = Vec::new();
    ex.run_all();
    while let Some((key, future)) = completed.next() {
        let depth = future.result().unwrap();
        seen.push((key, depth));
        if depth < 3 {
            completed.extend([1, 2].map(|branch| (key * 10 + branch, ex.submit(|depth: u32| depth, depth + 1))));
            ex.run_all();
        }
    }
    assert_eq!(seen.len(), 1 + 2 + 4 + 8);
    // It can go on after it has come to its end.
    completed.push((5, ex.submit(|depth: u32| depth, 9)));
    ex.run_all();
    assert_eq!(completed.next().unwrap().0, 5);
}

#[test]
fn time_runs_out_after_all_that_was_there() {
    for timeout in [Duration::ZERO, Duration::from_millis(5)] {
        let (promises, futures) = pairs(4);
        promises[0].set_result(0).unwrap();
        promises[2].set_result(2).unwrap();
        let mut completed = as_completed(futures).timeout(timeout);
        assert_eq!(completed.next().unwrap().unwrap().result().unwrap(), 0);
        assert_eq!(completed.next().unwrap().unwrap().result().unwrap(), 2);
        let rest = completed.next().unwrap().unwrap_err();
        assert_eq!(rest.to_string(), "2 (of 4) futures unfinished");
        assert_eq!((rest.futures.len(), rest.of), (2, 4));
        assert!(completed.next().is_none(), "that is the end");
        promises[1].set_result(1).unwrap();
        promises[3].set_result(3).unwrap();
        let sum: usize = rest.futures.into_iter().map(|future| future.result().unwrap()).sum();
        assert_eq!(sum, 4, "they are as good as before");
    }
}

#[test]
fn no_time_runs_out_when_all_is_there() {
    let (promises, futures) = pairs(3);
    let completed = as_completed(futures).timeout(Duration::from_secs(60));
    for (i, promise) in promises.iter().enumerate() {
        promise.set_result(i).unwrap();
    }
    assert!(completed.map(|item| item.unwrap().result().unwrap()).eq(0..3));
    assert_eq!(as_completed(Vec::<Future<u8>>::new()).timeout(Duration::ZERO).count(), 0);
}

#[test]
fn more_can_be_pushed_until_the_same_end() {
    let (promises, mut futures) = pairs(3);
    let (late, more) = (futures.pop().unwrap(), futures.pop().unwrap());
    let mut completed = as_completed(futures).timeout(Duration::from_secs(60));
    promises[1].set_result(1).unwrap();
    completed.push(more);
    assert_eq!(completed.next().unwrap().unwrap().result().unwrap(), 1);
    promises[0].set_result(0).unwrap();
    assert_eq!(completed.next().unwrap().unwrap().result().unwrap(), 0);
    assert!(completed.next().is_none());
    completed.push(late);
    promises[2].set_result(2).unwrap();
    assert_eq!(completed.next().unwrap().unwrap().result().unwrap(), 2, "after it had come to its end");
    assert!(completed.next().is_none());
}

#[test]
fn what_is_pushed_counts_among_the_unfinished() {
    let (promises, mut futures) = pairs(3);
    let more = futures.split_off(1);
    let mut completed = as_completed(futures).timeout(Duration::ZERO);
    more.into_iter().for_each(|future| completed.push(future));
    promises[2].set_result(2).unwrap();
    assert_eq!(completed.next().unwrap().unwrap().result().unwrap(), 2, "it is done, so it comes");
    let rest = completed.next().unwrap().unwrap_err();
    assert_eq!(rest.to_string(), "2 (of 3) futures unfinished");
    assert!(completed.next().is_none());
}

/// Python's clock starts at the first `next()`.
#[test]
fn the_clock_starts_at_the_call() {
    let (promises, futures) = pairs(1);
    let mut completed = as_completed(futures).timeout(Duration::ZERO);
    // Long after the call, but before the first look: it is done, so it comes.
    promises[0].set_result(1).unwrap();
    assert!(completed.next().unwrap().is_ok());
    let (_promises, futures) = pairs(1);
    let mut completed = as_completed(futures).timeout(Duration::from_millis(1));
    thread::sleep(Duration::from_millis(5));
    assert!(completed.next().unwrap().is_err(), "no time is left at the first look");
}

#[test]
fn dropping_it_cancels_nothing_and_leaves_nothing() {
    let ex = Manual::new();
    let futures = ex.submit_all(|x: u8| x, 0..3);
    drop(as_completed(&futures));
    let mut completed = as_completed(futures);
    ex.run_next();
    assert_eq!(completed.next().unwrap().result().unwrap(), 0);
    drop(completed);
    assert_eq!(ex.run_all(), 2);
}

#[test]
fn a_stream_gives_the_same() {
    let (promises, futures) = pairs(3);
    let mut stream = as_completed(futures).into_stream();
    promises[2].set_result(2).unwrap();
    let first = futures::executor::block_on(stream.next()).unwrap();
    assert_eq!(first.result().unwrap(), 2);
    let completer = thread::spawn(move || {
        promises[0].set_result(0).unwrap();
        promises[1].set_result(1).unwrap();
    });
    let rest: Vec<_> = futures::executor::block_on(stream.map(|future| future.result().unwrap()).collect());
    assert_eq!(rest, [0, 1]);
    completer.join().unwrap();
}

#[test]
fn a_stream_can_be_pushed_to() {
    let (promises, mut futures) = pairs(2);
    let mut stream = as_completed(futures.pop()).into_stream();
    promises[1].set_result(1).unwrap();
    futures::executor::block_on(async {
        assert_eq!(stream.next().await.unwrap().result().unwrap(), 1);
        assert!(stream.next().await.is_none());
        stream.push(futures.pop().unwrap());
        promises[0].set_result(0).unwrap();
        assert_eq!(stream.next().await.unwrap().result().unwrap(), 0);
    });
}

#[test]
fn debug_says_how_many_are_left() {
    let (_promises, futures) = pairs(2);
    assert_eq!(format!("{:?}", as_completed(futures)), "AsCompleted { left: 2, .. }");
}
