//! What only threads can do, and what only they suffer from.

use crate::tasks::square;
use concurrent_futures::{Executor, ExecutorExt, Shutdown, ThreadPoolExecutor, as_completed};
use concurrent_futures_conformance::{PATIENCE, Soon, Stage};
use std::cell::Cell;
use std::process::Command;

#[test]
fn closures_need_no_serde() {
    let ex = ThreadPoolExecutor::new(2).unwrap();
    let text = String::from("captured");
    let (send, receive) = std::sync::mpsc::channel();
    // Neither what it captures nor what it returns could be encoded.
    let future = ex.spawn(move || {
        send.send(text.len()).unwrap();
        Cell::new(text.len())
    });
    assert_eq!((future.soon().unwrap().get(), receive.recv_timeout(PATIENCE).unwrap()), (8, 8));
}

#[test]
fn a_panic_keeps_its_payload() {
    let ex = ThreadPoolExecutor::new(1).unwrap();
    let error = ex.spawn(|| std::panic::panic_any(vec![1, 2, 3])).map(|()| ()).soon().unwrap_err();
    let payload = error.panic().unwrap().take_payload().unwrap();
    assert_eq!(*payload.downcast::<Vec<i32>>().unwrap(), [1, 2, 3]);
}

#[test]
fn borrowed_data_outlives_its_tasks() {
    let ex = ThreadPoolExecutor::new(2).unwrap();
    let words = ["one".to_string(), "three".to_string()];
    let mut total = 0;
    let lengths: Vec<usize> = ex.borrow_scope(|scope| {
        let futures: Vec<_> = words.iter().map(|word| scope.spawn(|| word.len())).collect();
        scope.spawn(|| total += 1);
        futures.into_iter().map(|future| future.result().unwrap()).collect()
    });
    assert_eq!((lengths, total), (vec![3, 5], 1));
}

#[test]
fn borrowing_futures_can_be_waited_for() {
    let ex = ThreadPoolExecutor::new(2).unwrap();
    let numbers = [1_u64, 2, 3];
    let sum: u64 = ex.borrow_scope(|scope| {
        let futures = numbers.iter().map(|number| (number, scope.spawn(move || square(*number))));
        as_completed(futures.collect::<Vec<_>>()).map(|(number, future)| number + future.result().unwrap()).sum()
    });
    assert_eq!(sum, 6 + 14);
}

/// CPython's `test_hang_global_shutdown_lock`: programs are started while the pool submits to itself.
#[test]
fn programs_can_be_started_while_the_pool_works() {
    let ex = ThreadPoolExecutor::new(4).unwrap();
    let children = ex.submit_all(|(): ()| Command::new("true").status().unwrap().success(), vec![(); 20]);
    let handle = ex.handle();
    let submitter = ex.spawn(move || {
        let inner = handle.submit_all(square, 0..500);
        inner.into_iter().map(|future| future.result().unwrap()).sum::<u64>()
    });
    assert!(children.into_iter().all(|child| child.soon().unwrap()));
    assert_eq!(submitter.soon().unwrap(), (0..500).map(square).sum());
}

/// CPython's `test_process_fork_from_a_threadpool`: a fork in a worker thread ends without the threads that it has not got.
#[test]
fn a_task_can_fork() {
    fn fork_and_exit((): ()) -> i32 {
        // SAFETY: the child calls nothing but `exit`, which is what is tested here: its exit hooks are ours.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: no other thread is in this process.
            unsafe { libc::exit(0) };
        }
        let mut status = -1;
        // SAFETY: `child` is our own child, and the status goes to a variable of ours.
        let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(waited, child);
        status
    }
    let ex = ThreadPoolExecutor::new(2).unwrap();
    assert_eq!(ex.submit(fork_and_exit, ()).soon().unwrap(), 0);
}

#[test]
fn priorities_need_a_queue_that_sorts() {
    let plain = ThreadPoolExecutor::new(1).unwrap();
    let error = plain.task(square, 3).priority(1).submit().soon().unwrap_err();
    assert!(error.is_refused() && error.to_string().contains("priority"), "{error}");

    let (ex, stage) =
        (ThreadPoolExecutor::builder().max_workers(1).priority_queue(true).build().unwrap(), Stage::new());
    let (_running, arrivals) = crate::tasks::occupy(&ex, &stage, 1);
    for (number, priority) in [(1, 0), (2, -1), (3, 5), (4, 0), (5, 5)] {
        drop(ex.task(crate::tasks::tell, (stage.ticket(), number)).priority(priority).submit());
    }
    drop(arrivals);
    ex.shutdown(Shutdown::WAIT);
    assert_eq!(stage.said(), ["3", "5", "1", "4", "2"]);
}
