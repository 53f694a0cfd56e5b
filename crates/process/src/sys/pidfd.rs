//! Processes by descriptor: a signal sent through one never reaches a recycled pid.

use std::fs;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, opcode};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::exit::{Exit, ExitReport};
use super::procfs;
use super::wait::{self, Child};

/// Opens a child of this process that nobody has reaped yet: only then is the pid surely that process.
pub(crate) fn open_child(pid: i32) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// Sends a signal. A process that has ended already is no error.
pub(crate) fn signal(pidfd: impl AsFd, signal: Signal) -> io::Result<()> {
    match pidfd_send_signal(pidfd, signal) {
        Err(Errno::SRCH) => Ok(()),
        other => Ok(other?),
    }
}

/// Kills the process. One that has ended already is no error.
pub(crate) fn kill(pidfd: impl AsFd) -> io::Result<()> {
    signal(pidfd, Signal::KILL)
}

/// Whether the process has ended (reaped or not); waits for it until `deadline`, or for ever.
pub(crate) fn wait_end_until(pidfd: impl AsFd, deadline: Option<std::time::Instant>) -> io::Result<bool> {
    // The kernel's clock has an end.
    const LONGEST: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);
    loop {
        let left = deadline.map_or(LONGEST, |deadline| deadline.saturating_duration_since(std::time::Instant::now()));
        if wait_end(&pidfd, left.min(LONGEST))? {
            return Ok(true);
        }
        if deadline.is_some_and(|deadline| deadline <= std::time::Instant::now()) {
            return Ok(false);
        }
    }
}

/// Whether the process has ended (reaped or not); waits for it up to `timeout`.
pub(crate) fn wait_end(pidfd: impl AsFd, timeout: std::time::Duration) -> io::Result<bool> {
    let deadline = std::time::Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&left)) {
            Err(Errno::INTR) => {}
            other => return Ok(other? > 0),
        }
    }
}

/// Reaps a child of this process: `None` while it still runs, [`ExitReport::Unknown`] when somebody else
/// has reaped it (or SIGCHLD is ignored) and the kernel does not tell.
pub(crate) fn reap_child(pidfd: BorrowedFd<'_>) -> io::Result<Option<Exit>> {
    or_stolen(pidfd, wait::reap(Child::Pidfd(pidfd)))
}

/// The same for one that has ended. It waits for whoever traces the child to see its end, who comes before us.
pub(crate) fn reap_ended_child(pidfd: BorrowedFd<'_>) -> io::Result<Option<Exit>> {
    or_stolen(pidfd, wait::reap_ended(Child::Pidfd(pidfd)))
}

fn or_stolen(pidfd: BorrowedFd<'_>, reaped: io::Result<Option<Exit>>) -> io::Result<Option<Exit>> {
    match reaped {
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => {
            Ok(Some(exit_info(pidfd).unwrap_or(ExitReport::Unknown).into()))
        }
        other => other,
    }
}

/// Kills what is left of the group that the process led, which has ended: what its tasks had started.
///
/// Kernels before 6.9 know groups by number only. There it is left alone when somebody has reaped the process, after which
/// the number could be another group's.
pub(crate) fn kill_group(pidfd: BorrowedFd<'_>) {
    if !wait::kill_group(pidfd)
        && let Some(pid) = unreaped_pid(pidfd)
    {
        wait::kill_group_of_unreaped(pid);
    }
}

/// How a process ended that is not a child of this one. `None` while it runs, and where neither the
/// kernel (6.15 and later tell after the reaping) nor `/proc` (before it) says.
pub(crate) fn exit_of_other(pidfd: BorrowedFd<'_>) -> Option<ExitReport> {
    exit_info(pidfd).or_else(|| zombie_info(pidfd)).or_else(|| exit_info(pidfd))
}

/// PIDFD_GET_INFO: the exit status of a process that has been reaped, by whomever.
fn exit_info(pidfd: BorrowedFd<'_>) -> Option<ExitReport> {
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the opcode is PIDFD_GET_INFO with the size of this struct in it, which is the kernel's first
    // version of it: the kernel reads and writes no more than that, and every bit pattern is valid.
    let request = unsafe { Updater::<PIDFD_GET_INFO, PidfdInfo>::new(&mut info) };
    // SAFETY: the descriptor is borrowed, hence open; on anything but a pidfd, and on older kernels, the
    // call fails without touching memory.
    unsafe { rustix::ioctl::ioctl(pidfd, request) }.ok()?;
    (info.mask & PIDFD_INFO_EXIT != 0).then(|| ExitReport::from_wait_status(info.exit_code))
}

/// The exit status of a zombie, from `/proc`.
fn zombie_info(pidfd: BorrowedFd<'_>) -> Option<ExitReport> {
    let pid = unreaped_pid(pidfd)?;
    let report = procfs::zombie_exit(pid).ok()??;
    // Not reaped after the reading either, so the pid was not given to another in between.
    (unreaped_pid(pidfd) == Some(pid)).then_some(report)
}

/// The pid behind a pidfd as long as nobody has reaped it; the kernel then says -1.
fn unreaped_pid(pidfd: BorrowedFd<'_>) -> Option<i32> {
    let fdinfo = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    let pid = fdinfo.lines().find_map(|line| line.strip_prefix("Pid:"))?;
    pid.trim().parse().ok().filter(|&pid| pid > 0)
}

/// `struct pidfd_info` of linux/pidfd.h, first version (64 bytes).
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    ids: [u32; 8],
    exit_code: i32,
}

const _: () = assert!(size_of::<PidfdInfo>() == 64);

const PIDFD_INFO_EXIT: u64 = 1 << 3;
const PIDFD_GET_INFO: Opcode = opcode::read_write::<PidfdInfo>(0xff, 11);

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    #[expect(clippy::zombie_processes, reason = "reaped through the descriptor")]
    fn a_child_is_reaped_with_its_code() {
        let child = Command::new("sh").args(["-c", "exit 5"]).spawn().unwrap();
        let pidfd = open_child(child.id() as i32).unwrap();
        assert!(wait_end(&pidfd, LONG).unwrap());
        assert_eq!(reap_child(pidfd.as_fd()).unwrap().unwrap().report, ExitReport::Code(5));
        kill(&pidfd).unwrap();
    }

    #[test]
    #[expect(clippy::zombie_processes, reason = "reaped through the descriptor")]
    fn a_killed_child_tells_its_signal() {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pidfd = open_child(child.id() as i32).unwrap();
        assert_eq!(reap_child(pidfd.as_fd()).unwrap(), None);
        assert!(!wait_end(&pidfd, Duration::ZERO).unwrap());
        kill(&pidfd).unwrap();
        assert!(wait_end(&pidfd, LONG).unwrap());
        let report = ExitReport::Signal { signal: libc::SIGKILL, core_dumped: false };
        assert_eq!(reap_child(pidfd.as_fd()).unwrap().unwrap().report, report);
    }

    /// Whoever has got its number meanwhile.
    #[test]
    fn row_29_a_stale_descriptor_reaches_nobody() {
        let mut child = Command::new("sh").args(["-c", "exit 0"]).spawn().unwrap();
        let pidfd = open_child(child.id() as i32).unwrap();
        child.wait().unwrap();
        assert_eq!(pidfd_send_signal(&pidfd, Signal::KILL), Err(Errno::SRCH));
        // For us that is as good as done.
        kill(&pidfd).unwrap();
        assert!(wait_end(&pidfd, Duration::ZERO).unwrap());
    }

    #[test]
    fn the_status_of_a_stolen_child_is_known_or_unknown_but_no_error() {
        let mut child = Command::new("sh").args(["-c", "exit 6"]).spawn().unwrap();
        let pidfd = open_child(child.id() as i32).unwrap();
        child.wait().unwrap();
        let report = reap_child(pidfd.as_fd()).unwrap().map(|exit| exit.report);
        assert!(matches!(report, Some(ExitReport::Code(6) | ExitReport::Unknown)), "{report:?}");
    }

    #[test]
    fn a_zombie_of_another_parent_tells_its_status() {
        // The shell's child ends while the shell, stopped in `read`, has not reaped it.
        let mut shell = Command::new("sh")
            .args(["-c", "(exit 4) & echo $!; read x"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = std::io::BufReader::new(shell.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        let pidfd = open_child(line.trim().parse().unwrap());
        if let Ok(pidfd) = pidfd {
            assert!(wait_end(&pidfd, LONG).unwrap());
            assert_eq!(exit_of_other(pidfd.as_fd()), Some(ExitReport::Code(4)));
        }
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }
}
