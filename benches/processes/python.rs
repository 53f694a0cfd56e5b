//! Python's pools: a child process runs `python/pools.py` and is asked for one sample after the other.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/pools.py");

/// What the script calls its pools, and we.
pub const POOLS: [(&str, &str); 2] =
    [("executor", "Python ProcessPoolExecutor"), ("pool", "Python multiprocessing.Pool")];

pub struct Python {
    pipes: RefCell<Pipes>,
    child: Child,
}

struct Pipes {
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Python {
    /// `None` where there is no `python3` that works.
    pub fn start() -> Option<Python> {
        let mut command = Command::new("python3");
        command.arg(SCRIPT).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().ok()?;
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take()?);
        let python = Python { pipes: RefCell::new(Pipes { requests, answers }), child };
        python.try_ask("version").is_some().then_some(python)
    }

    pub fn version(&self) -> String {
        let version = self.ask("version") as u32;
        format!("Python {}.{}", version / 100, version % 100)
    }

    /// Seconds, as a rule.
    pub fn ask(&self, request: &str) -> f64 {
        self.try_ask(request).unwrap_or_else(|| panic!("{SCRIPT} has no answer to `{request}`"))
    }

    /// Ends the pools that the script keeps.
    pub fn close_pools(&self) {
        self.ask("close");
    }

    fn try_ask(&self, request: &str) -> Option<f64> {
        let mut pipes = self.pipes.borrow_mut();
        writeln!(pipes.requests.as_mut()?, "{request}").ok()?;
        let mut answer = String::new();
        pipes.answers.read_line(&mut answer).ok()?;
        answer.trim().parse().ok()
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // At the end of its input the script closes its pools and leaves.
        self.pipes.get_mut().requests = None;
        if let Err(error) = self.child.wait() {
            eprintln!("{SCRIPT}: {error}");
        }
    }
}
