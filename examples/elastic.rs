//! A pool that grows and shrinks with its work.
//!
//! Shows: `min_workers`, `max_workers` and `idle_timeout` of both pools; `resize`; `Pool::over` an
//! executor with settings of its own.
//!
//! ```text
//! cargo run --release --example elastic
//! ```

use concurrent_futures::multiprocessing::Pool;
use concurrent_futures::prelude::*;
use std::time::{Duration, Instant};

fn nap(milliseconds: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(milliseconds));
    milliseconds
}

/// Waits until there are so many workers.
fn workers(executor: &dyn Executor, count: usize) -> usize {
    let limit = Instant::now() + Duration::from_secs(30);
    while executor.stats().workers != count && Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(2));
    }
    executor.stats().workers
}

fn show(name: &str, pool: &Pool) -> Result<(), TaskError> {
    let executor = pool.executor();
    println!("{name}, at rest: {}", workers(executor, 1));
    let burst = pool.tasks(nap, std::iter::repeat_n(60, 48)).chunksize(1).map_async();
    println!("{name}, 48 tasks: {}", workers(executor, 6));
    println!("{name}, done: {} ms of naps", burst.get()?.iter().sum::<u64>());
    println!("{name}, at rest again: {}", workers(executor, 1));
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let idle = Duration::from_millis(100);
    let processes = ProcessPoolExecutor::builder().min_workers(1).max_workers(6).idle_timeout(idle).build()?;
    show("processes", &Pool::over(processes))?;
    let threads = ThreadPoolExecutor::builder().min_workers(1).max_workers(6).idle_timeout(idle).build()?;
    show("threads", &Pool::over(threads))?;

    // By hand: while it works.
    let executor = ThreadPoolExecutor::new(1)?;
    let naps = executor.submit_all(nap, [50; 8]);
    println!("by hand: {}", workers(&executor, 1));
    executor.resize(4)?;
    println!("by hand, resized: {}", workers(&executor, 4));
    naps.into_iter().try_for_each(|nap| nap.result().map(drop))?;
    Ok(())
}
