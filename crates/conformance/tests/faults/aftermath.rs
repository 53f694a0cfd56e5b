//! Part four of the invariant: nothing is left.

use concurrent_futures_conformance::descendants;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The variable that marks a row's program and everything that descends from it, whoever its parent is by now.
pub const MARK: &str = "CONCURRENT_FUTURES_FAULTS_ROW";

/// Where named shared memory is.
const NAMES: &str = "/dev/shm";

/// What is done behind the back of a test, such as the end of a thread that nobody waits for, is done by then.
const SETTLES: Duration = Duration::from_secs(20);

/// What this process has, and what descends from it.
#[derive(Debug, PartialEq, Eq)]
pub struct Belongings {
    /// Children, and all that descends from them, and what has this process's mark though it has lost its parents.
    processes: BTreeSet<u32>,
    /// What each open descriptor is, without the numbers that tell one pipe from the other.
    descriptors: Vec<String>,
    /// Files in the temporary directory, which is this row's own.
    files: BTreeSet<PathBuf>,
    /// Names of shared memory and semaphores, of the whole system, without directories.
    shared: BTreeSet<OsString>,
}

impl Belongings {
    pub fn now() -> Self {
        let mut descriptors: Vec<_> = fs::read_dir("/proc/self/fd")
            .expect("/proc is there")
            .flatten()
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .map(|target| target.to_string_lossy().split(":[").next().unwrap_or_default().to_owned())
            // The one that this very look needs.
            .filter(|target| !target.starts_with("/proc/"))
            .collect();
        descriptors.sort();
        let mark = std::env::var(MARK).expect("rows run in programs that are marked");
        let me = std::process::id();
        let processes = descendants(me).into_iter().chain(marked(&mark)).filter(|process| *process != me).collect();
        let names = fs::read_dir(NAMES).into_iter().flatten().flatten();
        let files_only = names.filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_dir()));
        let shared = files_only.map(|entry| entry.file_name()).collect();
        Belongings { processes, descriptors, files: files(&std::env::temp_dir()), shared }
    }

    /// Nothing descends from this process.
    pub fn has_no_processes(&self) -> bool {
        self.processes.is_empty()
    }

    /// Asserts that there is no more now than there was then.
    #[track_caller]
    pub fn are_all(&self) {
        let limit = Instant::now() + SETTLES;
        let mut now = Self::now();
        while !self.cover(&now) {
            if Instant::now() >= limit {
                panic!("left behind: {}", self.excess(&now));
            }
            std::thread::sleep(Duration::from_millis(2));
            now = Self::now();
        }
    }

    fn cover(&self, now: &Self) -> bool {
        now.processes == self.processes
            && now.descriptors == self.descriptors
            && now.files == self.files
            // What another program uses is that one's: all of this row's have ended.
            && now.shared.difference(&self.shared).all(|name| is_in_use(name))
    }

    fn excess(&self, now: &Self) -> String {
        let mut words = String::new();
        for process in now.processes.difference(&self.processes) {
            let read = |what: &str| fs::read_to_string(format!("/proc/{process}/{what}")).unwrap_or_default();
            let state = read("stat");
            let _ = write!(words, "process {process} ({}) {state:?}; ", read("cmdline").replace('\0', " "));
        }
        if now.descriptors != self.descriptors {
            let _ = write!(words, "descriptors: {:?}, before: {:?}; ", now.descriptors, self.descriptors);
        }
        let files: Vec<_> = now.files.difference(&self.files).collect();
        let shared: Vec<_> = now.shared.difference(&self.shared).collect();
        let _ = write!(words, "files: {files:?}, shared memory: {shared:?}");
        words
    }
}

/// Whether any other process has opened or mapped what has this name.
fn is_in_use(name: &OsStr) -> bool {
    let Ok(wanted) = fs::metadata(Path::new(NAMES).join(name)) else { return false };
    let (major, minor) = (libc::major(wanted.dev()), libc::minor(wanted.dev()));
    let mapped = format!(" {major:02x}:{minor:02x} {} ", wanted.ino());
    let processes = fs::read_dir("/proc").expect("/proc is there").flatten();
    // `/proc/self` is this one, too.
    let others = |process: &fs::DirEntry| {
        process.file_name().to_str().is_some_and(|pid| pid.parse().is_ok_and(|pid: u32| pid != std::process::id()))
    };
    processes.filter(others).any(|process| {
        let maps = fs::read_to_string(process.path().join("maps")).unwrap_or_default();
        let open = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        let mut open = open.filter_map(|entry| fs::metadata(entry.path()).ok());
        maps.contains(&mapped) || open.any(|file| (file.dev(), file.ino()) == (wanted.dev(), wanted.ino()))
    })
}

/// The processes with this mark in their environment. A zombie has none, but parents who know it.
pub fn marked(mark: &str) -> BTreeSet<u32> {
    let entry = format!("{MARK}={mark}");
    let has_it = |environment: Vec<u8>| environment.split(|byte| *byte == 0).any(|one| one == entry.as_bytes());
    fs::read_dir("/proc")
        .expect("/proc is there")
        .flatten()
        .filter(|process| fs::read(process.path().join("environ")).is_ok_and(has_it))
        .filter_map(|process| process.file_name().to_str()?.parse().ok())
        .collect()
}

/// All files and directories below `directory`.
pub fn files(directory: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    // A file may go while we look.
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(files(&entry.path()));
        }
        found.insert(entry.path());
    }
    found
}
