//! `SharedMemory`: what processes see of it, and what they leave behind.

use concurrent_futures::multiprocessing::{Process, SharedMemory, scavenge};
use concurrent_futures::{ExecutorExt, Portable, ProcessPoolExecutor};
use concurrent_futures_conformance::sweep::{Sweep, alone};
use concurrent_futures_conformance::{Soon, Stage, Ticket, until};
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;

/// A name that no other test has.
fn name(what: &str) -> String {
    static NAMES: AtomicU32 = AtomicU32::new(0);
    format!("conformance {what} {}-{}", std::process::id(), NAMES.fetch_add(1, Relaxed))
}

fn path(name: &str) -> PathBuf {
    PathBuf::from("/dev/shm").join(name)
}

/// Whether anything in `/dev/shm` has this name, also in the register.
fn is_anywhere(name: &str) -> bool {
    let in_register = |directory: PathBuf| {
        let names = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.file_name());
        names.filter_map(|entry| entry.into_string().ok()).any(|entry| entry.ends_with(name))
    };
    let directories = fs::read_dir("/dev/shm").into_iter().flatten().flatten().map(|entry| entry.path());
    path(name).exists() || directories.filter(|path| path.is_dir()).any(in_register)
}

/// By the tracker.
fn gone(name: &str) {
    until("its name goes", || !is_anywhere(name));
}

/// By who has dropped the last handle; or by who scavenges, if a process had copies of all descriptors for a moment, being started by
/// another test or about to end.
fn left(name: &str) {
    until("its name goes", || {
        scavenge().unwrap();
        !is_anywhere(name)
    });
}

fn write_to(memory: SharedMemory) {
    assert_eq!(memory.read(..5), b"howdy");
    let same = SharedMemory::open(memory.name().unwrap()).unwrap();
    same.write_at(5, b", world");
}

#[test]
fn a_process_that_gets_it_and_one_that_opens_it_see_the_same() {
    let memory = SharedMemory::create(name("shared").as_str(), 12).unwrap();
    memory.write_at(0, b"howdy");
    assert!(Process::start(write_to, memory.clone()).unwrap().join().unwrap().success());
    assert_eq!(memory.read(..), b"howdy, world");
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let letters = pool.submit(|memory: SharedMemory| memory.read(..).len(), memory.clone());
    assert_eq!(letters.soon().unwrap(), 12);
    let anonymous = SharedMemory::anonymous(100).unwrap();
    pool.submit(|memory: SharedMemory| memory.fill(.., 9), anonymous.clone()).soon().unwrap();
    assert_eq!(anonymous.read(..), [9; 100]);
}

fn make((name, ticket): (String, Ticket)) -> SharedMemory {
    let memory = SharedMemory::create(name.as_str(), 100).unwrap();
    memory.write_at(0, b"result");
    ticket.tell("made");
    memory
}

#[test]
fn a_result_keeps_its_name_on_its_way_and_after_the_death_of_its_worker() {
    let (pool, stage, name) = (ProcessPoolExecutor::new(1).unwrap(), Stage::new(), name("result"));
    let future = pool.submit(make, (name.clone(), stage.ticket()));
    stage.next().release();
    let memory = future.soon().unwrap();
    pool.kill_workers();
    assert_eq!(SharedMemory::open(&name).unwrap().read(..6), b"result");
    drop(memory);
    left(&name);
}

/// Makes what has this name, says so, and waits for its end.
fn make_and_park((name, ticket): (String, Ticket)) {
    let memory = SharedMemory::create(name.as_str(), 1 << 20).unwrap();
    memory.fill(.., 1);
    ticket.tell("made");
    loop {
        thread::park();
    }
}

#[test]
fn the_name_goes_when_its_process_is_killed() {
    let (stage, name) = (Stage::new(), name("killed"));
    let process = parked(make_and_park, name.clone(), &stage);
    drop(stage.next());
    assert!(is_anywhere(&name));
    process.kill().unwrap();
    process.join().unwrap();
    // Nobody makes or opens any other: it is the tracker that does it.
    gone(&name);
}

#[test]
fn the_name_goes_when_its_worker_is_killed() {
    let (stage, name, pool) = (Stage::new(), name("worker"), ProcessPoolExecutor::new(1).unwrap());
    let task = pool.submit(make_and_park, (name.clone(), stage.ticket()));
    drop(stage.next());
    pool.kill_workers();
    assert!(task.soon().is_err());
    gone(&name);
}

#[test]
fn the_name_stays_while_another_process_has_it() {
    let (stage, name) = (Stage::new(), name("both"));
    let process = parked(make_and_park, name.clone(), &stage);
    drop(stage.next());
    let memory = SharedMemory::open(&name).unwrap();
    process.kill().unwrap();
    process.join().unwrap();
    scavenge().unwrap();
    assert_eq!((memory.read(..2), is_anywhere(&name)), (vec![1, 1], true));
    drop(memory);
    gone(&name);
}

/// A process that is marked by the name of the stage, and waits for its end: should the test fail, it ends with it.
fn parked<A: Portable>(f: fn((A, Ticket)), argument: A, stage: &Stage) -> Process {
    let process = Process::target(f, (argument, stage.ticket())).daemon(true).env(MARK, stage.name());
    process.start().unwrap()
}

const MARK: &str = "CONCURRENT_FUTURES_TEST_STAGE";

/// The trackers of processes that are so marked.
fn trackers(stage: &Stage) -> Vec<i32> {
    let mark = format!("{MARK}={}", stage.name());
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let has_it = |pid: &str| {
        let read = |what: &str| fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
        let marked = read("environ").split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes());
        marked && read("comm").starts_with(b"cf-tracker")
    };
    let pids = processes.filter_map(|entry| entry.file_name().into_string().ok());
    pids.filter(|pid| has_it(pid)).filter_map(|pid| pid.parse().ok()).collect()
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    until("it ends", || rustix::process::test_kill_process(pid).is_err());
}

#[test]
fn what_is_left_when_the_tracker_is_killed_too_is_removed_by_the_next_program() {
    let (stage, name) = (Stage::new(), name("everything"));
    let process = parked(make_and_park, name.clone(), &stage);
    drop(stage.next());
    let [tracker] = trackers(&stage)[..] else { panic!("it has a tracker") };
    kill(tracker);
    process.kill().unwrap();
    process.join().unwrap();
    // By who wants the name, or by who makes the first one of another program.
    let next = Process::start(
        |name: String| drop(SharedMemory::create(name.as_str(), 8).expect("the name is free")),
        name.clone(),
    );
    assert!(next.unwrap().join().unwrap().success());
    left(&name);
}

/// Makes one, and when it is released another one.
fn make_twice((names, ticket): ([String; 2], Ticket)) {
    let first = SharedMemory::create(names[0].as_str(), 8).unwrap();
    ticket.enter("one");
    let second = SharedMemory::create(names[1].as_str(), 8).unwrap();
    ticket.tell("two");
    loop {
        thread::park();
        drop((first.clone(), second.clone()));
    }
}

#[test]
fn a_tracker_that_was_killed_is_replaced_by_one_that_knows_all() {
    let (stage, names) = (Stage::new(), [name("first"), name("second")]);
    let process = parked(make_twice, names.clone(), &stage);
    let first = stage.next();
    let [tracker] = trackers(&stage)[..] else { panic!("it has a tracker") };
    kill(tracker);
    first.release();
    drop(stage.next());
    assert_eq!(trackers(&stage).len(), 1);
    process.kill().unwrap();
    process.join().unwrap();
    names.iter().for_each(|name| gone(name));
    until("the tracker ends", || trackers(&stage).is_empty());
}

#[test]
fn what_is_untracked_outlives_its_process() {
    let name = name("untracked");
    let process = Process::start(
        |name: String| {
            let memory = SharedMemory::create(name.as_str(), 8).unwrap();
            memory.write_at(0, b"survivor");
            memory.untrack().unwrap();
        },
        name.clone(),
    );
    assert!(process.unwrap().join().unwrap().success());
    scavenge().unwrap();
    let memory = SharedMemory::open(&name).unwrap();
    assert_eq!(memory.read(..), b"survivor");
    memory.unlink().unwrap();
    assert!(!is_anywhere(&name));
}

#[test]
fn odd_names() {
    // CPython's TestSharedMemoryNames.
    for odd in [":", "a:b", "line\nfeed", " ", "ä\u{1f980}", "%s", "-rf"] {
        let name = format!("{odd}{}", name("odd"));
        let memory = SharedMemory::create(name.as_str(), 8).unwrap();
        assert_eq!(SharedMemory::open(&format!("/{name}")).unwrap().name(), Some(name.as_str()));
        drop(memory);
        left(&name);
    }
}

fn create_is_swept(name: String) -> u64 {
    // The tracker is started before: a sweep counts the instructions of one process.
    let other = SharedMemory::create(format!("{name} other").as_str(), 8).unwrap();
    let swept = Sweep::every(5003).run(
        || drop(SharedMemory::create(name.as_str(), 8)),
        // Another program that scavenges may be just about to remove it.
        |_| left(&name),
    );
    drop(other);
    swept.kills
}

#[test]
fn sweep_of_making_and_dropping() {
    let name = name("sweep");
    assert!(alone(create_is_swept, name.clone()) > 5);
    gone(&format!("{name} other"));
}

#[test]
fn a_name_that_nobody_has_is_not_found() {
    assert_eq!(SharedMemory::open(&name("nobody's")).unwrap_err().kind(), ErrorKind::NotFound);
}

/// Opens what has the first name, answers in it, and makes what has the second.
const PYTHON: &str = r#"
import sys
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
ours = SharedMemory(name=sys.argv[1])
assert bytes(ours.buf[:5]) == b"howdy"
ours.buf[5:12] = b", world"
theirs = SharedMemory(name=sys.argv[2], create=True, size=100)
theirs.buf[:3] = b"abc"
for memory in ours, theirs:
    # It would remove what it has opened, too.
    resource_tracker.unregister(memory._name, "shared_memory")
    memory.close()
"#;

#[test]
fn python_opens_what_is_made_here_and_the_other_way_round() {
    let (ours, theirs) = (name("ours"), name("theirs"));
    let memory = SharedMemory::create(ours.as_str(), 12).unwrap();
    memory.write_at(0, b"howdy");
    match Command::new("python3").args(["-c", PYTHON, &ours, &theirs]).status() {
        Err(error) if error.kind() == ErrorKind::NotFound => return eprintln!("no python3 here: LEFT OUT"),
        status => assert!(status.unwrap().success()),
    }
    assert_eq!(memory.read(..), b"howdy, world");
    let memory = SharedMemory::open(&theirs).unwrap();
    assert_eq!((memory.size(), memory.read(..4)), (100, b"abc\0".to_vec()));
    drop(memory);
    assert!(is_anywhere(&theirs), "what others have made is theirs to remove");
    SharedMemory::open(&theirs).unwrap().unlink().unwrap();
}
