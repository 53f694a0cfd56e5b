//! The process that removes the names of shared memory which a killed program has left: `concurrent_futures_ipc::named` has what it
//! does, this is how it comes into being.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use concurrent_futures_ipc::named::tracker;
use rustix::process::{chdir, setsid};

use crate::boot;
use crate::boot::variable::{self, Role};
use crate::sys::{procfs, signals, socket, stdio, title};

const NAME: &str = "concurrent-futures tracker";

/// Starts the tracker of this process: this program once more, so that it holds nothing of this one's memory.
pub(crate) fn start() -> io::Result<Option<OwnedFd>> {
    // Where there can be no workers there is no tracker.
    if boot::check().is_err() {
        return Ok(None);
    }
    let (socket, control) = socket::packet_pair()?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0(NAME).env(variable::NAME, Role::Tracker.value()).process_group(0);
    command.stdin(Stdio::from(control)).stdout(Stdio::null()).stderr(Stdio::null());
    // What is started forks and ends; so nobody has a child whom he does not know.
    match command.spawn()?.wait() {
        Ok(status) if !status.success() => Ok(None),
        // An error: somebody else has reaped it.
        Ok(_) | Err(_) => Ok(Some(socket)),
    }
}

/// Tracks for the process at the other end of `control`, and does not return.
pub(crate) fn main(control: OwnedFd) -> ! {
    stdio::exit_now(match track(&control) {
        Ok(never) => match never {},
        // There is nobody to whom it could be said. What is left is removed by the next program.
        Err(_) => 1,
    })
}

fn track(control: &OwnedFd) -> io::Result<Infallible> {
    if procfs::thread_count()? != 1 {
        return Err(io::Error::other("a constructor has started threads, which a fork does not take along"));
    }
    title::set_thread_name("cf-tracker")?;
    // SAFETY: there is one thread, so the child has everything that this process has.
    match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => {}
        _ => stdio::exit_now(0),
    }
    // Whatever is sent to the program, its terminal or its group is not meant for this.
    setsid()?;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        signals::ignore(signal)?;
    }
    chdir("/")?;
    close_all_but(control)?;
    tracker::serve(control.as_fd())?;
    stdio::exit_now(0)
}

/// What the program has open without close-on-exec is not to be held open by this.
fn close_all_but(kept: &OwnedFd) -> io::Result<()> {
    let kept = kept.as_raw_fd().cast_unsigned();
    for (first, last) in [(3, kept - 1), (kept + 1, u32::MAX)] {
        if first > last {
            continue;
        }
        // SAFETY: a call that takes numbers. Nothing in this process, which does nothing else, uses any of these.
        if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } != 0 {
            let error = io::Error::last_os_error();
            // Before Linux 5.9 it is not there; they stay open then.
            if error.raw_os_error() != Some(libc::ENOSYS) {
                return Err(error);
            }
        }
    }
    Ok(())
}
