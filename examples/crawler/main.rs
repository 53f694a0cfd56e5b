//! A crawler: pages are fetched by async code, many at a time on two threads, and parsed in worker processes.
//!
//! Shows: async tasks that wait without a thread, with timeouts and retries; a pipeline from one executor
//! to another; `block_on`. A page that fails is reported, and the rest goes on. It stays on the servers that it
//! was sent to. Plain HTTP, no TLS.
//!
//! ```text
//! cargo run --release --example crawler -- http://localhost:8000/
//! ```

mod args;
mod fetch;
#[path = "../http/mod.rs"]
mod http;
mod parse;

use args::{Command, Options};
use concurrent_futures::prelude::*;
use concurrent_futures::{Backoff, block_on};
use fetch::fetch;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::{Page, Progress, Url};
use parse::{Contents, parse};
use std::collections::{BTreeSet, VecDeque};
use std::process::ExitCode;
use std::time::Duration;

/// What is known of a page in the end.
struct Visit {
    url: Url,
    outcome: Result<(u16, Contents), TaskError>,
}

/// A page, from the network to its links.
async fn visit(threads: &ThreadPoolExecutor, processes: &ProcessPoolExecutor, url: Url, options: &Options) -> Visit {
    let page = threads
        .task(fetch, url.clone())
        .name(url.to_string())
        .timeout(options.timeout)
        .retries(options.retries)
        .backoff(Backoff::exponential(Duration::from_millis(100), Duration::from_secs(5)))
        .submit_async_fallible();
    let outcome = async {
        let Page { url, status, body } = page.await?;
        Ok((status, processes.submit(parse, (url, body)).await?))
    };
    Visit { outcome: outcome.await, url }
}

/// What of an error is news to somebody who knows the page.
fn words(error: &TaskError) -> String {
    if let Some(limit) = error.timeout() {
        return format!("no answer in {limit:?}");
    }
    error.failure().map_or_else(|| error.to_string(), |failure| failure.message())
}

/// How many pages could not be read.
async fn crawl(options: &Options) -> Result<usize, Box<dyn std::error::Error>> {
    let threads = ThreadPoolExecutor::new(2)?;
    let processes = ProcessPoolExecutor::new(options.workers)?;
    let servers: BTreeSet<String> = options.urls.iter().map(Url::authority).collect();
    let mut known: BTreeSet<Url> = options.urls.iter().cloned().collect();
    let mut waiting: VecDeque<Url> = known.iter().cloned().collect();
    let mut visits = FuturesUnordered::new();
    let mut progress = Progress::new(known.len());
    let mut failed = 0;
    loop {
        while visits.len() < options.at_once
            && let Some(url) = waiting.pop_front()
        {
            visits.push(visit(&threads, &processes, url, options));
        }
        let Some(Visit { url, outcome }) = visits.next().await else { return Ok(failed) };
        let why = match outcome {
            Ok((status, Contents { title, links })) if status < 400 => {
                let count = links.len();
                for link in links {
                    if known.len() < options.pages && servers.contains(&link.authority()) && known.insert(link.clone())
                    {
                        waiting.push_back(link);
                    }
                }
                progress.advance(false, known.len());
                progress.line(|| println!("{url}: {title:?}, {count} links"));
                continue;
            }
            Ok((status, _)) => format!("status {status}"),
            Err(error) => words(&error),
        };
        failed += 1;
        progress.advance(true, known.len());
        progress.line(|| eprintln!("{url}: {why}"));
    }
}

fn main() -> ExitCode {
    let options = match args::parse(std::env::args().skip(1)) {
        Ok(Command::Help) => {
            print!("{}", args::HELP);
            return ExitCode::SUCCESS;
        }
        Ok(Command::Run(options)) => options,
        Err(wrong) => {
            eprintln!("crawler: {wrong}");
            return ExitCode::from(2);
        }
    };
    match block_on(crawl(&options)) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!("crawler: {failed} pages could not be read");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("crawler: {error}");
            ExitCode::FAILURE
        }
    }
}
