//! Results in the order in which they arrive: a crawler of a small site, kept in memory.
//!
//! Shows: keys that travel with their futures through `as_completed`, and `push`, which adds what a
//! result leads to.
//!
//! ```text
//! cargo run --release --example as_completed
//! ```

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use concurrent_futures::prelude::*;

/// A page: how long it takes to come, and where it links to.
type Page = (u64, &'static [&'static str]);

fn page(path: &str) -> Option<Page> {
    Some(match path {
        "/" => (5, &["/guide", "/api", "/news"]),
        "/guide" => (60, &["/", "/api"]),
        "/api" => (20, &["/api/executor", "/api/future"]),
        "/api/executor" | "/api/future" => (10, &["/guide"]),
        "/news" => (40, &["/", "/news/2019"]),
        _ => return None,
    })
}

/// The task: the links of a page. Its `Err` is an ordinary error, here a `String`, and arrives in
/// the future's.
fn fetch(path: String) -> Result<Vec<String>, String> {
    let (milliseconds, links) = page(&path).ok_or_else(|| format!("404: {path}"))?;
    thread::sleep(Duration::from_millis(milliseconds)); // stands for the network
    Ok(links.iter().map(|link| (*link).to_owned()).collect())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let executor = ThreadPoolExecutor::new(4)?;
    let visit = |path: &str| (path.to_owned(), executor.submit_fallible(fetch, path.to_owned()));

    let mut seen = HashSet::from(["/".to_owned()]);
    let mut arriving = as_completed([visit("/")]);
    while let Some((path, future)) = arriving.next() {
        match future.result() {
            Ok(links) => {
                println!("{path}: {} links", links.len());
                for link in links {
                    if seen.insert(link.clone()) {
                        arriving.push(visit(&link));
                    }
                }
            }
            Err(error) => println!("{path}: {error}"),
        }
    }
    println!("{} pages looked at", seen.len());
    Ok(())
}
