//! Becoming a worker: this program, started again by itself, takes another way before `main`.
//!
//! `README.md` beside this file has the steps and what each is for.

#[cfg(feature = "boot")]
mod constructor;
#[cfg(feature = "boot")]
mod init_array;
mod refusal;
pub(crate) mod variable;

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};

use concurrent_futures_ipc::named::tracker;
use rustix::process::{Signal, getegid, geteuid, getgid, getppid, getuid, set_parent_process_death_signal};

pub(crate) use self::refusal::BootRefusal;
use self::variable::Role;
use crate::image;
use crate::launch::{Born, forkserver};
use crate::process;
use crate::sys::{procfs, signals, socket, stdio};
use crate::worker;

/// The exit code of a process that was started as a worker and refuses to be one.
const REFUSED: i32 = 125;

/// How deep pools may be nested: a pool in a task of a pool in a task of …
const DEPTH_LIMIT: u32 = 4;

/// How many pools of processes lie between the program that the user started and this process.
static DEPTH: AtomicU32 = AtomicU32::new(0);

/// Makes this process a worker when a pool has started it as one; otherwise does nothing.
///
/// With the feature `boot`, which is on by default, this happens before `main` and the function has nothing
/// left to do. Without that feature, call it first in `main`: what runs before it runs in every worker too. Call it
/// whatever the arguments are: a worker has others, and a pool of a program that has not called it cannot be built.
/// In a worker it does not return.
///
/// # Examples
///
/// ```
/// // First in `main`:
/// concurrent_futures_process::init();
/// ```
pub fn init() {
    #[cfg(not(feature = "boot"))]
    {
        // Before it, for a worker does not come back from there and may have pools, too.
        INITIALISED.store(true, Ordering::Relaxed);
        intercept(|| Ok(()));
    }
}

/// Whether [`init`] was called.
#[cfg(not(feature = "boot"))]
static INITIALISED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Whether this process may have workers. To be asked before a pool is built.
pub(crate) fn check() -> Result<(), BootRefusal> {
    check_program()?;
    if depth() >= DEPTH_LIMIT {
        return Err(BootRefusal::TooDeep { limit: DEPTH_LIMIT });
    }
    Ok(())
}

/// Whether this program can start itself again.
pub(crate) fn check_program() -> Result<(), BootRefusal> {
    if !image::holds_this_library() {
        return Err(BootRefusal::OutsideMainImage);
    }
    if Role::from_environment().is_some() {
        return Err(BootRefusal::NotIntercepted);
    }
    #[cfg(not(feature = "boot"))]
    if !INITIALISED.load(Ordering::Relaxed) {
        return Err(BootRefusal::NotInitialised);
    }
    if runs_with_raised_privileges() {
        return Err(BootRefusal::RaisedPrivileges);
    }
    if has_two_users() {
        return Err(BootRefusal::TwoUsers);
    }
    if procfs::program_headers().map_err(BootRefusal::ProgramUnknown)? != image::Image::of_program().headers() {
        return Err(BootRefusal::ForeignLoader);
    }
    Ok(())
}

/// How many pools lie above this process; the workers of a pool in it are one deeper.
pub(crate) fn depth() -> u32 {
    DEPTH.load(Ordering::Relaxed)
}

/// A worker and the fork server are told their depth by the pool that starts them.
pub(crate) fn set_depth(depth: u32) {
    DEPTH.store(depth, Ordering::Relaxed);
}

/// Becomes what the environment asks for, and then does not return. `complete` is called when the process
/// is ready but for the part of its start-up that it will not come to any more.
fn intercept(complete: impl FnOnce() -> Result<(), BootRefusal>) {
    tracker::start_by(crate::tracker::start);
    let Some(role) = Role::from_environment() else { return };
    // A copy of this library in a shared library leaves the process to the one in the program.
    if !image::holds_this_library() {
        return;
    }
    // What belongs to the user's program has no place in a process that runs nothing of it.
    let prepared = if role == Role::Tracker { prepare(|| Ok(())) } else { prepare(complete) };
    match prepared {
        Ok(control) => match role {
            Role::Worker => worker::main(control, Born::Spawned),
            Role::ForkServer => forkserver::main(control),
            Role::Process => process::life::main(control, Born::Spawned),
            Role::Tracker => crate::tracker::main(control),
        },
        // `main` must not run: it would be a second run of the user's program that nobody asked for.
        Err(BootRefusal::ParentEnded) => stdio::exit_now(REFUSED),
        Err(refusal) => {
            eprintln!("concurrent-futures: {refusal}");
            stdio::exit_now(REFUSED)
        }
    }
}

/// Checks who has started this process and brings it into the state in which a worker begins.
fn prepare(complete: impl FnOnce() -> Result<(), BootRefusal>) -> Result<OwnedFd, BootRefusal> {
    if runs_with_raised_privileges() {
        return Err(BootRefusal::RaisedPrivileges);
    }
    let parent = check_parent()?;
    // SAFETY: the parent has set the variable when it started this process. Constructors that ran before this
    // one would have to change the environment behind Rust's back, in a thread that still runs.
    unsafe { variable::remove() };
    stdio::fill_gaps()?;
    let control = stdio::take_stdin()?;
    signals::reset()?;
    complete()?;
    follow_parent(parent)?;
    Ok(control)
}

/// The control socket was made by the parent, and the parent is the same user. Gives the parent's pid.
fn check_parent() -> Result<i32, BootRefusal> {
    let peer = socket::peer(std::io::stdin()).map_err(BootRefusal::NoControlSocket)?;
    let parent = parent_pid();
    if peer.pid != parent || peer.pid == 0 {
        if socket::has_ended(std::io::stdin())? {
            return Err(BootRefusal::ParentEnded);
        }
        return Err(BootRefusal::NotTheParent { peer: peer.pid, parent });
    }
    let own = geteuid().as_raw();
    if peer.uid != own {
        return Err(BootRefusal::AnotherUser { peer: peer.uid, own });
    }
    Ok(peer.pid)
}

/// Lets the kernel wake this process when its parent ends. What ends it then is the end of the control
/// socket; the signal is for a process that was stopped and could not see that. It does no harm to one that
/// runs, so it does not matter that it comes at the end of the thread that started this process.
fn follow_parent(parent: i32) -> Result<(), BootRefusal> {
    set_parent_process_death_signal(Some(Signal::CONT)).map_err(std::io::Error::from)?;
    // It does not come for a parent that has ended already.
    if parent_pid() == parent { Ok(()) } else { Err(BootRefusal::ParentEnded) }
}

fn parent_pid() -> i32 {
    getppid().map_or(0, |pid| pid.as_raw_nonzero().get())
}

/// AT_SECURE: the kernel says that this process has more rights than the user who started it.
fn runs_with_raised_privileges() -> bool {
    // SAFETY: reads a value that the kernel has left at the start of the process.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Whether the kernel would say that of a program that this process starts, since it acts for another user than it is.
fn has_two_users() -> bool {
    getuid() != geteuid() || getgid() != getegid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_program_may_have_workers() {
        init();
        check().unwrap();
    }

    #[test]
    fn standard_input_of_a_test_is_no_control_socket_of_its_parent() {
        assert!(check_parent().is_err());
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        for refusal in [BootRefusal::NotInitialised, BootRefusal::NotIntercepted] {
            assert!(refusal.to_string().contains("init()"), "{refusal}");
        }
        let text = BootRefusal::TooDeep { limit: 4 }.to_string();
        assert!(text.contains("nested 4 deep"), "{text}");
    }
}
