//! What tests wait with.

use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything takes on the slowest machine: a test that waits so long has failed.
pub const FOR_EVER: Duration = Duration::from_secs(60);

/// Holds back whoever passes until it is opened, and counts them.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    arrived: usize,
    open: bool,
}

impl Gate {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn pass(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap();
        state.arrived += 1;
        changed.notify_all();
        let (_state, late) = changed.wait_timeout_while(state, FOR_EVER, |state| !state.open).unwrap();
        assert!(!late.timed_out(), "the gate was not opened");
    }

    pub fn open(&self) {
        let (state, changed) = &*self.0;
        state.lock().unwrap().open = true;
        changed.notify_all();
    }

    pub fn wait_for(&self, arrivals: usize) {
        let (state, changed) = &*self.0;
        let state = state.lock().unwrap();
        let (state, late) = changed.wait_timeout_while(state, FOR_EVER, |state| state.arrived < arrivals).unwrap();
        assert!(!late.timed_out(), "{} of {arrivals} arrived", state.arrived);
    }

    pub fn arrived(&self) -> usize {
        self.0.0.lock().unwrap().arrived
    }
}

/// Runs `f` in a thread, and fails when it does not return.
pub fn in_time<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    let thread = thread::spawn(move || done.send(f()));
    match result.recv_timeout(FOR_EVER) {
        Ok(value) => value,
        Err(RecvTimeoutError::Timeout) => panic!("it does not return"),
        Err(RecvTimeoutError::Disconnected) => std::panic::resume_unwind(thread.join().unwrap_err()),
    }
}

/// Looks until `is_met`: for what has no event of its own.
pub fn until(is_met: impl Fn() -> bool) {
    let give_up = Instant::now() + FOR_EVER;
    while !is_met() {
        assert!(Instant::now() < give_up, "it does not come to pass");
        thread::yield_now();
    }
}

/// Sends when it is dropped.
pub struct OnDrop(pub mpsc::Sender<()>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        // Nobody may be listening any more.
        let _ = self.0.send(());
    }
}

/// Set in the child processes of tests.
pub const CHILD: &str = "CONCURRENT_FUTURES_TEST_CHILD";

pub fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs the test `name` of this program alone, in a process of its own. It does nothing unless [`is_child`].
pub fn child(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(CHILD, "1");
    command
}
