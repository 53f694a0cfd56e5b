//! Callbacks on every executor. Their rules on a bare future are shown by the tests of core (`callbacks.rs` there).

use crate::tasks::{hold, invert, occupy, square};
use concurrent_futures::thread::ThreadPoolBuilder;
use concurrent_futures::{Executor, ExecutorExt, Future, Handle};
use concurrent_futures_conformance::{Kind, PATIENCE, Soon, Stage, tests};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

/// The thread that the callback of `future` runs in.
fn thread_of_callback<T: Send + 'static>(future: &Future<T>) -> Receiver<(ThreadId, Option<String>)> {
    let (tell, told) = mpsc::channel();
    future.add_done_callback(move |_| {
        let current = thread::current();
        tell.send((current.id(), current.name().map(str::to_owned))).unwrap();
    });
    told
}

fn sees_the_outcome(kind: Kind) {
    let ex = kind.pool(1);
    for (x, words) in [(2, "30"), (0, "attempt to divide by zero")] {
        let (tell, told) = mpsc::channel();
        ex.submit(invert, x).add_done_callback(move |outcome| {
            let words = match outcome {
                Ok(value) => value.to_string(),
                Err(error) => error.panic().unwrap().message().to_owned(),
            };
            tell.send(words).unwrap();
        });
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), words);
    }
}

fn run_in_order_once_and_before_the_result(kind: Kind) {
    let ex = kind.pool(1);
    for _ in 0..50 {
        let future = ex.submit(square, 3);
        let log = Arc::new(Mutex::new(Vec::new()));
        for i in 0..5 {
            let log = log.clone();
            future.add_done_callback(move |_| log.lock().unwrap().push(i));
        }
        assert_eq!(future.soon().unwrap(), 9);
        assert_eq!(*log.lock().unwrap(), [0, 1, 2, 3, 4]);
    }
}

fn on_a_done_future_run_at_once_in_the_adding_thread(kind: Kind) {
    let ex = kind.pool(1);
    for x in [0, 1] {
        let future = ex.submit(invert, x);
        assert!(future.wait_timeout(PATIENCE));
        let (thread, _) = thread_of_callback(&future).try_recv().expect("it has run");
        assert_eq!(thread, thread::current().id());
    }
}

fn that_panic_cost_neither_the_outcome_nor_the_worker(kind: Kind) {
    let ex = kind.pool(1);
    for _ in 0..3 {
        let future = ex.submit(square, 3);
        let (tell, told) = mpsc::channel();
        future.add_done_callback(|_| panic!("a callback of this test panics on purpose"));
        future.add_done_callback(move |_| tell.send(()).unwrap());
        told.recv_timeout(PATIENCE).expect("the next one runs");
        assert_eq!(future.soon().unwrap(), 9);
    }
    assert_eq!(ex.submit(square, 4).soon().unwrap(), 16, "the only worker lives");
}

fn run_in_the_thread_that_cancels(kind: Kind) {
    let (ex, stage) = (kind.pool(1), Stage::new());
    let (_running, _arrivals) = occupy(&ex, &stage, 1);
    let future = ex.submit(square, 3);
    let told = thread_of_callback(&future);
    assert!(future.cancel());
    assert_eq!(told.try_recv().expect("it has run").0, thread::current().id());
}

fn run_in_the_calling_thread(kind: Kind) {
    let future = kind.pool(1).submit(square, 3);
    assert_eq!(thread_of_callback(&future).try_recv().unwrap().0, thread::current().id());
}

fn run_on_the_worker(_: Kind) {
    let pool = ThreadPoolBuilder::default().max_workers(1).thread_name_prefix("callback").build().unwrap();
    let stage = Stage::new();
    let future = pool.submit(hold, (stage.ticket(), 1));
    let told = thread_of_callback(&future);
    let arrival = stage.next();
    let worker = arrival.thread().to_owned();
    arrival.release();
    let (_, name) = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!((name.as_deref(), worker.as_str()), (Some("callback_0"), "callback_0"));
}

fn run_on_a_thread_of_the_librarys_own(kind: Kind) {
    let (ex, stage) = (kind.pool(1), Stage::new());
    let future = ex.submit(hold, (stage.ticket(), 1));
    let told = thread_of_callback(&future);
    stage.next().release();
    let (_, name) = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(name.as_deref(), Some("cf-callbacks"));
}

/// One that blocks must not keep the pool from working.
fn may_block(kind: Kind) {
    let ex = kind.pool(2);
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let (entered, is_entered) = mpsc::channel();
    let stage = Stage::new();
    let future = ex.submit(hold, (stage.ticket(), 1));
    future.add_done_callback(move |_| {
        entered.send(()).unwrap();
        may_go_on.recv_timeout(PATIENCE).unwrap();
    });
    stage.next().release();
    is_entered.recv_timeout(PATIENCE).unwrap();
    assert_eq!(ex.submit(square, 4).soon().unwrap(), 16);
    go_on.send(()).unwrap();
    assert_eq!(future.soon().unwrap(), 1);
}

/// Submits from a callback, from a callback of that task, and so on.
fn descend(handle: Handle, depth: u64, done: mpsc::Sender<u64>) {
    let future = handle.submit(square, depth);
    future.add_done_callback(move |outcome| {
        done.send(*outcome.as_ref().unwrap()).unwrap();
        if depth > 0 {
            descend(handle, depth - 1, done);
        }
    });
}

fn may_submit(kind: Kind) {
    let ex = kind.pool(1);
    let (done, is_done) = mpsc::channel();
    descend(ex.handle(), 20, done);
    for depth in (0..=20).rev() {
        assert_eq!(is_done.recv_timeout(PATIENCE).unwrap(), depth * depth);
    }
}

fn may_wait_for_another_task_of_the_pool(kind: Kind) {
    let ex = kind.pool(1);
    let handle = ex.handle();
    let (tell, told) = mpsc::channel();
    let future = ex.submit(square, 3);
    future.add_done_callback(move |_| tell.send(handle.submit(square, 4).result()).unwrap());
    assert_eq!(told.recv_timeout(PATIENCE).unwrap().unwrap(), 16);
    assert_eq!(future.soon().unwrap(), 9);
}

fn of_chains_see_the_end(kind: Kind) {
    let ex = kind.pool(1);
    let handle = ex.handle();
    let chain = ex.submit(square, 3).map(|x| x + 1).and_then(move |x| handle.submit(square, x)).then(&ex, square);
    let (tell, told) = mpsc::channel();
    chain.add_done_callback(move |outcome| tell.send(*outcome.as_ref().unwrap()).unwrap());
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), 10_000);
    assert_eq!(chain.soon().unwrap(), 10_000);
    assert!(ex.submit(invert, 0).map(|x| x + 1).then(&ex, square).soon().unwrap_err().is_panic());
}

tests! {
    all {
        sees_the_outcome,
        run_in_order_once_and_before_the_result,
        on_a_done_future_run_at_once_in_the_adding_thread,
        that_panic_cost_neither_the_outcome_nor_the_worker,
        may_submit,
        may_wait_for_another_task_of_the_pool,
        of_chains_see_the_end,
    }
    parallel {
        run_in_the_thread_that_cancels,
        may_block,
    }
    serial {
        run_in_the_calling_thread,
    }
    thread {
        run_on_the_worker,
    }
    process {
        run_on_a_thread_of_the_librarys_own,
    }
}
