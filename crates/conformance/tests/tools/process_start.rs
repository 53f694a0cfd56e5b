//! How a `Process` is started, and with what.

use crate::process::end;
use concurrent_futures::StartMethod;
use concurrent_futures::multiprocessing::{Process, ProcessBuilder, Stdio, current_process, parent_process};
use concurrent_futures_conformance::{PATIENCE, Stage, Ticket};
use std::collections::HashSet;
use std::env;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::{ExitCode, Termination};

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];

#[test]
fn the_parent_is_known_whatever_the_start_method() {
    fn target((ticket, method, parent): (Ticket, bool, u32)) {
        let system = std::os::unix::process::parent_id();
        // A fork of the fork server has that as its parent in the eyes of the system.
        assert_eq!(system == parent, method);
        ticket.tell(parent_process().unwrap().pid() == parent && parent_process().unwrap().is_alive());
    }
    let stage = Stage::new();
    for method in METHODS {
        let argument = (stage.ticket(), method == StartMethod::Spawn, std::process::id());
        let process = Process::target(target, argument).start_method(method).start().unwrap();
        assert_eq!(end(&process).code(), Some(0), "{method:?}");
    }
    assert_eq!(stage.said(), ["true", "true"]);
}

#[test]
fn environment_and_directory() {
    fn target((name, directory): (String, String)) -> Result<(), String> {
        if env::current_dir().map_err(|error| error.to_string())? != fs::canonicalize(directory).unwrap() {
            return Err("another directory".into());
        }
        let variables: Vec<_> = env::vars().collect();
        // That by which the process was started is not among them.
        if variables != [("CF_TEST_NAME".to_owned(), name)] {
            return Err(format!("{variables:?}"));
        }
        Ok(())
    }
    fn inherits(key: String) {
        assert!(env::var_os("PATH").is_none() && env::var_os(key).is_some());
        assert_eq!(env::var("CF_TEST_NEW").unwrap(), "b");
    }
    let directory = tempfile::tempdir().unwrap();
    for method in METHODS {
        let path = directory.path().to_str().unwrap().to_owned();
        let process = Process::target(target, ("value".to_owned(), path)).start_method(method);
        let process = process.env("CF_TEST_OTHER", "x").env_clear().env("CF_TEST_NAME", "value");
        assert!(end(&process.current_dir(directory.path()).start().unwrap()).success(), "{method:?}");

        let own = env::vars().map(|(key, _)| key).find(|key| key != "PATH").expect("this test has an environment");
        let process = Process::target(inherits, own).start_method(method);
        let process = process.env("CF_TEST_NEW", "a").env("CF_TEST_NEW", "b").env_remove("PATH").start().unwrap();
        assert!(end(&process).success(), "{method:?}");

        let refused = |builder: ProcessBuilder<String, ()>| builder.start_method(method).start().unwrap_err().kind();
        let process = || Process::target(inherits, String::new());
        assert_eq!(refused(process().current_dir("/no/such/directory")), std::io::ErrorKind::NotFound);
        let error = process().current_dir("/no/such/directory").start().unwrap_err().to_string();
        assert!(error.contains("/no/such/directory"), "{error}");
        assert_eq!(refused(process().current_dir("/dev/null")), std::io::ErrorKind::NotADirectory);
        assert_eq!(refused(process().env("a=b", "c")), std::io::ErrorKind::InvalidInput);
    }
}

#[test]
fn standard_streams_can_be_pipes_files_or_nothing() {
    fn upper(_: ()) {
        let text = std::io::read_to_string(std::io::stdin()).unwrap();
        print!("{}", text.to_uppercase());
        eprint!("{} bytes", text.len());
    }
    for method in METHODS {
        let process = Process::target(upper, ()).start_method(method);
        let process = process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).start().unwrap();
        process.take_stdin().unwrap().write_all(b"piped").unwrap();
        assert!(process.take_stdin().is_none(), "it was taken");
        let (mut text, mut errors) = (String::new(), String::new());
        process.take_stdout().unwrap().read_to_string(&mut text).unwrap();
        process.take_stderr().unwrap().read_to_string(&mut errors).unwrap();
        assert!(end(&process).success());
        assert_eq!((&*text, &*errors), ("PIPED", "5 bytes"), "{method:?}");

        // Both streams into one file, nothing from anywhere.
        let file = tempfile::tempfile().unwrap();
        let process = Process::target(upper, ()).start_method(method);
        let process = process.stdout(file.try_clone().unwrap()).stderr(file.try_clone().unwrap()).start().unwrap();
        assert!(process.take_stdout().is_none(), "it is no pipe");
        assert!(end(&process).success());
        let mut text = String::new();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        File::open(path).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "0 bytes");
    }
}

/// `test_error_on_stdio_flush`, and what is printed without a newline.
#[test]
fn what_is_printed_is_flushed_and_a_reader_that_is_gone_is_no_error() {
    fn prints(kind: u8) -> ExitCode {
        print!("no newline");
        match kind {
            0 => ExitCode::SUCCESS,
            1 => std::process::exit(0),
            _ => panic!("on purpose: {kind}"),
        }
    }
    for (kind, code) in [(0, 0), (1, 0), (2, 101)] {
        let process = Process::target(prints, kind).stdout(Stdio::piped()).stderr(Stdio::piped()).start().unwrap();
        let text = std::io::read_to_string(process.take_stdout().unwrap()).unwrap();
        let errors = std::io::read_to_string(process.take_stderr().unwrap()).unwrap();
        assert_eq!((end(&process).code(), &*text), (Some(code), "no newline"), "{kind}");
        assert_eq!(errors.contains("on purpose: 2"), kind == 2, "{errors}");

        let process = Process::target(prints, kind).stdout(Stdio::piped()).stderr(Stdio::piped()).start().unwrap();
        drop((process.take_stdout(), process.take_stderr()));
        assert_eq!(end(&process).code(), Some(code), "{kind}, with nobody who reads");
    }
}

/// `test_sys_exit` of `_TestSubclassingProcess`.
#[test]
fn what_a_target_returns_is_the_exit_code() {
    fn status<R: Termination + 'static>(target: fn(()) -> R) -> (Option<i32>, String) {
        let process = Process::target(target, ()).stderr(Stdio::piped()).start().unwrap();
        let errors = std::io::read_to_string(process.take_stderr().unwrap()).unwrap();
        (end(&process).code(), errors)
    }
    assert_eq!(status(|()| ()), (Some(0), String::new()));
    assert_eq!(status(|()| ExitCode::from(255)), (Some(255), String::new()));
    assert_eq!(status(|()| Ok::<(), String>(())), (Some(0), String::new()));
    assert_eq!(status(|()| Err::<(), _>("words")), (Some(1), "Error: \"words\"\n".to_owned()));
    assert_eq!(status(|()| std::process::exit(42)), (Some(42), String::new()));
    let (code, errors) = status(|()| assert_eq!(1, 2, "a panic"));
    assert!(
        code == Some(101) && errors.contains("a panic") && errors.contains("process_start.rs"),
        "{code:?} {errors}"
    );
    fn never(_: ()) -> ! {
        std::process::exit(7)
    }
    assert_eq!(status(never), (Some(7), String::new()));
}

#[test]
fn what_cannot_be_sent_or_read_says_so() {
    #[derive(serde::Serialize)]
    struct Unreadable;
    impl<'de> serde::Deserialize<'de> for Unreadable {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Err(serde::de::Error::custom("not to be read"))
        }
    }
    for method in METHODS {
        let process = Process::target(|_: Unreadable| (), Unreadable).start_method(method).name("reader");
        let process = process.stderr(Stdio::piped()).start().unwrap();
        let errors = std::io::read_to_string(process.take_stderr().unwrap()).unwrap();
        assert_eq!(end(&process).code(), Some(126));
        assert!(errors.contains("\"reader\"") && errors.contains("not to be read"), "{errors}");
    }

    #[derive(serde::Deserialize)]
    struct Unwritable;
    impl serde::Serialize for Unwritable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            panic!("not to be written")
        }
    }
    let error = Process::start(|_: Unwritable| (), Unwritable).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("not to be written"), "{error}");
}

/// Trap 10: it would not be there in the new process.
#[test]
fn a_function_of_another_library_is_refused() {
    // SAFETY: looks a name up among the loaded libraries.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"abs".as_ptr()) };
    assert!(!address.is_null());
    // SAFETY: it is refused, and never called.
    let function = unsafe { std::mem::transmute::<*mut libc::c_void, fn(u8)>(address) };
    let error = Process::start(function, 1).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("library loaded at run time"), "{error}");
}

/// `test_recursion`: processes that start processes, with their names and the order in which they are there.
#[test]
fn processes_start_processes() {
    fn target((ticket, path, method): (Ticket, Vec<u8>, bool)) {
        ticket.tell(format!("{path:?} {}", current_process().name()));
        if path.len() < 2 {
            for number in 0..2 {
                let below = [&path[..], &[number]].concat();
                let method = if method { StartMethod::Spawn } else { StartMethod::ForkServer };
                let process = Process::target(target, (ticket.clone(), below, method == StartMethod::Spawn));
                assert!(process.start_method(method).start().unwrap().join().unwrap().success());
            }
        }
    }
    for method in METHODS {
        let stage = Stage::new();
        let argument = (stage.ticket(), vec![], method == StartMethod::Spawn);
        let process = Process::target(target, argument).start_method(method).name("top").start().unwrap();
        assert!(end(&process).success());
        let said = stage.said();
        let order: Vec<_> = said.iter().map(|words| words.rsplit_once(' ').unwrap().0).collect();
        assert_eq!(order, ["[]", "[0]", "[0, 0]", "[0, 1]", "[1]", "[1, 0]", "[1, 1]"]);
        let names: Vec<_> = said.iter().map(|words| words.rsplit_once(' ').unwrap().1).collect();
        let top = names[1].strip_suffix(":1").unwrap();
        assert!(names[0] == "top" && top.starts_with("Process-"), "{names:?}");
        assert_eq!(names[3], format!("{top}:1:2"));
        assert_eq!(names[4], format!("{top}:2"));
    }
}

/// `test_many_processes`.
#[test]
fn a_hundred_short_ones_and_a_hundred_that_are_terminated() {
    for method in METHODS {
        let short: Vec<_> = (0..100_u8)
            .map(|number| Process::target(ExitCode::from, number).start_method(method).start().unwrap())
            .collect();
        let long: Vec<_> = (0..100)
            .map(|_| Process::target(crate::process::sleeps, ()).start_method(method).start().unwrap())
            .collect::<Vec<_>>();
        let pids: HashSet<_> = short.iter().chain(&long).map(Process::pid).collect();
        assert!(pids.len() > 100, "those that run have numbers of their own");
        for (number, process) in short.iter().enumerate() {
            assert_eq!(end(process).code(), Some(number as i32), "{method:?}");
        }
        long.iter().for_each(|process| process.terminate().unwrap());
        for process in &long {
            assert_eq!(end(process).signal_name(), Some("SIGTERM"), "{method:?}");
        }
    }
}

/// `test_child_fd_inflation`: a process has nothing of its parent's that it was not given.
#[test]
fn descriptors_are_not_inherited() {
    fn count(_: ()) -> ExitCode {
        ExitCode::from(u8::try_from(fs::read_dir("/proc/self/fd").unwrap().count()).unwrap_or(u8::MAX))
    }
    fn parent(_: ()) {
        for method in METHODS {
            let descriptors = || {
                let process = Process::target(count, ()).start_method(method).start().unwrap();
                end(&process).code().unwrap()
            };
            let before = descriptors();
            let files: Vec<_> = (0..50).map(|_| File::open("/dev/null").unwrap()).collect();
            let others: Vec<_> = (0..3).map(|_| Process::start(crate::process::sleeps, ()).unwrap()).collect();
            assert_eq!(descriptors(), before, "{method:?}");
            drop(files);
            others.iter().for_each(|process| process.kill().unwrap());
            others.iter().for_each(|process| assert!(process.join_timeout(PATIENCE).unwrap().is_some()));
        }
    }
    // Other tests of this program encode what `ipc-channel` then has two descriptors of, for a moment, of which one is inherited.
    assert!(end(&Process::start(parent, ()).unwrap()).success());
}

/// With this in its environment, a process of this test program has another thread before anything else.
const THREAD: &str = "CF_TEST_THREAD_BEFORE_MAIN";

#[used]
// SAFETY: what the section holds are functions of this type, which is what the C library calls.
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = {
    extern "C" fn starts_a_thread() {
        if env::var_os(THREAD).is_some() {
            std::thread::spawn(|| crate::process::sleeps(()));
        }
    }
    starts_a_thread
};

/// A fork takes along only one of the threads: the fork server refuses, and the process is spawned.
#[test]
fn what_cannot_be_forked_safely_is_spawned() {
    fn child((parent, directory): (u32, String)) {
        assert_eq!(std::os::unix::process::parent_id(), parent, "it is spawned");
        assert_eq!(env::var("CF_TEST_NAME").unwrap(), "value");
        assert_eq!(env::current_dir().unwrap(), fs::canonicalize(directory).unwrap());
    }
    fn target(directory: String) {
        for _ in 0..2 {
            let process = Process::target(child, (std::process::id(), directory.clone()));
            let process = process.start_method(StartMethod::ForkServer).env("CF_TEST_NAME", "value");
            assert!(process.current_dir(&directory).start().unwrap().join().unwrap().success());
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let process = Process::target(target, directory.path().to_str().unwrap().to_owned()).env(THREAD, "1");
    assert!(end(&process.start_method(StartMethod::Spawn).start().unwrap()).success());
}
