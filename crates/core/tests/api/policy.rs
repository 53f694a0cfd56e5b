//! Retries, aborts, and what a task knows of itself.

use crate::manual::Manual;
use crate::wire::Wire;
use concurrent_futures_core::task::{self, Stop};
use concurrent_futures_core::{
    Backoff, Executor, ExecutorExt, Future, Handle, Promise, Refusal, RetryOn, SerialExecutor, Shutdown, Task,
    TrySubmitError,
};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(3600);

/// Succeeds at the attempt that it is given.
fn at_attempt(n: u32) -> u32 {
    assert!(task::current().attempt() >= n, "not yet");
    task::current().attempt()
}

#[test]
fn a_task_without_retries_is_tried_once() {
    let future = SerialExecutor::new().submit(at_attempt, 2);
    assert_eq!(future.attempts(), 1);
    let error = future.result().unwrap_err();
    assert_eq!((error.is_panic(), error.attempts()), (true, 1));
}

#[test]
fn a_panic_is_tried_again_until_it_succeeds_or_no_attempt_is_left() {
    let ex = SerialExecutor::new();
    let future = ex.task(at_attempt, 3).retries(2).submit();
    assert_eq!((future.attempts(), future.result().unwrap()), (3, 3));
    let error = ex.task(at_attempt, 4).retries(2).name("stubborn").submit().result().unwrap_err();
    assert_eq!((error.is_panic(), error.attempts()), (true, 3));
    assert!(error.to_string().contains("3 attempts"), "{error}");
}

#[test]
fn only_what_was_asked_for_is_tried_again() {
    let ex = SerialExecutor::new();
    let on = RetryOn::WORKER_DEATH | RetryOn::TIMEOUT | RetryOn::ERROR;
    assert_eq!(ex.task(at_attempt, 2).retries(5).retry_on(on).submit().result().unwrap_err().attempts(), 1);
    fn fail(_: ()) -> Result<u32, String> {
        Err(format!("attempt {}", task::current().attempt()))
    }
    let error = ex.task(fail, ()).retries(1).retry_on(on).submit_fallible().result().unwrap_err();
    assert_eq!(error.failure().unwrap().message(), "attempt 2");
    let value = ex.task(fail, ()).retries(5).submit().result().unwrap();
    assert_eq!(value.unwrap_err(), "attempt 1", "what `submit` is given as an `Err` is a value");
}

#[test]
fn a_value_that_is_not_good_enough_is_tried_again_and_the_last_one_stands() {
    fn attempt(_: ()) -> u32 {
        task::current().attempt()
    }
    let wire = Wire::new();
    let far = wire.task(attempt, ()).retries(2).retry_if(|_| true).submit();
    wire.answer_all();
    assert_eq!(far.attempts(), 3);
    far.result().unwrap();
    let near = SerialExecutor::new().task(attempt, ()).retries(2).retry_if(|_| true).submit();
    assert_eq!(near.result().unwrap(), 3);
}

#[test]
fn a_task_whose_worker_dies_is_sent_again() {
    let ex = Wire::new();
    let future = ex.task(|x: u8| x, 7).retries(1).submit();
    let sent = ex.take();
    assert!(sent.start());
    ex.die(sent);
    assert!(!future.done() && !future.running());
    ex.answer_all();
    assert_eq!((future.attempts(), future.result().unwrap()), (2, 7));
    let future = ex.task(|x: u8| x, 7).retries(1).submit();
    ex.die(ex.take());
    ex.die(ex.take());
    let error = future.result().unwrap_err();
    assert_eq!((error.is_worker_death(), error.attempts()), (true, 2));
}

#[test]
fn an_attempt_out_of_time_is_stopped_and_another_one_follows() {
    let ex = Wire::new();
    let future = ex.task(|x: u8| x, 7).timeout(TICK).retries(1).submit();
    let sent = ex.take();
    assert!(sent.start());
    while sent.stops().is_empty() {
        thread::yield_now();
    }
    assert_eq!(sent.stops(), [(Stop::Timeout, 1)]);
    assert!(!future.done(), "there is another attempt");
    // Its late answer is no answer.
    ex.answer(sent);
    assert!(!future.done());
    let last = ex.take();
    assert!(last.start());
    assert!(future.exception().unwrap().is_timeout());
    // The task is over before its worker is told.
    while last.stops().is_empty() {
        thread::yield_now();
    }
    assert_eq!(last.stops(), [(Stop::Timeout, 2)]);
    assert_eq!(future.result().unwrap_err().attempts(), 2);
}

#[test]
fn a_thread_that_is_out_of_time_is_asked_and_tries_again() {
    fn until_told(_: ()) -> u32 {
        while task::current().attempt() < 3 && !task::current().should_stop() {
            thread::yield_now();
        }
        task::current().attempt()
    }
    // On a busy machine, one that returns at once may be too late as well.
    let future = SerialExecutor::new().task(until_told, ()).timeout(TICK).retries(u32::MAX).submit();
    assert!(future.result().unwrap() >= 3);
}

#[test]
fn the_deadline_covers_all_attempts() {
    let ex = SerialExecutor::new();
    let at = Instant::now() + Duration::from_millis(20);
    let error = ex.task(at_attempt, u32::MAX).deadline(at).retries(u32::MAX).submit().result().unwrap_err();
    assert!(error.is_timeout() || error.is_panic(), "{error}");
    assert!(Instant::now() >= at || error.is_panic());
    // A pause that would end after it is not begun.
    let backoff = Backoff::fixed(LONG);
    let at = Instant::now() + Duration::from_secs(60);
    let error = ex.task(at_attempt, 2).deadline(at).retries(9).backoff(backoff).submit().result().unwrap_err();
    assert_eq!((error.is_panic(), error.attempts()), (true, 1));
}

#[test]
fn an_abort_ends_a_pause() {
    let ex = Manual::new();
    let future = ex.task(at_attempt, 2).retries(9).backoff(Backoff::fixed(LONG)).submit();
    let task = ex.take(0);
    let runner = thread::spawn(move || task.run());
    while future.attempts() == 0 {
        thread::yield_now();
    }
    while !future.abort() {
        thread::yield_now();
    }
    runner.join().unwrap();
    assert!(future.result().unwrap_err().is_aborted());
}

#[test]
fn an_abort_stops_what_runs_and_cancels_what_does_not() {
    static ENTERED: AtomicBool = AtomicBool::new(false);
    fn until_told(_: ()) -> u8 {
        ENTERED.store(true, Ordering::Release);
        while !task::current().should_stop() {
            thread::yield_now();
        }
        9
    }
    let ex = Manual::new();
    let (runs, waits) = (ex.submit(until_told, ()), ex.submit(until_told, ()));
    let task = ex.take(0);
    let runner = thread::spawn(move || task.run());
    while !ENTERED.load(Ordering::Acquire) {
        thread::yield_now();
    }
    assert!(!runs.cancel() && runs.abort() && !runs.abort());
    assert!(waits.abort() && waits.cancelled());
    assert!(runner.join().unwrap());
    let error = runs.result().unwrap_err();
    assert_eq!((error.is_aborted(), error.attempts()), (true, 1));
    assert!(waits.result().unwrap_err().is_cancelled());
}

#[test]
fn an_abort_reaches_a_worker_and_through_derived_futures() {
    let ex = Wire::new();
    let future = ex.submit(|x: u8| x, 1).map(|x| x + 1);
    let sent = ex.take();
    assert!(sent.start() && future.abort());
    assert_eq!(sent.stops().len(), 1);
    assert_eq!(sent.stops()[0].0, Stop::Abort);
    assert!(future.result().unwrap_err().is_aborted());
    let (promise, future) = Promise::<u8>::pair();
    assert!(future.abort() && future.cancelled());
    assert!(promise.set_result(1).is_err());
}

#[test]
fn a_task_knows_its_name_and_its_time() {
    fn look(_: ()) -> (Option<String>, bool, bool) {
        let current = task::current();
        (current.name(), current.remaining().is_some_and(|left| left <= LONG), current.should_stop())
    }
    let ex = SerialExecutor::new();
    assert_eq!(ex.task(look, ()).submit().result().unwrap(), (None, false, false));
    let (name, limited, stop) = ex.task(look, ()).name("clock").timeout(LONG).submit().result().unwrap();
    assert_eq!((name.as_deref(), limited, stop), (Some("clock"), true, false));
    assert_eq!(task::current().name(), None);
}

#[test]
fn a_task_inside_a_task_is_the_current_one() {
    fn outer(_: ()) -> (Option<String>, Option<String>) {
        let inner = SerialExecutor::new().task(|()| task::current().name(), ()).name("inner").submit();
        (inner.result().unwrap(), task::current().name())
    }
    let names = SerialExecutor::new().task(outer, ()).name("outer").submit().result().unwrap();
    assert_eq!(names, (Some("inner".into()), Some("outer".into())));
}

#[test]
fn arguments_are_cloned_for_each_attempt_and_come_back_when_refused() {
    static CLONES: AtomicU32 = AtomicU32::new(0);
    #[derive(serde::Serialize, serde::Deserialize, Debug)]
    struct Counted(u8);
    impl Clone for Counted {
        fn clone(&self) -> Self {
            CLONES.fetch_add(1, Ordering::Relaxed);
            Counted(self.0)
        }
    }
    let ex = Manual::new();
    let future = ex.task(|c: Counted| at_attempt(u32::from(c.0)), Counted(2)).retries(3).submit();
    ex.run_all();
    assert_eq!(future.result().unwrap(), 2);
    assert_eq!(CLONES.load(Ordering::Relaxed), 2);
    concurrent_futures_core::Executor::shutdown(&ex, concurrent_futures_core::Shutdown::WAIT);
    let refused = ex.task(|c: Counted| c.0, Counted(5)).retries(1).try_submit().unwrap_err();
    assert_eq!(refused.args.0, 5);
}

#[test]
fn limits_need_a_process() {
    let ex = SerialExecutor::new();
    for task in [ex.task(|x: u8| x, 1).memory_limit(1), ex.task(|x: u8| x, 1).open_files_limit(1)] {
        assert!(task.submit().result().unwrap_err().is_refused());
    }
}

#[test]
fn a_map_with_retries_tries_each_item_again() {
    static SEEN: Mutex<Vec<u32>> = Mutex::new(Vec::new());
    fn note(n: u32) -> u32 {
        SEEN.lock().unwrap().push(n);
        at_attempt(n)
    }
    let ex = SerialExecutor::new();
    let all: Result<Vec<u32>, _> = ex.tasks(note, [1, 3, 2]).retries(2).map().collect();
    assert_eq!(all.unwrap(), [1, 3, 2]);
    assert_eq!(*SEEN.lock().unwrap(), [1, 3, 3, 3, 2, 2]);
    let lazy: Result<Vec<u32>, _> = ex.tasks(at_attempt, [2, 2]).retries(1).buffersize(1).collect();
    assert_eq!(lazy.unwrap(), [2, 2]);
}

#[test]
#[should_panic(expected = "one by one")]
fn chunks_with_retries_are_a_mistake() {
    let _ = SerialExecutor::new().tasks(at_attempt, [1]).chunksize(2).retries(1).map();
}

#[test]
fn output_is_attached_to_future_and_error() {
    let ex = Manual::new();
    let (good, bad) = (ex.submit(|x: u8| x, 1), ex.submit(at_attempt, 9));
    for _ in 0..2 {
        let task = ex.take(0);
        task.attach_output(concurrent_futures_core::TaskOutput::new(b"said".to_vec(), Vec::new(), false));
        task.run();
    }
    assert_eq!(good.output().unwrap().stdout, b"said");
    assert_eq!(bad.result().unwrap_err().output().unwrap().stdout_text(), "said");
}

#[test]
fn callbacks_of_an_abort_run_before_it_returns() {
    let (promise, future) = Promise::<u8>::pair();
    promise.set_running_or_notify_cancel().unwrap();
    let (tell, told) = mpsc::channel();
    future.add_done_callback(move |outcome| tell.send(outcome.is_err()).unwrap());
    assert!(future.abort());
    assert_eq!(told.try_recv(), Ok(true));
}

#[test]
fn a_late_value_is_none_also_when_there_is_no_time_for_another_attempt() {
    fn until_told(_: ()) -> u32 {
        while !task::current().should_stop() {
            thread::yield_now();
        }
        7
    }
    let ex = SerialExecutor::new();
    let backoff = Backoff::fixed(LONG).jitter(0.0);
    let task = ex.task(until_told, ()).timeout(TICK).retries(1).backoff(backoff).deadline(Instant::now() + LONG / 2);
    let error = task.submit().result().unwrap_err();
    assert_eq!((error.timeout(), error.attempts()), (Some(TICK), 1));
}

/// Takes no task, and says so only when the task's deadline is over.
#[derive(Debug)]
struct Slow;

impl Executor for Slow {
    fn submit_task(&self, _: Task) {}

    fn try_submit_task(&self, task: Task) -> Result<(), (Task, Refusal)> {
        let later = task.deadline().unwrap() + TICK;
        let never = Manual::new();
        let clock = never.task(|x: u8| x, 1).deadline(later).submit();
        assert!(clock.result().unwrap_err().is_timeout());
        Err((task, Refusal::Full))
    }

    fn submit_task_timeout(&self, task: Task, limit: Duration) -> Result<(), (Task, Refusal)> {
        assert!(limit < LONG, "it must not wait longer than the deadline");
        self.try_submit_task(task)
    }

    fn num_workers(&self) -> usize {
        1
    }

    fn shutdown(&self, _: Shutdown) {}

    fn handle(&self) -> Handle {
        Handle::new(Slow)
    }
}

#[test]
fn an_argument_comes_back_also_after_the_deadline() {
    let task = |n: u32| Slow.task(|x: u32| x, n).deadline(Instant::now() + TICK);
    // One that is late before it comes to the executor is not refused.
    let refused = |submit: &dyn Fn() -> Result<Future<u32>, TrySubmitError<u32>>| {
        loop {
            match submit() {
                Err(error) => return (error.args, error.why),
                Ok(late) => assert!(late.exception().unwrap().is_timeout()),
            }
        }
    };
    assert_eq!(refused(&|| task(7).try_submit()), (7, Refusal::Full));
    assert_eq!(refused(&|| task(8).retries(2).submit_timeout(LONG)), (8, Refusal::Full));
}

#[test]
fn an_error_that_the_predicate_does_not_like_is_tried_again_everywhere() {
    fn fail(_: ()) -> Result<u32, String> {
        Err(format!("attempt {}", task::current().attempt()))
    }
    let wire = Wire::new();
    let far = wire.task(fail, ()).retries(1).retry_on(RetryOn::PANIC).retry_if(Result::is_err).submit_fallible();
    wire.answer_all();
    assert_eq!(far.result().unwrap_err().attempts(), 2);
    let near = SerialExecutor::new();
    let near = near.task(fail, ()).retries(1).retry_on(RetryOn::PANIC).retry_if(Result::is_err).submit_fallible();
    assert_eq!(near.result().unwrap_err().attempts(), 2);
}
