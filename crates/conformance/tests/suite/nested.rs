//! Tasks that submit tasks and wait for them. In Python a full pool locks up.

use crate::tasks::square;
use concurrent_futures::thread::ThreadPoolBuilder;
use concurrent_futures::{
    Executor, ExecutorExt, Handle, ProcessPoolExecutor, ReturnWhen, SerialExecutor, Shutdown, ThreadPoolExecutor,
    as_completed, wait,
};
use concurrent_futures_conformance::{Kind, PATIENCE, Soon, Stage, tests};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Runs `task` on the only worker of a pool, with a handle to that very pool.
fn on_the_only_worker<T: Send + 'static>(task: impl FnOnce(Handle) -> T + Send + 'static) -> T {
    let ex = ThreadPoolExecutor::new(1).unwrap();
    let handle = ex.handle();
    ex.spawn(move || task(handle)).soon().unwrap()
}

fn result_of_a_task_of_the_same_pool(_: Kind) {
    assert_eq!(on_the_only_worker(|ex| ex.submit(square, 3).result().unwrap()), 9);
}

fn result_with_a_limit(_: Kind) {
    let value = on_the_only_worker(|ex| ex.submit(square, 3).result_timeout(PATIENCE).unwrap().unwrap());
    assert_eq!(value, 9);
}

fn wait_for_tasks_of_the_same_pool(_: Kind) {
    let done = on_the_only_worker(|ex| {
        let futures = ex.submit_all(square, 0..10);
        futures[3].wait();
        futures[4].exception().is_none() && wait(futures, PATIENCE, ReturnWhen::AllCompleted).0.len() == 10
    });
    assert!(done);
}

fn as_completed_of_tasks_of_the_same_pool(_: Kind) {
    let sum = on_the_only_worker(|ex| {
        as_completed(ex.submit_all(square, 0..10)).map(|future| future.result().unwrap()).sum::<u64>()
    });
    assert_eq!(sum, 285);
}

fn map_on_the_same_pool(_: Kind) {
    let sums = on_the_only_worker(|ex| {
        let ordered = ex.map(square, 0..100).sum::<Result<u64, _>>().unwrap();
        let unordered = ex.map_unordered(square, 0..100).sum::<Result<u64, _>>().unwrap();
        let buffered = ex.tasks(square, 0..).buffersize(3).take(100).sum::<Result<u64, _>>().unwrap();
        (ordered, unordered, buffered)
    });
    assert_eq!(sums, (328_350, 328_350, 328_350));
}

fn block_on_a_chain_of_the_same_pool(_: Kind) {
    let value = on_the_only_worker(|ex| ex.submit(square, 3).then(&ex, square).map(|x| x + 1).result().unwrap());
    assert_eq!(value, 82);
}

fn a_full_queue_does_not_stop_its_own_worker(_: Kind) {
    let ex = ThreadPoolBuilder::default().max_workers(1).queue_bound(2).build().unwrap();
    let handle = ex.handle();
    let sum = ex.spawn(move || {
        let futures = handle.submit_all(square, 0..10);
        futures.into_iter().map(|future| future.result().unwrap()).sum::<u64>()
    });
    assert_eq!(sum.soon().unwrap(), 285);
}

fn fibonacci(ex: &Handle, n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let parts = [n - 1, n - 2].map(|n| {
        let (task, future) = {
            let inner = ex.clone();
            concurrent_futures::task::closure(move || fibonacci(&inner, n))
        };
        ex.submit_task(task);
        future
    });
    parts.into_iter().map(|part| part.result().unwrap()).sum()
}

fn a_recursion_that_waits_at_every_level(_: Kind) {
    for workers in [1, 2] {
        let ex = ThreadPoolExecutor::new(workers).unwrap();
        assert_eq!(fibonacci(&ex.handle(), 15), 610, "{workers} workers");
    }
}

/// The task that is awaited needs a lock that the waiting one holds: no other task may be run in its place.
fn a_waiting_task_is_not_given_foreign_work(_: Kind) {
    let ex = ThreadPoolExecutor::new(2).unwrap();
    let (handle, stage) = (ex.handle(), Stage::new());
    let lock = Arc::new(Mutex::new(()));
    let waiting = ex.spawn({
        let (lock, ticket) = (lock.clone(), stage.ticket());
        move || {
            let _held = lock.lock().unwrap();
            let needed =
                handle.submit(|ticket: concurrent_futures_conformance::Ticket| ticket.enter("needed"), ticket.clone());
            ticket.tell("waiting");
            needed.result_timeout(PATIENCE).unwrap().unwrap();
        }
    });
    let (mut needed, mut others) = (None, Vec::new());
    for _ in 0..2 {
        let arrival = stage.next();
        if arrival.words() == "needed" {
            needed = Some(arrival);
        }
    }
    for _ in 0..4 {
        let lock = lock.clone();
        others.push(ex.spawn(move || drop(lock.lock().unwrap())));
    }
    drop(needed);
    waiting.soon().unwrap();
    assert!(others.into_iter().all(|other| other.soon().is_ok()));
}

fn a_wait_that_runs_out_of_time_does_so(_: Kind) {
    let ex = ThreadPoolExecutor::new(1).unwrap();
    let (handle, stage) = (ex.handle(), Stage::new());
    let ticket = stage.ticket();
    let outer = ex.spawn(move || {
        let inner = handle.submit(|ticket: concurrent_futures_conformance::Ticket| ticket.enter("inner"), ticket);
        inner.result_timeout(Duration::from_millis(10)).is_err()
    });
    assert!(outer.soon().unwrap(), "though the inner task runs in nobody's place");
    stage.next().release();
}

fn shutting_down_from_a_task_returns(_: Kind) {
    let ex = Arc::new(ThreadPoolExecutor::new(1).unwrap());
    let inner = ex.clone();
    let future = ex.spawn(move || {
        inner.shutdown(Shutdown::WAIT);
        inner.submit(square, 3).result().unwrap_err().is_refused()
    });
    assert!(future.soon().unwrap());
}

fn the_last_owner_may_go_in_a_task(_: Kind) {
    let ex = Arc::new(ThreadPoolExecutor::new(2).unwrap());
    let (inner, stage) = (ex.clone(), Stage::new());
    let ticket = stage.ticket();
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let future = ex.spawn(move || {
        may_go_on.recv_timeout(PATIENCE).unwrap();
        assert_eq!(Arc::strong_count(&inner), 1);
        drop(inner);
        ticket.tell("dropped");
    });
    drop(ex);
    go_on.send(()).unwrap();
    future.soon().unwrap();
    assert_eq!(stage.said(), ["dropped"]);
}

/// Any executor inside a task of any other.
fn pools_inside_of_tasks(kind: Kind) {
    fn work(of: u64) -> u64 {
        let threads = ThreadPoolExecutor::new(2).unwrap().scope(|ex| ex.map(square, 0..of).sum::<Result<u64, _>>());
        let serial = SerialExecutor::new().map(square, 0..of).sum::<Result<u64, _>>();
        threads.unwrap() + serial.unwrap()
    }
    let ex = kind.pool(2);
    assert!(ex.map(work, [3, 4]).map(Result::unwrap).eq([10, 28]));
}

fn processes_inside_of_tasks(kind: Kind) {
    fn work(of: u64) -> (u32, u32, u64) {
        let ex = ProcessPoolExecutor::new(1).unwrap();
        let child = ex.submit(|()| std::process::id(), ()).result().unwrap();
        (std::process::id(), child, ex.map(square, 0..of).sum::<Result<u64, _>>().unwrap())
    }
    let (outer, inner, sum) = kind.pool(1).submit(work, 4).soon().unwrap();
    assert_eq!((sum, outer == inner, outer == std::process::id()), (14, false, !kind.is_process()));
}

/// A pool in a task that makes a pool in a task …
fn dive(levels: u32) -> Result<u32, String> {
    if levels == 0 {
        return Ok(0);
    }
    let ex = ProcessPoolExecutor::new(1).map_err(|error| error.to_string())?;
    ex.submit(dive, levels - 1).result().map_err(|error| error.to_string())?.map(|depth| depth + 1)
}

fn processes_inside_of_processes_come_to_an_end(kind: Kind) {
    let ex = kind.pool(1);
    assert_eq!(ex.submit(dive, 1).soon().unwrap(), Ok(1));
    let refused = ex.submit(dive, 100).soon().unwrap().unwrap_err();
    assert!(refused.contains("nested"), "{refused}");
}

tests! {
    all {
        pools_inside_of_tasks,
        processes_inside_of_tasks,
    }
    thread {
        result_of_a_task_of_the_same_pool,
        result_with_a_limit,
        wait_for_tasks_of_the_same_pool,
        as_completed_of_tasks_of_the_same_pool,
        map_on_the_same_pool,
        block_on_a_chain_of_the_same_pool,
        a_full_queue_does_not_stop_its_own_worker,
        a_recursion_that_waits_at_every_level,
        a_waiting_task_is_not_given_foreign_work,
        a_wait_that_runs_out_of_time_does_so,
        shutting_down_from_a_task_returns,
        the_last_owner_may_go_in_a_task,
    }
    process {
        processes_inside_of_processes_come_to_an_end,
    }
}
