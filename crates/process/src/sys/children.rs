//! Ending everything that descends from this process.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::{Errno, retry_on_intr};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, set_child_subreaper, waitid,
};

use super::{procfs, wait};

/// From now on whoever loses its parent below this process becomes a child of this process.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    Ok(set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// Kills all descendants and waits for them. What may not be killed (a set-user-id program that a task has
/// started) is left alone.
///
/// It goes round by round: kill the children, reap them, and what they leave behind is adopted and is a
/// child in the next round. Killed are only children, and nobody can start new ones but they and this process.
pub(crate) fn kill_all() -> io::Result<()> {
    adopt_orphans()?;
    // Most have none when they end, and to look through all processes takes the longer the more the machine has.
    while wait::has_children()? {
        let killed: Vec<OwnedFd> = procfs::children_of_self()?.into_iter().filter_map(kill_child).collect();
        if killed.is_empty() {
            break;
        }
        for child in killed {
            // An error means that another thread of this process has reaped it, or that SIGCHLD is ignored.
            let _ = retry_on_intr(|| waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED));
        }
    }
    Ok(())
}

/// Kills `pid` if it is a child of this process; gives its descriptor if it was.
fn kill_child(pid: i32) -> Option<OwnedFd> {
    let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    // Another thread may have reaped the child meanwhile, and its pid be a stranger's. But if the stranger is
    // what the descriptor holds, it is not listed as a child now; and if not, the signal goes nowhere.
    if !procfs::is_child_of_self(pid) {
        return None;
    }
    match pidfd_send_signal(&pidfd, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => Some(pidfd),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// Set for tests that are programs of others.
    const PROGRAM: &str = "CONCURRENT_FUTURES_TEST_PROGRAM";

    /// Not a test of its own: ends everything below its process, and so below the tests beside it.
    #[test]
    #[ignore = "a program for the test below"]
    fn as_a_process_with_a_family() {
        if std::env::var_os(PROGRAM).is_none() {
            return;
        }
        adopt_orphans().unwrap();
        let mut script = Command::new("sh");
        // A child, a grandchild, one whose parent is gone, and one that is stopped.
        script.args([
            "-c",
            "(sleep 1000 & sh -c 'sleep 1000 & exec sleep 1000' &) & sh -c 'kill -STOP $$' & echo started; wait",
        ]);
        let mut child = script.stdout(Stdio::piped()).spawn().unwrap();
        child.stdout.take().unwrap().read_exact(&mut [0; 8]).unwrap();
        kill_all().unwrap();
        assert_eq!(procfs::children_of_self().unwrap(), []);
        assert!(!wait::has_children().unwrap());
        // Reaped already.
        assert!(child.wait().is_err());
    }

    #[test]
    fn the_whole_family_ends() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sys::children::tests::as_a_process_with_a_family", "--ignored"])
            .env(PROGRAM, "yes")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .and_then(Child::wait_with_output)
            .unwrap();
        // Everybody has this standard error, so it ends with the last of them.
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    }
}
