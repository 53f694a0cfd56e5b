//! The launcher with real processes: this test program, started again by the launcher.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use concurrent_futures_core::{Executor, ExecutorExt, Handle, Refusal, Shutdown, Task};
use rustix::process::Signal;

use super::*;
use crate::image;
use crate::sys::poller::{Interest, Poller};
use crate::sys::{pidfd, socket};

/// Nothing here takes that long; what would, hangs.
const LONG: Duration = Duration::from_secs(30);

/// A launcher with the pool's ends of the control sockets that it was given.
struct Pool {
    launcher: Launcher,
    poller: Poller,
    events: Vec<LaunchEvent>,
}

struct Running {
    pid: i32,
    pidfd: OwnedFd,
    born: Born,
    /// The worker ends when this does.
    control: OwnedFd,
}

impl Pool {
    fn new(method: StartMethod) -> Self {
        Self::with_preload(method, None)
    }

    fn with_preload(method: StartMethod, preload: Option<PreloadCall>) -> Self {
        let launcher = Launcher::new(method, preload, 1).unwrap();
        let poller = Poller::new().unwrap();
        poller.add(launcher.fd(), 0, Interest::READ).unwrap();
        Self { launcher, poller, events: Vec::new() }
    }

    /// Takes the first event that `pick` wants, waiting for it.
    fn expect<T>(&mut self, what: &str, mut pick: impl FnMut(&LaunchEvent) -> Option<T>) -> (T, LaunchEvent) {
        let deadline = Instant::now() + LONG;
        loop {
            for index in 0..self.events.len() {
                if let Some(picked) = pick(&self.events[index]) {
                    return (picked, self.events.remove(index));
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {what}, but {:?}", self.events);
            self.poller.wait(Some(left)).unwrap();
            self.events.extend(self.launcher.poll_events());
        }
    }

    fn request(&mut self, id: u64, name: &str) -> OwnedFd {
        let (ours, theirs) = socket::packet_pair().unwrap();
        self.launcher.start(WorkerId(id), name, Ends { control: theirs, output: None });
        ours
    }

    fn started(&mut self, id: u64, control: OwnedFd) -> Running {
        let is_it = |event: &LaunchEvent| match event {
            LaunchEvent::Started { worker, .. } if *worker == WorkerId(id) => Some(()),
            LaunchEvent::Failed { worker, error } if *worker == WorkerId(id) => panic!("not started: {error}"),
            _ => None,
        };
        match self.expect("start", is_it) {
            ((), LaunchEvent::Started { pid, pidfd, born, .. }) => Running { pid, pidfd, born, control },
            _ => unreachable!("picked above"),
        }
    }

    fn start(&mut self, id: u64, name: &str) -> Running {
        let control = self.request(id, name);
        self.started(id, control)
    }

    /// Waits for the end of a worker and learns how it was.
    fn ended(&mut self, id: u64, worker: &Running) -> ExitReport {
        assert!(pidfd::wait_end(&worker.pidfd, LONG).unwrap(), "worker {id} does not end");
        if let Some(exit) = self.launcher.reap(WorkerId(id), worker.pidfd.as_fd()) {
            return exit.report;
        }
        let report = |event: &LaunchEvent| match event {
            LaunchEvent::Exited { worker, exit } if *worker == WorkerId(id) => Some(exit.report),
            _ => None,
        };
        self.expect("report of an end", report).0
    }

    fn server_pid(&self) -> i32 {
        self.launcher.server_pid().unwrap()
    }

    fn kill_server(&mut self) {
        let pid = rustix::process::Pid::from_raw(self.server_pid()).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
    }
}

const KILLED: ExitReport = ExitReport::Signal { signal: libc::SIGKILL, core_dumped: false };

fn stat_field(pid: i32, number: usize) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat[stat.rfind(')').unwrap() + 1..].split_ascii_whitespace().nth(number - 3).unwrap().to_owned()
}

fn parent_of(pid: i32) -> i32 {
    stat_field(pid, 4).parse().unwrap()
}

fn command_line(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap().trim_end_matches('\0').to_owned()
}

/// Until `/proc` shows what a process does to itself just after its start.
fn eventually<T: PartialEq + std::fmt::Debug>(expected: T, mut look: impl FnMut() -> T) {
    let deadline = Instant::now() + LONG;
    while look() != expected {
        assert!(Instant::now() < deadline, "{:?} never became {expected:?}", look());
        std::thread::yield_now();
    }
}

fn signal_set(pid: i32, which: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(which)).unwrap();
    u64::from_str_radix(line.trim_start_matches(':').trim(), 16).unwrap()
}

/// What a process has open that this one has not: whoever started the tests may have left something open.
fn descriptors(pid: i32) -> HashSet<String> {
    let open = |pid: i32| -> HashSet<String> {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(|entry| entry.unwrap().path());
        entries.filter_map(|entry| Some(fs::read_link(entry).ok()?.to_str()?.to_owned())).collect()
    };
    &open(pid) - &open(std::process::id() as i32)
}

#[test]
fn a_spawned_worker_is_a_child_with_a_name_and_no_input() {
    let mut pool = Pool::new(StartMethod::Spawn);
    let worker = pool.start(1, "spawned one");
    assert_eq!(worker.born, Born::Spawned);
    assert_eq!(parent_of(worker.pid), std::process::id() as i32);
    eventually("spawned one".to_owned(), || command_line(worker.pid));
    eventually("/dev/null".into(), || fs::read_link(format!("/proc/{}/fd/0", worker.pid)).unwrap());
    drop(worker.control.try_clone().unwrap());
    let Running { pidfd, control, .. } = worker;
    drop(control);
    assert!(pidfd::wait_end(&pidfd, LONG).unwrap());
    let status = pool.launcher.reap(WorkerId(1), pidfd.as_fd());
    // Nobody wanted it: it has killed its group, and itself with it.
    assert_eq!(status.map(|exit| exit.report), Some(KILLED));
}

#[test]
fn a_forked_worker_is_a_child_of_the_fork_server() {
    let mut pool = Pool::new(StartMethod::ForkServer);
    let worker = pool.start(1, "forked one");
    let server = pool.server_pid();
    assert_eq!(worker.born, Born::Forked);
    assert_eq!(parent_of(worker.pid), server);
    assert_eq!(parent_of(server), std::process::id() as i32);
    eventually("forked one".to_owned(), || command_line(worker.pid));
    assert_eq!(command_line(server), "concurrent-futures fork server");
    assert_eq!(fs::read_to_string(format!("/proc/{}/comm", worker.pid)).unwrap().trim(), "forked one");
    assert_eq!(fs::read_link(format!("/proc/{}/fd/0", worker.pid)).unwrap().to_str(), Some("/dev/null"));

    let Running { pid, pidfd, control, .. } = worker;
    drop(control);
    assert!(pidfd::wait_end(&pidfd, LONG).unwrap());
    let worker = Running { pid, pidfd, born: Born::Forked, control: socket::packet_pair().unwrap().0 };
    let status = pool.ended(1, &worker);
    assert_eq!(status, KILLED);
}

#[test]
fn a_name_longer_than_the_room_is_cut() {
    let mut pool = Pool::new(StartMethod::ForkServer);
    let name = "long ".repeat(100);
    let worker = pool.start(1, &name);
    eventually(true, || {
        let shown = command_line(worker.pid);
        shown.len() >= 100 && name.starts_with(&shown)
    });
}

#[test]
fn workers_have_default_signals_and_nothing_of_each_other() {
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let mut pool = Pool::new(method);
        let workers: Vec<_> = (0..3).map(|id| pool.start(id, &format!("clean {method:?} {id}"))).collect();
        for (id, worker) in workers.iter().enumerate() {
            eventually(format!("clean {method:?} {id}"), || command_line(worker.pid));
            eventually(1, || descriptors(worker.pid).len());
            // 32 and 33 are the C library's own.
            let ignored = 1 << (libc::SIGPIPE - 1) | 1 << (libc::SIGTTOU - 1);
            eventually(ignored, || signal_set(worker.pid, "SigIgn") & !(0b11 << 31));
            eventually(0, || signal_set(worker.pid, "SigBlk"));
        }
        let all: HashSet<_> = workers.iter().flat_map(|worker| descriptors(worker.pid)).collect();
        assert_eq!(all.len(), workers.len(), "each has its own control socket: {all:?}");
    }
}

#[test]
fn deaths_are_reported_with_their_signal() {
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let mut pool = Pool::new(method);
        let worker = pool.start(7, "to be killed");
        pidfd::kill(&worker.pidfd).unwrap();
        assert_eq!(pool.ended(7, &worker), KILLED);
        // Others are not concerned.
        let worker = pool.start(8, "to be aborted");
        pidfd::signal(&worker.pidfd, Signal::ABORT).unwrap();
        let status = pool.ended(8, &worker);
        assert!(matches!(status, ExitReport::Signal { signal: libc::SIGABRT, .. }), "{status:?}");
    }
}

#[test]
fn the_fork_server_reaps_its_workers() {
    let mut pool = Pool::new(StartMethod::ForkServer);
    let worker = pool.start(1, "to be reaped");
    pidfd::kill(&worker.pidfd).unwrap();
    eventually(false, || fs::exists(format!("/proc/{}", worker.pid)).unwrap());
    assert_eq!(pool.ended(1, &worker), KILLED);
}

#[test]
fn an_idle_fork_server_that_is_killed_is_replaced_and_its_workers_live_on() {
    let mut pool = Pool::new(StartMethod::ForkServer);
    let old = pool.start(1, "old");
    let first = pool.server_pid();
    // Before that the worker has not had the word to go, and would leave.
    eventually("old".to_owned(), || command_line(old.pid));
    pool.kill_server();
    let (status, _) = pool.expect("death of the fork server", |event| match event {
        LaunchEvent::ServerDied { status } => Some(*status),
        _ => None,
    });
    assert_eq!(status, KILLED);

    let new = pool.start(2, "new");
    assert_ne!(pool.server_pid(), first);
    assert_eq!(parent_of(new.pid), pool.server_pid());
    assert!(!pidfd::wait_end(&old.pidfd, Duration::ZERO).unwrap());

    pidfd::kill(&old.pidfd).unwrap();
    let status = pool.ended(1, &old);
    assert!([KILLED, ExitReport::Unknown].contains(&status), "{status:?}");
}

#[test]
fn ctrl_c_does_not_end_the_fork_server() {
    let mut pool = Pool::new(StartMethod::ForkServer);
    pool.start(1, "before");
    let server = pool.server_pid();
    let pid = rustix::process::Pid::from_raw(server).unwrap();
    rustix::process::kill_process(pid, Signal::INT).unwrap();
    let worker = pool.start(2, "after");
    assert_eq!(parent_of(worker.pid), server);
    pidfd::signal(&worker.pidfd, Signal::INT).unwrap();
    assert_eq!(pool.ended(2, &worker), ExitReport::Signal { signal: libc::SIGINT, core_dumped: false });
}

#[test]
fn a_fork_server_that_dies_again_and_again_while_idle_is_replaced_each_time() {
    let mut pool = Pool::new(StartMethod::ForkServer);
    for id in 0..5 {
        let worker = pool.start(id, "one of five");
        assert_eq!(worker.born, Born::Forked);
        pool.kill_server();
        pool.expect("death of the fork server", |event| matches!(event, LaunchEvent::ServerDied { .. }).then_some(()));
    }
}

#[test]
fn what_a_dying_fork_server_has_not_answered_is_asked_again_and_exactly_one_process_comes_of_it() {
    let tag = format!("storm {}", std::process::id());
    for round in 0..20 {
        let mut pool = Pool::new(StartMethod::ForkServer);
        let mut controls = Vec::new();
        for id in 0..40 {
            controls.push(pool.request(id, &tag));
            if id == round * 2 {
                pool.kill_server();
            }
        }
        let workers: Vec<_> =
            controls.into_iter().enumerate().map(|(id, control)| pool.started(id as u64, control)).collect();
        let known: HashSet<_> = workers.iter().map(|worker| worker.pid).collect();
        assert_eq!(known.len(), workers.len());
        // One that was forked and not reported leaves by itself; so does one whose fork server died after the report and
        // before it let it go.
        let strange = || {
            let there = processes_called(&tag);
            let ended = |worker: &&Running| pidfd::wait_end(&worker.pidfd, Duration::ZERO).unwrap();
            let gone: HashSet<_> = workers.iter().filter(ended).map(|worker| worker.pid).collect();
            there
                .difference(&known)
                .chain(known.difference(&there).filter(|pid| !gone.contains(pid)))
                .copied()
                .collect()
        };
        eventually(Vec::<i32>::new(), strange);
        drop(workers);
        drop(pool);
        eventually(HashSet::new(), || processes_called(&tag));
    }
}

/// The processes with this command line, and those that were just forked and have not taken it yet.
fn processes_called(name: &str) -> HashSet<i32> {
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.trim_end_matches('\0') == name)
    })
    .collect()
}

/// An executor that keeps the task that it is given, to be encoded.
#[derive(Debug, Default)]
struct Keep(Mutex<Option<Task>>);

impl Executor for Keep {
    fn submit_task(&self, task: Task) {
        *self.0.lock().unwrap() = Some(task);
    }

    fn try_submit_task(&self, task: Task) -> Result<(), (Task, Refusal)> {
        self.submit_task(task);
        Ok(())
    }

    fn num_workers(&self) -> usize {
        1
    }

    fn shutdown(&self, _how: Shutdown) {}

    fn handle(&self) -> Handle {
        Handle::new(Self::default())
    }
}

fn preload(f: fn(String) -> Result<(), String>, argument: &str) -> Option<PreloadCall> {
    let keep = Keep::default();
    drop(keep.submit_fallible(f, argument.to_owned()));
    let call = keep.0.into_inner().unwrap().unwrap().encode().unwrap();
    Some(PreloadCall {
        trampoline: image::offset_of(call.entry.trampoline).unwrap(),
        function: image::offset_of(call.entry.function).unwrap(),
        input: call.input.into_vec().into(),
    })
}

#[test]
fn the_preload_runs_once_before_the_workers() {
    fn touch(path: String) -> Result<(), String> {
        use std::io::Write;
        let file = fs::File::options().create(true).append(true).open(path);
        file.and_then(|mut file| writeln!(file, "{}", std::process::id())).map_err(|error| error.to_string())
    }
    let path = std::env::temp_dir().join(format!("concurrent-futures-preload-{}", std::process::id()));
    let mut pool = Pool::with_preload(StartMethod::ForkServer, preload(touch, path.to_str().unwrap()));
    for id in 0..2 {
        assert_eq!(pool.start(id, "after the preload").born, Born::Forked);
    }
    let written = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(written, format!("{}\n", pool.server_pid()));
}

#[test]
fn a_large_argument_reaches_the_preload() {
    fn check(text: String) -> Result<(), String> {
        if text.len() == 3_000_000 { Ok(()) } else { Err(format!("{} bytes", text.len())) }
    }
    let mut pool = Pool::with_preload(StartMethod::ForkServer, preload(check, &"x".repeat(3_000_000)));
    assert_eq!(pool.start(1, "after the preload").born, Born::Forked);
}

#[test]
fn a_preload_that_fails_closes_the_launcher() {
    fn fail(what: String) -> Result<(), String> {
        Err(format!("no {what} here"))
    }
    let mut pool = Pool::with_preload(StartMethod::ForkServer, preload(fail, "model"));
    let _control = pool.request(1, "never");
    let is_error = |event: &LaunchEvent| match event {
        LaunchEvent::PreloadFailed { error } => Some(error.to_string()),
        _ => None,
    };
    let (text, _) = pool.expect("failure of the preload", is_error);
    assert!(text.contains("no model here"), "{text}");
    for id in [1, 2] {
        let control = (id == 2).then(|| pool.request(2, "never either"));
        pool.expect("failure of the start", |event| match event {
            LaunchEvent::Failed { worker, .. } if *worker == WorkerId(id) => Some(()),
            _ => None,
        });
        drop(control);
    }
    assert!(pool.events.is_empty(), "{:?}", pool.events);
}

#[test]
fn a_preload_that_kills_the_fork_server_is_given_up() {
    fn abort(_: String) -> Result<(), String> {
        std::process::abort()
    }
    let mut pool = Pool::with_preload(StartMethod::ForkServer, preload(abort, ""));
    let _control = pool.request(1, "never");
    let (text, _) = pool.expect("failure of the preload", |event| match event {
        LaunchEvent::PreloadFailed { error } => Some(error.to_string()),
        _ => None,
    });
    assert!(text.contains("SIGABRT") || text.contains('6'), "{text}");
}

#[test]
fn a_thread_in_the_fork_server_makes_the_launcher_spawn() {
    fn start_thread(_: String) -> Result<(), String> {
        std::thread::spawn(|| {
            loop {
                std::thread::park();
            }
        });
        Ok(())
    }
    let mut pool = Pool::with_preload(StartMethod::ForkServer, preload(start_thread, ""));
    let controls: Vec<_> = (0..3).map(|id| pool.request(id, "spawned after all")).collect();
    let (why, _) = pool.expect("fall-back", |event| match event {
        LaunchEvent::FellBack { why } => Some(why.clone()),
        _ => None,
    });
    assert!(why.contains("thread"), "{why}");
    for (id, control) in controls.into_iter().enumerate() {
        assert_eq!(pool.started(id as u64, control).born, Born::Spawned);
    }
    assert_eq!(pool.start(9, "spawned too").born, Born::Spawned);
    assert!(pool.events.is_empty(), "{:?}", pool.events);
}

fn hang(_: String) -> Result<(), String> {
    loop {
        std::thread::park();
    }
}

#[test]
fn a_preload_that_hangs_blocks_nobody_and_ends_with_the_launcher() {
    let mut pool = Pool::with_preload(StartMethod::ForkServer, preload(hang, ""));
    let _controls: Vec<_> = (0..100).map(|id| pool.request(id, "waits")).collect();
    assert_eq!(pool.poller.wait(Some(Duration::ZERO)).unwrap(), []);
    let server = pool.server_pid();
    drop(pool);
    assert!(!fs::exists(format!("/proc/{server}")).unwrap());
}

#[test]
fn dropping_the_launcher_ends_the_fork_server_and_all_below_it() {
    let mut pool = Pool::new(StartMethod::ForkServer);
    let workers: Vec<_> = (0..3).map(|id| pool.start(id, "below")).collect();
    let server = pool.server_pid();
    // A stopped worker does not leave by itself.
    pidfd::signal(&workers[1].pidfd, Signal::STOP).unwrap();
    drop(pool);
    assert!(!fs::exists(format!("/proc/{server}")).unwrap());
    for worker in &workers {
        assert!(!fs::exists(format!("/proc/{}", worker.pid)).unwrap());
    }
}

#[test]
fn a_stopped_fork_server_ends_with_the_launcher_too() {
    let pool = Pool::new(StartMethod::ForkServer);
    let server = pool.server_pid();
    let pid = rustix::process::Pid::from_raw(server).unwrap();
    rustix::process::kill_process(pid, Signal::STOP).unwrap();
    drop(pool);
    assert!(!fs::exists(format!("/proc/{server}")).unwrap());
}

/// Not a test of its own: takes all descriptors away from the tests beside it.
#[test]
#[ignore = "a program for the test below"]
fn as_a_program_without_descriptors() {
    if std::env::var_os(PROGRAM).is_none() {
        return;
    }
    let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let low = rustix::process::Rlimit { current: Some(64), ..limits };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, low).unwrap();
    let mut pool = Pool::new(StartMethod::ForkServer);
    let before = pool.start(1, "before");
    let (ours, theirs) = socket::packet_pair().unwrap();
    let mut all = Vec::new();
    while let Ok(file) = fs::File::open("/dev/null") {
        all.push(file);
    }
    pool.launcher.start(WorkerId(2), "without", Ends { control: theirs, output: None });
    let (error, _) = pool.expect("failure of the start", |event| match event {
        LaunchEvent::Failed { worker: WorkerId(2), error } => Some(error.raw_os_error()),
        _ => None,
    });
    assert_eq!(error, Some(libc::EMFILE));
    drop((all, ours));
    // Nothing else was harmed.
    let after = pool.start(3, "after");
    assert_eq!(parent_of(after.pid), parent_of(before.pid));
    assert!(pool.events.is_empty(), "{:?}", pool.events);
}

#[test]
fn without_descriptors_a_start_fails_and_nothing_else() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "launch::tests::as_a_program_without_descriptors", "--ignored", "--nocapture"])
        .env(PROGRAM, "yes")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
}

/// Set for tests that are programs of others.
const PROGRAM: &str = "CONCURRENT_FUTURES_TEST_PROGRAM";

/// Not a test of its own: the parent that the next one kills.
#[test]
#[ignore = "runs for ever; started by the test below"]
fn as_a_parent_to_be_killed() {
    if std::env::var_os(PROGRAM).is_none() {
        return;
    }
    let mut pools: Vec<_> = [StartMethod::ForkServer, StartMethod::Spawn].map(Pool::new).into();
    let mut pids = vec![pools[0].server_pid()];
    let mut workers = Vec::new();
    for pool in &mut pools {
        for id in 0..3 {
            let worker = pool.start(id, "orphan to be");
            pids.push(worker.pid);
            workers.push(worker);
        }
    }
    // Those in the midst of their start would be ended by other means.
    for worker in &workers {
        eventually("orphan to be".to_owned(), || command_line(worker.pid));
        eventually("/dev/null".into(), || fs::read_link(format!("/proc/{}/fd/0", worker.pid)).unwrap());
    }
    // One of each kind is stopped, and cannot see the end of its control socket.
    for worker in workers.chunks(3).map(|chunk| &chunk[0]) {
        pidfd::signal(&worker.pidfd, Signal::STOP).unwrap();
        eventually("T".to_owned(), || stat_field(worker.pid, 3));
    }
    // A fork server that is in its preload does not see the end of its socket either.
    let hanging = Pool::with_preload(StartMethod::ForkServer, preload(hang, ""));
    pids.push(hanging.server_pid());
    // And a worker that has lost its fork server before.
    let mut orphaning = Pool::new(StartMethod::ForkServer);
    let orphan = orphaning.start(0, "orphan already");
    eventually("orphan already".to_owned(), || command_line(orphan.pid));
    orphaning.kill_server();
    orphaning.expect("death of the fork server", |event| matches!(event, LaunchEvent::ServerDied { .. }).then_some(()));
    pids.push(orphan.pid);
    println!("pids {}", pids.iter().map(i32::to_string).collect::<Vec<_>>().join(" "));
    loop {
        std::thread::park();
    }
}

#[test]
fn when_the_parent_is_killed_everything_ends() {
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "launch::tests::as_a_parent_to_be_killed", "--ignored", "--nocapture"])
        .env(PROGRAM, "yes")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines().map(|line| line.unwrap());
    // The test harness may have begun the line.
    let pids = lines.find_map(|line| Some(line.split_once("pids ")?.1.to_owned())).unwrap();
    let processes: Vec<_> = pids.split(' ').map(|pid| pidfd::open_child(pid.parse().unwrap()).unwrap()).collect();
    assert_eq!(processes.len(), 9);
    parent.kill().unwrap();
    for (process, pid) in processes.iter().zip(pids.split(' ')) {
        assert!(pidfd::wait_end(process, LONG).unwrap(), "process {pid} outlives its parent");
    }
    parent.wait().unwrap();
}
