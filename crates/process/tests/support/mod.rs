//! What the tests with real processes share. Every wait is for an event and has a generous limit.

#![allow(dead_code, reason = "each test program uses a part of it")]

use concurrent_futures_core::{Future, TaskError};
use concurrent_futures_process::{DataPath, ProcessPoolBuilder, ProcessPoolExecutor, StartMethod};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub const LIMIT: Duration = Duration::from_secs(60);

/// Runs a test once with each start method, each over another data path.
pub fn with_both(test: impl Fn(ProcessPoolBuilder)) {
    for (method, path) in [(StartMethod::ForkServer, DataPath::Ring), (StartMethod::Spawn, DataPath::Socket)] {
        eprintln!("with {method:?} and {path:?}");
        test(ProcessPoolExecutor::builder().start_method(method).data_path(path));
    }
}

/// Runs a test with each start method, over each data path.
pub fn with_all(test: impl Fn(ProcessPoolBuilder)) {
    for path in [DataPath::Socket, DataPath::Ring] {
        eprintln!("over {path:?}");
        with_both(|builder| test(builder.data_path(path)));
    }
}

pub fn pool(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::new(workers).unwrap()
}

/// The outcome, within the limit.
#[track_caller]
pub fn outcome<T: Send + 'static>(future: Future<T>) -> Result<T, TaskError> {
    future.result_timeout(LIMIT).unwrap_or_else(|late| panic!("no outcome in time: {:?}", late.0))
}

#[track_caller]
pub fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < LIMIT, "it did not happen in time: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Runs `f` in a thread and waits for it, within the limit.
#[track_caller]
pub fn in_time<T: Send + 'static>(what: &str, f: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, outcome) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(f()));
    outcome.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("it did not end in time: {what}"))
}

/// A directory for one test.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        Place(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Something that tasks wait at, in any process, until it is opened.
    pub fn gate(&self, name: &str) -> Gate {
        Gate::at(self.path(name))
    }
}

pub struct Gate {
    path: PathBuf,
    open: Option<File>,
}

impl Gate {
    pub fn at(path: PathBuf) -> Self {
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        Gate { path, open: None }
    }

    pub fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// Lets everybody through, those who wait and those who come.
    pub fn open(&mut self) {
        // A pipe opened both ways never blocks, and is a writer for everybody who reads.
        self.open = Some(OpenOptions::new().read(true).write(true).open(&self.path).unwrap());
    }
}

/// A task: waits at a gate and says which process it is.
pub fn wait_at(gate: PathBuf) -> u32 {
    File::open(gate).unwrap();
    std::process::id()
}

/// A task: leaves a file behind.
pub fn touch(path: PathBuf) {
    File::create(path).unwrap();
}

#[track_caller]
pub fn await_start<T>(future: &Future<T>) {
    eventually("the task starts", || future.running());
}

/// Whether the process is gone or a zombie.
pub fn is_gone(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')),
        Err(_) => true,
    }
}

/// The processes whose parent is this one.
pub fn children_of(pid: u32) -> Vec<u32> {
    let mut children = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap() {
        let Ok(Ok(child)) = entry.unwrap().file_name().into_string().map(|name| name.parse::<u32>()) else { continue };
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{child}/stat")) else { continue };
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_ascii_whitespace().nth(1)?.parse().ok());
        if parent == Some(pid) {
            children.push(child);
        }
    }
    children
}

pub fn kill(pid: u32) {
    signal(pid, rustix::process::Signal::KILL);
}

/// The same of one that may have been killed a moment ago, which the pool has not noticed.
pub fn kill_again(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    let killed = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    assert!(matches!(killed, Ok(()) | Err(rustix::io::Errno::SRCH)), "{killed:?}");
}

pub fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Returns when it does nothing any more.
pub fn stop(pid: u32) {
    signal(pid, rustix::process::Signal::STOP);
    let is_stopped = |task: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    };
    eventually("all its threads have stopped", || {
        std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten().all(is_stopped)
    });
}

/// A task with a limit of time that was `in_time` with what it has to do before its time was up. On a busy machine it may be too late for
/// that, and the next one is given more.
pub fn limited<T: Send + 'static, S>(
    mut submit: impl FnMut(Duration) -> Future<T>,
    mut in_time: impl FnMut() -> Option<S>,
) -> (Future<T>, S) {
    let mut limit = Duration::from_millis(40);
    loop {
        let future = submit(limit);
        let mut seen = None;
        eventually("it is in time, or its time is up", || {
            let is_over = future.done();
            seen = in_time();
            is_over || seen.is_some()
        });
        if let Some(seen) = seen {
            return (future, seen);
        }
        assert!(outcome(future).is_err_and(|error| error.is_timeout()));
        limit *= 4;
    }
}

/// The open files and the threads of this process, when it has no more of them than that.
pub fn files_and_threads(at_most: (usize, usize)) -> (usize, usize) {
    let count = |what: &str| std::fs::read_dir(format!("/proc/self/{what}")).unwrap().count();
    let mut now = (0, 0);
    // A thread that was joined is listed for a moment longer.
    eventually(&format!("no more than {at_most:?} files and threads"), || {
        now = (count("fd"), count("task"));
        now.0 <= at_most.0 && now.1 <= at_most.1
    });
    now
}

pub fn exists(path: &Path) -> bool {
    path.exists()
}
