//! Waiting for children of this process: first a look, then the reaping.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::exit::{Exit, ExitReport};

/// Which child.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Child<'a> {
    Any,
    Pid(i32),
    Pidfd(BorrowedFd<'a>),
}

impl Child<'_> {
    fn id(self) -> (libc::idtype_t, libc::id_t) {
        match self {
            Self::Any => (libc::P_ALL, 0),
            Self::Pid(pid) => (libc::P_PID, pid.unsigned_abs()),
            Self::Pidfd(fd) => (libc::P_PIDFD, fd.as_raw_fd().unsigned_abs()),
        }
    }
}

/// The pid of a child that has ended, which stays as it is: until it is reaped nobody else gets its number.
///
/// # Errors
///
/// `ECHILD` where there is no such child, or somebody else has reaped it.
pub(crate) fn look(child: Child<'_>) -> io::Result<Option<i32>> {
    Ok(wait(child, libc::WNOHANG | libc::WNOWAIT)?.map(|(pid, _)| pid))
}

/// Whether there are children of any kind, running or ended.
pub(crate) fn has_children() -> io::Result<bool> {
    // With `__WALL` also such as were cloned to end without SIGCHLD.
    match wait(Child::Any, libc::WNOHANG | libc::WNOWAIT | libc::__WALL) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reaps a child if it has ended, and tells how it was. Errors as of [`look`].
pub(crate) fn reap(child: Child<'_>) -> io::Result<Option<Exit>> {
    Ok(wait(child, libc::WNOHANG)?.map(|(_, exit)| exit))
}

/// The same for one that has ended, as its pidfd says. Who traces it (a debugger) is told first, and it can be reaped when that has seen it:
/// this waits for that moment.
pub(crate) fn reap_ended(child: Child<'_>) -> io::Result<Option<Exit>> {
    Ok(wait(child, 0)?.map(|(_, exit)| exit))
}

/// `waitid` as the kernel has it, with the usage that the C library's function leaves out (and that `wait4` gives for a
/// pid only, which may be another process's by now).
fn wait(child: Child<'_>, options: i32) -> io::Result<Option<(i32, Exit)>> {
    let (kind, id) = child.id();
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    let status = loop {
        // SAFETY: these are the five arguments of the call; it writes to the two buffers, which have the types that it
        // expects, and a descriptor is borrowed for as long as the call takes.
        let status = unsafe {
            libc::syscall(libc::SYS_waitid, kind, id, info.as_mut_ptr(), libc::WEXITED | options, usage.as_mut_ptr())
        };
        if status == 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            break status;
        }
    };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed memory is a valid value (integers and padding), whether or not the kernel has filled it.
    let info = unsafe { info.assume_init() };
    // SAFETY: as above.
    let usage = unsafe { usage.assume_init() };
    // SAFETY: the kernel has written the fields of a child's end, or left them zero.
    let pid = unsafe { info.si_pid() };
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    if pid == 0 {
        return Ok(None);
    }
    let report = match info.si_code {
        libc::CLD_EXITED => ExitReport::Code(status),
        libc::CLD_KILLED => ExitReport::Signal { signal: status, core_dumped: false },
        libc::CLD_DUMPED => ExitReport::Signal { signal: status, core_dumped: true },
        _ => ExitReport::Unknown,
    };
    // In units of 1024 bytes.
    let peak = u64::try_from(usage.ru_maxrss).ok().filter(|&peak| peak > 0).map(|peak| peak * 1024);
    Ok(Some((pid, Exit { report, peak_memory: peak })))
}

/// The most memory that this process has had at a time, in bytes. After an exec it counts what the process had before.
pub(crate) fn own_peak() -> Option<u64> {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the buffer has the type that the call fills.
    let status = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    // SAFETY: zeroed memory is a valid value, whether or not it was filled.
    let usage = unsafe { usage.assume_init() };
    (status == 0).then(|| u64::try_from(usage.ru_maxrss).ok()).flatten().map(|peak| peak * 1024)
}

/// Kills the group that a child leads which has ended and which nobody has reaped, as the caller makes sure: its number
/// is no other group's then.
pub(crate) fn kill_group_of_unreaped(leader: i32) {
    if leader > 1 {
        // SAFETY: sends a signal; a group that has no members, or none that may be killed, is an error without effect.
        unsafe { libc::kill(-leader, libc::SIGKILL) };
    }
}

/// Kills and reaps a child that nobody has reaped, as the caller makes sure: its number is no other process's then.
pub(crate) fn kill_unreaped(child: i32) {
    // SAFETY: sends a signal.
    unsafe { libc::kill(child, libc::SIGKILL) };
    loop {
        // SAFETY: no status is asked for.
        let reaped = unsafe { libc::waitpid(child, ptr::null_mut(), 0) };
        if reaped >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return;
        }
    }
}

/// Ends this process and everything else in its group at once, if the group is its own.
pub(crate) fn kill_own_group() {
    if own_group() == Some(rustix::process::getpid().as_raw_nonzero().get()) {
        // SAFETY: sends a signal.
        unsafe { libc::kill(0, libc::SIGKILL) };
    }
}

/// The group that this process is in. `None`: one whose leader is outside of its namespace, so that it has no number here.
pub(crate) fn own_group() -> Option<i32> {
    // SAFETY: the call has no preconditions.
    Some(unsafe { libc::getpgrp() }).filter(|&group| group > 0)
}

/// Makes this process the leader of a group of its own.
pub(crate) fn lead_group() -> io::Result<()> {
    Ok(rustix::process::setpgid(None, None)?)
}

/// [`kill_group_of_unreaped`] for a process that anybody may have reaped, where the kernel can do that (6.9 and later):
/// the descriptor says which group is meant, whatever has become of its number. `false`: this kernel cannot.
pub(crate) fn kill_group(leader: BorrowedFd<'_>) -> bool {
    const PIDFD_SIGNAL_PROCESS_GROUP: u32 = 1 << 2;
    // SAFETY: the descriptor is borrowed; no information goes with the signal.
    let status = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            leader.as_raw_fd(),
            libc::SIGKILL,
            ptr::null::<libc::siginfo_t>(),
            PIDFD_SIGNAL_PROCESS_GROUP,
        )
    };
    // Anything else that fails (nobody is left in the group; what is left may not be killed) is no lack of the kernel's.
    status == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::EINVAL)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::fd::AsFd;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::super::pidfd;
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    #[expect(clippy::zombie_processes, reason = "reaped by the function under test")]
    fn a_look_leaves_the_child_to_be_reaped_with_its_peak() {
        let child = Command::new("sh").args(["-c", "exit 5"]).spawn().unwrap();
        let pidfd = pidfd::open_child(child.id() as i32).unwrap();
        assert!(pidfd::wait_end(&pidfd, LONG).unwrap());
        for _ in 0..2 {
            assert_eq!(look(Child::Pidfd(pidfd.as_fd())).unwrap(), Some(child.id() as i32));
        }
        let exit = reap(Child::Pid(child.id() as i32)).unwrap().unwrap();
        assert_eq!(exit.report, ExitReport::Code(5));
        assert!(exit.peak_memory.is_some_and(|peak| peak > 100_000), "{exit:?}");
        assert_eq!(look(Child::Pidfd(pidfd.as_fd())).unwrap_err().raw_os_error(), Some(libc::ECHILD));
    }

    #[test]
    fn the_own_peak_is_more_than_what_was_just_used() {
        let used = std::hint::black_box(vec![1_u8; 32 << 20]);
        assert!(own_peak().unwrap() > used.len() as u64);
    }

    /// A shell that leads a group, has started a program, and ends; gives it with the program's pid.
    fn leader() -> (std::process::Child, i32) {
        let mut shell = Command::new("sh")
            .args(["-c", "sleep 1000 >/dev/null & echo $!"])
            .process_group(0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (shell, line.trim().parse().unwrap())
    }

    fn group_of(pid: i32) -> Option<i32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit(')').next()?.split_ascii_whitespace();
        let alive = fields.next()? != "Z";
        fields.nth(1)?.parse().ok().filter(|_| alive)
    }

    fn await_end(pid: i32) {
        let deadline = std::time::Instant::now() + LONG;
        while group_of(pid).is_some() {
            assert!(std::time::Instant::now() < deadline, "process {pid} lives");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn the_group_of_a_dead_leader_is_killed() {
        for by_descriptor in [false, true] {
            let (mut shell, program) = leader();
            let pid = shell.id() as i32;
            let pidfd = pidfd::open_child(pid).unwrap();
            assert!(pidfd::wait_end(&pidfd, LONG).unwrap());
            assert_eq!(group_of(program), Some(pid));
            if by_descriptor {
                // Also when the leader has been reaped.
                shell.wait().unwrap();
                if !kill_group(pidfd.as_fd()) {
                    eprintln!("this kernel cannot kill a group by descriptor");
                    rustix::process::kill_process(
                        rustix::process::Pid::from_raw(program).unwrap(),
                        rustix::process::Signal::KILL,
                    )
                    .unwrap();
                }
            } else {
                kill_group_of_unreaped(pid);
                shell.wait().unwrap();
            }
            await_end(program);
        }
    }
}
