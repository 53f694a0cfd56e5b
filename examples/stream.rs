//! A task that tells what it has found so far, over a channel, while it runs in another process.
//!
//! Shows: an `IpcSender` as a part of a task's argument. The channel ends when the task does,
//! however that is.
//!
//! ```text
//! cargo run --release --example stream
//! ```

use concurrent_futures::ipc_channel::IpcError;
use concurrent_futures::ipc_channel::ipc::{self, IpcSender};
use concurrent_futures::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Partial {
    below: u32,
    primes: usize,
}

/// The task: counts the primes below a bound, and says how far it is ten times on the way.
fn count_primes((bound, progress): (u32, IpcSender<Partial>)) -> usize {
    let mut primes = 0;
    for tenth in 1..=10 {
        let (from, below) = (bound / 10 * (tenth - 1), bound / 10 * tenth);
        primes += (from.max(2)..below).filter(|n| (2..=n.isqrt()).all(|d| !n.is_multiple_of(d))).count();
        if progress.send(Partial { below, primes }).is_err() {
            break; // nobody listens any more
        }
    }
    primes
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let executor = ProcessPoolExecutor::new(1)?;
    let (sender, partials) = ipc::channel()?;
    let total = executor.submit(count_primes, (200_000, sender));
    loop {
        match partials.recv() {
            Ok(Partial { below, primes }) => println!("below {below}: {primes} primes"),
            Err(IpcError::Disconnected) => break,
            Err(error) => return Err(error.into()),
        }
    }
    println!("in all: {}", total.result()?);
    Ok(())
}
