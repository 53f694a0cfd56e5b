//! What pools use that have nothing to do.

use concurrent_futures::prelude::*;
use concurrent_futures_benches::Bench;
use std::fs::{read_dir, read_to_string};
use std::time::Duration;

/// Prints the CPU time of two pools, and of all their processes, in a time without tasks.
pub fn idle(bench: &Bench) {
    if !bench.wants("idle") {
        return;
    }
    let time = Duration::from_secs(bench.options().pick(1, 10));
    println!("\n## Idle pools\n");
    println!("CPU time of the whole program and its processes in {} s, after a thousand tasks.\n", time.as_secs());
    println!("| pool of two | CPU time |\n|-------------|----------|");
    let threads = ThreadPoolExecutor::new(2).expect("a pool of threads");
    println!("| threads     | {} |", figure(used(&threads, time)));
    drop(threads);
    let processes = ProcessPoolExecutor::new(2).expect("a pool of processes");
    println!("| processes   | {} |", figure(used(&processes, time)));
}

fn figure(used: Duration) -> String {
    format!("{:5.2} ms", used.as_secs_f64() * 1e3)
}

fn used(pool: &impl Executor, time: Duration) -> Duration {
    let sum: u64 = pool.map(|x: u64| x, 0..1000).map(|x| x.expect("the task returns")).sum();
    assert_eq!(sum, (0..1000).sum());
    // They may still be on their way to sleep.
    std::thread::sleep(Duration::from_millis(50));
    let before = cpu_time();
    std::thread::sleep(time);
    cpu_time().saturating_sub(before)
}

/// What this process and all that descend from it have used so far, as long as none of their threads ends.
fn cpu_time() -> Duration {
    let mut nanos = 0;
    let mut processes = vec![std::process::id()];
    while let Some(process) = processes.pop() {
        for thread in read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten() {
            let read = |file: &str| read_to_string(thread.path().join(file)).unwrap_or_default();
            let ran = read("schedstat").split_ascii_whitespace().next().and_then(|field| field.parse::<u64>().ok());
            nanos += ran.expect("the kernel counts the time of a thread");
            processes.extend(read("children").split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    Duration::from_nanos(nanos)
}
