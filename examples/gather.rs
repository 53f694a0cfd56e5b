//! Coroutines: `async fn`, `gather`, and a small runtime.
//!
//! Shows: async functions as tasks of threads and of worker processes; that those which wait have no
//! thread; `gather` (the first error wins) and `gather_results` (each outcome for itself);
//! cancellation; `block_on`.
//!
//! ```text
//! cargo run --release --example gather
//! ```

use concurrent_futures::prelude::*;
use concurrent_futures::{Future, block_on, gather, gather_results};
use std::time::{Duration, Instant};

/// `smol`'s timer is content with any executor.
async fn count((name, numbers): (String, u32)) -> String {
    for _ in 0..numbers {
        smol::Timer::after(Duration::from_millis(20)).await;
    }
    format!("{name} counted to {numbers}")
}

async fn invert(x: u32) -> Result<u32, String> {
    smol::Timer::after(Duration::from_millis(5)).await;
    100_u32.checked_div(x).ok_or_else(|| format!("{x} has no inverse"))
}

fn counts(executor: &dyn Executor) -> Future<Vec<String>> {
    gather(["A", "B", "C"].into_iter().zip(2..).map(|(name, n)| executor.submit_async(count, (name.to_owned(), n))))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let threads = ThreadPoolExecutor::new(2)?;
    println!("threads: {:?}", counts(&threads).result()?);
    let processes = ProcessPoolExecutor::new(3)?;
    println!("processes: {:?}", block_on(counts(&processes))?);

    // A thousand naps of 100 ms on two threads.
    let start = Instant::now();
    let naps = (0..1000).map(|n| {
        threads.spawn_async(async move {
            smol::Timer::after(Duration::from_millis(100)).await;
            n
        })
    });
    let sum: u64 = gather(naps).result()?.into_iter().sum();
    assert!(start.elapsed() < Duration::from_secs(30), "one after the other it would take 50 s");
    println!("a thousand naps on two threads: {sum}");

    let outcomes = gather_results([1, 0, 5].map(|x| threads.submit_async_fallible(invert, x))).result()?;
    let words = outcomes.iter().map(|outcome| match outcome {
        Ok(value) => value.to_string(),
        Err(error) => error.failure().map_or_else(String::new, |failure| failure.message()),
    });
    println!("gather_results: {}", words.collect::<Vec<_>>().join("; "));
    let first = gather([1, 0, 5].map(|x| threads.submit_async_fallible(invert, x)));
    println!("gather: {}", first.result().expect_err("one has no inverse").failure().expect("its own").message());

    let endless = threads.spawn_async(std::future::pending::<()>());
    // One that waits, or has not begun, could also be cancelled; this works as well while it is polled.
    println!("aborted: {}", endless.abort());
    Ok(())
}
