//! The parent of a `Process` is killed at many instants of its start: nothing is left of what it has begun.
//!
//! A start takes some 200,000 instructions in a debug build, too many to stop at each: it is killed after so many microseconds.

use crate::process::sleeps;
use concurrent_futures::StartMethod;
use concurrent_futures::multiprocessing::Process;
use concurrent_futures_conformance::sweep::alone;
use concurrent_futures_conformance::until;
use rustix::process::{WaitOptions, getpid, set_child_subreaper, wait};
use std::time::{Duration, Instant};

const KILLS: u32 = 80;

fn starts(spawn: bool) {
    let method = if spawn { StartMethod::Spawn } else { StartMethod::ForkServer };
    let _processes = [(); 3].map(|()| Process::target(sleeps, ()).start_method(method).start());
    sleeps(());
}

/// In a process that gets whoever loses its parent below it, so it sees when the last one has ended.
fn kill_at_many_instants(spawn: bool) {
    set_child_subreaper(Some(getpid())).unwrap();
    for instant in 0..KILLS {
        // SAFETY: the other threads of this process are those of a worker that is idle but for this; they sleep in the kernel.
        let parent = unsafe { Process::target(starts, spawn).start_fork() }.unwrap();
        // From none to what a start takes, and with a load on the machine.
        let time = Duration::from_micros(u64::from(instant) * 100);
        let begun = Instant::now();
        while begun.elapsed() < time {
            std::hint::spin_loop();
        }
        parent.kill().unwrap();
        until(&format!("all have ended, killed after {time:?}"), || {
            matches!(wait(WaitOptions::NOHANG), Err(rustix::io::Errno::CHILD))
        });
    }
}

#[test]
fn a_parent_that_is_killed_while_it_spawns() {
    alone(kill_at_many_instants, true);
}

#[test]
fn a_parent_that_is_killed_while_it_asks_the_fork_server() {
    alone(kill_at_many_instants, false);
}
