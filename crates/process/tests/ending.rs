//! The end of the program that owns a pool: it returns, exits, or is killed.
//!
//! The programs are this test program, started again to run one of the tests at the end of this file.

mod support;

use concurrent_futures_core::{Executor, ExecutorExt, Shutdown};
use concurrent_futures_process::{ProcessPoolExecutor, StartMethod};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use support::*;

const DIR: &str = "CF_TEST_DIR";

/// This program again, running only the test `name`, which finds `dir`.
fn program(name: &str, dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture", "--test-threads", "1"])
        .env(DIR, dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn dir() -> PathBuf {
    std::env::var_os(DIR).expect("it is started by another test").into()
}

/// The processes that a program has named in the file `pids`.
fn pids(dir: &Path) -> Vec<u32> {
    let file = dir.join("pids");
    eventually("the program is up", || exists(&file));
    std::fs::read_to_string(file).unwrap().lines().map(|line| line.parse().unwrap()).collect()
}

/// Names processes for [`pids`].
fn tell(dir: &Path, pids: &[u32]) {
    let text: String = pids.iter().map(|pid| format!("{pid}\n")).collect();
    std::fs::write(dir.join("pids.new"), text).unwrap();
    std::fs::rename(dir.join("pids.new"), dir.join("pids")).unwrap();
}

fn wait_for(child: &mut Child) -> Option<i32> {
    let mut code = None;
    eventually("the program ends", || match child.try_wait().unwrap() {
        Some(status) => {
            code = Some(status.code());
            true
        }
        None => false,
    });
    code.flatten()
}

fn parent_of(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn nothing_is_left_of_a_program_that_is_killed() {
    for name in ["program_that_waits_forkserver", "program_that_waits_spawn"] {
        let place = Place::new();
        let mut child = program(name, &place.path("."));
        let pids = pids(&place.path("."));
        assert!(pids.len() >= 4 && pids.iter().all(|pid| !is_gone(*pid)), "{pids:?}");
        child.kill().unwrap();
        child.wait().unwrap();
        for pid in pids {
            eventually(&format!("{name}: process {pid} ends"), || is_gone(pid));
        }
    }
}

#[test]
fn a_stopped_worker_does_not_outlive_a_killed_program() {
    for name in ["program_that_waits_forkserver", "program_that_waits_spawn"] {
        let place = Place::new();
        let mut child = program(name, &place.path("."));
        let pids = pids(&place.path("."));
        signal(pids[0], Signal::STOP);
        child.kill().unwrap();
        child.wait().unwrap();
        for pid in pids {
            eventually(&format!("{name}: process {pid} ends"), || is_gone(pid));
        }
    }
}

#[test]
fn the_end_of_main_waits_for_pending_work() {
    let place = Place::new();
    let mut child = program("program_that_ends_with_work_pending", &place.path("."));
    assert_eq!(wait_for(&mut child), Some(0));
    for n in 0..30 {
        assert!(exists(&place.path(&format!("mark{n}"))), "task {n} has not run");
    }
}

#[test]
fn a_task_may_exit_while_the_program_waits_for_others() {
    let place = Place::new();
    let mut child = program("program_whose_task_exits", &place.path("."));
    assert_eq!(wait_for(&mut child), Some(0));
    assert!(exists(&place.path("after")));
}

#[test]
fn a_program_that_forgets_its_pool_leaves_nothing() {
    let place = Place::new();
    let mut child = program("program_that_forgets_its_pool", &place.path("."));
    assert_eq!(wait_for(&mut child), Some(0));
    for pid in pids(&place.path(".")) {
        eventually(&format!("process {pid} ends"), || is_gone(pid));
    }
}

// ---- the programs

/// Starts two workers, each with a child of its own, and waits for ever.
#[allow(clippy::zombie_processes, reason = "that somebody ends them is what is tested")]
fn wait_for_ever(method: StartMethod) {
    let dir = dir();
    let pool = ProcessPoolExecutor::builder().max_workers(2).start_method(method).build().unwrap();
    // In the place of the test that started this: a program that is killed cleans nothing up.
    let gate = Gate::at(dir.join("gate"));
    let busy = |(dir, gate, n): (PathBuf, PathBuf, u32)| {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        tell(&dir, &[std::process::id(), child.id()]);
        std::fs::rename(dir.join("pids"), dir.join(format!("busy{n}"))).unwrap();
        wait_at(gate);
    };
    let mut all = Vec::new();
    // One after the other: they use the same file.
    let futures: Vec<_> = (0..2)
        .map(|n| {
            let future = pool.submit(busy, (dir.clone(), gate.path(), n));
            let file = dir.join(format!("busy{n}"));
            eventually("the task has told its processes", || exists(&file));
            let pids = std::fs::read_to_string(file).unwrap();
            all.extend(pids.lines().map(|pid| pid.parse::<u32>().unwrap()));
            future
        })
        .collect();
    let parent = parent_of(all[0]);
    if parent != std::process::id() {
        all.push(parent);
    }
    tell(&dir, &all);
    futures.into_iter().for_each(|future| drop(future.result()));
}

#[test]
#[ignore = "started by another test"]
fn program_that_waits_forkserver() {
    wait_for_ever(StartMethod::ForkServer);
}

#[test]
#[ignore = "started by another test"]
fn program_that_waits_spawn() {
    wait_for_ever(StartMethod::Spawn);
}

#[test]
#[ignore = "started by another test"]
fn program_that_ends_with_work_pending() {
    let dir = dir();
    let pool = ProcessPoolExecutor::new(2).unwrap();
    for n in 0..30 {
        pool.submit(touch, dir.join(format!("mark{n}")));
    }
    pool.shutdown(Shutdown::NO_WAIT);
    drop(pool);
}

#[test]
#[ignore = "started by another test"]
fn program_whose_task_exits() {
    let dir = dir();
    let pool = ProcessPoolExecutor::new(1).unwrap();
    pool.submit::<(), ()>(|()| std::process::exit(7), ());
    pool.submit(touch, dir.join("after"));
    pool.shutdown(Shutdown::NO_WAIT);
    drop(pool);
}

#[test]
#[ignore = "started by another test"]
fn program_that_forgets_its_pool() {
    let dir = dir();
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let worker = pool.submit(|()| std::process::id(), ()).result().unwrap();
    tell(&dir, &[worker, parent_of(worker)]);
    std::mem::forget(pool);
}
