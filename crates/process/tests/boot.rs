//! Becoming a worker, seen from outside: what is there in a task, and who is refused.

// First, so that it is linked last: its constructor then follows the boot.
extern crate concurrent_futures_late_constructor as late;

mod support;

use concurrent_futures_core::{ExecutorExt, Future, TaskError};
use concurrent_futures_process::{ProcessPoolExecutor, StartMethod};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use support::{LIMIT, Place, eventually, outcome, pool, with_both};

const VARIABLE: &str = "CONCURRENT_FUTURES_BOOT";
const WORKER: &str = concat!(env!("CARGO_PKG_VERSION"), ";worker");
const REFUSED: i32 = 125;
const PROGRAM: &str = "CONCURRENT_FUTURES_TEST_PROGRAM";

/// Runs one of the ignored tests below as a program of its own.
fn program(exe: &Path, test: &str) -> Command {
    let mut command = Command::new(exe);
    command.args(["--exact", test, "--ignored", "--nocapture"]).env(PROGRAM, "yes");
    command
}

/// Whether one of them runs as such, and not because somebody runs all ignored tests.
fn is_program() -> bool {
    env::var_os(PROGRAM).is_some()
}

fn this_exe() -> PathBuf {
    env::current_exe().unwrap()
}

/// Made by another process: a file that this one has had open for writing may still be so in a child that a test
/// beside is just starting, and then cannot be run.
fn copy_of_this_exe(place: &Place) -> PathBuf {
    let copy = place.path("copy");
    assert!(Command::new("cp").arg(this_exe()).arg(&copy).status().unwrap().success());
    copy
}

#[track_caller]
fn succeeds(mut command: Command) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{status}\n{stdout}\n{stderr}");
    assert!(stdout.contains("1 passed"), "{stdout}");
}

#[test]
fn constructors_before_and_after_the_boot_have_run_in_a_worker() {
    static EARLY: AtomicU8 = AtomicU8::new(0);

    extern "C" fn constructor() {
        EARLY.store(if env::var_os(VARIABLE).is_some() { late::BEFORE } else { late::AFTER }, Ordering::Relaxed);
    }
    #[used]
    // SAFETY: the C library calls what it finds in this section, and this is a function that can be called so.
    #[unsafe(link_section = ".init_array")]
    static ENTRY: extern "C" fn() = constructor;

    with_both(|builder| {
        let pool = builder.max_workers(1).build().unwrap();
        let seen = outcome(pool.submit(|()| (EARLY.load(Ordering::Relaxed), late::seen()), ())).unwrap();
        assert!(seen.0 != late::NEVER && seen.1 != late::NEVER, "not called: {seen:?}");
        // With link-time optimisation all constructors come in one object, in an order of its own.
        if cfg!(debug_assertions) {
            assert_eq!(seen, (late::BEFORE, late::AFTER), "the linker has placed them otherwise");
        }
    });
}

#[test]
fn tasks_and_their_programs_do_not_inherit_the_boot_variable() {
    with_both(|builder| {
        let pool = builder.max_workers(1).build().unwrap();
        assert!(outcome(pool.submit(|()| env::var_os(VARIABLE).is_none(), ())).unwrap());
        let shown = pool.submit(
            |variable| {
                let output = Command::new("sh").arg("-c").arg(format!("echo ${{{variable}-none}}")).output().unwrap();
                String::from_utf8(output.stdout).unwrap()
            },
            VARIABLE.to_owned(),
        );
        assert_eq!(outcome(shown).unwrap(), "none\n");
    });
}

#[test]
fn the_environment_reaches_the_tasks() {
    // SAFETY: the name is this test's own, and what reads the environment at the same time does so through std.
    unsafe { env::set_var("CONCURRENT_FUTURES_TEST_OF_THE_ENVIRONMENT", "yes") };
    with_both(|builder| {
        let pool = builder.max_workers(1).build().unwrap();
        let value = pool.submit(|()| env::var("CONCURRENT_FUTURES_TEST_OF_THE_ENVIRONMENT").ok(), ());
        assert_eq!(outcome(value).unwrap().as_deref(), Some("yes"));
    });
}

#[test]
fn a_worker_without_a_control_socket_refuses_and_main_does_not_run() {
    let output = Command::new(this_exe()).env(VARIABLE, WORKER).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(REFUSED));
    assert_eq!(output.stdout, b"", "the test harness has not run");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("no control socket"), "{text}");
}

#[test]
fn a_control_socket_that_is_not_the_parents_is_refused() {
    let (ours, theirs) = control_pair();
    // The shell is the parent, this test has made the socket.
    let output = Command::new("sh")
        .args(["-c", "\"$0\"; echo $?"])
        .arg(this_exe())
        .env(VARIABLE, WORKER)
        .stdin(Stdio::from(theirs))
        .output()
        .unwrap();
    drop(ours);
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{REFUSED}\n"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("must come from its parent"), "{text}");
}

#[test]
fn a_worker_whose_pool_goes_before_it_begins_ends_quietly() {
    let (ours, theirs) = control_pair();
    let mut command = Command::new(this_exe());
    command.env(VARIABLE, WORKER).stdin(Stdio::from(theirs)).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    drop(command);
    drop(ours);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len(), output.stderr.len()), (Some(0), 0, 0), "{output:?}");
}

#[test]
fn the_variable_of_another_version_means_nothing() {
    for value in ["0.0.0;worker", "", "worker"] {
        let output = Command::new(this_exe()).arg("--list").env(VARIABLE, value).output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains("the_variable_of_another_version_means_nothing"));
    }
}

fn control_pair() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
}

#[test]
#[ignore = "a program for the next test"]
fn as_a_program_with_raised_privileges() {
    if !is_program() {
        return;
    }
    let error = ProcessPoolExecutor::new(1).unwrap_err().to_string();
    assert!(error.contains("raised privileges"), "{error}");
}

#[test]
fn raised_privileges_are_refused_on_both_sides() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tested: only root can make a program with raised privileges");
        return;
    }
    let place = Place::new();
    fs::set_permissions(place.path(""), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let copy = copy_of_this_exe(&place);
    std::os::unix::fs::chown(&copy, Some(65534), Some(65534)).unwrap();
    fs::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(0o4755)).unwrap();

    succeeds(program(&copy, "as_a_program_with_raised_privileges"));

    let (_ours, theirs) = control_pair();
    let output = Command::new(&copy).env(VARIABLE, WORKER).stdin(Stdio::from(theirs)).output().unwrap();
    assert_eq!(output.status.code(), Some(REFUSED));
    assert!(String::from_utf8_lossy(&output.stderr).contains("raised privileges"), "{output:?}");
}

#[test]
#[ignore = "a program for the next test"]
fn as_a_program_started_by_the_loader() {
    if !is_program() {
        return;
    }
    let error = ProcessPoolExecutor::new(1).unwrap_err().to_string();
    assert!(error.contains("loader"), "{error}");
}

#[test]
fn a_program_started_through_the_loader_is_refused() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mut files = maps.lines().filter_map(|line| line.split_ascii_whitespace().nth(5));
    let Some(loader) = files.find(|file| file.rsplit('/').next().is_some_and(|name| name.starts_with("ld-"))) else {
        eprintln!("not tested: this program has no loader");
        return;
    };
    let mut command = Command::new(loader);
    command.arg(this_exe()).args(["--exact", "as_a_program_started_by_the_loader", "--ignored"]).env(PROGRAM, "yes");
    succeeds(command);
}

#[test]
#[ignore = "a program for the next test"]
fn as_a_program_that_is_replaced_on_disk() {
    if !is_program() {
        return;
    }
    let exe = this_exe();
    fs::remove_file(&exe).unwrap();
    fs::write(&exe, "#!/bin/sh\necho another program\n").unwrap();
    fs::set_permissions(&exe, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    with_both(|builder| {
        let pool = builder.max_workers(1).build().unwrap();
        assert_eq!(outcome(pool.submit(|x: u64| x * x, 12)).unwrap(), 144);
    });
}

#[test]
fn a_program_whose_file_was_replaced_still_has_workers() {
    let place = Place::new();
    let copy = copy_of_this_exe(&place);
    succeeds(program(&copy, "as_a_program_that_is_replaced_on_disk"));
}

#[test]
#[ignore = "a program for the next test"]
fn as_a_program_that_ignores_the_death_of_children() {
    if !is_program() {
        return;
    }
    with_both(|builder| {
        let pool = builder.max_workers(1).build().unwrap();
        // Waits for a child, which fails in a process that ignores SIGCHLD.
        let code = pool.submit(|()| Command::new("sh").args(["-c", "exit 6"]).status().unwrap().code(), ());
        assert_eq!(outcome(code).unwrap(), Some(6));
        // A worker's own end may then be unknown, but is noticed.
        let death: Future<()> = pool.submit(|()| std::process::exit(9), ());
        let error = outcome(death).unwrap_err();
        assert!(error.is_worker_death(), "{error}");
        assert_eq!(outcome(pool.submit(|x: u64| x, 1)).unwrap(), 1);
    });
}

#[test]
fn a_worker_starts_with_default_signals() {
    // The shell passes an ignored signal on, as std's own way to do it would not be posix_spawn.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' CHLD TERM; exec \"$0\" \"$@\""]).arg(this_exe());
    command.args(["--exact", "as_a_program_that_ignores_the_death_of_children", "--ignored"]).env(PROGRAM, "yes");
    succeeds(command);
}

/// One level of pools in pools. `Err` is what the innermost pool was refused with, and how deep it was.
fn nest(level: u32) -> Result<u32, String> {
    let pool = ProcessPoolExecutor::new(1).map_err(|error| format!("level {level}: {error}"))?;
    pool.submit(nest, level + 1).result().unwrap_or_else(|error: TaskError| Err(error.to_string()))
}

#[test]
fn pools_nest_only_so_deep() {
    let error = nest(0).unwrap_err();
    assert!(error.starts_with("level 4: ") && error.contains("nested"), "{error}");
}

#[test]
#[ignore = "a program for the next test"]
fn as_a_parent_whose_tasks_start_programs() {
    if !is_program() {
        return;
    }
    #[expect(clippy::zombie_processes, reason = "the test is about who ends it")]
    // Answers with the pids of the worker, of a program, and of one whose own parent has gone.
    fn start(_: ()) -> Vec<u32> {
        let child = Command::new("sleep").arg("1000").stdout(Stdio::null()).spawn().unwrap();
        let daemon = Command::new("sh").args(["-c", "sleep 1000 >/dev/null 2>&1 & echo $!"]).output().unwrap();
        let daemon = String::from_utf8(daemon.stdout).unwrap().trim().parse().unwrap();
        vec![std::process::id(), child.id(), daemon]
    }
    let make = |method| ProcessPoolExecutor::builder().max_workers(1).start_method(method).build().unwrap();
    let (forked, spawned) = (make(StartMethod::ForkServer), make(StartMethod::Spawn));
    let mut pids = outcome(forked.submit(start, ())).unwrap();
    // The third one has lost its parent: only a fork server adopts those.
    let of_spawned = outcome(spawned.submit(start, ())).unwrap();
    pids.extend(&of_spawned[..2]);
    kill(of_spawned[2]);
    // Both are busy when the end comes.
    let _busy = [&forked, &spawned].map(|pool| {
        pool.submit(
            |()| loop {
                std::thread::park()
            },
            (),
        )
    });
    let _busy: [Future<()>; 2] = _busy;
    println!("pids {}", pids.iter().map(u32::to_string).collect::<Vec<_>>().join(" "));
    loop {
        std::thread::park();
    }
}

fn kill(pid: u32) {
    let pid = Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn when_the_parent_is_killed_workers_and_the_programs_of_their_tasks_end() {
    let mut parent =
        program(&this_exe(), "as_a_parent_whose_tasks_start_programs").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines().map(|line| line.unwrap());
    let pids = lines.find_map(|line| Some(line.split_once("pids ")?.1.to_owned())).unwrap();
    let processes: Vec<_> = pids
        .split(' ')
        .map(|pid| {
            (pid.to_owned(), pidfd_open(Pid::from_raw(pid.parse().unwrap()).unwrap(), PidfdFlags::empty()).unwrap())
        })
        .collect();
    assert_eq!(processes.len(), 5);
    parent.kill().unwrap();
    assert_eq!(parent.wait().unwrap().signal(), Some(9));
    for (pid, process) in &processes {
        let mut poll = [rustix::event::PollFd::new(process, rustix::event::PollFlags::IN)];
        let limit = LIMIT.try_into().unwrap();
        assert_eq!(rustix::event::poll(&mut poll, Some(&limit)).unwrap(), 1, "process {pid} outlives its parent");
    }
}

#[test]
fn a_dropped_pool_leaves_no_process() {
    with_both(|builder| {
        let pool = builder.max_workers(2).worker_name_prefix("leaves-nothing").build().unwrap();
        let pids = pool.map(|_: u32| std::process::id(), 0..4).collect::<Result<Vec<_>, _>>().unwrap();
        drop(pool);
        for pid in pids {
            // Forked ones were reaped by the fork server, which has ended before the drop has.
            assert!(!Path::new(&format!("/proc/{pid}")).exists(), "worker {pid} is left");
        }
    });
    eventually("no child with that name", || !children().iter().any(|name| name.contains("leaves-nothing")));
    drop(pool(1));
}

/// The names of this process's children.
fn children() -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let status = entries.filter_map(|path| fs::read_to_string(path.join("status")).ok());
    let me = format!("PPid:\t{}", std::process::id());
    status
        .filter(|status| status.lines().any(|line| line == me))
        .filter_map(|s| Some(s.lines().next()?.to_owned()))
        .collect()
}
