//! Millions of tasks through pools with a bounded queue: memory must not follow their number.

use crate::options::Options;
use crate::watch::Sample;
use crate::work;
use concurrent_futures::{BuildError, Executor, ExecutorExt, ProcessPoolExecutor, Shutdown, ThreadPoolExecutor};
use std::time::Instant;

/// So many tasks may wait.
const BOUND: usize = 1024;
/// So many times memory is looked at.
const LOOKS: u64 = 100;
/// What a pool, its queue and its threads may take.
const MOST: u64 = 64 << 20;

/// Pushes `tasks` tasks through a pool of each kind. Gives the complaints.
///
/// # Errors
/// A pool could not be made.
pub fn flood(options: &Options, tasks: u64) -> Result<Vec<String>, BuildError> {
    let threads = ThreadPoolExecutor::builder().max_workers(options.workers).queue_bound(BOUND).build()?;
    let processes = ProcessPoolExecutor::builder().max_workers(options.workers).queue_bound(BOUND).build()?;
    let pools: [(&str, &dyn Executor); 2] = [("threads", &threads), ("processes", &processes)];
    Ok(pools.into_iter().filter_map(|(name, pool)| push(name, pool, tasks)).collect())
}

fn push(name: &str, pool: &dyn Executor, tasks: u64) -> Option<String> {
    let start = Instant::now();
    let before = Sample::take(&[]).own();
    let mut most = before;
    for x in 0..tasks {
        // As fast as it takes them; nobody wants the result of all but a few.
        let future = pool.submit(work::mix, x);
        if x % (tasks / LOOKS).max(1) == 0 {
            if future.result().ok() != Some(work::mix(x)) {
                return Some(format!("{name}: task {x} gave another value or none"));
            }
            most = most.max(Sample::take(&[]).own());
        }
    }
    pool.shutdown(Shutdown::WAIT);
    let finished = pool.stats().finished;
    let time = start.elapsed().as_secs_f64();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let (from, to) = (mib(before), mib(most));
    println!("flood, {name}: {finished} of {tasks} tasks in {time:.1} s; memory from {from:.1} to {to:.1} MiB at most");
    if finished != tasks {
        Some(format!("{name}: {finished} of {tasks} tasks were finished"))
    } else if most > before + MOST {
        Some(format!("{name}: memory has grown from {before} to {most} bytes"))
    } else {
        None
    }
}
