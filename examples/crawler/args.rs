//! The command line.

use crate::http::Url;
use std::time::Duration;

pub const HELP: &str = "\
Read pages and those that they link to, as far as they are on the same servers.

Usage: crawler [OPTIONS] URL...

Addresses begin with http://; there is no TLS. What was read is told on standard output, what could
not be read on standard error.

Options:
      --pages N          read so many pages at most; 100 by default
      --at-once N        fetch so many at the same time; 16 by default
      --workers N        how many processes parse them; 2 by default
      --timeout SECONDS  how long one attempt may take; 30 by default
      --retries N        how many attempts may follow the first; 2 by default
  -h, --help             print this

Exit code: 0 when every page was read, 1 when one was not, 2 for a wrong command line.
";

pub enum Command {
    Help,
    Run(Options),
}

pub struct Options {
    pub urls: Vec<Url>,
    pub pages: usize,
    pub at_once: usize,
    pub workers: usize,
    pub timeout: Duration,
    pub retries: u32,
}

pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Command, String> {
    let timeout = Duration::from_secs(30);
    let mut options = Options { urls: Vec::new(), pages: 100, at_once: 16, workers: 2, timeout, retries: 2 };
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        if !arg.starts_with('-') {
            options.urls.push(arg.parse()?);
            continue;
        }
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "-h" | "--help" => return Ok(Command::Help),
            "--pages" => options.pages = number(&arg, &value()?, |n: &usize| *n > 0)?,
            "--at-once" => options.at_once = number(&arg, &value()?, |n: &usize| *n > 0)?,
            "--workers" => options.workers = number(&arg, &value()?, |n: &usize| *n > 0)?,
            "--timeout" => {
                let seconds = number(&arg, &value()?, |s: &f64| s.is_finite() && *s > 0.0 && *s < 1e6)?;
                options.timeout = Duration::from_secs_f64(seconds);
            }
            "--retries" => options.retries = number(&arg, &value()?, |_: &u32| true)?,
            _ => return Err(format!("{arg} is not known; see --help")),
        }
    }
    if options.urls.is_empty() {
        return Err("no URL; see --help".to_owned());
    }
    Ok(Command::Run(options))
}

fn number<N: std::str::FromStr>(flag: &str, text: &str, is_right: impl Fn(&N) -> bool) -> Result<N, String> {
    text.parse().ok().filter(is_right).ok_or_else(|| format!("{flag}: {text} will not do"))
}
