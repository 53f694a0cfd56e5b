//! Waits that have a limit: for room in the queue, and for the end. And what threads cannot limit.

use crate::gate::{Gate, in_time, until};
use concurrent_futures_core::{Executor, ExecutorExt, Refusal, Shutdown, ShutdownTimeout};
use concurrent_futures_thread::{ThreadPoolBuilder, ThreadPoolExecutor};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(20);

/// A pool with one worker, which is held at the gate.
fn held(builder: ThreadPoolBuilder) -> (Arc<ThreadPoolExecutor>, Gate) {
    let pool = builder.max_workers(1).build().unwrap();
    let gate = Gate::new();
    let at_gate = gate.clone();
    pool.spawn(move || at_gate.pass());
    gate.wait_for(1);
    (Arc::new(pool), gate)
}

/// Name (or nothing) of what is not done, and whether it runs.
fn left(error: &ShutdownTimeout) -> Vec<(&str, bool)> {
    error.tasks().iter().map(|task| (task.name.as_deref().unwrap_or(""), task.running)).collect()
}

#[test]
fn a_submit_waits_for_room_no_longer_than_it_is_told() {
    in_time(|| {
        let (pool, gate) = held(ThreadPoolExecutor::builder().queue_bound(1));
        let queued = pool.submit_timeout(|x: u8| x, 1, Duration::MAX).unwrap();
        for executor in [&*pool as &dyn Executor, &pool.handle()] {
            let start = Instant::now();
            let refused = executor.submit_timeout(|s: String| s, "kept".to_owned(), SHORT).unwrap_err();
            assert_eq!((refused.args.as_str(), refused.why), ("kept", Refusal::Full));
            assert!(start.elapsed() >= SHORT);
        }
        gate.open();
        assert_eq!(queued.result().unwrap(), 1);
        // There is room now, or will be soon.
        assert_eq!(pool.submit_timeout(|x: u8| x, 2, Duration::MAX).unwrap().result().unwrap(), 2);
    });
}

#[test]
fn room_is_never_lost_with_one_who_has_given_up() {
    in_time(|| {
        let pool = ThreadPoolExecutor::builder().max_workers(1).queue_bound(1).build().unwrap();
        thread::scope(|s| {
            for _ in 0..3 {
                s.spawn(|| {
                    for i in 0..300_u32 {
                        match pool.submit_timeout(|x: u32| x, i, Duration::from_micros(u64::from(i % 50))) {
                            Ok(future) => assert_eq!(future.result().unwrap(), i),
                            Err(refused) => assert_eq!((refused.args, refused.why), (i, Refusal::Full)),
                        }
                    }
                });
            }
            // Those that wait without a limit get all the room that the others have let go.
            for i in 0..500_u32 {
                assert_eq!(pool.submit(|x: u32| x, i).result().unwrap(), i);
            }
        });
    });
}

#[test]
fn the_end_of_the_pool_ends_the_limited_wait_for_room() {
    in_time(|| {
        let (pool, gate) = held(ThreadPoolExecutor::builder().queue_bound(1));
        let queued = pool.submit(|x: u8| x, 1);
        let waiting = {
            let pool = pool.clone();
            thread::spawn(move || pool.submit_timeout(|x: u8| x, 2, Duration::from_secs(600)).unwrap_err().why)
        };
        pool.shutdown(Shutdown::NO_WAIT);
        assert_eq!(waiting.join().unwrap(), Refusal::ShutDown);
        gate.open();
        queued.result().unwrap();
    });
}

#[test]
fn a_shutdown_tells_what_is_not_done_in_time() {
    in_time(|| {
        let (pool, gate) = held(ThreadPoolExecutor::builder());
        let last = pool.task(|x: u8| x, 1).name("last").submit();
        let cancelled = pool.task(|x: u8| x, 2).name("cancelled").submit();
        assert!(cancelled.cancel());
        let error = pool.shutdown_timeout(Shutdown::WAIT, SHORT).unwrap_err();
        assert_eq!(error.limit(), SHORT);
        assert_eq!(left(&error), [("", true), ("last", false)]);
        assert_eq!(error.tasks()[1].id, last.id());
        assert!(error.to_string().contains("`last` (queued)"), "{error}");
        // It goes on, and takes nothing new.
        assert!(pool.submit(|x: u8| x, 3).result().unwrap_err().is_refused());
        let handle = pool.handle();
        assert_eq!(handle.shutdown_timeout(Shutdown::NO_WAIT, Duration::ZERO).unwrap_err().tasks().len(), 2);
        gate.open();
        assert_eq!(last.result().unwrap(), 1);
        pool.shutdown_timeout(Shutdown::NO_WAIT, Duration::from_secs(600)).unwrap();
        assert_eq!(pool.stats().workers, 0);
        pool.shutdown_timeout(Shutdown::WAIT, Duration::MAX).unwrap();
        drop(pool);
        handle.shutdown_timeout(Shutdown::WAIT, Duration::ZERO).unwrap();
    });
}

#[test]
fn the_name_of_what_runs_is_told_and_what_was_cancelled_is_gone() {
    fn slow(gate: u64) {
        GATES.with_gate(gate);
    }
    in_time(|| {
        let gate = GATES.new_gate();
        let pool = ThreadPoolExecutor::new(2).unwrap();
        pool.task(slow, gate).name("first").submit();
        GATES.get(gate).wait_for(1);
        // A task without a name on the desk of one that had one, and the other way round.
        pool.submit(slow, gate);
        GATES.get(gate).wait_for(2);
        pool.task(slow, gate).name("never").submit();
        let error = pool.shutdown_timeout(Shutdown::WAIT.cancel_futures(), SHORT).unwrap_err();
        let mut tasks = left(&error);
        tasks.sort_unstable();
        assert_eq!(tasks, [("", true), ("first", true)]);
        GATES.get(gate).open();
        pool.shutdown_timeout(Shutdown::WAIT, Duration::from_secs(600)).unwrap();
    });
}

/// Gates for functions, which capture nothing.
struct Gates(std::sync::Mutex<Vec<Gate>>);

static GATES: Gates = Gates(std::sync::Mutex::new(Vec::new()));

impl Gates {
    fn new_gate(&self) -> u64 {
        let mut gates = self.0.lock().unwrap();
        gates.push(Gate::new());
        gates.len() as u64 - 1
    }

    fn get(&self, gate: u64) -> Gate {
        self.0.lock().unwrap()[usize::try_from(gate).unwrap()].clone()
    }

    fn with_gate(&self, gate: u64) {
        self.get(gate).pass();
    }
}

#[test]
fn what_is_sorted_is_told_in_order() {
    in_time(|| {
        let (pool, gate) = held(ThreadPoolExecutor::builder().priority_queue(true));
        for (name, priority) in [("c", 0), ("a", 2), ("d", 0), ("b", 1), ("e", -1)] {
            pool.task(|x: u8| x, 1).name(name).priority(priority).submit();
        }
        let error = pool.shutdown_timeout(Shutdown::WAIT, Duration::ZERO).unwrap_err();
        let names: Vec<_> = left(&error).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["", "a", "b", "c", "d", "e"]);
        gate.open();
    });
}

#[test]
fn a_task_that_shuts_its_own_pool_down_does_not_wait_and_finds_itself() {
    in_time(|| {
        let pool = Arc::new(ThreadPoolExecutor::new(1).unwrap());
        let inner = Arc::clone(&pool);
        let task = pool.spawn(move || inner.shutdown_timeout(Shutdown::WAIT, Duration::from_secs(600)));
        let id = task.id();
        let error = task.result().unwrap().unwrap_err();
        assert_eq!(error.tasks().iter().map(|task| (task.id, task.running)).collect::<Vec<_>>(), [(id, true)]);
    });
}

#[test]
fn tasks_that_borrow_are_told_too() {
    in_time(|| {
        let pool = ThreadPoolExecutor::new(1).unwrap();
        let gate = Gate::new();
        pool.borrow_scope(|scope| {
            scope.spawn(|| gate.pass());
            gate.wait_for(1);
            scope.spawn(|| ());
            scope.spawn(|| ());
            let error = pool.shutdown_timeout(Shutdown::WAIT, SHORT).unwrap_err();
            assert_eq!(left(&error), [("", true), ("", false), ("", false)]);
            gate.open();
        });
        pool.shutdown_timeout(Shutdown::WAIT, Duration::from_secs(600)).unwrap();
    });
}

#[test]
fn callbacks_are_waited_for_within_the_limit() {
    in_time(|| {
        let (pool, gate) = held(ThreadPoolExecutor::builder());
        let cancelled = pool.submit(|x: u8| x, 1);
        let (in_callback, at_callback) = (Gate::new(), gate.clone());
        let entered = in_callback.clone();
        cancelled.add_done_callback(move |_| {
            at_callback.open();
            entered.pass();
        });
        let ending = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                pool.shutdown(Shutdown::NO_WAIT.cancel_futures());
                pool.shutdown_timeout(Shutdown::WAIT, Duration::from_secs(600))
            })
        };
        in_callback.wait_for(1);
        in_callback.open();
        ending.join().unwrap().unwrap();
        until(|| pool.stats().workers == 0);
    });
}

#[test]
fn an_unused_pool_ends_in_no_time() {
    ThreadPoolExecutor::new(4).unwrap().shutdown_timeout(Shutdown::WAIT, Duration::ZERO).unwrap();
}

#[test]
fn limits_that_threads_cannot_enforce_are_refused() {
    let pool = ThreadPoolExecutor::new(1).unwrap();
    let refused = [
        pool.task(|x: u8| x, 1).memory_limit(1 << 30).submit(),
        pool.task(|x: u8| x, 1).cpu_time_limit(Duration::from_secs(1)).submit(),
        pool.task(|x: u8| x, 1).open_files_limit(100).submit(),
    ];
    for future in refused {
        let error = future.result().unwrap_err();
        assert!(matches!(error.refusal(), Some(Refusal::Unsupported(_))), "{error}");
    }
    assert!(pool.task(|x: u8| x, 1).memory_limit(1 << 30).try_submit().is_err());
}
