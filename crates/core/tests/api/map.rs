//! `map` and its relatives: order, chunks, deadline, errors, dropping.

use crate::manual::Manual;
use crate::timeouts::at_a_deadline;
use crate::wire::Wire;
use concurrent_futures_core::{Executor, ExecutorExt, Future, SerialExecutor, Shutdown, TaskError, TasksBuilder};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn invert(x: u32) -> u32 {
    60 / x
}

fn values(results: impl Iterator<Item = Result<u32, TaskError>>) -> Vec<Option<u32>> {
    results.map(Result::ok).collect()
}

#[test]
fn work_starts_at_the_call() {
    let ex = Manual::new();
    let results = ex.map(invert, [1, 2, 3]);
    assert_eq!(ex.queued(), 3);
    ex.run_all();
    assert_eq!(values(results), [Some(60), Some(30), Some(20)]);
}

#[test]
fn results_come_in_the_order_of_the_items() {
    let ex = Manual::new();
    let results = ex.tasks(invert, 1..=4).chunksize(1).map();
    // The last one runs first.
    while ex.queued() > 0 {
        ex.take(ex.queued() - 1).run();
    }
    assert_eq!(values(results), [Some(60), Some(30), Some(20), Some(15)]);
}

#[test]
fn each_item_has_a_result_of_its_own_whatever_the_chunks() {
    for chunksize in 1..=6 {
        let ex = Manual::new();
        let mut results = ex.tasks(invert, [1, 0, 3, 0, 5]).chunksize(chunksize).map();
        assert_eq!(ex.queued(), 5_usize.div_ceil(chunksize));
        ex.run_all();
        assert_eq!(values(results.by_ref()), [Some(60), None, Some(20), None, Some(12)], "chunksize {chunksize}");
        assert!(results.next().is_none());
    }
}

#[test]
fn the_same_over_a_wire() {
    for chunksize in [1, 2, 5] {
        let ex = Wire::new();
        let results = ex.tasks(invert, [1, 0, 3, 4, 0]).chunksize(chunksize).map();
        ex.answer_all();
        let results: Vec<_> = results.collect();
        let errors: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
        assert_eq!(values(results.iter().cloned()), [Some(60), None, Some(20), Some(15), None]);
        assert!(errors.iter().all(|error| error.panic().unwrap().message().contains("divide by zero")));
    }
}

#[test]
fn an_items_error_says_which_task_it_was_whatever_the_chunks() {
    for chunksize in [1, 2, 3] {
        let (manual, wire) = (Manual::new(), Wire::new());
        let here = manual.tasks(invert, [1, 0, 3]).name("divide").chunksize(chunksize).map();
        let there = wire.tasks(invert, [1, 0, 3]).name("divide").chunksize(chunksize).map();
        manual.run_all();
        wire.answer_all();
        for results in [here, there] {
            let error = results.filter_map(Result::err).next().unwrap();
            assert_eq!(error.task_name(), Some("divide"), "chunksize {chunksize}");
            assert!(error.task_id().is_some());
            assert!(error.to_string().starts_with("task `divide` panicked at "), "{error}");
        }
    }
}

#[test]
fn iteration_goes_on_after_an_error() {
    let ex = SerialExecutor::new();
    let mut results = ex.map(invert, [0, 0, 2]);
    assert!(results.next().unwrap().unwrap_err().is_panic());
    assert!(results.next().unwrap().unwrap_err().is_panic());
    assert_eq!(results.next().unwrap().unwrap(), 30);
    assert!(results.next().is_none() && results.next().is_none());
}

#[test]
fn the_first_error_wins_where_results_are_collected() {
    let ex = SerialExecutor::new();
    let all: Result<Vec<u32>, _> = ex.map(invert, [1, 0, 2]).collect();
    assert!(all.unwrap_err().is_panic());
    assert_eq!(ex.map(invert, [1, 2]).sum::<Result<u32, _>>().unwrap(), 90);
}

#[test]
fn it_knows_how_many_are_left() {
    let ex = Manual::new();
    let mut results = ex.tasks(invert, 1..=5).chunksize(2).map();
    assert_eq!((results.len(), results.size_hint()), (5, (5, Some(5))));
    ex.run_all();
    results.next();
    assert_eq!(results.len(), 4);
    assert_eq!(results.by_ref().count(), 4);
    assert_eq!(results.len(), 0);
}

#[test]
fn no_items_give_no_results() {
    let ex = Manual::new();
    assert_eq!(ex.map(invert, []).count(), 0);
    assert_eq!(ex.map(invert, [1; 0]).len(), 0);
    assert_eq!(ex.queued(), 0);
    ex.for_each(|_: u8| (), []).unwrap();
    assert!(ex.submit_all(invert, []).is_empty());
}

#[test]
fn a_chunk_has_at_least_one_item() {
    let ex = Manual::new();
    let refused = catch_unwind(AssertUnwindSafe(|| drop(ex.tasks(invert, [1]).chunksize(0)))).unwrap_err();
    let words = refused.downcast_ref::<&str>().expect("words");
    assert!(words.contains("chunksize must be at least 1"), "{words}");
}

#[test]
fn an_executor_of_any_size_gets_several_chunks_for_each_worker() {
    let ex = Manual::new();
    let results = ex.map(|x: u32| x, 0..10_000);
    assert!((ex.num_workers() * 4..=10_000 / 4).contains(&ex.queued()), "{} chunks", ex.queued());
    ex.run_all();
    assert!(results.map(Result::unwrap).eq(0..10_000));
}

#[test]
fn input_of_unknown_length_is_taken_as_a_whole() {
    let ex = Manual::new();
    let results = ex.map(|x: u32| x, (0..1000).filter(|x| x % 2 == 0));
    assert_eq!(results.len(), 500);
    ex.run_all();
    assert!(results.map(Result::unwrap).eq((0..1000).step_by(2)));
}

#[test]
fn input_that_panics_cancels_what_has_not_started() {
    for chunksize in [1, 2] {
        let ex = Manual::new();
        let items = (0..10).inspect(|i| assert!(*i < 5, "input of this test panics on purpose"));
        let panic = catch_unwind(AssertUnwindSafe(|| ex.tasks(|x: u32| x, items).chunksize(chunksize).map()));
        assert!(panic.is_err());
        assert!(ex.queued() > 0, "some had been submitted");
        assert_eq!(ex.run_all(), 0, "none of them is run");
    }
}

#[test]
fn dropping_cancels_what_has_not_started() {
    let ex = Manual::new();
    let mut results = ex.tasks(invert, 1..=4).chunksize(1).map();
    assert!(ex.run_next());
    assert_eq!(results.next().unwrap().unwrap(), 60);
    drop(results);
    assert_eq!(ex.run_all(), 0);

    let never_started = ex.map(invert, 1..=4);
    drop(never_started);
    assert_eq!(ex.run_all(), 0, "also when nobody iterated");
}

#[test]
fn results_may_be_read_after_the_executors_end() {
    let ex = Manual::new();
    let results = ex.map(invert, 1..=3);
    ex.shutdown(Shutdown::WAIT);
    drop(ex);
    assert_eq!(values(results), [Some(60), Some(30), Some(20)]);
    let results = SerialExecutor::new().scope(|ex| ex.map(invert, 1..=2));
    assert_eq!(values(results), [Some(60), Some(30)]);
}

#[test]
fn a_cancelled_shutdown_reaches_the_results() {
    let ex = Manual::new();
    let results = ex.tasks(invert, 1..=4).chunksize(1).map();
    ex.run_next();
    ex.shutdown(Shutdown::NO_WAIT.cancel_futures());
    let results: Vec<_> = results.collect();
    assert_eq!(*results[0].as_ref().unwrap(), 60);
    assert!(results[1..].iter().all(|result| result.as_ref().unwrap_err().is_cancelled()));
}

#[test]
fn after_the_deadline_what_is_there_still_comes() {
    for (chunksize, there) in
        [(1, [true, false, true, false, false, false]), (2, [true, true, false, false, true, true])]
    {
        let (ex, results) = at_a_deadline(|at| {
            let ex = Manual::new();
            let results = ex.tasks(invert, 1..=6).chunksize(chunksize).deadline(at).map();
            // The first and the third piece.
            ex.run_any(0);
            ex.run_any(1);
            (ex, results)
        });
        let results: Vec<_> = results.collect();
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), there);
        assert!(results.iter().filter_map(|r| r.as_ref().err()).all(TaskError::is_timeout));
        assert_eq!(ex.run_all(), 0, "what is late is not run");
    }
}

#[test]
fn a_deadline_ends_a_wait() {
    let ex = Manual::new();
    let limit = Duration::from_millis(5);
    let mut results = ex.tasks(invert, 1..=2).chunksize(1).deadline(Instant::now() + limit).map();
    let late = results.next().unwrap().unwrap_err();
    assert!(late.is_timeout());
    assert!(late.timeout().unwrap() <= limit, "{late}");
    assert!(results.next().unwrap().unwrap_err().is_timeout(), "each late item has an error");
    assert!(results.next().is_none());
}

#[test]
fn a_limit_for_each_item() {
    let ex = Manual::new();
    let limit = Duration::from_secs(60);
    let results = ex.tasks(invert, 1..=4).timeout(limit).chunksize(2).name("piece").map();
    let task = ex.take(0);
    assert_eq!((task.timeout(), task.name()), (Some(2 * limit), Some("piece")), "a chunk has its items' together");
    task.run();
    ex.run_all();
    assert_eq!(results.filter(Result::is_ok).count(), 4);
}

#[test]
fn for_each_runs_all_and_gives_the_first_error() {
    static RAN: AtomicUsize = AtomicUsize::new(0);
    let ex = SerialExecutor::new();
    let error = ex
        .for_each(
            |x: u32| {
                RAN.fetch_add(1, Ordering::Relaxed);
                assert!(x.is_multiple_of(2), "odd: {x}");
            },
            0..6,
        )
        .unwrap_err();
    assert_eq!(error.panic().unwrap().message(), "odd: 1");
    assert_eq!(RAN.load(Ordering::Relaxed), 6);
    ex.for_each(|_: u32| (), 0..6).unwrap();
}

#[test]
fn starmap_takes_pairs() {
    let ex = SerialExecutor::new();
    let powers: Result<Vec<u32>, _> = ex.starmap(u32::pow, (0..).zip([3, 2, 1])).collect();
    assert_eq!(powers.unwrap(), [0, 1, 2]);
}

#[test]
fn zip_stops_at_the_shortest() {
    let ex = SerialExecutor::new();
    let sums = ex.map(|(a, b): (u32, u32)| a + b, [1, 2, 3].into_iter().zip([10, 20]));
    assert_eq!(values(sums), [Some(11), Some(22)]);
}

#[test]
fn submit_all_gives_a_future_each() {
    let ex = Manual::new();
    let futures = ex.submit_all(invert, [1, 0, 2]);
    assert_eq!(ex.queued(), 3);
    assert!(futures[2].cancel());
    ex.run_all();
    let mut futures = futures.into_iter().map(Future::result);
    assert_eq!(futures.next().unwrap().unwrap(), 60);
    assert!(futures.next().unwrap().unwrap_err().is_panic());
    assert!(futures.next().unwrap().unwrap_err().is_cancelled());
}

#[test]
fn map_fallible_has_a_failure_for_each_bad_item() {
    let ex = Manual::new();
    let items = ["1", "x", "3"].map(String::from);
    let results = ex.tasks(|s: String| s.parse::<u32>(), items).chunksize(2).map_fallible();
    ex.run_all();
    let results: Vec<_> = results.collect();
    let failure = results[1].as_ref().unwrap_err().failure().unwrap();
    assert!(failure.downcast_ref::<std::num::ParseIntError>().is_some());
    assert_eq!(values(results.iter().cloned()), [Some(1), None, Some(3)]);
}

#[test]
fn nothing_is_submitted_before_a_builder_is_told_to() {
    let ex = Manual::new();
    let builder = ex.tasks(invert, [1, 2]).chunksize(1).name("x").timeout(Duration::from_secs(1));
    assert_eq!(ex.queued(), 0);
    assert!(format!("{builder:?}").contains("TasksBuilder"));
    drop(builder);
    assert_eq!(ex.queued(), 0);
}

#[test]
fn debug_forms_say_how_much_is_left() {
    let ex = Manual::new();
    assert_eq!(format!("{:?}", ex.map(invert, 1..=3)), "Map { remaining: 3, .. }");
    assert_eq!(format!("{:?}", ex.map_unordered(invert, 1..=3)), "MapUnordered { remaining: 3, .. }");
    assert_eq!(format!("{:?}", ex.tasks(invert, 1..=3).buffersize(2)), "BufferedMap { in_flight: 2, .. }");
}

#[test]
fn into_vec_is_as_collect_whatever_the_chunks_and_the_way() {
    for chunksize in [None, Some(1), Some(2), Some(7)] {
        let (manual, wire, serial) = (Manual::new(), Wire::new(), SerialExecutor::new());
        let sized = |builder: TasksBuilder<'_, dyn Executor, std::ops::Range<u32>, u32>| match chunksize {
            Some(size) => builder.chunksize(size).map(),
            None => builder.map(),
        };
        let executors: [&dyn Executor; 3] = [&manual, &wire, &serial];
        let maps = executors.map(|ex| sized(ex.tasks(|x: u32| x + 1, 0..50)));
        let mut begun = sized((&manual as &dyn Executor).tasks(|x: u32| x + 1, 0..50));
        manual.run_all();
        wire.answer_all();
        for map in maps {
            assert!(map.into_vec().unwrap().into_iter().eq(1..51), "chunksize {chunksize:?}");
        }
        assert_eq!((begun.next().unwrap().unwrap(), begun.next().unwrap().unwrap()), (1, 2));
        assert!(begun.into_vec().unwrap().into_iter().eq(3..51), "what is left");
    }
}

#[test]
fn into_vec_gives_the_first_error_and_cancels_the_rest() {
    let ex = Manual::new();
    let results = ex.tasks(invert, [1, 0, 3, 0, 5, 6]).name("divide").chunksize(2).map();
    ex.run_next();
    let error = results.into_vec().unwrap_err();
    assert!(error.is_panic());
    assert_eq!((error.task_name(), ex.run_all()), (Some("divide"), 0));
    assert!(ex.map(invert, []).into_vec().unwrap().is_empty());
}

#[test]
fn results_of_any_layout_in_any_number() {
    let ex = SerialExecutor::new();
    for count in [1, 2, 3, 100, 5000] {
        assert!(ex.map(|x: u64| x as u8, 0..count).into_vec().unwrap().into_iter().eq((0..count).map(|x| x as u8)));
        assert!(ex.map(|x: u64| x.to_string(), 0..count).map(Result::unwrap).eq((0..count).map(|x| x.to_string())));
        assert_eq!(ex.map(|_: u64| (), 0..count).into_vec().unwrap().len() as u64, count);
        assert!(
            ex.map(|s: String| s + "!", (0..count).map(|x| x.to_string())).map(|s| s.unwrap().len()).all(|n| n > 1)
        );
    }
}

/// An iterator that does not know how many items it has, but thinks so.
struct Liar(std::ops::Range<u32>, usize);

impl Iterator for Liar {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.1, Some(self.1))
    }
}

#[test]
fn input_may_be_wrong_about_its_length() {
    let ex = SerialExecutor::new();
    for said in [0, 1, 7, 10, 11, 1000, usize::MAX] {
        for chunksize in [1, 3] {
            let map = || ex.tasks(|x: u32| x, Liar(0..10, said)).chunksize(chunksize).map();
            assert!(map().map(Result::unwrap).eq(0..10), "{said}, {chunksize}");
            assert!(map().into_vec().unwrap().into_iter().eq(0..10), "{said}, {chunksize}");
        }
        assert!(ex.map(|x: u32| x, Liar(0..10, said)).into_vec().unwrap().into_iter().eq(0..10), "{said}");
    }
}

#[test]
fn each_value_is_dropped_once_whatever_happens_to_the_map() {
    use std::sync::Arc;
    #[derive(Clone, serde::Serialize, serde::Deserialize)]
    struct Item(
        u32,
        #[serde(skip)]
        #[expect(dead_code, reason = "it counts")]
        Arc<()>,
    );
    for (run, taken) in [(0, 0), (1, 0), (1, 3), (2, 5), (4, 9), (9, 10)] {
        let (ex, counted) = (Manual::new(), Arc::new(()));
        let items = (0..10).map(|i| Item(i, counted.clone()));
        let pick = |item: Item| if item.0 % 4 == 2 { panic!("this test's own") } else { item };
        let mut results = ex.tasks(pick, items.collect::<Vec<_>>()).chunksize(3).map();
        for _ in 0..run.min(ex.queued()) {
            ex.run_next();
        }
        if run > 2 {
            assert_eq!(results.by_ref().take(taken).count(), taken);
        }
        drop(results);
        drop(ex);
        assert_eq!(Arc::strong_count(&counted), 1, "{run} chunks run, {taken} taken");
    }
}
