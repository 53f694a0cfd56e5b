//! Ends the worker when its pool is gone, whatever the worker is doing.

use crate::sys::{children, message, stdio, wait};
use std::io;
use std::os::fd::OwnedFd;
use std::thread;

const STACK: usize = 64 * 1024;
/// Nobody reads it: whoever could is gone.
const EXIT_CODE: i32 = 0;

/// From now on the end of `control` is the end of this process, and of the processes that its tasks have started.
pub(super) fn start(control: OwnedFd) -> io::Result<()> {
    let watch = move || {
        // The pool sends nothing after its first message.
        while let Ok(Some(_)) = message::receive(&control, &mut [0; 64]) {}
        end_all();
    };
    thread::Builder::new().name("cf-watchdog".into()).stack_size(STACK).spawn(watch).map(drop)
}

/// Ends what descends from this process, what else is in its group (programs whose own parent has left them), and itself.
pub(super) fn end_all() -> ! {
    // If that fails, the processes that have left the group are left to themselves.
    let _ = children::kill_all();
    wait::kill_own_group();
    stdio::exit_now(EXIT_CODE)
}
