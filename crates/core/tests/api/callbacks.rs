//! Callbacks: order, thread, panics, and who waits for them.

use crate::manual::Manual;
use crate::wire::Wire;
use concurrent_futures_core::{ExecutorExt, Future, Promise, SharedFuture, task};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, ThreadId};
use std::time::Duration;

/// What callbacks leave behind.
#[derive(Clone, Default)]
struct Log<T>(Arc<Mutex<Vec<T>>>);

impl<T> Log<T> {
    fn new() -> Self {
        Log(Arc::new(Mutex::new(Vec::new())))
    }

    fn note(&self, entry: T) {
        self.0.lock().unwrap().push(entry);
    }

    fn entries(&self) -> Vec<T> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[test]
fn a_callback_sees_the_outcome() {
    let log = Log::new();
    let watch = |future: &Future<u8>| {
        let log = log.clone();
        future.add_done_callback(move |outcome| {
            log.note(match outcome {
                Ok(value) => value.to_string(),
                Err(error) if error.is_cancelled() => "cancelled".into(),
                Err(error) => error.failure().unwrap().message(),
            });
        });
    };
    let (value, error, cancelled) = (Promise::pair(), Promise::<u8>::pair(), Promise::<u8>::pair());
    [&value.1, &error.1, &cancelled.1].into_iter().for_each(watch);
    assert!(log.entries().is_empty());
    value.0.set_result(42).unwrap();
    error.0.set_exception("bad").unwrap();
    assert!(cancelled.1.cancel());
    assert_eq!(log.entries(), ["42", "bad", "cancelled"]);
}

#[test]
fn callbacks_run_in_the_order_in_which_they_were_added_each_once() {
    let (promise, future) = Promise::pair();
    let log = Log::new();
    for i in 0..100 {
        let log = log.clone();
        future.add_done_callback(move |_| log.note(i));
    }
    promise.set_result(()).unwrap();
    assert_eq!(log.entries(), (0..100).collect::<Vec<_>>());
    future.result().unwrap();
    assert!(log.entries().is_empty(), "none runs twice");
}

#[test]
fn a_callback_that_is_added_twice_runs_twice() {
    let (promise, future) = Promise::pair();
    let log = Log::new();
    let callback = {
        let log = log.clone();
        move |_: &Result<(), _>| log.note("called")
    };
    future.add_done_callback(callback.clone());
    future.add_done_callback(callback);
    promise.set_result(()).unwrap();
    assert_eq!(log.entries(), ["called"; 2]);
}

#[test]
fn a_late_callback_runs_at_once_in_the_thread_that_adds_it() {
    let cancelled = Promise::pair().1;
    cancelled.cancel();
    let (promise, failed) = Promise::pair();
    promise.set_exception("x").unwrap();
    for future in [Future::ready(Ok(1)), cancelled, failed] {
        let log = Log::new();
        let note = log.clone();
        future.add_done_callback(move |_| note.note(thread::current().id()));
        assert_eq!(log.entries(), [thread::current().id()], "{future:?}");
    }
}

/// The thread in which the callback of a future runs that `complete` resolves.
fn thread_of_callback(complete: impl FnOnce(Promise<u8>, Arc<Future<u8>>)) -> ThreadId {
    let (promise, future) = Promise::pair();
    let (tell, told) = mpsc::channel();
    future.add_done_callback(move |_| tell.send(thread::current().id()).unwrap());
    complete(promise, Arc::new(future));
    told.recv().unwrap()
}

#[test]
fn callbacks_run_in_the_thread_that_resolves() {
    let mut completing = None;
    let callback = thread_of_callback(|promise, _| {
        let thread = thread::spawn(move || promise.set_result(1).unwrap());
        completing = Some(thread.thread().id());
        thread.join().unwrap();
    });
    assert_eq!(Some(callback), completing);

    let mut cancelling = None;
    let callback = thread_of_callback(|_promise, future| {
        let thread = thread::spawn(move || assert!(future.cancel()));
        cancelling = Some(thread.thread().id());
        thread.join().unwrap();
    });
    assert_eq!(Some(callback), cancelling);

    let here = thread_of_callback(|promise, _| drop(promise));
    assert_eq!(here, thread::current().id());
}

#[test]
fn a_task_that_runs_here_has_its_callbacks_run_here() {
    let ex = Manual::new();
    let future = ex.submit(|x: u8| x, 1);
    let log = Log::new();
    let note = log.clone();
    future.add_done_callback(move |_| note.note(thread::current().id()));
    ex.run_all();
    assert_eq!(log.entries(), [thread::current().id()]);
}

#[test]
fn no_callback_runs_in_the_thread_that_brings_a_workers_answer() {
    let ex = Wire::new();
    let future = ex.submit(|x: u8| x + 1, 1);
    let (tell, told) = mpsc::channel();
    future.add_done_callback(move |outcome| tell.send((*outcome.as_ref().unwrap(), thread::current().id())).unwrap());
    ex.answer_all();
    let (value, callback_thread) = told.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(value, 2);
    assert_ne!(callback_thread, thread::current().id());
    assert_eq!(future.result().unwrap(), 2);
}

#[test]
fn a_callback_that_panics_is_contained_and_the_others_run() {
    let (promise, future) = Promise::pair();
    let log = Log::new();
    let (first, last) = (log.clone(), log.clone());
    future.add_done_callback(move |_| first.note("before"));
    future.add_done_callback(|_| panic!("a callback of this test panics on purpose"));
    future.add_done_callback(move |_| last.note("after"));
    promise.set_result(1).unwrap();
    assert_eq!(log.entries(), ["before", "after"]);
    future.add_done_callback(|_| panic!("a late callback of this test panics on purpose"));
    assert_eq!(future.result().unwrap(), 1, "the outcome is not affected");
}

#[test]
fn a_callback_that_panics_inside_a_task_costs_neither_the_task_nor_the_others() {
    let (promise, future) = Promise::pair();
    let log = Log::new();
    let (first, last) = (log.clone(), log.clone());
    future.add_done_callback(move |_| first.note("before"));
    future.add_done_callback(|_| panic!("a callback of this test panics on purpose"));
    future.add_done_callback(move |_| last.note("after"));
    let (task, done) = task::closure(move || {
        promise.set_result(1).unwrap();
        5
    });
    assert!(task.run());
    assert_eq!(log.entries(), ["before", "after"]);
    assert_eq!((done.result().unwrap(), future.result().unwrap()), (5, 1));
}

#[test]
fn a_callback_whose_captured_state_panics_on_drop_is_contained() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a destructor of this test panics on purpose");
        }
    }
    let (promise, future) = Promise::pair();
    let log = Log::new();
    let note = log.clone();
    let bomb = Bomb;
    future.add_done_callback(move |_| {
        let _keep = &bomb;
    });
    future.add_done_callback(move |_| note.note("after"));
    promise.set_result(1).unwrap();
    assert_eq!(log.entries(), ["after"]);
}

/// Python runs a callback that a callback adds at once, before those that are queued. Here it runs after them: callbacks
/// run in the order in which they were added.
#[test]
fn a_callback_added_by_a_callback_runs_after_those_already_added() {
    let (promise, future) = Promise::pair();
    let future = future.shared();
    let log = Log::new();
    let (one, two, three, again) = (log.clone(), log.clone(), log.clone(), future.clone());
    future.add_done_callback(move |_| one.note("1"));
    future.add_done_callback(move |_| {
        two.note("2");
        again.add_done_callback(move |_| two.note("nested"));
    });
    future.add_done_callback(move |_| three.note("3"));
    promise.set_result(()).unwrap();
    assert_eq!(log.entries(), ["1", "2", "3", "nested"]);
}

#[test]
fn a_callback_may_use_the_future_that_it_belongs_to() {
    let (promise, future) = Promise::pair();
    let future: SharedFuture<u8> = future.shared();
    let log = Log::new();
    let (note, same) = (log.clone(), future.clone());
    future.add_done_callback(move |_| {
        note.note((same.done(), same.running(), same.cancel(), *same.result().unwrap(), format!("{same:?}")));
    });
    promise.set_result(9).unwrap();
    let (done, running, cancel, value, debug) = log.entries().pop().unwrap();
    assert_eq!((done, running, cancel, value), (true, false, false, 9));
    assert!(debug.contains("finished"), "{debug}");
}

#[test]
fn a_callback_added_while_others_run_is_run_by_the_same_thread() {
    let (promise, future) = Promise::pair();
    let (entered, is_entered) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let may_go_on = Mutex::new(may_go_on);
    future.add_done_callback(move |_| {
        entered.send(thread::current().id()).unwrap();
        may_go_on.lock().unwrap().recv().unwrap();
    });
    let completer = thread::spawn(move || promise.set_result(1).unwrap());
    let drainer: ThreadId = is_entered.recv().unwrap();
    let log = Log::new();
    let note = log.clone();
    future.add_done_callback(move |_| note.note(thread::current().id()));
    assert!(log.entries().is_empty(), "two callbacks of a future never run at once");
    go_on.send(()).unwrap();
    completer.join().unwrap();
    assert_eq!(log.entries(), [drainer]);
}

/// A future whose callback runs, in another thread, until the sender is used.
fn with_a_callback_at_work() -> (Future<u8>, mpsc::Sender<()>, thread::JoinHandle<()>) {
    let (promise, future) = Promise::pair();
    let (entered, is_entered) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let may_go_on = Mutex::new(may_go_on);
    future.add_done_callback(move |_| {
        entered.send(()).unwrap();
        may_go_on.lock().unwrap().recv().unwrap();
    });
    let completer = thread::spawn(move || promise.set_result(1).unwrap());
    is_entered.recv().unwrap();
    (future, go_on, completer)
}

#[test]
fn result_hands_the_value_out_after_all_callbacks() {
    let (future, go_on, completer) = with_a_callback_at_work();
    assert!(future.done(), "the outcome is there");
    assert!(future.wait_timeout(Duration::ZERO));
    assert!(future.exception().is_none());
    let future = future.try_result().expect_err("its callbacks are not finished");
    let future = future.result_timeout(Duration::from_micros(1)).unwrap_err().0;
    go_on.send(()).unwrap();
    assert_eq!(future.result().unwrap(), 1);
    completer.join().unwrap();
}

#[test]
fn a_shared_handle_does_not_wait_for_callbacks() {
    let (future, go_on, completer) = with_a_callback_at_work();
    let future = future.shared();
    assert_eq!(future.result().unwrap(), &1);
    assert_eq!(future.result_timeout(Duration::ZERO).unwrap().unwrap(), &1);
    go_on.send(()).unwrap();
    completer.join().unwrap();
}

#[test]
fn a_callback_may_complete_other_futures_and_they_run_theirs() {
    let (first, from) = Promise::pair();
    let (second, to) = Promise::pair();
    let log = Log::new();
    let note = log.clone();
    to.add_done_callback(move |value| note.note(*value.as_ref().unwrap()));
    from.add_done_callback(move |value| second.set_result(value.as_ref().unwrap() + 1).unwrap());
    first.set_result(1).unwrap();
    assert_eq!(log.entries(), [2]);
    assert_eq!(to.result().unwrap(), 2);
}
