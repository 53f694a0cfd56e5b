//! Starting this program again as a worker or as a fork server.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::Ends;
use crate::boot::variable::{self, Role};
use crate::sys::pidfd;

/// A process that was started by exec: a child of this one, not yet reaped.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
}

/// Starts this program in `role`, with `control` as its standard input.
///
/// The child leads a process group of its own: Ctrl-C at the terminal is for the program that the user sees, which decides
/// what becomes of its workers; and what they start can be ended with them.
///
/// It gets the parent's standard output and error, unless it is given others, and nothing else.
pub(crate) fn spawn(role: Role, name: &str, ends: Ends) -> io::Result<Spawned> {
    spawn_with(role, name, |command| {
        command.process_group(0).stdin(Stdio::from(ends.control));
        if let Some([stdout, stderr]) = ends.output {
            command.stdout(stdout).stderr(stderr);
        }
    })
}

/// Starts this program in `role`, as `describe` says; it gives the control socket as standard input.
///
/// Without `pre_exec` and its like std uses `posix_spawn`, which does not copy page tables: the time does not grow with the
/// parent's memory.
pub(crate) fn spawn_with(role: Role, name: &str, describe: impl FnOnce(&mut Command)) -> io::Result<Spawned> {
    // This link leads to the file that runs, also when another one has taken its place on disk.
    let mut command = Command::new("/proc/self/exe");
    describe(&mut command);
    command.arg0(name.replace('\0', "")).env(variable::NAME, role.value());
    let mut child = command.spawn()?;
    let pid = child.id() as i32;
    match pidfd::open_child(pid) {
        // Dropping `Child` does not wait: from here on the descriptor stands for the process.
        Ok(pidfd) => Ok(Spawned { pid, pidfd }),
        // It cannot be watched, so it must not live.
        Err(error) => {
            child.kill()?;
            child.wait()?;
            Err(error)
        }
    }
}
