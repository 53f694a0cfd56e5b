//! The command line.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use concurrent_futures::ExecutorKind;

pub const HELP: &str = "\
Print the SHA-256 of every file below the paths, as `sha256sum --check` reads it.

Usage: checksum [OPTIONS] PATH...

A directory stands for the files in it and below it, in the order of their names.
A symbolic link is followed where it is a PATH, and left out where it is met on the
way, like anything else that is not a regular file. Standard input is not read.

Options:
      --executor KIND  thread (the default), process or serial
      --workers N      how many threads or processes; by default, what suits the CPUs
  -h, --help           print this

Exit code: 0 when every file was read, 1 when one was not, 2 for a wrong command line.
";

pub enum Command {
    Help,
    Run(Options),
}

pub struct Options {
    pub executor: ExecutorKind,
    pub workers: Option<usize>,
    pub paths: Vec<PathBuf>,
}

/// A command line that was not understood, in words.
pub struct Wrong(String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, Wrong> {
    let mut options = Options { executor: ExecutorKind::Thread, workers: None, paths: Vec::new() };
    let mut args = args.into_iter();
    let mut only_paths = false;
    while let Some(arg) = args.next() {
        if only_paths || !arg.as_encoded_bytes().starts_with(b"-") {
            options.paths.push(arg.into());
            continue;
        }
        let (flag, attached) = split(&arg)?;
        let mut value = || match attached {
            Some(value) => Ok(value.to_owned()),
            None => match args.next() {
                Some(value) => utf8(&value).map(str::to_owned),
                None => Err(Wrong(format!("{flag} needs a value"))),
            },
        };
        match flag {
            "--executor" => options.executor = executor(&value()?)?,
            "--workers" => options.workers = Some(workers(&value()?)?),
            "-h" | "--help" => return Ok(Command::Help),
            "--" => only_paths = true,
            "-" => {
                return Err(Wrong("standard input is not read (a file of that name is ./-)".into()));
            }
            other => {
                return Err(Wrong(format!("unknown option {other} (a file of that name is ./{other})")));
            }
        }
    }
    if options.paths.is_empty() {
        return Err(Wrong("no PATH given".into()));
    }
    Ok(Command::Run(options))
}

/// `--flag=value` or `--flag`
fn split(arg: &OsStr) -> Result<(&str, Option<&str>), Wrong> {
    let arg = utf8(arg)?;
    Ok(match arg.split_once('=') {
        Some((flag, value)) => (flag, Some(value)),
        None => (arg, None),
    })
}

fn utf8(arg: &OsStr) -> Result<&str, Wrong> {
    arg.to_str().ok_or_else(|| Wrong(format!("{} is not UTF-8", arg.display())))
}

fn executor(value: &str) -> Result<ExecutorKind, Wrong> {
    value.parse().map_err(|error| Wrong(format!("--executor {value}: {error}")))
}

fn workers(value: &str) -> Result<usize, Wrong> {
    match value.parse() {
        Ok(0) | Err(_) => Err(Wrong(format!("--workers {value}: a number from 1 on is needed"))),
        Ok(n) => Ok(n),
    }
}
