//! A process that is a copy of this one.

use super::builder::Outfit;
use super::child::{Child, Newborn};
use super::life::CANNOT_BEGIN;
use super::stdio::Theirs;
use super::{Process, current, server, table};
use crate::sys::{abort, overflow, pidfd, socket, stdio, title, wait};
use crate::worker::watchdog;
use concurrent_futures_core::exit;
use concurrent_futures_ipc::forks;
use rustix::process::{Signal, set_parent_process_death_signal};
use std::io;
use std::os::fd::OwnedFd;

/// Forks this process. The child runs `target`, and ends with what that returns.
///
/// # Safety
/// As of [`ProcessBuilder::start_fork`](super::ProcessBuilder::start_fork).
pub(super) unsafe fn fork(outfit: Outfit, outlives: bool, target: impl FnOnce() -> u8) -> io::Result<Process> {
    let (ours, theirs) = socket::packet_pair()?;
    // What is buffered would be written by the child too.
    stdio::flush();
    // Both are the child's to change, and no other thread must be about to.
    let (table, standing) = (table::hold(), current::hold());
    // SAFETY: the caller vouches that the child finds nothing locked or half done that it uses.
    let pid = match forks::own(|| unsafe { libc::fork() }) {
        0 => {
            drop((table, ours));
            live(outfit, standing, (!outlives).then_some(theirs), target)
        }
        -1 => return Err(io::Error::last_os_error()),
        pid => {
            // The child has it now: the end of a pipe in it does not end.
            forks::give(target);
            pid
        }
    };
    drop((table, standing, theirs));
    let Outfit { name, daemon, pipes, .. } = outfit;
    // Not reaped yet, so the pid is this child.
    let process = pidfd::open_child(pid).inspect_err(|_| {
        // It cannot be watched, so it must not live.
        wait::kill_unreaped(pid);
    })?;
    let control = (!outlives).then_some(ours);
    let newborn = Newborn { pid: pid.cast_unsigned(), process, forked: None, control };
    Ok(Process::of(Child::register(newborn, name, daemon, pipes)))
}

/// In the child. Never returns and never unwinds, for what is below on the stack is another process's.
fn live(outfit: Outfit, standing: current::Held, control: Option<OwnedFd>, target: impl FnOnce() -> u8) -> ! {
    let name = outfit.name.clone();
    let outcome = prepare(outfit, standing, control);
    let code = match outcome {
        Ok(()) => target(),
        Err(error) => {
            eprintln!("concurrent-futures: the process {name:?} cannot begin: {error}");
            stdio::flush_and_exit(CANNOT_BEGIN)
        }
    };
    // Its own processes and pools, that is; those of its parent are not its business.
    exit::wait_now();
    stdio::flush_and_exit(code.into())
}

fn prepare(outfit: Outfit, standing: current::Held, control: Option<OwnedFd>) -> io::Result<()> {
    let Outfit { name, identity, daemon, environment, streams, pipes, directory, this, is } = outfit;
    // The parent's ends: a reader would not see the end of what this process writes to itself.
    drop(pipes);
    // And what it has of its other children, who would not see their parent's end.
    drop(table::hold());
    server::let_go();
    abort::let_go();
    overflow::let_go();
    // The name is for people; a process without one works as well.
    let _ = title::set_thread_name(&name);
    // SAFETY: a process that was just forked has one thread.
    unsafe { environment.apply_here() };
    if let Some(directory) = directory {
        rustix::process::fchdir(directory)?;
    }
    let [stdin, stdout, stderr] = streams.map(|stream| match stream {
        Theirs::Inherited(_) => None,
        Theirs::Own(descriptor) => Some(descriptor),
    });
    stdio::replace([stdin, stdout, stderr])?;
    current::become_child(standing, name, identity, daemon, is, Some(this));
    if let Some(control) = control {
        // As in `boot`: one that is stopped would not see its parent's end.
        set_parent_process_death_signal(Some(Signal::CONT))?;
        drop(watchdog::start(control)?);
    }
    Ok(())
}
