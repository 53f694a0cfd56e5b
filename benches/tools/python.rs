//! Python's own tools: a child process runs a script of `benches/python` and is asked for one sample after the other.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub struct Python {
    script: String,
    pipes: RefCell<Pipes>,
    child: Child,
}

struct Pipes {
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Python {
    /// Runs `benches/python/<script>`, which answers each line with a number. `None` where there is no `python3` that works.
    pub fn start(script: &str) -> Option<Python> {
        let script = format!("{}/python/{script}", env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new("python3");
        command.arg(&script).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().ok()?;
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take()?);
        let python = Python { script, pipes: RefCell::new(Pipes { requests, answers }), child };
        python.try_ask("version").is_some().then_some(python)
    }

    /// As `Python 3.14`. The script answers `version` with 314.
    pub fn version(&self) -> String {
        let version = self.ask("version") as u32;
        format!("Python {}.{}", version / 100, version % 100)
    }

    /// Seconds, or what the script says.
    pub fn ask(&self, request: &str) -> f64 {
        self.try_ask(request).unwrap_or_else(|| panic!("{} has no answer to `{request}`", self.script))
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
        // At the end of its input the script leaves.
        self.pipes.get_mut().requests = None;
        if let Err(error) = self.child.wait() {
            eprintln!("{}: {error}", self.script);
        }
    }
}
