//! Tests that need a process of their own: what a panic hook prints, and how a process ends.

use concurrent_futures_core::{PoolId, Promise, exit, task, worker};
use std::process::{Command, Output};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const CHILD: &str = "CONCURRENT_FUTURES_TEST_CHILD";

/// Whether this is such a process. It ends itself should it hang, without the hooks that may be what it hangs in.
fn is_child() -> bool {
    let is_child = std::env::var_os(CHILD).is_some();
    if is_child {
        thread::spawn(|| {
            thread::sleep(Duration::from_secs(60));
            eprintln!("it does not end");
            std::process::abort();
        });
    }
    is_child
}

/// Runs the test `name` of this file alone, in a process of its own. It does nothing unless [`is_child`].
fn run(name: &str) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("children::{name}"), "--nocapture", "--test-threads=1"]);
    command.env(CHILD, "1").env_remove("RUST_TEST_NOCAPTURE").output().unwrap()
}

/// Its exit code, and what it wrote to stderr.
fn end_of(name: &str) -> (Option<i32>, String) {
    let output = run(name);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn child_whose_callback_panics_in_a_task() {
    if is_child() {
        let (promise, future) = Promise::pair();
        future.add_done_callback(|_| panic!("words of the callback"));
        let (task, done) = task::closure(move || -> u8 {
            promise.set_result(1).unwrap();
            panic!("words of the task")
        });
        assert!(task.run());
        let error = done.result().unwrap_err();
        let panic = error.panic().unwrap();
        assert_eq!(panic.message(), "words of the task");
        assert!(panic.location().unwrap().contains("children.rs"), "{:?}", panic.location());
        assert_eq!(future.result().unwrap(), 1);
    }
}

/// The task's panic is in its error; nobody but the hook can say that of the callback.
#[test]
fn the_panic_of_a_callback_in_a_task_is_printed_and_the_tasks_own_is_not() {
    let (code, err) = end_of("child_whose_callback_panics_in_a_task");
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("words of the callback"), "{err}");
    assert!(!err.contains("words of the task"), "{err}");
}

#[derive(Debug)]
struct Seat(PoolId);

impl worker::WorkerThread for Seat {
    fn pool(&self) -> PoolId {
        self.0
    }
    fn block_begin(&self) {}
    fn block_end(&self) {}
}

fn enter() -> worker::Guard {
    worker::enter(Arc::new(Seat(PoolId::next())))
}

fn say_when_waited_for() {
    exit::wait_for(|| eprintln!("waited for"));
}

#[test]
fn child_whose_worker_exits() {
    if is_child() {
        // It would wait for the very thread that exits.
        exit::wait_for(|| {
            loop {
                thread::park();
            }
        });
        let worker = thread::spawn(|| {
            let _guard = enter();
            std::process::exit(3)
        });
        worker.join().unwrap();
    }
}

#[test]
fn a_worker_that_exits_waits_for_no_pool() {
    let (code, err) = end_of("child_whose_worker_exits");
    assert_eq!(code, Some(3), "{err}");
}

#[test]
fn child_whose_worker_exits_in_a_destructor_of_the_thread() {
    struct Exits;
    impl Drop for Exits {
        fn drop(&mut self) {
            std::process::exit(3)
        }
    }
    thread_local!(static EXITS: std::cell::RefCell<Option<Exits>> = const { std::cell::RefCell::new(None) });
    if is_child() {
        exit::wait_for(|| {
            loop {
                thread::park();
            }
        });
        let worker = thread::spawn(|| {
            // Destroyed in the opposite order of the first use, or not: either way the thread is still a pool's.
            EXITS.set(Some(Exits));
            std::mem::forget(enter());
        });
        let _ = worker.join();
    }
}

#[test]
fn a_worker_that_exits_while_its_storage_is_destroyed_waits_for_no_pool() {
    let (code, err) = end_of("child_whose_worker_exits_in_a_destructor_of_the_thread");
    assert_eq!(code, Some(3), "{err}");
}

#[test]
fn child_whose_main_was_a_worker() {
    if is_child() {
        say_when_waited_for();
        drop(enter());
        std::process::exit(4);
    }
}

#[test]
fn a_thread_that_is_no_worker_any_more_waits() {
    let (code, err) = end_of("child_whose_main_was_a_worker");
    assert_eq!((code, err.matches("waited for").count()), (Some(4), 1), "{err}");
}

#[test]
fn child_whose_main_returns() {
    if is_child() {
        exit::wait_for(|| panic!("words of a wait"));
        say_when_waited_for();
        exit::wait_for(say_when_waited_for);
    }
}

#[test]
fn the_end_of_main_makes_all_waits_also_those_that_waits_add() {
    let (code, err) = end_of("child_whose_main_returns");
    assert_eq!((code, err.matches("waited for").count()), (Some(0), 2), "{err}");
    assert!(err.contains("words of a wait"), "one that panics does not keep the others from it: {err}");
}
