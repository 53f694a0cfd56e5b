//! `max_tasks_per_child`: workers that end after so many tasks and are replaced.

use crate::tasks::{hold, invert, occupy, pid, square};
use concurrent_futures::{Executor, ExecutorExt, Shutdown};
use concurrent_futures_conformance::{Kind, Soon, Stage, tests};
use std::collections::BTreeSet;

/// CPython's `test_max_tasks_per_child`.
fn a_worker_ends_after_so_many_tasks(kind: Kind) {
    let ex = kind.processes(1).max_tasks_per_child(3).build().unwrap();
    let pids: Vec<_> = (0..4).map(|_| ex.submit(pid, ()).soon().unwrap()).collect();
    assert_eq!((pids[0], pids[0]), (pids[1], pids[2]));
    assert_ne!(pids[0], pids[3]);
}

/// CPython's `test_max_tasks_per_child_pending_tasks_gh115634`.
fn what_is_queued_goes_to_the_replacement(kind: Kind) {
    for (workers, tasks, jobs) in [(1, 2, 6), (2, 2, 8), (2, 1, 5)] {
        let ex = kind.processes(workers).max_tasks_per_child(tasks).build().unwrap();
        let futures = ex.submit_all(square, 0..jobs);
        assert!(futures.into_iter().map(|future| future.soon().unwrap()).eq((0..jobs).map(square)));
        let pids: BTreeSet<_> =
            ex.submit_all(pid, vec![(); jobs as usize]).into_iter().map(|future| future.soon().unwrap()).collect();
        assert!(pids.len() >= jobs as usize / tasks, "{pids:?}");
    }
}

/// CPython's `test_max_tasks_early_shutdown`.
fn a_shutdown_at_once_still_does_everything(kind: Kind) {
    let ex = kind.processes(3).max_tasks_per_child(1).build().unwrap();
    let futures = ex.submit_all(square, 0..6);
    ex.shutdown(Shutdown::WAIT);
    assert!(futures.into_iter().map(|future| future.soon().unwrap()).eq((0..6).map(square)));
}

/// CPython's `test_shutdown_gh_132969_case_1` and `_2`, `test_shutdown_no_wait_max_tasks_gh119592`.
fn a_shutdown_without_waiting_still_does_everything(kind: Kind) {
    for workers in [1, 2, 4] {
        let ex = kind.processes(workers).max_tasks_per_child(1).build().unwrap();
        let futures = ex.submit_all(invert, [1, 0, 2, 0, 3, 4]);
        ex.shutdown(Shutdown::NO_WAIT);
        drop(ex);
        let values = futures.into_iter().map(|future| future.soon());
        assert!(values.map(Result::ok).eq([Some(60), None, Some(30), None, Some(20), Some(15)]));
    }
}

/// CPython's `test_gc_during_max_tasks_worker_exit_gh152967`.
fn a_pool_that_is_dropped_still_replaces_its_workers(kind: Kind) {
    let futures = kind.processes(1).max_tasks_per_child(1).build().unwrap().scope(|ex| ex.submit_all(pid, vec![(); 4]));
    let pids: BTreeSet<_> = futures.into_iter().map(|future| future.soon().unwrap()).collect();
    assert_eq!(pids.len(), 4);
}

/// CPython's `test_force_shutdown_during_max_tasks_worker_exit`.
fn none_is_replaced_when_the_pool_is_killed(kind: Kind) {
    let (ex, stage) = (kind.processes(1).max_tasks_per_child(1).build().unwrap(), Stage::new());
    let (running, arrivals) = occupy(&ex, &stage, 1);
    let queued: Vec<_> = (1..4).map(|number| ex.submit(hold, (stage.ticket(), number))).collect();
    ex.kill_workers();
    drop(arrivals);
    assert!(running.into_iter().all(|future| future.soon().unwrap_err().is_worker_death()));
    assert!(queued.into_iter().all(|future| future.soon().unwrap_err().is_cancelled()));
    ex.shutdown(Shutdown::WAIT);
    assert!(stage.said().is_empty());
}

fn a_panic_counts_as_a_task(kind: Kind) {
    let ex = kind.processes(1).max_tasks_per_child(2).build().unwrap();
    let first = ex.submit(pid, ()).soon().unwrap();
    assert!(ex.submit(invert, 0).soon().unwrap_err().is_panic());
    assert_ne!(ex.submit(pid, ()).soon().unwrap(), first);
}

tests! {
    process {
        a_worker_ends_after_so_many_tasks,
        what_is_queued_goes_to_the_replacement,
        a_shutdown_at_once_still_does_everything,
        a_shutdown_without_waiting_still_does_everything,
        a_pool_that_is_dropped_still_replaces_its_workers,
        none_is_replaced_when_the_pool_is_killed,
        a_panic_counts_as_a_task,
    }
}
