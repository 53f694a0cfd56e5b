//! Ends the worker when its pool is gone, whatever the worker is doing.

use crate::sys::{children, message, resources, stdio, wait};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, Receiver};
use std::thread;

const STACK: usize = 64 * 1024;
/// Nobody reads it: whoever could is gone.
const EXIT_CODE: i32 = 0;

/// From now on the end of `control` is the end of this process, and of the processes that its tasks have started. Gives back
/// where the descriptors come that the pool sends: the lane's, when it is asked for. `None` for one that did not arrive.
pub(crate) fn start(control: OwnedFd) -> io::Result<Receiver<Option<OwnedFd>>> {
    let (pass_on, coming) = mpsc::channel();
    let watch = move || {
        while let Ok(Some(mut message)) = message::receive(&control, &mut [0; 64]) {
            // Nobody waits for it any more when this process ends.
            let _ = pass_on.send(message.fds.pop());
        }
        end_all();
    };
    thread::Builder::new().name("cf-watchdog".into()).stack_size(STACK).spawn(watch)?;
    Ok(coming)
}

/// Ends what descends from this process, what else is in its group (programs whose own parent has left them), and itself.
pub(super) fn end_all() -> ! {
    // A task may have used up what the worker may have.
    resources::lift();
    // If that fails, the processes that have left the group are left to themselves.
    let _ = children::kill_all();
    wait::kill_own_group();
    stdio::exit_now(EXIT_CODE)
}
