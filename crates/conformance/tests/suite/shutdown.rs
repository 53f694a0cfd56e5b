//! The end of an executor: `shutdown`, `scope`, drop. The end of the whole program is in `programs.rs`.

use crate::tasks::{hold, invert, occupy, square, tell};
use concurrent_futures::{Executor, ExecutorExt, Future, OnDrop, Refusal, ReturnWhen, Shutdown, as_completed, wait};
use concurrent_futures_conformance::{Kind, PATIENCE, Soon, Stage, tests, until};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::thread;

fn refuses_what_comes_later(kind: Kind) {
    for how in [Shutdown::WAIT, Shutdown::NO_WAIT, Shutdown::WAIT.cancel_futures()] {
        let ex = kind.pool(1);
        ex.shutdown(how);
        let error = ex.submit(square, 3).soon().unwrap_err();
        assert_eq!(error.refusal(), Some(&Refusal::ShutDown));
        assert!(error.to_string().contains("shut down"), "{error}");
        assert!(ex.map(square, 0..3).all(|result| result.unwrap_err().is_refused()));
        assert!(ex.with_context(1_u8).submit(|_, x: u8| x, 1).soon().unwrap_err().is_refused());
    }
}

fn may_be_said_again_with_other_words(kind: Kind) {
    let ex = kind.pool(2);
    let future = ex.submit(square, 3);
    for how in [Shutdown::NO_WAIT, Shutdown::WAIT, Shutdown::NO_WAIT, Shutdown::WAIT.cancel_futures(), Shutdown::WAIT] {
        ex.shutdown(how);
    }
    assert_eq!(future.soon().unwrap(), 9);
}

fn by_several_threads_at_once(kind: Kind) {
    for _ in 0..5 {
        let ex = kind.pool(2);
        let futures = ex.submit_all(square, 0..20);
        let start = Barrier::new(3);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    start.wait();
                    ex.shutdown(Shutdown::WAIT);
                });
            }
        });
        assert!(futures.iter().all(Future::done), "each of them waited");
        assert!(futures.into_iter().all(|future| future.soon().is_ok()));
    }
}

/// CPython's `test_hang_issue12364`.
fn waits_for_everything(kind: Kind) {
    let ex = kind.pool(2);
    let futures = ex.submit_all(square, 0..50);
    ex.shutdown(Shutdown::WAIT);
    assert!(futures.iter().all(Future::done));
    assert!(futures.into_iter().map(|future| future.soon().unwrap()).eq((0..50).map(square)));
}

/// CPython's `test_shutdown_race_issue12456`: one more than there are workers.
fn right_after_the_start_does_not_hang(kind: Kind) {
    for _ in 0..10 {
        let ex = kind.pool(4);
        let futures = ex.submit_all(square, 0..5);
        ex.shutdown(Shutdown::WAIT);
        assert!(futures.into_iter().all(|future| future.soon().is_ok()));
    }
}

fn without_a_task_is_quick(kind: Kind) {
    kind.pool(3).shutdown(Shutdown::WAIT);
    drop(kind.pool(3));
    kind.pool(3).scope(|_| ());
}

fn without_waiting_leaves_the_work_to_be_done(kind: Kind) {
    let (ex, stage) = (kind.pool(1), Stage::new());
    let (running, arrivals) = occupy(&ex, &stage, 1);
    let queued = ex.submit_all(square, 0..5);
    ex.shutdown(Shutdown::NO_WAIT);
    assert!(running[0].running(), "it returns while the task still runs");
    assert!(queued.iter().all(|future| !future.done()));
    drop(ex);
    drop(arrivals);
    assert!(running.into_iter().all(|future| future.soon().is_ok()));
    assert!(queued.into_iter().map(|future| future.soon().unwrap()).eq((0..5).map(square)));
}

fn without_waiting_can_be_followed_by_waiting(kind: Kind) {
    let (ex, stage) = (kind.pool(1), Stage::new());
    let (running, arrivals) = occupy(&ex, &stage, 1);
    ex.shutdown(Shutdown::NO_WAIT);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            ex.shutdown(Shutdown::WAIT);
            running[0].done()
        });
        drop(arrivals);
        assert!(waiter.join().unwrap());
    });
}

fn cancels_exactly_what_has_not_started(kind: Kind) {
    let (ex, stage) = (kind.pool(2), Stage::new());
    let (running, arrivals) = occupy(&ex, &stage, 2);
    let queued: Vec<_> = (10..60).map(|number| ex.submit(tell, (stage.ticket(), number))).collect();
    ex.shutdown(Shutdown::NO_WAIT.cancel_futures());
    // Python waits for ever in the next two lines.
    let (done, not_done) = wait(&queued, PATIENCE, ReturnWhen::AllCompleted);
    assert_eq!((done.len(), not_done.len()), (50, 0));
    assert_eq!(as_completed(&queued).filter(|future| future.cancelled()).count(), 50);
    drop(arrivals);
    assert!(running.into_iter().all(|future| future.soon().is_ok()));
    drop(ex);
    assert!(stage.said().is_empty());
}

fn cancels_and_waits_for_the_rest(kind: Kind) {
    let (ex, stage) = (kind.pool(2), Stage::new());
    let (running, arrivals) = occupy(&ex, &stage, 2);
    let queued = ex.submit_all(square, 0..10);
    thread::scope(|scope| {
        let shutdown = scope.spawn(|| {
            ex.shutdown(Shutdown::WAIT.cancel_futures());
            running.iter().all(Future::done)
        });
        for future in &queued {
            assert!(future.exception().unwrap().is_cancelled(), "cancelled before the wait");
        }
        assert!(running.iter().all(Future::running));
        drop(arrivals);
        assert!(shutdown.join().unwrap());
    });
    assert!(running.into_iter().all(|future| future.soon().is_ok()));
}

/// CPython's `test_cancel_futures`, without knowing what has started.
fn cancels_while_workers_are_at_it(kind: Kind) {
    let ex = kind.pool(2);
    let futures = ex.submit_all(square, 0..500);
    ex.shutdown(Shutdown::WAIT.cancel_futures());
    assert!(futures.iter().all(Future::done));
    for (i, future) in (0..).zip(futures) {
        match future.soon() {
            Ok(value) => assert_eq!(value, i * i),
            Err(error) => assert!(error.is_cancelled(), "{error}"),
        }
    }
}

fn keeps_the_results(kind: Kind) {
    let results = {
        let ex = kind.pool(2);
        let results = ex.map(square, 0..20);
        drop(ex);
        results
    };
    assert!(results.map(Result::unwrap).eq((0..20).map(square)));
    assert!(kind.pool(2).scope(|ex| ex.map(square, 0..20)).map(Result::unwrap).eq((0..20).map(square)));
}

fn of_a_scope_waits_also_when_it_panics(kind: Kind) {
    let stage = Stage::new();
    let mut future = None;
    let panic = catch_unwind(AssertUnwindSafe(|| {
        kind.pool(1).scope(|ex| {
            future = Some(ex.submit(tell, (stage.ticket(), 7)));
            panic!("a block of this test panics on purpose");
        })
    }));
    assert!(panic.is_err());
    let future = future.unwrap();
    assert!(future.done(), "nothing was cancelled, and it was waited for");
    assert_eq!(future.soon().unwrap(), 7);
}

fn a_task_that_fails_does_not_disturb_it(kind: Kind) {
    let ex = kind.pool(2);
    let futures = ex.submit_all(invert, [1, 0, 2, 0]);
    ex.shutdown(Shutdown::WAIT);
    assert!(futures.into_iter().map(|future| future.soon().is_ok()).eq([true, false, true, false]));
}

/// The thread (and process) that a task runs in, and where it can be seen while it lives.
fn worker((): ()) -> PathBuf {
    // SAFETY: gettid has no requirements.
    let thread = unsafe { libc::gettid() };
    PathBuf::from(format!("/proc/{}/task/{thread}", std::process::id()))
}

fn ends_the_workers(kind: Kind) {
    for by_drop in [false, true] {
        let ex = kind.pool(2);
        let worker = ex.submit(worker, ()).soon().unwrap();
        assert!(worker.exists());
        if by_drop {
            drop(ex);
        } else {
            ex.shutdown(Shutdown::WAIT);
        }
        // The system takes a moment to forget a thread or a process that has been waited for.
        until("the worker is gone", || !worker.exists());
    }
}

fn ends_the_workers_without_anybody_waiting(kind: Kind) {
    let ex = kind.pool(2);
    let worker = ex.submit(worker, ()).soon().unwrap();
    ex.shutdown(Shutdown::NO_WAIT);
    until("the worker is gone", || !worker.exists());
    drop(ex);
}

fn from_a_callback_returns(kind: Kind) {
    let ex: Arc<dyn Executor> = Arc::from(kind.pool(1));
    let (tell, told) = mpsc::channel();
    let last = ex.clone();
    let (stage, tell_drop) = (Stage::new(), tell.clone());
    let future = ex.submit(hold, (stage.ticket(), 1));
    future.add_done_callback(move |_| {
        last.shutdown(Shutdown::WAIT);
        tell.send("shut down").unwrap();
        // The last owner goes in a thread that works for the pool.
        drop(last);
        tell_drop.send("dropped").unwrap();
    });
    drop(ex);
    stage.next().release();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "shut down");
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "dropped");
    assert_eq!(future.soon().unwrap(), 1);
}

fn drop_can_cancel_what_is_pending(kind: Kind) {
    let (ex, stage) = (kind.pool_with_drop(1, OnDrop::CancelPending), Stage::new());
    let (running, arrivals) = occupy(&ex, &stage, 1);
    let queued = ex.submit_all(square, 0..5);
    thread::scope(|scope| {
        let dropper = scope.spawn(move || drop(ex));
        for future in &queued {
            assert!(future.exception().unwrap().is_cancelled());
        }
        assert!(running[0].running());
        drop(arrivals);
        dropper.join().unwrap();
        assert!(running[0].done());
    });
}

fn drop_can_kill(kind: Kind) {
    let (ex, stage) = (kind.pool_with_drop(1, OnDrop::Kill), Stage::new());
    let (mut running, arrivals) = occupy(&ex, &stage, 1);
    let queued = ex.submit_all(square, 0..5);
    // Though nobody lets the task go on.
    drop(ex);
    for future in queued {
        assert!(future.soon().unwrap_err().is_cancelled());
    }
    let running = running.remove(0);
    if kind.is_process() {
        let error = running.soon().unwrap_err();
        let death = error.death().unwrap_or_else(|| panic!("{error}"));
        assert_eq!((death.pid(), death.signal(), death.by_pool()), (arrivals[0].pid(), Some("SIGKILL"), true));
    } else {
        // A thread cannot be killed: it goes on, and nobody waited for it.
        assert!(running.running());
        drop(arrivals);
        assert_eq!(running.soon().unwrap(), 0);
    }
}

/// Every submission is either taken and done, or refused.
fn against_submissions_loses_none(kind: Kind) {
    for _ in 0..5 {
        let ex = kind.pool(2);
        let start = Barrier::new(3);
        let futures: Vec<_> = thread::scope(|scope| {
            let submit = || {
                start.wait();
                ex.submit_all(square, 0..100)
            };
            let submitters = [scope.spawn(submit), scope.spawn(submit)];
            start.wait();
            ex.shutdown(Shutdown::WAIT);
            submitters.into_iter().flat_map(|submitter| submitter.join().unwrap()).collect()
        });
        for (i, future) in futures.into_iter().enumerate() {
            match future.soon() {
                Ok(value) => assert_eq!(value, square(i as u64 % 100)),
                Err(error) => assert_eq!(error.refusal(), Some(&Refusal::ShutDown)),
            }
        }
    }
}

tests! {
    all {
        refuses_what_comes_later,
        may_be_said_again_with_other_words,
        by_several_threads_at_once,
        waits_for_everything,
        right_after_the_start_does_not_hang,
        without_a_task_is_quick,
        cancels_while_workers_are_at_it,
        keeps_the_results,
        of_a_scope_waits_also_when_it_panics,
        a_task_that_fails_does_not_disturb_it,
        against_submissions_loses_none,
    }
    parallel {
        without_waiting_leaves_the_work_to_be_done,
        without_waiting_can_be_followed_by_waiting,
        cancels_exactly_what_has_not_started,
        cancels_and_waits_for_the_rest,
        ends_the_workers,
        ends_the_workers_without_anybody_waiting,
        from_a_callback_returns,
        drop_can_cancel_what_is_pending,
        drop_can_kill,
    }
}
