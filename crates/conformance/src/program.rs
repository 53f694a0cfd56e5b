//! Whole programs: started, watched, killed.

use crate::kind::Kind;
use crate::patience::PATIENCE;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

/// A program of the suite (`conformance-program`) that runs.
#[derive(Debug)]
pub struct Program {
    child: Child,
}

/// A program that has ended.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// What it and its workers printed.
    pub stdout: String,
    /// What it and its workers reported.
    pub stderr: String,
}

impl Program {
    /// Starts the program at `path` with a scenario and the kind of executor to use in it, and perhaps more.
    pub fn start(path: &str, scenario: &str, kind: Kind, more: &[&str]) -> Self {
        let mut command = Command::new(path);
        command.arg(scenario).arg(kind.name()).args(more);
        Self::run(command)
    }

    /// Starts any other program, with its output to be collected.
    pub fn run(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Program { child: command.spawn().expect("the program can be started") }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it by SIGKILL: it can do nothing about it.
    pub fn kill(&self) {
        kill_process(pid(self.child.id()), Signal::KILL).expect("it is our child, and has not been waited for");
    }

    /// Waits for its end. Its output ends only when its workers have ended, too.
    ///
    /// # Panics
    /// When it does not end.
    pub fn wait(self) -> Ended {
        self.wait_at_most(PATIENCE)
    }

    /// As [`wait`](Self::wait), for one that has much to do.
    ///
    /// # Panics
    /// When it does not end.
    pub fn wait_at_most(mut self, limit: Duration) -> Ended {
        let stdout = read_all(self.child.stdout.take().expect("it is piped"));
        let stderr = read_all(self.child.stderr.take().expect("it is piped"));
        let ended = ends(self.child.id(), limit);
        if !ended {
            self.kill();
        }
        let status = self.child.wait().expect("it is our child");
        let [stdout, stderr] = [stdout, stderr].map(|reader| reader.join().expect("reading does not panic"));
        assert!(ended, "the program has not ended in {limit:?}; stdout:\n{stdout}\nstderr:\n{stderr}");
        Ended { status, stdout, stderr }
    }
}

fn read_all(mut from: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read until an error is still worth showing.
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn pid(number: u32) -> Pid {
    i32::try_from(number).ok().and_then(Pid::from_raw).expect("a process has a positive number")
}

/// Waits until a process has ended (it may be a zombie still); at once if it is gone.
///
/// # Panics
/// When it does not end.
pub fn wait_for_end(process: u32) {
    assert!(ends(process, PATIENCE), "process {process} has not ended in {PATIENCE:?}");
}

fn ends(process: u32, limit: Duration) -> bool {
    let Ok(pidfd) = pidfd_open(pid(process), PidfdFlags::empty()) else { return true };
    let limit = Timespec { tv_sec: i64::try_from(limit.as_secs()).expect("some minutes"), tv_nsec: 0 };
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    loop {
        match poll(&mut fds, Some(&limit)) {
            Ok(ready) => return ready > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("poll on a pidfd: {error}"),
        }
    }
}

/// The processes that a process has started, and those that they have, and so on.
pub fn descendants(of: u32) -> Vec<u32> {
    let mut children = HashMap::<u32, Vec<u32>>::new();
    for entry in fs::read_dir("/proc").expect("/proc is there").flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process may end while we look.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        if let Some(parent) = parent.and_then(|parent| parent.parse().ok()) {
            children.entry(parent).or_default().push(process);
        }
    }
    let mut found = vec![of];
    let mut next = 0;
    while next < found.len() {
        found.extend(children.get(&found[next]).into_iter().flatten());
        next += 1;
    }
    found.split_off(1)
}
