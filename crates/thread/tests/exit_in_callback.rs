//! A callback that ends the process while its pool, which was shut down without waiting, has work that never ends. Each
//! test runs one of this program's own tests in a process of its own.

use concurrent_futures_core::{Executor, ExecutorExt, Future, Shutdown};
use concurrent_futures_thread::ThreadPoolExecutor;
use std::process::Command;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

const CHILD: &str = "CONCURRENT_FUTURES_TEST_CHILD";

fn code_of(test: &str) -> (Option<i32>, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(CHILD, "1").output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn park() -> ! {
    loop {
        thread::park();
    }
}

/// In the child: a pool of two whose first task never ends, and whose second gives the future that `end` is for.
fn with_work_left(second: impl FnOnce(&ThreadPoolExecutor) -> Future<()>, go: impl FnOnce()) {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    thread::spawn(|| {
        thread::sleep(Duration::from_secs(60));
        eprintln!("it does not end");
        // Without the hooks that it may hang in.
        std::process::abort();
    });
    let pool = ThreadPoolExecutor::new(2).unwrap();
    pool.spawn(|| -> () { park() });
    second(&pool).add_done_callback(|_| std::process::exit(6));
    pool.shutdown(Shutdown::NO_WAIT);
    go();
    park();
}

#[test]
fn child_whose_callback_exits_on_the_worker() {
    let start = Arc::new(Barrier::new(2));
    let started = start.clone();
    with_work_left(
        |pool| {
            pool.spawn(move || {
                started.wait();
            })
        },
        || {
            start.wait();
        },
    );
}

#[test]
fn a_callback_on_a_worker_can_end_the_process() {
    let (code, err) = code_of("child_whose_callback_exits_on_the_worker");
    assert_eq!(code, Some(6), "{err}");
}

#[test]
fn child_whose_callback_exits_after_a_timeout() {
    with_work_left(|pool| pool.task(|(): ()| park(), ()).timeout(Duration::from_millis(100)).submit(), || {});
}

#[test]
fn a_callback_of_a_timeout_can_end_the_process() {
    let (code, err) = code_of("child_whose_callback_exits_after_a_timeout");
    assert_eq!(code, Some(6), "{err}");
}
