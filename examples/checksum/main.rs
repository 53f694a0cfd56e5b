//! The SHA-256 of every file below some paths, as `sha256sum -c` reads it, on the executor that a
//! flag names.
//!
//! Shows: an executor chosen at run time (`Box<dyn Executor>`), a lazy input of which only a window
//! is in flight (`tasks(..).chunksize(..).buffersize(..)`), results in input order, a task's own
//! error beside the executor's.
//!
//! ```text
//! cargo run --release --example checksum -- --executor process --workers 2 crates docs > sums
//! sha256sum --check --quiet sums
//! ```
//!
//! Exit code: 0 when every file was read, 1 when one was not (the rest are printed), 2 when the
//! command line was wrong.

mod args;
mod line;
mod progress;
mod report;
mod walk;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::error::Error;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use concurrent_futures::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::args::{Command, Options};
use crate::report::Report;

/// Files per message to a worker: small files cost less than a message does.
const CHUNK: usize = 16;
/// Chunks in flight per worker: one in work, the rest so that a slow file in front does not starve
/// the others.
const CHUNKS_PER_WORKER: usize = 4;
/// What a task reads at once; the only memory that a file costs, whatever its size.
const BUFFER: usize = 64 * 1024;

/// What is left of a file.
#[derive(Debug, Serialize, Deserialize)]
struct Hashed {
    sha256: [u8; 32],
    bytes: u64,
}

/// The task. A path travels as `OsString`, because serde refuses a `PathBuf` that is not UTF-8; an
/// unreadable file is a value, as words, because `io::Error` does not travel.
fn hash(path: OsString) -> Result<Hashed, String> {
    hash_file(path).map_err(|error| error.to_string())
}

fn hash_file(path: OsString) -> io::Result<Hashed> {
    let mut file = File::open(path)?;
    let mut buffer = [0; BUFFER];
    let mut hasher = Sha256::new();
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => {
                return Ok(Hashed { sha256: hasher.finalize().into(), bytes });
            }
            Ok(n) => {
                hasher.update(&buffer[..n]);
                bytes += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn main() -> ExitCode {
    let outcome = match args::parse(std::env::args_os().skip(1)) {
        Ok(Command::Help) => {
            io::stdout().write_all(args::HELP.as_bytes()).map(|()| ExitCode::SUCCESS).map_err(Into::into)
        }
        Ok(Command::Run(options)) => run(&options),
        Err(wrong) => {
            eprintln!("checksum: {wrong}\nTry 'checksum --help'.");
            return ExitCode::from(2);
        }
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("checksum: {error}");
        ExitCode::FAILURE
    })
}

/// The job, on whatever executor the options name.
fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let executor: Box<dyn Executor> = options.executor.build(options.workers)?;
    let report = RefCell::new(Report::new(&options.paths));

    // The executor draws from this iterator only as far as its window reaches, so a million files
    // are never in memory at once. The names in flight wait here: results come in the order of the
    // input.
    let names = RefCell::new(VecDeque::new());
    let files = walk::files(&options.paths).filter_map(|found| match found {
        Ok(path) => {
            names.borrow_mut().push_back(path.clone());
            Some(path.into_os_string())
        }
        Err(unreadable) => {
            report.borrow_mut().failed(&unreadable.path, &unreadable.error);
            None
        }
    });

    let chunks = executor.num_workers() * CHUNKS_PER_WORKER;
    for outcome in executor.tasks(hash, files).chunksize(CHUNK).buffersize(chunks) {
        let path = names.borrow_mut().pop_front().ok_or("a result without a name")?;
        let mut report = report.borrow_mut();
        match outcome {
            Ok(Ok(hashed)) => match report.hashed(&path, &hashed) {
                // `| head` has seen enough: dropping the iterator cancels what has not started
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
                written => written.map_err(|error| format!("cannot write the result: {error}"))?,
            },
            Ok(Err(unreadable)) => report.failed(&path, &unreadable),
            Err(task_error) => report.failed(&path, &task_error),
        }
    }
    Ok(report.into_inner().exit_code())
}
