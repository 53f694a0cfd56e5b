//! Row 29: a signal never reaches a process that has got the number of a dead worker.

use crate::bystanders::assert_usable;
use crate::ground::{Ground, Lane, pid};
use crate::row::{Scene, scene};
use crate::rows;
use concurrent_futures::{Executor, ExecutorExt, Shutdown};
use concurrent_futures_conformance::{Soon, until, wait_for_end};
use rustix::process::Signal;
use std::process::{Child, Command};

/// A process with this number. `None`: the pool's next worker was faster.
fn impostor(number: u32) -> Option<Child> {
    for _ in 0..20 {
        std::fs::write("/proc/sys/kernel/ns_last_pid", (number - 1).to_string()).expect("the numbers are our own");
        let mut child = Command::new("sleep").arg("1000").spawn().expect("a program");
        if child.id() == number {
            return Some(child);
        }
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
    }
    None
}

/// In a world with numbers of its own: the tests beside this one know processes by their numbers, and would take one that has a
/// number again for the one that had it before.
fn row_29_a_signal_never_reaches_a_recycled_pid(ground: Ground) {
    if scene().is_some() {
        return with_recycled_pids(ground);
    }
    if !Scene::can_have_pids_of_its_own() {
        return eprintln!("a number cannot be chosen here: LEFT OUT");
    }
    let ended = Scene::new("recycled").with_pids_of_its_own().start().wait();
    assert!(ended.status.success(), "{ended:?}");
}

fn with_recycled_pids(ground: Ground) {
    for round in 0..6 {
        let ex = ground.pool(1);
        let worker = ex.submit(pid, ground.load(())).soon().expect("a number").value;
        crate::ground::strike(worker, Signal::KILL);
        wait_for_end(worker);
        // Handles can be sent once only: what is given to a worker in the moment of its death dies with it.
        if round % 2 == 0 || ground.lane == Lane::Handles {
            until("the death is noticed", || ex.worker_pids().is_empty());
        }
        until("it has been reaped", || !std::path::Path::new(&format!("/proc/{worker}")).exists());
        let Some(mut impostor) = impostor(worker) else { continue };
        match round / 2 {
            0 => ex.terminate_workers(),
            1 => ex.kill_workers(),
            _ => assert_usable(ground, &ex),
        }
        ex.shutdown(Shutdown::WAIT);
        drop(ex);
        assert_eq!(impostor.try_wait().expect("it is our child"), None, "the other process lives");
        impostor.kill().expect("it is our child");
        impostor.wait().expect("it is our child");
    }
    assert_usable(ground, &ground.pool(1));
}

rows! {
    row_29_a_signal_never_reaches_a_recycled_pid,
}
