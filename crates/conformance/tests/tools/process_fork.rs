//! `Process` by a fork of the process itself. The test program has threads, so each test has a process of its own for it.

use crate::process::{end, sleeps};
use crate::process_ends::enters;
use concurrent_futures::StartMethod;
use concurrent_futures::multiprocessing::{Process, Stdio, active_children, current_process, parent_process};
use concurrent_futures_conformance::{Stage, Ticket, wait_for_end};
use std::cell::Cell;
use std::process::ExitCode;

/// A process to be forked: its one thread but for this is the watchdog, which sleeps in the kernel and holds nothing.
fn alone<A: concurrent_futures::Portable>(target: fn(A), argument: A) -> Process {
    Process::target(target, argument).start_method(StartMethod::Spawn).start().unwrap()
}

/// `os.fork()`: 0 in the child, the child's pid in the parent.
#[test]
fn the_child_is_a_copy() {
    thread_local!(static MEMORY: Cell<u32> = const { Cell::new(0) });

    fn child((parent, borrowed): (u32, &'static str)) -> ExitCode {
        assert_eq!(std::os::unix::process::parent_id(), parent);
        assert_eq!(parent_process().unwrap().pid(), parent);
        assert_eq!((current_process().name(), MEMORY.get(), borrowed), ("copy", 1, "text"));
        assert!(active_children().is_empty(), "the other one is not its child");
        MEMORY.set(2);
        ExitCode::from(23)
    }
    fn target(_: ()) {
        let other = Process::start(sleeps, ()).unwrap();
        MEMORY.set(1);
        let builder = Process::target(child, (std::process::id(), "text")).name("copy");
        // SAFETY: the watchdog, the only other thread of this process, holds nothing.
        let copy = unsafe { builder.start_fork() }.unwrap();
        assert_ne!(copy.pid(), std::process::id());
        assert_eq!(copy.join().unwrap().code(), Some(23));
        assert_eq!(MEMORY.get(), 1);
        other.kill().unwrap();
        assert_eq!(other.join().unwrap().signal(), Some(9));
    }
    assert!(end(&alone(target, ())).success());
}

#[test]
fn what_is_printed_before_is_printed_once() {
    fn target(_: ()) {
        print!("before, ");
        let builder = Process::target(|()| print!("child, "), ());
        // SAFETY: the watchdog, the only other thread of this process, holds nothing.
        let copy = unsafe { builder.start_fork() }.unwrap();
        assert!(copy.join().unwrap().success());
        print!("after");
    }
    let process = Process::target(target, ()).start_method(StartMethod::Spawn).stdout(Stdio::piped()).start().unwrap();
    assert_eq!(std::io::read_to_string(process.take_stdout().unwrap()).unwrap(), "before, child, after");
    assert!(end(&process).success());
}

#[test]
fn panics_and_exits_end_the_child_alone() {
    fn target(_: ()) {
        let code = |child: fn(()) -> ()| {
            let builder = Process::target(child, ()).stderr(Stdio::null()).env("CF_FORKED", "1").current_dir("/");
            // SAFETY: the watchdog, the only other thread of this process, holds nothing.
            unsafe { builder.start_fork() }.unwrap().join().unwrap().code()
        };
        assert_eq!(code(|()| panic!("on purpose")), Some(101));
        assert_eq!(code(|()| std::process::exit(9)), Some(9));
        assert_eq!(code(|()| assert_eq!(std::env::current_dir().unwrap(), std::path::Path::new("/"))), Some(0));
        assert_eq!(code(|()| assert_eq!(std::env::var("CF_FORKED").unwrap(), "1")), Some(0));
        assert!(std::env::var_os("CF_FORKED").is_none());
    }
    assert!(end(&alone(target, ())).success());
}

#[test]
fn a_handle_of_the_parents_is_of_no_use_in_the_child() {
    fn target(_: ()) {
        let other = Process::start(sleeps, ()).unwrap();
        let seen = other.clone();
        thread_local!(static OTHER: std::cell::RefCell<Option<Process>> = const { std::cell::RefCell::new(None) });
        OTHER.set(Some(seen));
        let builder = Process::target(
            |()| {
                let error = OTHER.take().unwrap().join().unwrap_err();
                assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
            },
            (),
        );
        // SAFETY: the watchdog, the only other thread of this process, holds nothing.
        let copy = unsafe { builder.start_fork() }.unwrap();
        assert!(copy.join().unwrap().success());
        assert!(other.is_alive());
        other.kill().unwrap();
    }
    assert!(end(&alone(target, ())).success());
}

/// The copies of its siblings' sockets do not keep those alive.
#[test]
fn nothing_outlives_the_parent_of_forks() {
    fn child(ticket: Ticket) {
        let grandchild = Process::start(enters, ticket.clone()).unwrap();
        ticket.enter("child");
        grandchild.join().unwrap();
    }
    fn target(ticket: Ticket) {
        for method in [StartMethod::Spawn, StartMethod::ForkServer] {
            drop(Process::target(enters, ticket.clone()).start_method(method).start().unwrap());
            // SAFETY: the only other threads of this process are the watchdog, and the reactor, which sleep in the kernel, hold
            // nothing, and are not used by the child.
            drop(unsafe { Process::target(child, ticket.clone()).start_fork() }.unwrap());
        }
        sleeps(());
    }
    let stage = Stage::new();
    let process = alone(target, stage.ticket());
    let arrivals = stage.wait_for(6);
    process.kill().unwrap();
    end(&process);
    arrivals.iter().for_each(|arrival| wait_for_end(arrival.pid()));
}

/// Nor do copies of handles: a fork that outlives its parent has them as long as it lives.
#[test]
fn a_fork_that_lives_on_keeps_nobody_alive() {
    fn lives_on(ticket: Ticket) {
        ticket.enter("fork");
    }
    fn target(ticket: Ticket) {
        let _other = Process::target(enters, ticket.clone()).start_method(StartMethod::Spawn).start().unwrap();
        let builder = Process::target(lives_on, ticket).outlive_parent(true);
        // SAFETY: the watchdog, the only other thread of this process, holds nothing.
        let _fork = unsafe { builder.start_fork() }.unwrap();
        sleeps(());
    }
    let stage = Stage::new();
    let process = alone(target, stage.ticket());
    let arrivals = stage.wait_for(2);
    process.kill().unwrap();
    end(&process);
    let (forks, others): (Vec<_>, Vec<_>) = arrivals.into_iter().partition(|arrival| arrival.words() == "fork");
    others.iter().for_each(|other| wait_for_end(other.pid()));
    for fork in forks {
        let pid = fork.pid();
        fork.release();
        wait_for_end(pid);
    }
}

/// At its end, a fork waits for its own children and leaves by `_exit`.
#[test]
fn a_fork_waits_for_its_children() {
    fn child(ticket: Ticket) {
        drop(Process::start(|ticket: Ticket| ticket.enter("grandchild"), ticket).unwrap());
    }
    fn target(ticket: Ticket) {
        // SAFETY: the watchdog, the only other thread of this process, holds nothing.
        let copy = unsafe { Process::target(child, ticket.clone()).start_fork() }.unwrap();
        ticket.tell(copy.pid());
        assert!(copy.join().unwrap().success());
    }
    let stage = Stage::new();
    let process = alone(target, stage.ticket());
    let arrivals = stage.wait_for(2);
    assert!(process.is_alive());
    drop(arrivals);
    assert!(end(&process).success());
}
