//! What a new process does before and after its target.

use super::call::{Arrival, serve};
use super::current;
use super::orders::{self, Kit, Orders, Received};
use crate::boot;
use crate::sys::{stdio, title};
use crate::worker::watchdog;
use std::io;
use std::os::fd::OwnedFd;

/// The exit code of a process that could not begin, as that of a worker of a pool.
const CANNOT_BEGIN: i32 = 126;

/// Lives the life of a process whose orders lie in `control`.
pub(crate) fn main(control: OwnedFd) -> ! {
    let (name, outcome) = match orders::receive(&control) {
        // The parent has ended, or could not watch it.
        Ok(None) => stdio::exit_now(0),
        Ok(Some(received)) => (received.orders.name.clone(), live(control, received)),
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

fn live(control: OwnedFd, received: Received) -> Result<u8, String> {
    let Received { orders, kit, arrived, argument } = received;
    let (trampoline, function) = (orders.trampoline, orders.function);
    let handles = prepare(control, orders, kit).map_err(|error| error.to_string())?;
    let arrival = Arrival { argument: &argument, arrived, handles };
    // SAFETY: the offsets come from the parent, which runs this very program (the boot has made sure of that) and took them
    // from a call that it made.
    unsafe { serve(trampoline, function, arrival) }
}

fn prepare(control: OwnedFd, orders: Orders, kit: Kit<OwnedFd>) -> io::Result<Option<OwnedFd>> {
    let Kit { parent, directory, stdio: streams, handles } = kit;
    boot::set_depth(orders.depth);
    // The name is for people; a process without one works as well.
    let _ = title::set_thread_name(&orders.name);
    if let Some(directory) = directory {
        rustix::process::fchdir(directory)?;
    }
    stdio::replace(streams)?;
    current::become_child(orders.name, orders.identity, orders.daemon, orders.parent, parent);
    if orders.outlives {
        drop(control);
    } else {
        // From now on the parent's end is the end of this process.
        drop(watchdog::start(control)?);
    }
    Ok(handles)
}
