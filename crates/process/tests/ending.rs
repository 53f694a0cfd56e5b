//! The end of the program that owns a pool: it returns, exits, or is killed.
//!
//! The programs are this test program, started again to run one of the tests at the end of this file.

mod support;

use concurrent_futures_core::{Executor, ExecutorExt, Shutdown};
use concurrent_futures_process::{ProcessPoolExecutor, StartMethod};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use support::*;

const DIR: &str = "CF_TEST_DIR";

/// This program again, running only the test `name`, which finds `dir`.
fn program(name: &str, dir: &Path) -> Child {
    program_with(name, dir, Stdio::null(), Stdio::inherit())
}

fn program_with(name: &str, dir: &Path, stdout: Stdio, stderr: Stdio) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture", "--test-threads", "1"])
        .env(DIR, dir)
        // As a shell with job control would start it.
        .process_group(0)
        .stdout(stdout)
        .stderr(stderr)
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
    tell_in(&dir.join("pids"), pids);
}

/// In one step.
fn tell_in(file: &Path, pids: &[u32]) {
    let text: String = pids.iter().map(|pid| format!("{pid}\n")).collect();
    std::fs::write(file.with_extension("new"), text).unwrap();
    std::fs::rename(file.with_extension("new"), file).unwrap();
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

/// What the program and all its workers have written to standard error, when the last of them is gone.
fn stderr_of(child: &mut Child) -> String {
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    text
}

/// As Ctrl-C at a terminal does it.
fn interrupt_group(of: &Child) {
    let group = rustix::process::Pid::from_child(of);
    rustix::process::kill_process_group(group, Signal::INT).unwrap();
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
fn ctrl_c_ends_everything_at_once_and_quietly() {
    for name in ["program_that_waits_forkserver", "program_that_waits_spawn"] {
        let place = Place::new();
        let mut child = program_with(name, &place.path("."), Stdio::null(), Stdio::piped());
        let pids = pids(&place.path("."));
        interrupt_group(&child);
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGINT));
        for pid in pids {
            eventually(&format!("{name}: process {pid} ends"), || is_gone(pid));
        }
        assert_eq!(stderr_of(&mut child), "");
    }
}

#[test]
fn a_program_that_handles_ctrl_c_keeps_its_workers() {
    for name in ["program_that_handles_interrupts_forkserver", "program_that_handles_interrupts_spawn"] {
        let place = Place::new();
        let mut child = program_with(name, &place.path("."), Stdio::null(), Stdio::piped());
        let pids = pids(&place.path("."));
        interrupt_group(&child);
        assert_eq!(wait_for(&mut child), Some(0));
        for pid in pids {
            eventually(&format!("{name}: process {pid} ends"), || is_gone(pid));
        }
        assert_eq!(stderr_of(&mut child), "");
    }
}

#[test]
fn workers_that_print_where_nobody_reads_can_be_killed() {
    for name in ["program_that_kills_blocked_writers_forkserver", "program_that_kills_blocked_writers_spawn"] {
        let place = Place::new();
        let mut child = program_with(name, &place.path("."), Stdio::piped(), Stdio::inherit());
        assert_eq!(wait_for(&mut child), Some(0));
    }
}

#[test]
fn a_stopped_worker_does_not_outlive_a_killed_program() {
    for name in ["program_that_waits_forkserver", "program_that_waits_spawn"] {
        let place = Place::new();
        let mut child = program(name, &place.path("."));
        let pids = pids(&place.path("."));
        stop(pids[0]);
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
        // What stands on standard error is looked at when the last of them is gone.
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 1000 >/dev/null & echo $!"]).stderr(Stdio::inherit());
        let orphan = shell.output().unwrap();
        let orphan = String::from_utf8(orphan.stdout).unwrap().trim().parse().unwrap();
        tell_in(&dir.join(format!("busy{n}")), &[std::process::id(), child.id(), orphan]);
        // One of them has no descriptor left that the worker could use to end orderly.
        let all: Vec<_> = (0..).map_while(|_| std::fs::File::open("/dev/null").ok().filter(|_| n == 1)).collect();
        if all.is_empty() {
            wait_at(gate);
        }
        while !all.is_empty() {
            std::thread::park();
        }
    };
    let mut all = Vec::new();
    let futures: Vec<_> = (0..2)
        .map(|n| {
            let future = pool.task(busy, (dir.clone(), gate.path(), n)).open_files_limit(64).submit();
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

/// Has two tasks under way when it is interrupted, and goes on with them and their workers.
fn survive_an_interrupt(method: StartMethod) {
    static INTERRUPTED: AtomicBool = AtomicBool::new(false);
    extern "C" fn note(_: i32) {
        INTERRUPTED.store(true, Ordering::SeqCst);
    }
    // SAFETY: the handler stores into an atomic and does nothing else.
    unsafe { libc::signal(libc::SIGINT, note as extern "C" fn(i32) as libc::sighandler_t) };
    let dir = dir();
    let pool = ProcessPoolExecutor::builder().max_workers(2).start_method(method).build().unwrap();
    let mut gate = Gate::at(dir.join("gate"));
    let futures: Vec<_> = (0..4).map(|_| pool.submit(wait_at, gate.path())).collect();
    futures[..2].iter().for_each(await_start);
    let workers = pool.worker_pids();
    tell(&dir, &workers);
    eventually("the interrupt", || INTERRUPTED.load(Ordering::SeqCst));
    gate.open();
    for future in futures {
        let worker = outcome(future).unwrap();
        assert!(workers.contains(&worker), "{worker} is not one of {workers:?}");
    }
    assert_eq!(pool.worker_pids(), workers);
}

#[test]
#[ignore = "started by another test"]
fn program_that_handles_interrupts_forkserver() {
    survive_an_interrupt(StartMethod::ForkServer);
}

#[test]
#[ignore = "started by another test"]
fn program_that_handles_interrupts_spawn() {
    survive_an_interrupt(StartMethod::Spawn);
}

/// Has two workers that wait for room in the standard output of all, which nobody reads.
fn kill_blocked_writers(method: StartMethod) {
    let flood = |()| std::io::stdout().write_all(&vec![b'.'; 1 << 20]).unwrap();
    for kill in [ProcessPoolExecutor::kill_workers, ProcessPoolExecutor::terminate_workers] {
        let pool = ProcessPoolExecutor::builder().max_workers(2).start_method(method).build().unwrap();
        let futures: Vec<_> = (0..2).map(|_| pool.submit(flood, ())).collect();
        futures.iter().for_each(await_start);
        eventually("the pipe is full", || rustix::io::ioctl_fionread(std::io::stdout()).unwrap() > 60_000);
        kill(&pool);
        futures.into_iter().for_each(|future| assert!(outcome(future).unwrap_err().is_worker_death()));
        in_time("shutdown", move || pool.shutdown(Shutdown::WAIT));
    }
    // Otherwise the end of this test would be announced, where nobody reads.
    // SAFETY: ends the process; there is nothing left to be cleaned up.
    unsafe { libc::_exit(0) };
}

#[test]
#[ignore = "started by another test"]
fn program_that_kills_blocked_writers_forkserver() {
    kill_blocked_writers(StartMethod::ForkServer);
}

#[test]
#[ignore = "started by another test"]
fn program_that_kills_blocked_writers_spawn() {
    kill_blocked_writers(StartMethod::Spawn);
}
