//! A system that starts no more threads: tested in child processes, which have used up the memory that they may have.
#![cfg(target_os = "linux")]

use crate::gate::{CHILD, Gate, in_time, is_child};
use concurrent_futures_core::{Executor, ExecutorExt, Refusal};
use concurrent_futures_thread::ThreadPoolExecutor;
use std::process::Command;

const MIB: usize = 1 << 20;

/// Runs a test of this program in a process that may have one GiB.
fn run(test: &str) {
    let program = std::env::current_exe().unwrap();
    let output = Command::new("sh")
        .args(["-c", "ulimit -v 1048576 && exec \"$0\" \"$@\""])
        .arg(program)
        .args(["--exact", &format!("starved::{test}"), "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .env("RUST_MIN_STACK", (8 * MIB).to_string())
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{err}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

/// Takes what there is, save a few MiB in small pieces, so that there is room for everything but a stack.
fn use_up() -> Vec<Vec<u8>> {
    let mut taken = Vec::with_capacity(4096);
    loop {
        let mut block = Vec::new();
        if block.try_reserve_exact(MIB).is_err() {
            break;
        }
        taken.push(block);
    }
    // Not neighbours.
    for i in 0..4 {
        let at = i * taken.len() / 8;
        taken.swap_remove(at);
    }
    taken
}

#[test]
fn child_without_any_thread() {
    if is_child() {
        in_time(|| {
            let pool = ThreadPoolExecutor::new(2).unwrap();
            let taken = use_up();
            let error = pool.submit(|x: u8| x, 1).result().unwrap_err();
            assert!(
                matches!(error.refusal(), Some(Refusal::NoWorker(why)) if why.contains("no worker thread could be started")),
                "{error}"
            );
            drop(taken);
            // The next task tries anew.
            assert_eq!(pool.submit(|x: u8| x, 1).result().unwrap(), 1);
        });
    }
}

#[test]
fn without_any_thread_the_queue_fails() {
    run("child_without_any_thread");
}

#[test]
fn child_with_one_thread() {
    if is_child() {
        in_time(|| {
            let pool = ThreadPoolExecutor::new(2).unwrap();
            let gate = Gate::new();
            let at_gate = gate.clone();
            pool.spawn(move || at_gate.pass());
            gate.wait_for(1);
            let taken = use_up();
            let queued = pool.submit_all(|x: u32| x, 0..5);
            assert_eq!(pool.stats().workers, 1);
            gate.open();
            assert_eq!(queued.into_iter().map(|f| f.result().unwrap()).sum::<u32>(), 10);
            drop(taken);
        });
    }
}

#[test]
fn with_one_thread_it_goes_on() {
    run("child_with_one_thread");
}
