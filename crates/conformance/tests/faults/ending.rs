//! Rows 20 and 21: the parent is killed, or interrupted.

use crate::aftermath::{MARK, marked};
use crate::bystanders::assert_usable;
use crate::ground::{Ground, Load};
use crate::row::{Scene, scene, ticket};
use crate::rows;
use concurrent_futures::ExecutorExt;
use concurrent_futures::ipc_channel::ipc::IpcSharedMemory;
use concurrent_futures_conformance::{Stage, Ticket, descendants, until};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_bytes::ByteBuf;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Leaves programs behind: a child of the worker's, and one that has lost its parent. With `leaves` the latter also goes into a
/// session of its own.
#[expect(clippy::zombie_processes, reason = "it is left behind on purpose")]
fn start_programs(x: Load<(Ticket, bool)>) -> Load<()> {
    let (ticket, leaves) = &x.value;
    let _child = Command::new("sleep").arg("1000").spawn().expect("a program");
    let orphan = if *leaves { "setsid sleep 1000 & setsid sleep 1000 &" } else { "sleep 1000 & sleep 1000 &" };
    assert!(Command::new("sh").args(["-c", orphan]).status().expect("a shell").success());
    ticket.enter("programs run");
    x.with(())
}

/// Also has something in memory, shared or not.
fn hold_much(x: Load<(Ticket, ByteBuf, IpcSharedMemory)>) -> Load<usize> {
    let memory = IpcSharedMemory::from_bytes(&x.value.1);
    x.value.0.enter("memory");
    let size = memory.len() + x.value.2.len();
    x.with(size)
}

/// The processes of this row, without the row itself.
fn others() -> Vec<u32> {
    let mark = std::env::var(MARK).expect("rows are marked");
    marked(&mark).into_iter().filter(|process| *process != std::process::id()).collect()
}

fn row_20_the_parent_is_killed(ground: Ground) {
    if scene().is_some() {
        let ex = ground.pool(3);
        let ticket = ticket();
        // A spawned worker is no subreaper: a program that has left its group and lost its parent is not found.
        let leaves = ground.kind.forks();
        drop(ex.submit(start_programs, ground.load((ticket.clone(), leaves))));
        drop(ex.submit(start_programs, ground.load((ticket.clone(), leaves))));
        let much = (ticket.clone(), ByteBuf::from(vec![1; 8 << 20]), IpcSharedMemory::from_byte(7, 1 << 20));
        drop(ex.submit(hold_much, ground.load(much)));
        for _ in 0..50 {
            drop(ex.submit(hold_much, ground.load((ticket.clone(), ByteBuf::new(), IpcSharedMemory::from_byte(7, 9)))));
        }
        ticket.enter("main");
        unreachable!("it is killed here");
    }
    let stage = Stage::new();
    let program = Scene::new("parent").heard_by(&stage).start();
    let _arrivals = stage.wait_for(4);
    // The parent, three workers, two times three programs, and perhaps the fork server. One that is just being executed has no
    // environment for a moment, and so no mark.
    until("all are there", || others().len() >= 10);
    assert!(descendants(program.pid()).len() >= 5);
    program.kill();
    until("everything has ended", || others().is_empty());
    assert!(program.wait().status.signal() == Some(libc::SIGKILL));
    assert_usable(ground, &ground.pool(1));
}

fn row_20_the_parent_is_killed_at_any_instant_of_its_start(ground: Ground) {
    if scene().is_some() {
        loop {
            assert_usable(ground, &ground.pool(2));
        }
    }
    for step in 0..25 {
        let program = Scene::new("starts").start();
        std::thread::sleep(Duration::from_millis(step * 2));
        program.kill();
        until("everything has ended", || others().is_empty());
        assert!(program.wait().status.signal() == Some(libc::SIGKILL));
    }
}

fn hold_for_the_map(x: Load<Ticket>) -> Load<bool> {
    let told = x.value.ask("held");
    x.with(told)
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn interrupted(_: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

fn row_21_ctrl_c_in_the_middle_of_a_map(ground: Ground) {
    if let Some(scene) = scene() {
        if scene == "handles it" {
            let handler = interrupted as extern "C" fn(libc::c_int);
            // SAFETY: the handler does nothing but store into an atomic.
            unsafe { libc::signal(libc::SIGINT, handler as libc::sighandler_t) };
        }
        let ex = ground.pool(2);
        let ticket = ticket();
        let map = ex.tasks(hold_for_the_map, (0..6).map(|_| ground.load(ticket.clone()))).map();
        let values: Vec<_> = map.map(|value| value.expect("it is not disturbed").value).collect();
        assert_eq!(values, [true; 6]);
        until("the signal is handled", || INTERRUPTED.load(Ordering::Relaxed));
        return assert_usable(ground, &ex);
    }
    let interrupt = |program: u32| {
        let group = i32::try_from(program).ok().and_then(Pid::from_raw).expect("a process has a positive number");
        kill_process_group(group, Signal::INT).expect("it is our child");
    };
    // A program that does not handle it ends at once, with all that belongs to it, and without a word.
    let stage = Stage::new();
    let program = Scene::new("does not handle it").heard_by(&stage).in_a_group().start();
    let arrivals = stage.wait_for(2);
    interrupt(program.pid());
    let ended = program.wait();
    assert_eq!((ended.status.signal(), ended.stderr.as_str()), (Some(libc::SIGINT), ""), "{ended:?}");
    until("everything has ended", || others().is_empty());
    drop(arrivals);
    // One that handles it decides for itself: its workers go on.
    let program = Scene::new("handles it").heard_by(&stage).in_a_group().start();
    let arrivals = stage.wait_for(2);
    interrupt(program.pid());
    arrivals.into_iter().for_each(|arrival| arrival.say_yes());
    (2..6).for_each(|_| stage.next().say_yes());
    let ended = program.wait();
    assert!(ended.status.success(), "{ended:?}");
    assert_usable(ground, &ground.pool(1));
}

rows! {
    links {
        row_20_the_parent_is_killed,
        row_20_the_parent_is_killed_at_any_instant_of_its_start,
        row_21_ctrl_c_in_the_middle_of_a_map,
    }
}
