//! The command line.

use std::path::PathBuf;
use std::time::Duration;

pub const HELP: &str = "\
Download the pages whose addresses are listed in a file, one a line.

Usage: download [OPTIONS] LIST

Addresses begin with http://; there is no TLS. What came is told on standard output, what did
not on standard error.

Options:
      --into FOLDER      save the pages there
      --workers N        how many processes; 3 by default
      --timeout SECONDS  how long one attempt may take; 30 by default
      --retries N        how many attempts may follow the first; 2 by default
  -h, --help             print this

Exit code: 0 when every page came, 1 when one did not, 2 for a wrong command line.
";

pub enum Command {
    Help,
    Run(Options),
}

pub struct Options {
    pub list: PathBuf,
    pub into: Option<PathBuf>,
    pub workers: usize,
    pub timeout: Duration,
    pub retries: u32,
}

pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Command, String> {
    let (mut list, mut into, mut workers, mut timeout, mut retries) = (None, None, 3, 30.0, 2);
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        if !arg.starts_with('-') {
            if list.replace(PathBuf::from(arg)).is_some() {
                return Err("one LIST only".to_owned());
            }
            continue;
        }
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "-h" | "--help" => return Ok(Command::Help),
            "--into" => into = Some(PathBuf::from(value()?)),
            "--workers" => workers = number(&arg, &value()?, |n: &usize| *n > 0)?,
            "--timeout" => timeout = number(&arg, &value()?, |s: &f64| s.is_finite() && *s > 0.0 && *s < 1e6)?,
            "--retries" => retries = number(&arg, &value()?, |_: &u32| true)?,
            _ => return Err(format!("{arg} is not known; see --help")),
        }
    }
    let list = list.ok_or("no LIST; see --help")?;
    Ok(Command::Run(Options { list, into, workers, timeout: Duration::from_secs_f64(timeout), retries }))
}

fn number<N: std::str::FromStr>(flag: &str, text: &str, is_right: impl Fn(&N) -> bool) -> Result<N, String> {
    text.parse().ok().filter(is_right).ok_or_else(|| format!("{flag}: {text} will not do"))
}
