//! A pool of three worker processes that downloads the pages listed in a file.
//!
//! Shows: tasks with a name, a timeout and retries; `as_completed`; what fails is reported, and the rest
//! goes on. A server that never answers costs its page the time of the timeout: the worker that waits
//! for it is stopped and replaced. Plain HTTP, no TLS.
//!
//! ```text
//! cargo run --release --example download -- --into pages download.txt
//! ```

mod args;
mod fetch;
#[path = "../http/mod.rs"]
mod http;

use args::{Command, Options};
use concurrent_futures::prelude::*;
use concurrent_futures::{Backoff, RetryOn};
use fetch::{Saved, save};
use http::{Progress, Url};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// The addresses in the list, one a line; empty lines and those that begin with `#` say nothing.
fn listed(list: &PathBuf) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(list).map_err(|error| format!("{}: {error}", list.display()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

/// What of an error is news to somebody who knows the page.
fn words(error: &TaskError) -> String {
    if let Some(limit) = error.timeout() {
        return format!("no answer in {limit:?}");
    }
    error.failure().map_or_else(|| error.to_string(), |failure| failure.message())
}

/// How many pages are missing.
fn download(options: &Options) -> Result<usize, Box<dyn std::error::Error>> {
    let addresses = listed(&options.list)?;
    if let Some(folder) = &options.into {
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let executor = ProcessPoolExecutor::new(options.workers)?;
    let mut progress = Progress::new(addresses.len());
    let mut failed = 0;
    let mut report = |progress: &mut Progress, address: &str, why: Option<String>| {
        progress.advance(why.is_some(), addresses.len());
        if let Some(why) = why {
            failed += 1;
            progress.line(|| eprintln!("{address}: {why}"));
        }
    };
    let mut tasks = Vec::new();
    for (number, address) in addresses.iter().enumerate() {
        let url: Url = match address.parse() {
            Ok(url) => url,
            Err(_) => {
                report(&mut progress, address, Some("not an http address".to_owned()));
                continue;
            }
        };
        let file = options.into.as_ref().map(|folder| folder.join(file_name(number, &url)));
        let future = executor
            .task(save, (url, file))
            .name(address)
            .timeout(options.timeout)
            .retries(options.retries)
            .retry_on(RetryOn::ALL)
            .backoff(Backoff::exponential(Duration::from_millis(100), Duration::from_secs(5)))
            .submit_fallible();
        tasks.push((address, future));
    }
    for (address, future) in as_completed(tasks) {
        match future.result() {
            Ok(Saved { status, bytes }) if status < 400 => {
                report(&mut progress, address, None);
                progress.line(|| println!("{status} {bytes:>9} bytes  {address}"));
            }
            Ok(Saved { status, .. }) => report(&mut progress, address, Some(format!("status {status}"))),
            Err(error) => report(&mut progress, address, Some(words(&error))),
        }
    }
    Ok(failed)
}

/// No two are the same, and none leads out of the folder.
fn file_name(number: usize, url: &Url) -> String {
    let is_plain = |c: char| if c.is_ascii_alphanumeric() || "-.".contains(c) { c } else { '_' };
    let path = url.target().trim_matches('/');
    let name: String =
        if path.is_empty() { "index".to_owned() } else { path.chars().map(is_plain).take(100).collect() };
    format!("{:03}-{}-{name}", number + 1, url.authority().replace([':', '[', ']'], "_"))
}

fn main() -> ExitCode {
    let options = match args::parse(std::env::args().skip(1)) {
        Ok(Command::Help) => {
            print!("{}", args::HELP);
            return ExitCode::SUCCESS;
        }
        Ok(Command::Run(options)) => options,
        Err(wrong) => {
            eprintln!("download: {wrong}");
            return ExitCode::from(2);
        }
    };
    match download(&options) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!("download: {failed} pages are missing");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("download: {error}");
            ExitCode::FAILURE
        }
    }
}
