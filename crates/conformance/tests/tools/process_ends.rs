//! How a `Process` ends: with its parent, before it, after it; and what is left.

use crate::process::{end, sleeps};
use concurrent_futures::multiprocessing::{Process, Stdio, active_children, connection, parent_process};
use concurrent_futures::{ExecutorExt, ProcessPoolExecutor, StartMethod};
use concurrent_futures_conformance::{PATIENCE, Soon, Stage, Ticket, descendants, until, wait_for_end};
use futures::executor::block_on;
use futures::future::join;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::fs;
use std::thread;
use std::time::Duration;

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];

/// A descriptor of a process that somebody else has started and that runs.
fn pidfd(pid: u32) -> std::os::fd::OwnedFd {
    pidfd_open(Pid::from_raw(pid.cast_signed()).unwrap(), PidfdFlags::empty()).unwrap()
}

fn ends(pidfd: &std::os::fd::OwnedFd) -> bool {
    let mut fds = [rustix::event::PollFd::new(pidfd, rustix::event::PollFlags::IN)];
    let limit = rustix::event::Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    rustix::event::poll(&mut fds, Some(&limit)).unwrap() == 1
}

fn state_of(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.trim_start().chars().next()
}

pub(crate) fn enters(ticket: Ticket) {
    ticket.enter("here");
}

/// A parent with a child of each start method, which has a child of its own, and with one that is stopped.
fn parent(ticket: Ticket) {
    /// It is the one that is stopped. The kernel would wake it too, and send SIGHUP to all in its group, and so to other tests, if that became
    /// an orphaned one at the end of another process; so it has a session of its own.
    fn lowest(ticket: Ticket) {
        rustix::process::setsid().unwrap();
        enters(ticket);
    }
    fn middle((ticket, method): (Ticket, bool)) {
        let method = if method { StartMethod::Spawn } else { StartMethod::ForkServer };
        let _child = Process::target(lowest, ticket.clone()).start_method(method).start().unwrap();
        ticket.enter("middle");
    }
    let _children = METHODS.map(|method| {
        let argument = (ticket.clone(), method == StartMethod::Spawn);
        Process::target(middle, argument).start_method(method).start().unwrap()
    });
    ticket.enter("parent");
}

#[test]
fn nothing_outlives_a_parent_that_is_killed() {
    for method in METHODS {
        let stage = Stage::new();
        let process = Process::target(parent, stage.ticket()).start_method(method).start().unwrap();
        let arrivals = stage.wait_for(5);
        let all: Vec<_> = arrivals.iter().map(|arrival| pidfd(arrival.pid())).collect();
        // One that is stopped cannot see it by itself.
        let stopped = arrivals.iter().find(|arrival| arrival.words() == "here").unwrap().pid();
        tell(stopped, Signal::STOP);
        let below = descendants(process.pid());
        process.kill().unwrap();
        assert_eq!(end(&process).signal(), Some(9));
        assert!(all.iter().all(ends), "{method:?}");
        below.into_iter().for_each(wait_for_end);
        drop(arrivals);
    }
}

/// `test_parent_process`: a process that may outlive its parent learns of its end.
#[test]
fn a_parents_end_can_be_waited_for() {
    fn waits(ticket: Ticket) {
        let parent = parent_process().unwrap();
        ticket.tell(parent.pid());
        assert!(parent.is_alive() && !parent.join_timeout(Duration::ZERO).unwrap());
        ticket.enter("waiting");
        parent.join().unwrap();
        futures::executor::block_on(parent.wait()).unwrap();
        assert!(connection::wait(&[&parent], Some(PATIENCE)).unwrap() == [0]);
        assert!(!parent.is_alive() && parent.join_timeout(PATIENCE).unwrap());
        ticket.tell("it has ended");
    }
    fn middle(ticket: Ticket) {
        drop(Process::target(waits, ticket).outlive_parent(true).start().unwrap());
        sleeps(());
    }
    let stage = Stage::new();
    let process = Process::start(middle, stage.ticket()).unwrap();
    assert_eq!(stage.next().words(), process.pid().to_string());
    stage.next().release();
    process.kill().unwrap();
    assert_eq!(end(&process).signal(), Some(9));
    assert_eq!(stage.next().words(), "it has ended");
}

/// At its end a process waits for its children, but not for daemons.
#[test]
fn children_are_waited_for_at_the_end_and_daemons_are_terminated() {
    fn target((ticket, exits): (Ticket, bool)) {
        let child = Process::start(enters, ticket.clone()).unwrap();
        let daemon = Process::target(sleeps, ()).daemon(true).start().unwrap();
        ticket.tell(daemon.pid());
        // Dropped or not, at the end of the target or by `exit`: they are waited for.
        if exits {
            std::process::exit(5);
        }
        drop(daemon);
        drop(child);
    }
    for (method, exits) in [(StartMethod::Spawn, false), (StartMethod::ForkServer, true)] {
        let stage = Stage::new();
        let process = Process::target(target, (stage.ticket(), exits)).start_method(method).start().unwrap();
        let arrivals = stage.wait_for(2);
        let daemon = arrivals.iter().find_map(|arrival| arrival.words().parse().ok()).unwrap();
        wait_for_end(daemon);
        assert!(process.is_alive(), "it waits for its child");
        drop(arrivals);
        assert_eq!(end(&process).code(), Some(if exits { 5 } else { 0 }));
    }
}

#[test]
fn a_daemon_may_not_have_children() {
    fn target(ticket: Ticket) {
        ticket.tell(Process::start(sleeps, ()).unwrap_err());
    }
    let stage = Stage::new();
    let process = Process::target(target, stage.ticket()).daemon(true).start().unwrap();
    assert!(process.daemon() && end(&process).success());
    assert!(stage.next().words().contains("daemon"));
}

#[test]
fn no_zombie_is_left_of_a_handle_that_was_dropped() {
    for method in METHODS {
        let stage = Stage::new();
        let process = Process::target(enters, stage.ticket()).start_method(method).start().unwrap();
        let (pid, arrival) = (process.pid(), stage.next());
        drop(process);
        assert!(active_children().iter().any(|child| child.pid() == pid));
        arrival.release();
        // Nobody asks for it, and nobody starts another one here; others of these tests may, and that is no harm.
        until("it is reaped", || state_of(pid).is_none());
    }
}

#[test]
fn no_zombie_is_left_of_many_that_end_at_once() {
    // More than there is room for in the socket by which the fork server reports them.
    let stage = Stage::new();
    let start = |_| Process::start(enters, stage.ticket()).unwrap();
    let processes: Vec<Process> = (0..400).map(start).collect();
    drop(stage.wait_for(processes.len()));
    let pids: Vec<u32> = processes.iter().map(Process::pid).collect();
    // Before anybody asks how they have ended: to see that they have is not to listen to the fork server.
    processes.iter().for_each(|process| assert_eq!(connection::wait(&[process], Some(PATIENCE)).unwrap(), [0]));
    until("all are reaped, though nobody listens", || pids.iter().all(|pid| state_of(*pid) != Some('Z')));
    processes
        .iter()
        .for_each(|process| assert!(process.join_timeout(PATIENCE).unwrap().is_some_and(|end| end.success())));
    drop(processes);
    until("all are reaped", || pids.iter().all(|pid| state_of(*pid) != Some('Z')));
}

#[test]
fn whoever_has_a_pipe_of_it_and_drops_the_handle_leaves_it_without_one() {
    fn reads(_: ()) {
        assert_eq!(std::io::read_to_string(std::io::stdin()).unwrap(), "");
    }
    let process = Process::target(reads, ()).stdin(Stdio::piped()).start().unwrap();
    let again = process.clone();
    drop(process);
    assert_eq!(again.join_timeout(Duration::from_millis(20)).unwrap(), None, "there is still a handle");
    let watched = pidfd(again.pid());
    drop(again);
    assert!(ends(&watched));
}

#[test]
fn a_process_can_be_waited_for_in_all_ways() {
    let stage = Stage::new();
    let process = Process::start(enters, stage.ticket()).unwrap();
    let arrival = stage.next();
    assert_eq!(connection::wait(&[&process], Some(Duration::ZERO)).unwrap(), []);
    let waits = process.wait();
    let process = process.close().expect_err("it runs");
    let joins = [process.clone(), process.clone()].map(|process| std::thread::spawn(move || end(&process)));
    arrival.release();
    assert!(futures::executor::block_on(waits).unwrap().success());
    assert!(joins.into_iter().all(|thread| thread.join().unwrap().success()));
    assert_eq!(connection::wait(&[&process], Some(PATIENCE)).unwrap(), [0]);
    assert!(process.close().expect("it has ended").success());
}

/// Trap 11.
#[test]
fn a_status_that_somebody_else_has_taken_is_no_error() {
    fn steals(_: ()) {
        let child = Process::target(|()| (), ()).start_method(StartMethod::Spawn).start().unwrap();
        // SAFETY: no status is asked for.
        assert_eq!(unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) }, child.pid().cast_signed());
        let status = child.join().unwrap();
        // The kernel tells since 6.15.
        assert!(status.success() || status.ending() == concurrent_futures::Ending::Unknown, "{status}");
        child.kill().expect("nobody is reached, whoever has its number now");
    }
    let process = Process::target(steals, ()).start_method(StartMethod::Spawn).start().unwrap();
    assert!(end(&process).success());
}

/// Under `strace -f`, or in a debugger: that is told first.
#[test]
fn the_status_of_one_that_is_traced_is_known_when_its_tracer_has_it() {
    fn traces((ticket, pid): (Ticket, u32)) {
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: this process watches that one from now on; nobody's memory is touched.
        let traced = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid.cast_signed(), none, none) } == 0;
        // It takes no notice of what it is told, and lets go at its end.
        ticket.enter(traced);
    }
    let stage = Stage::new();
    let process = Process::target(sleeps, ()).start_method(StartMethod::Spawn).start().unwrap();
    let tracer = Process::start(traces, (stage.ticket(), process.pid())).unwrap();
    let arrival = stage.next();
    if arrival.words() != "true" {
        eprintln!("nobody may trace here: LEFT OUT");
    }
    process.kill().unwrap();
    until("it has ended", || !process.is_alive());
    arrival.release();
    assert_eq!(end(&process).signal(), Some(9));
    assert!(end(&tracer).success());
}

/// The fork server is killed: its processes go on, the next one gets another.
#[test]
fn a_fork_server_that_dies_is_replaced() {
    fn target(ticket: Ticket) {
        let server = || {
            let child = Process::start(enters, ticket.clone()).unwrap();
            let stat = fs::read_to_string(format!("/proc/{}/stat", child.pid())).unwrap();
            let parent: u32 = stat.rsplit(')').next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
            (child, parent)
        };
        let (first, server_of_first) = server();
        ticket.enter("one");
        let watched = pidfd(server_of_first);
        rustix::process::pidfd_send_signal(&watched, rustix::process::Signal::KILL).unwrap();
        assert!(ends(&watched));
        assert!(first.is_alive());
        let (second, other) = server();
        assert_ne!(other, server_of_first);
        ticket.enter("two");
        assert!(second.join().unwrap().success());
        let status = first.join().unwrap();
        assert!(status.success() || status.ending() == concurrent_futures::Ending::Unknown, "{status}");
        ticket.tell("done");
    }
    let stage = Stage::new();
    let process = Process::start(target, stage.ticket()).unwrap();
    // It has begun when its fork server is killed.
    let (first, one): (Vec<_>, Vec<_>) = stage.wait_for(2).into_iter().partition(|arrival| arrival.words() == "here");
    drop(one);
    drop((stage.wait_for(2), first));
    assert_eq!(stage.next().words(), "done");
    assert!(end(&process).success());
}

/// With no room for another descriptor, and with no process left: an error, and nothing stays.
#[test]
fn scarcity_is_an_error_and_leaves_nothing() {
    fn target(method: bool) {
        let method = if method { StartMethod::Spawn } else { StartMethod::ForkServer };
        let start = || Process::target(|()| (), ()).start_method(method).start();
        assert!(start().unwrap().join().unwrap().success());
        let count = || fs::read_dir("/proc/self/fd").unwrap().count();
        let before = count();
        let open =
            (0..200).filter(|number| fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_ok()).count() as u64;
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let mut failed = 0;
        for room in 0..12 {
            let tight = rustix::process::Rlimit { current: Some(open + room), ..limit };
            rustix::process::setrlimit(rustix::process::Resource::Nofile, tight).unwrap();
            let outcome = start();
            rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
            match outcome {
                Ok(process) => assert!(process.join().is_ok()),
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{room}: {error}");
                    failed += 1;
                }
            }
            assert_eq!(count(), before, "{room}");
        }
        assert!(failed > 3);
        assert!(active_children().is_empty());
        assert!(start().unwrap().join().unwrap().success());
    }
    for method in METHODS {
        let process = Process::start(target, method == StartMethod::Spawn).unwrap();
        assert!(end(&process).success(), "{method:?}");
    }
}

#[test]
fn tasks_of_pools_start_processes_and_processes_have_pools() {
    fn task(number: u8) -> i32 {
        let process = Process::start(std::process::ExitCode::from, number).unwrap();
        process.join().unwrap().code().unwrap()
    }
    let pool = ProcessPoolExecutor::new(2).unwrap();
    assert_eq!(pool.submit(task, 17).soon().unwrap(), 17);

    fn target(_: ()) {
        let pool = ProcessPoolExecutor::new(1).unwrap();
        assert_eq!(pool.submit(task, 3).soon().unwrap(), 3);
    }
    assert!(end(&Process::start(target, ()).unwrap()).success());
}

/// What a task has started and left ends with its worker.
#[test]
fn a_process_of_a_task_ends_with_the_pool() {
    fn task(ticket: Ticket) {
        drop(Process::start(enters, ticket).unwrap());
    }
    let stage = Stage::new();
    let pool = ProcessPoolExecutor::new(1).unwrap();
    pool.submit(task, stage.ticket()).soon().unwrap();
    let arrival = stage.next();
    let watched = pidfd(arrival.pid());
    drop(pool);
    assert!(ends(&watched));
}

/// Nobody waits at the end for one that may go on.
#[test]
fn one_that_outlives_its_parent_is_not_waited_for() {
    fn target(ticket: Ticket) {
        let child = Process::target(enters, ticket.clone()).outlive_parent(true).start().unwrap();
        ticket.enter(child.pid());
    }
    let stage = Stage::new();
    let process = Process::start(target, stage.ticket()).unwrap();
    let (child, parent): (Vec<_>, Vec<_>) =
        stage.wait_for(2).into_iter().partition(|arrival| arrival.words() == "here");
    let watched = pidfd(child[0].pid());
    drop(parent);
    assert!(end(&process).success());
    let mut fds = [rustix::event::PollFd::new(&watched, rustix::event::PollFlags::IN)];
    assert_eq!(rustix::event::poll(&mut fds, Some(&rustix::event::Timespec::default())).unwrap(), 0, "it runs");
    drop(child);
    assert!(ends(&watched));
}

/// `test_lose_target_ref`: the parent keeps nothing of the call.
#[test]
fn the_argument_goes_when_the_process_is_started() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Held {
        #[serde(skip)]
        _here: std::sync::Arc<()>,
        number: u8,
    }
    let here = std::sync::Arc::new(());
    let held = Held { _here: here.clone(), number: 7 };
    let process = Process::start(|held: Held| assert_eq!(held.number, 7), held).unwrap();
    assert_eq!(std::sync::Arc::strong_count(&here), 1);
    assert!(end(&process).success());
}

/// gh-83856: handlers of `atexit` run in a process that was started anew.
#[test]
fn handlers_at_the_end_run_in_a_process() {
    extern "C" fn says() {
        println!("at exit");
    }
    fn target(_: ()) {
        // SAFETY: the function does not unwind.
        assert_eq!(unsafe { libc::atexit(says) }, 0);
        print!("target, ");
    }
    for method in METHODS {
        let process = Process::target(target, ()).start_method(method).stdout(Stdio::piped()).start().unwrap();
        assert_eq!(std::io::read_to_string(process.take_stdout().unwrap()).unwrap(), "target, at exit\n");
        assert!(end(&process).success());
    }
}

/// `test_wait_for_threads`: as at the end of `main` in Rust, threads end with the process.
#[test]
fn threads_do_not_keep_a_process() {
    fn target(_: ()) {
        std::thread::spawn(|| sleeps(()));
    }
    assert!(end(&Process::start(target, ()).unwrap()).success());
}

/// `test_forkserver_sigint`: somebody sends the signal to all that bear the program's name.
#[test]
fn an_interrupt_does_not_end_the_fork_server() {
    fn target(_: ()) {
        let child = Process::start(sleeps, ()).unwrap();
        let server = descendants(std::process::id())[0];
        tell(server, Signal::INT);
        assert!(Process::start(|_: ()| (), ()).unwrap().join().unwrap().success());
        assert!(child.is_alive() && descendants(std::process::id()).contains(&server));
        child.kill().unwrap();
    }
    assert!(end(&Process::start(target, ()).unwrap()).success());
}

/// Another thread stands in for the one that waits.
#[test]
fn a_task_on_threads_may_wait_for_a_process() {
    fn task(ticket: Ticket) -> bool {
        Process::start(enters, ticket).unwrap().join().unwrap().success()
    }
    let stage = Stage::new();
    let pool = concurrent_futures::ThreadPoolExecutor::new(1).unwrap();
    let waits = pool.submit(task, stage.ticket());
    let arrival = stage.next();
    // The pool's only thread waits, and another one is in its place.
    assert_eq!(pool.submit(|x: u32| x + 1, 1).soon().unwrap(), 2);
    arrival.release();
    assert!(waits.soon().unwrap());
}

/// A fork server that is killed each time gives no process, and no hang.
#[test]
fn a_fork_server_that_dies_each_time_is_an_error() {
    fn target(ticket: Ticket) {
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let open = |child| pidfd_open(Pid::from_raw(child)?, PidfdFlags::empty()).ok();
                    let listed = || descendants(std::process::id()).into_iter().map(u32::cast_signed);
                    let opened: Vec<_> = listed().filter_map(|child| Some((child, open(child)?))).collect();
                    // It is still there: so it is what was opened.
                    for child in listed() {
                        if let Some((_, child)) = opened.iter().find(|(other, _)| *other == child) {
                            let _ = rustix::process::pidfd_send_signal(child, rustix::process::Signal::KILL);
                        }
                    }
                }
            });
            for _ in 0..10 {
                match Process::start(sleeps, ()) {
                    // Its fork server may be gone, and it go on.
                    Ok(process) => {
                        process.kill().unwrap();
                        assert!(!process.join().unwrap().success());
                    }
                    Err(error) => assert!(error.to_string().contains("times in a row"), "{error}"),
                }
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        assert!(Process::start(|_: ()| (), ()).unwrap().join().unwrap().success());
        ticket.tell("done");
    }
    let stage = Stage::new();
    let process = Process::target(target, stage.ticket()).stderr(Stdio::null()).start().unwrap();
    assert!(end(&process).success());
    assert_eq!(stage.next().words(), "done");
}

fn parent_of(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap()
}

fn tell(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

/// Whoever starts a process waits for it, some seconds; who joins one does not, nor does the reactor, which reaps the others.
#[test]
fn a_fork_server_that_is_stopped_keeps_nobody_else_waiting() {
    /// Whether it was there to the end: after ten seconds it is given up.
    fn stop_the_fork_server() -> bool {
        let [joined, left] = [(); 2].map(|()| Process::start(sleeps, ()).unwrap());
        let server = parent_of(joined.pid());
        tell(server, Signal::STOP);
        until("it is stopped", || state_of(server) == Some('T'));
        thread::scope(|s| {
            let starting = thread::Builder::new().name("starting".into());
            let starting = starting.spawn_scoped(s, || Process::start(sleeps, ()).unwrap()).unwrap();
            let is_given_up = || state_of(server) != Some('T');
            until("it is waited for", || {
                let waits = fs::read_dir("/proc/self/task").unwrap().any(|task| {
                    let stat = fs::read_to_string(task.unwrap().path().join("stat"));
                    stat.is_ok_and(|stat| stat.contains("(starting) S"))
                });
                waits || is_given_up()
            });
            joined.kill().unwrap();
            assert_eq!(end(&joined).signal(), Some(9));
            let pid = left.pid();
            drop(left);
            tell(pid, Signal::KILL);
            until("it is dead", || state_of(pid) == Some('Z') || is_given_up());
            let (sender, receiver) = connection::one_way::<u32>().unwrap();
            let (received, sent) = block_on(join(receiver.recv_async(), async { sender.send(1) }));
            assert!(received.unwrap() == 1 && sent.is_ok());

            let is_there = !is_given_up();
            if is_there {
                tell(server, Signal::CONT);
            }
            let started = starting.join().unwrap();
            let is_its = parent_of(started.pid()) == server;
            started.kill().unwrap();
            end(&started);
            is_there && is_its
        })
    }
    fn target(_: ()) {
        // Should this process be kept from running for ten seconds, once more.
        assert!((0..3).any(|_| stop_the_fork_server()), "they have waited until the fork server was given up");
    }
    let process = Process::target(target, ()).start_method(StartMethod::Spawn).start().unwrap();
    assert!(end(&process).success());
}
