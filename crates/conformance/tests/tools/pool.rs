//! `Pool`: CPython's `_TestPool`, `_TestPoolWorkerErrors`, `_TestPoolWorkerLifetime` and `TestPoolNotLeakOnFailure`, on worker
//! processes and on threads.

use concurrent_futures::multiprocessing::{AsyncResult, Pool};
use concurrent_futures::{Executor, ProcessPoolExecutor, SerialExecutor, TaskError, ThreadPoolExecutor};
use concurrent_futures_conformance::{PATIENCE, Stage, Ticket, until};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

fn square(x: u64) -> u64 {
    x * x
}

/// Panics for 0.
fn invert(x: u64) -> u64 {
    60 / x
}

fn pid(_: u64) -> u32 {
    std::process::id()
}

/// Stays on the stage until it is released.
fn hold((ticket, number): (Ticket, u64)) -> u64 {
    ticket.enter(number);
    number
}

fn die(x: u64) -> u64 {
    if x == 3 { std::process::abort() } else { x }
}

/// The result, which must come.
fn soon<T: std::fmt::Debug>(result: AsyncResult<T>) -> Result<T, TaskError> {
    result.get_timeout(PATIENCE).unwrap_or_else(|late| panic!("no outcome in {PATIENCE:?}: {:?}", late.0))
}

#[derive(Clone, Copy)]
enum Kind {
    Processes,
    Threads,
}

impl Kind {
    fn pool(self, workers: usize) -> Pool {
        match self {
            Kind::Processes => Pool::new(workers),
            Kind::Threads => Pool::threads(workers),
        }
        .expect("a pool")
    }
}

macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod on_processes {
            $(#[test] fn $test() { super::$test(super::Kind::Processes); })*
        }
        mod on_threads {
            $(#[test] fn $test() { super::$test(super::Kind::Threads); })*
        }
    };
}

fn apply(kind: Kind) {
    let pool = kind.pool(2);
    assert_eq!(pool.apply(square, 5).unwrap(), 25);
    assert!(pool.apply(invert, 0).unwrap_err().is_panic());
}

fn map_gives_a_list_in_order(kind: Kind) {
    let pool = kind.pool(4);
    assert_eq!(pool.map(square, 0..10).unwrap(), (0..10).map(square).collect::<Vec<_>>());
    for chunksize in [1, 20, 1000] {
        let squares = pool.tasks(square, 0..100).chunksize(chunksize).map().unwrap();
        assert_eq!(squares, (0..100).map(square).collect::<Vec<_>>());
    }
    assert_eq!(pool.map(square, []).unwrap(), []);
    assert_eq!(pool.tasks(square, []).chunksize(1).map().unwrap(), []);
}

fn starmap(kind: Kind) {
    let pool = kind.pool(2);
    let pairs: Vec<(u64, u32)> = (0..20).map(|x| (x, 2)).collect();
    let expected: Vec<u64> = (0..20).map(square).collect();
    assert_eq!(pool.starmap(u64::pow, pairs.clone()).unwrap(), expected);
    assert_eq!(soon(pool.starmap_async(u64::pow, pairs)).unwrap(), expected);
}

fn map_async_calls_back_once_with_the_list(kind: Kind) {
    let pool = kind.pool(2);
    let (tell, told) = mpsc::channel();
    let (all, failed) = (tell.clone(), tell.clone());
    let squares = pool
        .map_async(square, 0..10)
        .callback(move |list| all.send(list.len()).unwrap())
        .error_callback(|error| panic!("{error}"));
    assert_eq!(soon(squares).unwrap().len(), 10);
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [10], "before the value was given away");
    let error = pool
        .map_async(invert, 0..10)
        .callback(|_| panic!("there is none"))
        .error_callback(move |error| failed.send(usize::from(error.is_panic())).unwrap());
    assert!(soon(error).unwrap_err().is_panic());
    drop(tell);
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [1]);
}

fn map_waits_for_all_and_gives_the_first_error(kind: Kind) {
    let (pool, stage) = (kind.pool(2), Stage::new());
    fn late((ticket, number): (Ticket, u64)) -> u64 {
        if number == 0 {
            panic!("at once");
        }
        ticket.enter(number);
        panic!("late");
    }
    let all = pool.tasks(late, [0, 1].map(|number| (stage.ticket(), number))).chunksize(1).map_async();
    let arrival = stage.next();
    assert!(!all.wait_timeout(Duration::from_millis(50)), "one is not done");
    arrival.release();
    assert_eq!(soon(all).unwrap_err().panic().unwrap().message(), "at once");
}

fn results_can_be_waited_for(kind: Kind) {
    let (pool, stage) = (kind.pool(1), Stage::new());
    let result = pool.apply_async(hold, (stage.ticket(), 7));
    let arrival = stage.next();
    assert!(!result.ready());
    assert_eq!(result.successful(), None);
    assert!(!result.wait_timeout(Duration::ZERO));
    let result = result.get_timeout(Duration::from_millis(10)).unwrap_err().0;
    arrival.release();
    assert!(result.wait_timeout(PATIENCE) && result.ready());
    assert_eq!(result.successful(), Some(true));
    assert_eq!(soon(result).unwrap(), 7);
    let failed = pool.apply_async(invert, 0);
    failed.wait();
    assert_eq!(failed.successful(), Some(false));
}

fn imap_gives_each_result_in_its_turn(kind: Kind) {
    let pool = kind.pool(3);
    assert!(pool.imap(square, 0..1000).map(Result::unwrap).eq((0..1000).map(square)));
    assert!(pool.tasks(square, 0..1000).chunksize(100).imap().map(Result::unwrap).eq((0..1000).map(square)));
    for chunksize in [1, 2, 7] {
        let outcomes: Vec<_> = pool.tasks(invert, [1, 0, 2, 0, 3]).chunksize(chunksize).imap().collect();
        let values: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().ok().copied()).collect();
        assert_eq!(values, [Some(60), None, Some(30), None, Some(20)]);
    }
    assert!(pool.imap(square, []).next().is_none());
}

fn imap_unordered_gives_them_as_they_are_ready(kind: Kind) {
    let (pool, stage) = (kind.pool(2), Stage::new());
    let mut results = pool.imap_unordered(hold, [0, 1].map(|number| (stage.ticket(), number)));
    let mut arrivals = stage.wait_for(2);
    arrivals.sort_by_key(|arrival| arrival.words().to_owned());
    assert!(results.next_timeout(Duration::from_millis(10)).is_err());
    arrivals.pop().unwrap().release();
    assert_eq!(results.next_timeout(PATIENCE).unwrap().unwrap().unwrap(), 1);
    drop(arrivals);
    assert_eq!(results.next().unwrap().unwrap(), 0);
    assert!(results.next().is_none() && results.next_timeout(PATIENCE).unwrap().is_none());
    for chunksize in [1, 53] {
        let all = pool.tasks(square, 0..1000).chunksize(chunksize).imap_unordered();
        assert_eq!(all.map(Result::unwrap).collect::<BTreeSet<_>>(), (0..1000).map(square).collect());
    }
}

fn imap_takes_endless_input_as_far_as_it_is_needed(kind: Kind) {
    let pool = kind.pool(2);
    let taken = Arc::new(AtomicUsize::new(0));
    let endless = || {
        let taken = taken.clone();
        (0..).inspect(move |_| _ = taken.fetch_add(1, Ordering::Relaxed))
    };
    assert_eq!(pool.tasks(square, endless()).buffersize(3).imap().nth(10).unwrap().unwrap(), 100);
    assert_eq!(taken.swap(0, Ordering::Relaxed), 11 + 3);
    assert!(pool.imap(square, endless()).take(100).map(Result::unwrap).eq((0..100).map(square)));
    assert!(taken.swap(0, Ordering::Relaxed) <= 100 + 4 * 2);
    assert_eq!(pool.imap_unordered(square, endless()).take(100).count(), 100);
    assert!(taken.load(Ordering::Relaxed) <= 100 + 4 * 2);
}

/// CPython's `test_iterable_with_exception`: nothing hangs, and the pool is as good as before.
fn input_that_panics_is_the_callers(kind: Kind) {
    let pool = kind.pool(1);
    let bad = || (0..10).map(|x| if x == 5 { panic!("in the input") } else { x });
    let call = |f: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).is_err();
    assert!(call(&|| drop(pool.map(square, bad()))));
    assert!(call(&|| _ = pool.imap(square, bad()).count()));
    assert!(call(&|| _ = pool.imap_unordered(square, bad()).count()));
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
    pool.close();
    pool.join().unwrap();
}

/// CPython's `test_close`-like use: what was given before goes on.
fn a_closed_pool_finishes_and_takes_nothing_more(kind: Kind) {
    let pool = kind.pool(2);
    assert!(pool.join().unwrap_err().to_string().contains("close"));
    let (squares, last) = (pool.imap(square, 0..50), pool.apply_async(square, 9));
    let mut endless = pool.imap(square, 0..);
    pool.close();
    pool.close();
    assert!(pool.apply(square, 1).unwrap_err().is_refused());
    assert!(pool.map(square, [1]).unwrap_err().is_refused());
    assert!(pool.imap(square, [1]).next().unwrap().unwrap_err().is_refused());
    assert_eq!(endless.nth(40).unwrap().unwrap(), 1600, "it was begun before");
    pool.join().unwrap();
    pool.join().unwrap();
    assert!(squares.map(Result::unwrap).eq((0..50).map(square)));
    assert_eq!(soon(last).unwrap(), 81);
    assert!(endless.by_ref().take(20).any(|result| result.is_err_and(|error| error.is_refused())));
}

/// CPython's `test_terminate`.
fn terminate_is_quick_and_every_result_is_an_error(kind: Kind) {
    let (pool, stage) = (kind.pool(2), Stage::new());
    let running: Vec<_> = (0..2).map(|number| pool.apply_async(hold, (stage.ticket(), number))).collect();
    let arrivals = stage.wait_for(2);
    let queued = pool.tasks(hold, (2..10_000).map(|number| (stage.ticket(), number))).chunksize(1).map_async();
    let mut imap = pool.imap(square, 0..10);
    let mut unordered = pool.imap_unordered(square, 0..10);
    let waiter = pool.apply_async(square, 1);
    let waiter = std::thread::spawn(move || waiter.get());
    pool.terminate();
    pool.terminate();
    for result in running {
        let error = soon(result).unwrap_err();
        assert!(error.is_aborted() || error.death().is_some(), "{error}");
    }
    assert!(soon(queued).is_err());
    assert!(imap.next_timeout(PATIENCE).unwrap().unwrap().is_err());
    assert!(unordered.next_timeout(PATIENCE).unwrap().unwrap().is_err());
    assert!(waiter.join().unwrap().is_err());
    assert!(pool.apply(square, 1).unwrap_err().is_refused());
    // Threads cannot be stopped: they end when what they run does.
    drop(arrivals);
    pool.join().unwrap();
}

fn the_drop_of_the_last_handle_terminates(kind: Kind) {
    let (pool, stage) = (kind.pool(1), Stage::new());
    let other = pool.clone();
    let result = pool.apply_async(hold, (stage.ticket(), 1));
    let arrival = stage.next();
    drop(pool);
    assert!(!result.ready());
    drop(other);
    assert!(soon(result).is_err());
    drop(arrival);
}

/// A callback that panics hangs `get` in Python.
fn a_callback_that_panics_disturbs_nobody(kind: Kind) {
    let pool = kind.pool(1);
    let (tell, told) = mpsc::channel();
    let result = pool
        .apply_async(square, 2)
        .callback(|_| panic!("in a callback"))
        .callback(move |value| tell.send(*value).unwrap());
    assert_eq!(soon(result).unwrap(), 4);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), 4);
    let failed = pool.apply_async(invert, 0).error_callback(|_| panic!("in an error callback"));
    assert!(soon(failed).is_err());
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
    pool.close();
    pool.join().unwrap();
}

fn join_waits_for_callbacks(kind: Kind) {
    let pool = kind.pool(2);
    let count = Arc::new(AtomicUsize::new(0));
    for x in 0..50 {
        let count = count.clone();
        pool.apply_async(square, x).callback(move |_| {
            std::thread::yield_now();
            count.fetch_add(1, Ordering::Relaxed);
        });
    }
    pool.close();
    pool.join().unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 50);
}

/// CPython's `test_release_task_refs`.
fn values_are_not_kept(kind: Kind) {
    let pool = kind.pool(1);
    let value = Arc::new(());
    let captured = value.clone();
    let result = pool.apply_async(square, 1).callback(move |_| drop(captured));
    assert_eq!(soon(result).unwrap(), 1);
    until("the callback is gone", || Arc::strong_count(&value) == 1);
}

fn a_pool_can_be_used_from_its_callbacks(kind: Kind) {
    let pool = kind.pool(1);
    let (tell, told) = mpsc::channel();
    let handle = pool.clone();
    let first = pool.apply_async(square, 3).callback(move |x| {
        handle.apply_async(square, *x).callback(move |x| tell.send(*x).unwrap());
    });
    assert_eq!(soon(first).unwrap(), 9);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), 81);
}

fn the_last_handle_may_be_dropped_by_a_callback(kind: Kind) {
    let (pool, stage) = (kind.pool(1), Stage::new());
    let (tell, told) = mpsc::channel();
    let handle = pool.clone();
    let result = pool.apply_async(hold, (stage.ticket(), 1)).callback(move |_| {
        assert_eq!(handle.executor().num_workers(), 1, "it is as good as ever");
        drop(handle);
        tell.send(()).unwrap();
    });
    let arrival = stage.next();
    drop(pool);
    arrival.release();
    told.recv_timeout(PATIENCE).expect("the drop comes to an end");
    assert_eq!(soon(result).unwrap(), 1);
}

fn nobody_waits_in_vain_whenever_it_is_terminated(kind: Kind) {
    for round in 0..20_u64 {
        let pool = kind.pool(2);
        let submitter = pool.clone();
        let submits = std::thread::spawn(move || {
            let results: Vec<_> = (0..50).map(|x| submitter.apply_async(square, x)).collect();
            let all = submitter.tasks(square, 0..50).chunksize(3).map_async();
            let each = submitter.imap(square, 0..50);
            (results, all, each)
        });
        for _ in 0..round * 20 {
            std::thread::yield_now();
        }
        pool.terminate();
        let (results, all, mut each) = submits.join().unwrap();
        for (x, result) in (0..).zip(results) {
            match soon(result) {
                Ok(value) => assert_eq!(value, square(x)),
                Err(error) => assert!(!error.is_panic(), "{error}"),
            }
        }
        assert!(soon(all).map_or(50, |values| values.len()) == 50);
        while each.next_timeout(PATIENCE).expect("an outcome").is_some() {}
        pool.join().unwrap();
    }
}

on_both! {
    the_last_handle_may_be_dropped_by_a_callback,
    nobody_waits_in_vain_whenever_it_is_terminated,
    apply,
    map_gives_a_list_in_order,
    starmap,
    map_async_calls_back_once_with_the_list,
    map_waits_for_all_and_gives_the_first_error,
    results_can_be_waited_for,
    imap_gives_each_result_in_its_turn,
    imap_unordered_gives_them_as_they_are_ready,
    imap_takes_endless_input_as_far_as_it_is_needed,
    input_that_panics_is_the_callers,
    a_closed_pool_finishes_and_takes_nothing_more,
    terminate_is_quick_and_every_result_is_an_error,
    the_drop_of_the_last_handle_terminates,
    a_callback_that_panics_disturbs_nobody,
    join_waits_for_callbacks,
    values_are_not_kept,
    a_pool_can_be_used_from_its_callbacks,
}

/// In Python the job is never done.
#[test]
fn a_dead_worker_costs_its_own_job() {
    let pool = Pool::new(2).unwrap();
    let results: Vec<_> = (0..20).map(|x| pool.apply_async(die, x)).collect();
    for (x, result) in results.into_iter().enumerate() {
        match soon(result) {
            Ok(value) => assert_eq!(value, x as u64),
            Err(error) => assert_eq!((x, error.death().and_then(|death| death.signal())), (3, Some("SIGABRT"))),
        }
    }
    assert!(pool.tasks(die, 0..20).chunksize(1).map().unwrap_err().death().is_some());
    assert_eq!(pool.imap(die, 0..20).filter(Result::is_ok).count(), 19);
    assert_eq!(pool.imap_unordered(die, 0..20).filter(Result::is_ok).count(), 19);
}

/// CPython's `test_unpickleable_result`.
#[test]
fn a_result_that_cannot_travel_is_an_error_of_its_own() {
    #[derive(Debug, Deserialize)]
    struct Stubborn;
    impl Serialize for Stubborn {
        fn serialize<S: Serializer>(&self, _serializer: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("I stay here"))
        }
    }
    let pool = Pool::new(2).unwrap();
    for _ in 0..20 {
        let (tell, told) = mpsc::channel();
        let result = pool
            .apply_async(|()| Stubborn, ())
            .callback(|_| panic!("there is no value"))
            .error_callback(move |error| tell.send(error.to_string()).unwrap());
        let error = soon(result).unwrap_err();
        assert!(error.codec().unwrap().message().contains("I stay here"));
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), error.to_string());
    }
    assert!(soon(pool.apply_async(|_: Stubborn| (), Stubborn)).unwrap_err().codec().is_some());
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
}

/// CPython's `test_pool_worker_lifetime`.
#[test]
fn workers_are_replaced_after_so_many_jobs() {
    let pool = Pool::builder().processes(3).max_tasks_per_child(10).build().unwrap();
    let pids: Vec<u32> = pool.tasks(pid, 0..100).chunksize(1).map().unwrap();
    let distinct: BTreeSet<u32> = pids.iter().copied().collect();
    assert!(distinct.len() >= 10, "{distinct:?}");
    assert!(distinct.iter().all(|one| pids.iter().filter(|pid| *pid == one).count() <= 10));
    pool.close();
    pool.join().unwrap();
}

/// CPython's `test_pool_worker_lifetime_early_close`.
#[test]
fn a_pool_that_replaces_its_workers_can_be_closed_early() {
    let pool = Pool::builder().processes(3).max_tasks_per_child(1).build().unwrap();
    let results: Vec<_> = (0..6).map(|x| pool.apply_async(square, x)).collect();
    pool.close();
    pool.join().unwrap();
    assert!(results.into_iter().map(|result| soon(result).unwrap()).eq((0..6).map(square)));
}

/// CPython's `test_make_pool` and `test_pool_maxtasksperchild_invalid`.
#[test]
fn zero_of_anything_is_refused() {
    assert!(Pool::new(0).is_err());
    assert!(Pool::threads(0).is_err());
    assert!(Pool::builder().processes(1).max_tasks_per_child(0).build().is_err());
}

/// CPython's `test_large_pool`, which is of 200.
#[test]
fn a_large_pool() {
    let pool = Pool::new(50).unwrap();
    assert_eq!(pool.tasks(square, 0..50).chunksize(1).map().unwrap().len(), 50);
    pool.close();
    pool.join().unwrap();
}

/// Of the block that a dropped pool ends, no process is left.
#[test]
fn the_drop_waits_until_the_worker_processes_are_gone() {
    let (pool, stage) = (Pool::new(2).unwrap(), Stage::new());
    let results: Vec<_> = (0..2).map(|number| pool.apply_async(hold, (stage.ticket(), number))).collect();
    let arrivals = stage.wait_for(2);
    drop(pool);
    for arrival in &arrivals {
        assert!(!std::path::Path::new(&format!("/proc/{}", arrival.pid())).exists());
    }
    assert!(results.into_iter().all(|result| soon(result).is_err()));
}

#[test]
fn an_initializer_that_fails_refuses_all_with_the_reason() {
    let pool =
        Pool::builder().processes(1).initializer(|why: String| Err::<(), _>(why), "no licence".into()).build().unwrap();
    let error = soon(pool.apply_async(square, 1)).unwrap_err();
    assert!(error.to_string().contains("no licence"), "{error}");
}

#[test]
fn a_pool_over_an_executor_leaves_it_to_its_owner() {
    let threads = Arc::new(ThreadPoolExecutor::new(2).unwrap());
    let pool = Pool::over(threads.clone());
    assert_eq!(pool.map(square, 0..5).unwrap(), [0, 1, 4, 9, 16]);
    pool.close();
    pool.join().unwrap();
    assert!(pool.apply(square, 1).unwrap_err().is_refused());
    drop(pool);
    assert_eq!(Pool::over(threads.clone()).apply(square, 4).unwrap(), 16);
    assert_eq!(threads.stats().queued, 0);
    let boxed: Box<dyn Executor> = Box::new(SerialExecutor::new());
    assert_eq!(Pool::over(boxed).starmap(u64::pow, [(2, 3)]).unwrap(), [8]);
    let processes = Pool::over(ProcessPoolExecutor::new(1).unwrap());
    assert_ne!(processes.apply(pid, 0).unwrap(), std::process::id());
}

/// The error of a job is whole, however it travels: CPython's `test_traceback` and `test_wrapped_exception`.
#[test]
fn the_error_says_where_it_happened() {
    let error = Pool::new(1).unwrap().apply(invert, 0).unwrap_err();
    let panic = error.panic().unwrap();
    assert!(panic.message().contains("divide by zero"));
    assert!(panic.location().unwrap().contains("pool.rs"));
}
