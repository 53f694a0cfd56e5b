//! What a new process does before and after its target.

use super::call::{Arrival, serve};
use super::current;
use super::orders::{self, Kit, Orders, Received};
use crate::boot;
use crate::launch::Born;
use crate::sys::{overflow, stdio, title};
use crate::worker::watchdog;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;

/// The exit code of a process that could not begin, as that of a worker of a pool.
pub(crate) const CANNOT_BEGIN: i32 = 126;

/// Lives the life of a process whose orders lie in `control`.
pub(crate) fn main(control: OwnedFd, born: Born) -> ! {
    let (name, outcome) = match orders::receive(&control) {
        // The parent has ended, or could not watch it.
        Ok(None) => stdio::exit_now(0),
        Ok(Some(received)) => (received.orders.name.clone(), live(control, born, received)),
        Err(error) => (String::new(), Err(error.to_string())),
    };
    match outcome {
        // As at the end of `main`: handlers of `atexit` run, among them ours, and all buffers are written.
        Ok(code) => std::process::exit(code.into()),
        Err(why) => {
            eprintln!("concurrent-futures: the process {name:?} cannot begin: {why}");
            stdio::flush_and_exit(CANNOT_BEGIN)
        }
    }
}

fn live(control: OwnedFd, born: Born, received: Received) -> Result<u8, String> {
    let Received { orders, kit, arrived, argument } = received;
    let (trampoline, function) = (orders.trampoline, orders.function);
    let handles = prepare(control, born, orders, kit).map_err(|error| error.to_string())?;
    let arrival = Arrival { argument, arrived, handles };
    // SAFETY: the offsets come from the parent, which runs this very program (the boot has made sure of that) and took them
    // from a call that it made.
    unsafe { serve(trampoline, function, arrival) }
}

fn prepare(control: OwnedFd, born: Born, orders: Orders, kit: Kit<OwnedFd>) -> io::Result<Option<OwnedFd>> {
    let Kit { parent, directory, stdio: streams, handles } = kit;
    boot::set_depth(orders.depth);
    overflow::note(None)?;
    // The name is for people; a process without one works as well.
    let _ = title::set_thread_name(&orders.name);
    if let Some(group) = orders.group {
        // A group that nobody is in any more cannot be joined; its signals would not come from anywhere either.
        let _ = rustix::process::setpgid(None, rustix::process::Pid::from_raw(group));
    }
    if let Some(environment) = orders.environment
        && born == Born::Forked
    {
        // SAFETY: a fork of the fork server has the one thread that runs this. (A process that was to be forked and had to be
        // spawned, for want of that, has its environment from the exec.)
        unsafe { replace_environment(environment) };
    }
    if let Some(directory) = directory {
        rustix::process::fchdir(directory)?;
    }
    stdio::replace(streams)?;
    current::become_child(current::hold(), orders.name, orders.identity, orders.daemon, orders.parent, parent);
    if orders.outlives {
        drop(control);
    } else {
        // From now on the parent's end is the end of this process.
        drop(watchdog::start(control)?);
    }
    Ok(handles)
}

/// # Safety
/// This process has no other thread.
unsafe fn replace_environment(environment: Vec<(Vec<u8>, Vec<u8>)>) {
    for (key, _) in std::env::vars_os() {
        // SAFETY: no other thread looks at the environment.
        unsafe { std::env::remove_var(key) };
    }
    for (key, value) in environment {
        // SAFETY: as above.
        unsafe { std::env::set_var(OsString::from_vec(key), OsString::from_vec(value)) };
    }
}
