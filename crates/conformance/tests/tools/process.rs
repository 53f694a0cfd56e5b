//! `Process`: CPython's `_TestProcess`, what of it has a meaning here.

use concurrent_futures::multiprocessing::{
    ExitStatus, Process, SharedBytes, active_children, cpu_count, current_process, parent_process,
};
use concurrent_futures_conformance::PATIENCE;
use std::process::ExitCode;
use std::time::Duration;

/// The end of a process that must end.
pub(crate) fn end(process: &Process) -> ExitStatus {
    process.join_timeout(PATIENCE).expect("it is our child").expect("it ends")
}

pub(crate) fn sleeps(_: ()) {
    loop {
        std::thread::park();
    }
}

/// The same, with something that it has.
pub(crate) fn sleeps_with<T>(_has: T) {
    sleeps(());
}

#[test]
fn attributes_through_the_life_of_a_process() {
    fn target((parent, name): (u32, String)) {
        let me = current_process();
        assert_eq!((me.name(), me.daemon()), (&*name, false));
        assert_ne!(me.pid(), parent);
        let its_parent = parent_process().expect("it has one");
        assert_eq!((its_parent.pid(), its_parent.name()), (parent, "MainProcess"));
        assert!(its_parent.is_alive());
        assert!(active_children().is_empty());
    }
    assert!(parent_process().is_none());
    let process = Process::target(target, (std::process::id(), "a name".to_owned())).name("a name").start().unwrap();
    assert_eq!((process.name(), process.daemon()), ("a name", false));
    let status = end(&process);
    assert!(status.success(), "{status}");
    assert!(!process.is_alive());
    assert_eq!(process.exit_status(), Some(status));
    assert_eq!(process.join().unwrap(), status, "any number of times");
    assert!(cpu_count() >= 1);
}

#[test]
fn arguments_of_any_size_travel_with_what_is_in_them() {
    fn target((bytes, shared): (Vec<u8>, SharedBytes)) -> ExitCode {
        let same = bytes.len() == 5 << 20 && bytes.iter().all(|&byte| byte == 7) && shared[..] == *b"shared";
        ExitCode::from(if same { 42 } else { 1 })
    }
    let process = Process::start(target, (vec![7; 5 << 20], SharedBytes::from(b"shared".to_vec()))).unwrap();
    assert_eq!(end(&process).code(), Some(42));
}

#[test]
fn channels_travel() {
    use concurrent_futures::ipc_channel::ipc::{self, IpcReceiver, IpcSender};

    fn target((questions, answers): (IpcReceiver<u32>, IpcSender<u32>)) {
        while let Ok(question) = questions.recv() {
            answers.send(question * 2).unwrap();
        }
    }
    let ((ask, questions), (answers, hear)) = (ipc::channel().unwrap(), ipc::channel().unwrap());
    let process = Process::start(target, (questions, answers)).unwrap();
    ask.send(21).unwrap();
    assert_eq!(hear.recv().unwrap(), 42);
    drop(ask);
    assert!(end(&process).success());
}

#[test]
fn signals_end_it() {
    let end_by = |signal: fn(&Process) -> std::io::Result<()>| {
        let process = Process::start(sleeps, ()).unwrap();
        assert!(process.is_alive());
        assert_eq!(process.exit_status(), None);
        assert_eq!(process.join_timeout(Duration::ZERO).unwrap(), None);
        signal(&process).unwrap();
        let status = end(&process);
        signal(&process).expect("it has ended, which is what was asked for");
        (status.signal(), status.signal_name(), status.code())
    };
    assert_eq!(end_by(Process::terminate), (Some(15), Some("SIGTERM"), None));
    assert_eq!(end_by(Process::kill), (Some(9), Some("SIGKILL"), None));
    assert_eq!(end_by(Process::interrupt), (Some(2), Some("SIGINT"), None));
}
