//! Worker processes under an async runtime: the pool computes, the runtime waits.
//!
//! Shows: a future of this crate is a `std::future::Future`, so it can be awaited, joined, raced
//! against a timer and read as a stream; no runtime is favoured, tokio is just the one used here.
//!
//! ```text
//! cargo run --release --example async_await
//! ```

use std::time::Duration;

use concurrent_futures::prelude::*;
use futures::StreamExt;

fn fibonacci(n: u32) -> u64 {
    if n < 2 { u64::from(n) } else { fibonacci(n - 1) + fibonacci(n - 2) }
}

fn nap(milliseconds: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(milliseconds));
    milliseconds
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let executor = ProcessPoolExecutor::new(2)?;

    println!("await: {}", executor.submit(fibonacci, 20).await?);

    let (a, b) = tokio::join!(executor.submit(fibonacci, 21), executor.submit(fibonacci, 22));
    println!("join: {} and {}", a?, b?);

    // A future may move into a task of the runtime: it does not borrow the pool.
    let future = executor.submit(fibonacci, 23);
    println!("spawn: {}", tokio::spawn(future).await??);

    let slow = executor.submit(nap, 1000);
    tokio::pin!(slow);
    tokio::select! {
        biased; // in this order, should both be ready
        () = tokio::time::sleep(Duration::from_millis(20)) => println!("select: not yet"),
        outcome = &mut slow => println!("select: {} ms", outcome?),
    }
    println!("select, later: {} ms", slow.await?); // not lost: it went on meanwhile

    let keyed = [150, 1, 50].map(|time| (format!("nap of {time} ms"), executor.submit(nap, time)));
    let mut arriving = as_completed(keyed).into_stream();
    while let Some((name, future)) = arriving.next().await {
        future.await?;
        println!("stream: {name}");
    }

    // The end of the block would wait for work that is left, in this thread. Off the runtime it
    // disturbs nobody.
    tokio::task::spawn_blocking(move || drop(executor)).await?;
    Ok(())
}
