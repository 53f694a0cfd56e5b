//! What a small task costs in a pool of processes, in CPU time: of the thread that submits and takes results, of the rest of this
//! program, and of the workers. By the kernel's account (`schedstat`), so that other programs on the machine disturb it little.
//!
//! ```text
//! cargo run --release -p concurrent-futures-benches --example cost -- [workers] [in flight] [tasks] [rounds]
//! ```

use concurrent_futures::prelude::*;
use concurrent_futures::{Future, Shutdown};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

fn nothing(x: u64) -> u64 {
    x
}

fn main() {
    let mut numbers = std::env::args().skip(1).map(|word| word.parse::<usize>().expect("a number"));
    let mut next = |otherwise| numbers.next().unwrap_or(otherwise);
    let (workers, window, tasks, rounds) = (next(1), next(64), next(200_000), next(5));
    println!("{workers} workers, {window} in flight, {tasks} tasks a round; CPU time per task in ns");
    println!("{:>12} {:>10} {:>10} {:>10} {:>10}", "thousand/s", "wall", "submitter", "others", "workers");
    for _ in 0..rounds {
        let pool = ProcessPoolExecutor::new(workers).expect("a pool of processes");
        fly(&pool, window, tasks / 10);
        let (thread, process, begin) = (thread_time(), process_time("self"), Instant::now());
        let children = children_time(&pool);
        fly(&pool, window, tasks);
        let wall = begin.elapsed();
        let children = children_time(&pool) - children;
        let (thread, process) = (thread_time() - thread, process_time("self") - process);
        let each = |time: Duration| time.as_nanos() as f64 / tasks as f64;
        println!(
            "{:>12.0} {:>10.0} {:>10.0} {:>10.0} {:>10.0}",
            tasks as f64 / wall.as_secs_f64() / 1000.0,
            each(wall),
            each(thread),
            each(process.saturating_sub(thread)),
            each(children)
        );
        pool.shutdown(Shutdown::WAIT);
    }
}

/// The oldest result is taken, then the next task submitted.
fn fly(pool: &ProcessPoolExecutor, window: usize, tasks: usize) {
    let mut flying: VecDeque<Future<u64>> = VecDeque::with_capacity(window);
    let mut sum = 0;
    for x in 0..tasks as u64 {
        if flying.len() == window {
            sum += flying.pop_front().expect("it is full").result().expect("the task returns");
        }
        flying.push_back(pool.submit(nothing, x));
    }
    sum += flying.into_iter().map(|future| future.result().expect("the task returns")).sum::<u64>();
    assert_eq!(sum, (0..tasks as u64).sum());
}

/// CPU time by the first word of a file of the kernel's.
fn of_file(path: &str) -> Duration {
    let text = std::fs::read_to_string(path).expect("the kernel keeps account");
    Duration::from_nanos(text.split(' ').next().and_then(|word| word.parse().ok()).expect("a number"))
}

fn thread_time() -> Duration {
    of_file("/proc/thread-self/schedstat")
}

/// Of all threads that a process has.
fn process_time(pid: &str) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("a list of threads");
    threads.map(|thread| of_file(&format!("{}/schedstat", thread.expect("a thread").path().display()))).sum()
}

fn children_time(pool: &ProcessPoolExecutor) -> Duration {
    pool.worker_pids().iter().map(|pid| process_time(&pid.to_string())).sum()
}
