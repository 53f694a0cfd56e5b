//! A pool of 4 for 100 tasks against 100 fresh processes.
//!
//! Shows: what it costs to start a process for each task, and that a pool pays for it four times only.
//!
//! ```text
//! cargo run --release --example pool_vs_processes
//! ```

use concurrent_futures::multiprocessing::{Pool, Process};
use std::time::{Duration, Instant};

const TASKS: u64 = 100;
const WORKERS: usize = 4;

fn work(x: u64) -> u64 {
    (1..=x).sum()
}

/// A process has no result but its end.
fn work_alone(x: u64) {
    std::hint::black_box(work(x));
}

fn pooled() -> Result<Duration, Box<dyn std::error::Error>> {
    let start = Instant::now();
    let pool = Pool::new(WORKERS)?;
    let results: Vec<_> = (0..TASKS).map(|x| pool.apply_async(work, x)).collect();
    pool.close();
    pool.join()?;
    let time = start.elapsed();
    for (x, result) in (0..TASKS).zip(results) {
        assert_eq!(result.get()?, work(x));
    }
    Ok(time)
}

fn alone() -> Result<Duration, Box<dyn std::error::Error>> {
    let start = Instant::now();
    let processes: Vec<Process> = (0..TASKS).map(|x| Process::start(work_alone, x)).collect::<Result<_, _>>()?;
    for process in processes {
        assert!(process.join()?.success());
    }
    Ok(start.elapsed())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Both once for nothing: what is done once in a program is in neither time.
    Process::start(work_alone, 0)?.join()?;
    Pool::new(1)?.apply(work, 0)?;
    let (pooled, alone) = (pooled()?, alone()?);
    println!("a pool of {WORKERS}, {TASKS} tasks: {:.3} s", pooled.as_secs_f64());
    println!("{TASKS} processes: {:.3} s", alone.as_secs_f64());
    println!("ratio: {:.1}", alone.as_secs_f64() / pooled.as_secs_f64());
    Ok(())
}
