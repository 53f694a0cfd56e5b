//! Processes that give up their privileges, and programs in places where the system shows less of itself than usual.

use concurrent_futures_core::ExecutorExt;
use concurrent_futures_ipc::Array;
use concurrent_futures_ipc::named::SharedMemory;
use concurrent_futures_process::{Process, ProcessPoolExecutor, SharedSlice, SharedSliceMut, StartMethod, Stdio};
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};
use std::io::Read;
use std::process::{Command, ExitCode};

/// Nobody, as most systems have it.
const NOBODY: u32 = 65_534;

/// The exit code of a process says who it is.
fn who(nobody: u32) -> ExitCode {
    ExitCode::from(if geteuid().as_raw() == nobody { 2 } else { 3 })
}

/// `false`: it may not, or there is nobody (in a namespace of users, say).
fn become_nobody() -> bool {
    // SAFETY: no group is read. The C library tells the other threads, here and below.
    let groups = unsafe { libc::setgroups(0, std::ptr::null()) };
    // SAFETY: the call has no preconditions.
    let group = unsafe { libc::setgid(NOBODY) };
    // SAFETY: as above.
    let user = unsafe { libc::setuid(NOBODY) };
    [groups, group, user] == [0; 3]
}

fn give_up(_: ()) {
    let forked = || Process::start(who, NOBODY).expect("a process").join().expect("its end").code();
    assert_eq!(forked(), Some(if geteuid().as_raw() == NOBODY { 2 } else { 3 }));
    if !become_nobody() {
        // What the kernel does by itself to one that gives up privileges: most of its /proc is root's now.
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable).expect("anybody may");
    }
    let who_now = Some(if geteuid().as_raw() == NOBODY { 2 } else { 3 });
    // The fork server of this process has been there before.
    assert_eq!(forked(), who_now);
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let process = Process::target(who, NOBODY).start_method(method).start().expect("a process");
        assert_eq!(process.join().expect("its end").code(), who_now);
        let pool = ProcessPoolExecutor::builder().max_workers(1).start_method(method).build().expect("a pool");
        let user = pool.submit(|()| geteuid().as_raw(), ()).result().expect("a worker");
        assert_eq!(user, geteuid().as_raw());
    }
}

#[test]
fn what_has_given_up_its_privileges_has_workers_without_them() {
    let process = Process::start(give_up, ()).unwrap();
    assert!(process.join().unwrap().success());
}

fn act_for_nobody(_: ()) {
    // SAFETY: the call has no preconditions; the C library tells the other threads.
    if !geteuid().is_root() || unsafe { libc::seteuid(NOBODY) } != 0 {
        return;
    }
    let refused = ProcessPoolExecutor::new(1).map(drop).expect_err("no pool").to_string();
    assert!(refused.contains("the effective user"), "{refused}");
    let refused = Process::start(who, 0).map(drop).expect_err("no process").to_string();
    assert!(refused.contains("the effective user"), "{refused}");
    // SAFETY: as above.
    assert_eq!(unsafe { libc::seteuid(0) }, 0);
    assert_eq!(Process::start(who, NOBODY).expect("a process").join().expect("its end").code(), Some(3));
}

#[test]
fn what_acts_for_another_user_is_told_that_it_has_no_workers() {
    assert!(Process::start(act_for_nobody, ()).unwrap().join().unwrap().success());
}

fn with_small_files(_: ()) {
    let limit = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: Some(100), ..limit }).expect("a smaller one");
    let too_small = |words: String| assert!(words.contains("ulimit -f"), "{words}");
    let sum = |values: SharedSlice<u64>| values.iter().sum::<u64>();
    let numbers = || SharedSlice::from(vec![1_u64; 100_000]);
    match ProcessPoolExecutor::new(1) {
        Err(error) => too_small(error.to_string()),
        Ok(pool) => too_small(pool.submit(sum, numbers()).result().expect_err("no worker").to_string()),
    }
    too_small(Process::start(drop, vec![1_u8; 1000]).map(drop).expect_err("no process").to_string());
    too_small(SharedSliceMut::<u64>::zeroed(100_000).map(drop).expect_err("no memory").to_string());
    too_small(SharedMemory::create(None, 1000).map(drop).expect_err("no memory").to_string());
    too_small(Array::<u64>::zeroed(100_000).map(drop).expect_err("no memory").to_string());
    setrlimit(Resource::Fsize, limit).expect("what was there");
    let pool = ProcessPoolExecutor::new(1).expect("a pool");
    assert_eq!(pool.submit(sum, numbers()).result().expect("a worker"), 100_000);
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_and_not_the_end() {
    // What it says must not go into a file, which might be too large by now.
    let process = Process::target(with_small_files, ()).stderr(Stdio::piped()).start().unwrap();
    let mut said = String::new();
    process.take_stderr().unwrap().read_to_string(&mut said).unwrap();
    assert!(process.join().unwrap().success(), "{said}");
}

#[test]
fn a_process_is_started_and_ends() {
    assert_eq!(Process::start(who, u32::MAX).unwrap().join().unwrap().code(), Some(3));
}

/// The process group of such a program has no number that it could see.
#[test]
fn a_program_that_was_put_into_a_namespace_of_processes_has_children() {
    let unshare = |what: &[&std::ffi::OsStr]| {
        let options = ["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"];
        Command::new("unshare").args(options).args(what).output()
    };
    if !unshare(&["true".as_ref()]).is_ok_and(|output| output.status.success()) {
        eprintln!("no namespaces can be made here: nothing is shown");
        return;
    }
    let program = std::env::current_exe().unwrap();
    let output = unshare(&[program.as_os_str(), "--exact".as_ref(), "a_process_is_started_and_ends".as_ref()]).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
