//! A pool that grows and shrinks with its work.
//!
//! Shows: `min_workers`, `max_workers` and `idle_timeout` of both pools; `resize`; `Pool::over` an
//! executor with settings of its own.
//!
//! ```text
//! cargo run --release --example elastic
//! ```

use concurrent_futures::multiprocessing::{Pool, RawValue};
use concurrent_futures::prelude::*;
use std::time::{Duration, Instant};

/// Takes its time, and is one task.
fn work(enough: RawValue<u32>) -> u64 {
    while enough.get() == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    1
}

/// Waits until there are so many workers.
fn workers(executor: &dyn Executor, count: usize) -> usize {
    let limit = Instant::now() + Duration::from_secs(30);
    while executor.stats().workers != count && Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(2));
    }
    executor.stats().workers
}

fn show(name: &str, pool: &Pool) -> Result<(), Box<dyn std::error::Error>> {
    let (executor, enough) = (pool.executor(), RawValue::new(0_u32)?);
    println!("{name}, at rest: {}", workers(executor, 1));
    let burst = pool.tasks(work, std::iter::repeat_n(enough.clone(), 48)).chunksize(1).map_async();
    println!("{name}, 48 tasks: {}", workers(executor, 6));
    enough.set(1);
    println!("{name}, done: {}", burst.get()?.iter().sum::<u64>());
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
    let (executor, enough) = (ThreadPoolExecutor::new(1)?, RawValue::new(0_u32)?);
    let tasks = executor.submit_all(work, vec![enough.clone(); 8]);
    println!("by hand: {}", workers(&executor, 1));
    executor.resize(4)?;
    println!("by hand, resized: {}", workers(&executor, 4));
    enough.set(1);
    tasks.into_iter().try_for_each(|task| task.result().map(drop))?;
    Ok(())
}
