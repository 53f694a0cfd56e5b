//! `map_unordered`: results as they are ready.

use crate::manual::Manual;
use crate::timeouts::at_a_deadline;
use concurrent_futures_core::{ExecutorExt, SerialExecutor};

#[test]
fn results_come_as_they_are_ready() {
    let ex = Manual::new();
    let mut results = ex.tasks(|x: u32| x, 0..4).chunksize(1).map_unordered();
    // Positions in what is left of the queue, and what is there.
    for (position, value) in [(3, 3), (0, 0), (1, 2), (0, 1)] {
        assert!(ex.take(position).run());
        assert_eq!(results.next().unwrap().unwrap(), value);
    }
    assert!(results.next().is_none());
}

#[test]
fn none_is_lost_whatever_the_chunks() {
    for chunksize in 1..=5 {
        let ex = SerialExecutor::new();
        let results = ex.tasks(|x: u32| 6 / x, [1, 0, 2, 3, 0]).chunksize(chunksize).map_unordered();
        assert_eq!(results.len(), 5);
        let (mut values, mut errors) = (Vec::new(), 0);
        for result in results {
            match result {
                Ok(value) => values.push(value),
                Err(error) => errors += usize::from(error.is_panic()),
            }
        }
        values.sort_unstable();
        assert_eq!((values.as_slice(), errors), (&[2, 3, 6][..], 2), "chunksize {chunksize}");
    }
}

#[test]
fn dropping_cancels_what_has_not_started() {
    let ex = Manual::new();
    let mut results = ex.tasks(|x: u32| x, 0..4).chunksize(1).map_unordered();
    ex.run_next();
    results.next();
    drop(results);
    assert_eq!((ex.queued(), ex.run_all()), (3, 0));
}

#[test]
fn after_the_deadline_what_is_there_comes_first() {
    let (ex, results) = at_a_deadline(|at| {
        let ex = Manual::new();
        let results = ex.tasks(|x: u32| x, 0..4).chunksize(1).deadline(at).map_unordered();
        ex.run_any(1);
        ex.run_any(1);
        (ex, results)
    });
    let results: Vec<_> = results.collect();
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false, false]);
    assert!(results[2..].iter().all(|result| result.as_ref().unwrap_err().is_timeout()));
    assert_eq!(ex.run_all(), 0, "what is late is not run");
}

#[test]
fn it_knows_how_many_are_left() {
    let ex = Manual::new();
    let mut results = ex.tasks(|x: u32| x, 0..5).chunksize(2).map_unordered();
    ex.run_all();
    results.next();
    assert_eq!((results.len(), results.count()), (4, 4));
}
