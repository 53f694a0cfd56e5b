//! A task's own limit.

use crate::manual::Manual;
use crate::wire::Wire;
use concurrent_futures_core::{ExecutorExt, ReturnWhen, SerialExecutor, wait};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// What `before` makes with a deadline that was ahead when it returned, and has passed by now.
pub fn at_a_deadline<T>(before: impl Fn(Instant) -> T) -> T {
    let mut limit = Duration::from_millis(10);
    loop {
        let at = Instant::now() + limit;
        let made = before(at);
        let left = at.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            thread::sleep(left);
            return made;
        }
        limit *= 2;
    }
}

const TICK: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(3600);
/// A test that waits so long has failed.
const ENOUGH: Duration = Duration::from_secs(60);

#[test]
fn a_task_that_runs_too_long_resolves_while_it_still_runs() {
    let ex = Manual::new();
    // The task waits for this lock: for as long as the test holds it.
    static LOCK: Mutex<()> = Mutex::new(());
    let held = LOCK.lock().unwrap();
    let future = ex.task(|x: u8| (LOCK.lock().unwrap(), x).1, 1).name("slow").timeout(TICK).submit();
    let task = ex.take(0);
    let runner = thread::spawn(move || task.run());
    let error = future.exception().unwrap().clone();
    assert!(error.is_timeout() && !error.is_cancelled(), "{error}");
    assert_eq!((error.timeout(), error.task_name()), (Some(TICK), Some("slow")));
    assert!(future.done() && !future.running() && !future.cancel());
    drop(held);
    assert!(runner.join().unwrap(), "the runner is not disturbed");
    assert!(future.result().unwrap_err().is_timeout(), "the late value is dropped");
}

#[test]
fn what_is_late_when_it_is_submitted_never_runs() {
    fn run(_: u8) -> u8 {
        panic!("it runs")
    }
    let (ex, late) = (SerialExecutor::new(), Instant::now());
    let error = ex.task(run, 1).name("late").deadline(late).submit().result().unwrap_err();
    assert_eq!((error.is_timeout(), error.task_name()), (true, Some("late")), "{error}");
    assert!(ex.task(run, 1).deadline(late).try_submit().unwrap().result().unwrap_err().is_timeout());
    assert!(ex.tasks(run, 0..10).deadline(late).map().all(|outcome| outcome.unwrap_err().is_timeout()));
    let manual = Manual::new();
    let refused = manual.task(run, 1).deadline(late).retries(3).submit();
    assert_eq!((refused.done(), refused.attempts()), (true, 0));
}

#[test]
fn the_clock_starts_with_the_task() {
    let ex = Manual::new();
    let future = ex.task(|x: u8| x, 1).timeout(TICK).submit();
    assert!(!future.wait_timeout(5 * TICK), "it has not started");
    drop(ex.take(0));
    assert!(future.result().unwrap_err().is_abandoned());
}

#[test]
fn a_task_in_time_has_its_value() {
    let ex = Manual::new();
    let future = ex.task(|x: u8| x + 1, 1).timeout(LONG).submit();
    ex.run_all();
    assert_eq!(future.result().unwrap(), 2);
}

#[test]
fn the_clock_of_a_sent_task_starts_when_the_worker_says_so() {
    let ex = Wire::new();
    let future = ex.task(|x: u8| x, 1).timeout(TICK).submit();
    let sent = ex.take();
    assert!(!future.wait_timeout(5 * TICK), "the worker has not started it");
    assert!(sent.start());
    assert!(future.exception().unwrap().is_timeout());
    ex.answer(sent);
    assert!(future.result().unwrap_err().is_timeout(), "the late answer is dropped");
}

#[test]
fn callbacks_of_a_timeout_do_not_run_in_the_runner() {
    let ex = Manual::new();
    let (entered, is_entered) = mpsc::channel();
    static LOCK: Mutex<()> = Mutex::new(());
    let held = LOCK.lock().unwrap();
    let future = ex.task(|(): ()| drop(LOCK.lock().unwrap()), ()).timeout(TICK).submit();
    future.add_done_callback(move |outcome| {
        assert!(outcome.as_ref().unwrap_err().is_timeout());
        entered.send(thread::current().id()).unwrap();
    });
    let task = ex.take(0);
    let runner = thread::spawn(move || task.run());
    let callback_thread = is_entered.recv().unwrap();
    assert_ne!(callback_thread, runner.thread().id());
    assert_ne!(callback_thread, thread::current().id());
    drop(held);
    runner.join().unwrap();
}

#[test]
fn a_deadline_ends_what_has_not_even_started() {
    let ex = Manual::new();
    let at = Instant::now() + TICK;
    let futures = ex.tasks(|x: u8| x, [1, 2, 3]).deadline(at).submit_all();
    let (done, not_done) = wait(futures, None, ReturnWhen::AllCompleted);
    assert_eq!((done.len(), not_done.len()), (3, 0));
    for future in done {
        assert!(future.result().unwrap_err().is_timeout());
    }
    assert_eq!(ex.run_all(), 0);
}

#[test]
fn the_error_of_what_has_not_started_says_whose_it_is() {
    let ex = Manual::new();
    let future = ex.task(|x: u8| x, 1).name("late").deadline(Instant::now() + TICK).submit();
    let id = future.id();
    let error = future.result().unwrap_err();
    assert_eq!((error.task_id(), error.task_name(), error.attempts()), (Some(id), Some("late"), 0));
}

#[test]
fn a_deadline_revokes_what_a_worker_has_not_started() {
    let (futures, sent) = at_a_deadline(|at| {
        let ex = Wire::new();
        (ex.tasks(|x: u8| x, [1]).deadline(at).submit_all(), ex.take_any())
    });
    assert!(futures[0].exception().unwrap().is_timeout());
    assert!(!sent.expect("it was in time").start());
}

#[test]
fn callbacks_that_block_do_not_hold_up_a_deadline() {
    // More than the callback service runs at once: some are in their callback, the rest wait for a thread.
    const CALLBACKS: usize = 12;
    const AT_ONCE: usize = 8;
    let ex = Wire::new();
    let (entered, is_entered) = mpsc::channel();
    let held = Arc::new(Mutex::new(()));
    let hold = held.lock().unwrap();
    let blocking = ex.submit_all(|x: u8| x, [0; CALLBACKS]);
    for future in &blocking {
        let (entered, held) = (entered.clone(), held.clone());
        future.add_done_callback(move |_| {
            entered.send(()).unwrap();
            drop(held.lock().unwrap());
        });
    }
    ex.answer_all();
    for _ in 0..AT_ONCE {
        is_entered.recv_timeout(ENOUGH).unwrap();
    }

    // One that nobody has started, one that is at a worker, and one that runs there.
    let manual = Manual::new();
    let queued = manual.tasks(|x: u8| x, [1]).deadline(Instant::now() + TICK).submit_all().remove(0);
    let (buffered, not_started) =
        at_a_deadline(|at| (ex.tasks(|x: u8| x, [1]).deadline(at).submit_all().remove(0), ex.take_any()));
    let not_started = not_started.expect("it was in time");
    let running = ex.task(|x: u8| x, 1).timeout(TICK).submit();
    let started = ex.take();
    assert!(started.start());
    for future in [queued, buffered, running] {
        assert!(future.wait_timeout(ENOUGH), "it waits for the callbacks: {future:?}");
        assert!(future.result().unwrap_err().is_timeout());
    }
    assert!(!not_started.start());
    drop(hold);
    for future in blocking {
        assert_eq!(future.result().unwrap(), 0);
    }
}

#[test]
fn many_limits_do_not_disturb_each_other() {
    let ex = Manual::new();
    let log = Arc::new(Mutex::new(0));
    let futures: Vec<_> = (0..100)
        .map(|i| {
            let limit = if i % 2 == 0 { TICK } else { LONG };
            let future = ex.tasks(|x: u32| x, [i]).deadline(Instant::now() + limit).submit_all().remove(0);
            let log = log.clone();
            future.add_done_callback(move |_| *log.lock().unwrap() += 1);
            (i, future)
        })
        .collect();
    let (even, odd): (Vec<_>, Vec<_>) = futures.into_iter().partition(|(i, _)| i % 2 == 0);
    for (_, future) in even {
        assert!(future.result().unwrap_err().is_timeout());
    }
    assert_eq!(ex.run_all(), 50);
    for (i, future) in odd {
        assert_eq!(future.result().unwrap(), i);
    }
    // Those of a timeout run elsewhere.
    let limit = Instant::now() + ENOUGH;
    while *log.lock().unwrap() != 100 {
        assert!(Instant::now() < limit, "not all callbacks have run");
        thread::yield_now();
    }
}
