//! One task takes its process down; the others do not notice.
//!
//! Shows: what a panic and the death of a worker look like from outside, and that the pool is as
//! good as before.
//!
//! ```text
//! cargo run --release --example crash
//! ```

use concurrent_futures::prelude::*;

fn risky(n: u32) -> u32 {
    match n {
        3 => std::process::abort(),
        5 => panic!("{n} is not to my liking"),
        _ => n * n,
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let executor = ProcessPoolExecutor::new(2)?;
    let futures = executor.submit_all(risky, 0..8);
    for (n, future) in futures.into_iter().enumerate() {
        match future.result() {
            Ok(square) => println!("{n}: {square}"),
            Err(error) => {
                if let Some(death) = error.death() {
                    println!("{n}: its worker died of {}", death.signal().unwrap_or("no signal"));
                } else if let Some(panic) = error.panic() {
                    println!("{n}: it panicked: {}", panic.message());
                } else {
                    println!("{n}: {error}");
                }
            }
        }
    }
    println!("afterwards: {}", executor.submit(risky, 9).result()?);
    Ok(())
}
