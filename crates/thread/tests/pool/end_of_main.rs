//! The end of a process with work pending: each test runs one of this program's own tests in a process of its own.

use crate::gate::{Gate, child, is_child};
use concurrent_futures_core::{Executor, ExecutorExt, OnDrop, Shutdown};
use concurrent_futures_thread::ThreadPoolExecutor;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

fn output_of(test: &str) -> (Option<i32>, String, String) {
    output_of_one_that_waits(test, 1)
}

/// So many times as long; see [`after_main`].
fn output_of_one_that_waits(test: &str, times: u32) -> (Option<i32>, String, String) {
    let output = child(&format!("end_of_main::{test}")).env(TIMES, times.to_string()).output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

const TIMES: &str = "CONCURRENT_FUTURES_TEST_TIMES";

/// The rest of the test should be over before this returns: there is no event for "`main` has returned".
fn after_main() {
    let times = std::env::var(TIMES).unwrap().parse::<u32>().unwrap();
    thread::sleep(times * Duration::from_millis(300));
}

#[test]
fn child_with_work_left() {
    if is_child() {
        let pool = ThreadPoolExecutor::new(1).unwrap();
        for x in 1..=3 {
            pool.spawn(move || {
                after_main();
                println!("task {x} is done");
            });
        }
        pool.shutdown(Shutdown::NO_WAIT);
    }
}

#[test]
fn the_end_of_main_waits_for_what_was_left() {
    // On a machine that is busy, `main` may return late.
    let is_so = [1, 5, 25].into_iter().any(|times| {
        let (code, out, err) = output_of_one_that_waits("child_with_work_left", times);
        assert_eq!(code, Some(0), "{err}");
        let end = out.find("test result: ok").expect("the child's tests passed");
        let done = [1, 2, 3].map(|x| out.find(&format!("task {x} is done")).expect("it is waited for"));
        done.into_iter().all(|done| done > end)
    });
    assert!(is_so, "the tasks were done before the end of `main`");
}

#[test]
fn child_with_work_to_cancel() {
    if is_child() {
        let pool = ThreadPoolExecutor::new(1).unwrap();
        let gate = Gate::new();
        for x in 1..=3 {
            let gate = gate.clone();
            pool.spawn(move || {
                gate.pass();
                after_main();
                println!("task {x} is done");
            });
        }
        gate.wait_for(1);
        pool.shutdown(Shutdown::NO_WAIT.cancel_futures());
        gate.open();
    }
}

#[test]
fn what_was_cancelled_does_not_run_and_what_ran_ends() {
    let (code, out, err) = output_of("child_with_work_to_cancel");
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("task 1 is done") && !out.contains("task 2 is done"), "{out}");
}

#[test]
fn child_that_was_killed() {
    if is_child() {
        let pool = ThreadPoolExecutor::builder().max_workers(1).on_drop(OnDrop::Kill).build().unwrap();
        let gate = Gate::new();
        let at_gate = gate.clone();
        pool.spawn(move || at_gate.pass()); // for ever
        gate.wait_for(1);
    }
}

#[test]
fn nobody_waits_for_a_killed_pool() {
    let (code, _, err) = output_of("child_that_was_killed");
    assert_eq!(code, Some(0), "{err}");
}

#[test]
fn child_that_never_ends_its_pool() {
    if is_child() {
        static POOL: OnceLock<ThreadPoolExecutor> = OnceLock::new();
        let pool = POOL.get_or_init(|| ThreadPoolExecutor::new(1).unwrap());
        let gate = Gate::new();
        let at_gate = gate.clone();
        pool.spawn(move || at_gate.pass()); // for ever
        gate.wait_for(1);
    }
}

#[test]
fn nobody_waits_for_a_pool_that_is_neither_dropped_nor_shut_down() {
    let (code, _, err) = output_of("child_that_never_ends_its_pool");
    assert_eq!(code, Some(0), "{err}");
}

#[test]
fn child_whose_task_exits() {
    if is_child() {
        let pool = ThreadPoolExecutor::new(2).unwrap();
        pool.spawn(|| thread::sleep(Duration::from_secs(3600)));
        let task = pool.spawn(|| std::process::exit(7));
        pool.shutdown(Shutdown::NO_WAIT);
        let _: Result<(), _> = task.result();
    }
}

#[test]
fn a_task_can_end_the_process() {
    let (code, _, err) = output_of("child_whose_task_exits");
    assert_eq!(code, Some(7), "{err}");
}

#[test]
fn child_that_drops() {
    if is_child() {
        let pool = ThreadPoolExecutor::new(1).unwrap();
        pool.submit(|x: u8| println!("task {x} is done"), 1);
        drop(pool);
        println!("and dropped");
    }
}

#[test]
fn drop_waits_before_the_end_of_main() {
    let (code, out, err) = output_of("child_that_drops");
    assert_eq!(code, Some(0), "{err}");
    assert!(out.find("task 1 is done").unwrap() < out.find("and dropped").unwrap());
}
