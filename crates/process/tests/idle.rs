//! Pools that have nothing to do use no CPU: nobody looks around, on either data path. Alone in its program, whose CPU time
//! it reads.

use concurrent_futures_core::ExecutorExt;
use concurrent_futures_process::{DataPath, ProcessPoolExecutor, StartMethod};
use rustix::param::clock_ticks_per_second;
use std::fs::{read_dir, read_to_string};
use std::time::Duration;

const TIME: Duration = Duration::from_secs(2);
/// Of all pools together. A single thread that looked around would use forty times as much.
const MOST: Duration = Duration::from_millis(50);
/// After the last answer a pool may look around for a while before it sleeps.
const CALM: Duration = Duration::from_millis(500);

#[test]
fn an_idle_pool_uses_no_cpu() {
    let mut pools = Vec::new();
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        for path in [DataPath::Socket, DataPath::Ring] {
            let builder = ProcessPoolExecutor::builder().max_workers(2).start_method(method).data_path(path);
            pools.push(builder.build().unwrap());
        }
    }
    for pool in &pools {
        pool.warm_up().unwrap();
        assert_eq!(pool.map(|x: u64| x + 1, 0..1_000).map(Result::unwrap).sum::<u64>(), 500_500);
    }
    let used = || {
        std::thread::sleep(CALM);
        let before = ticks();
        std::thread::sleep(TIME);
        Duration::from_secs(ticks() - before) / clock_ticks_per_second() as u32
    };
    // Whoever has no turn for so long on a busy machine still has to calm down.
    let mut seen = Vec::new();
    let is_calm = (0..5).any(|_| {
        seen.push(used());
        seen.last().is_some_and(|used| *used < MOST)
    });
    assert!(is_calm, "{seen:?} in {TIME:?} each");
    // They were only asleep.
    for pool in &pools {
        assert_eq!(pool.submit(|x: u64| x + 1, 1).result().unwrap(), 2);
    }
}

/// The CPU time of this process and all that descend from it.
fn ticks() -> u64 {
    let mut sum = 0;
    let mut processes = vec![std::process::id()];
    let mut seen = 0;
    while let Some(process) = processes.pop() {
        let stat = read_to_string(format!("/proc/{process}/stat")).unwrap();
        // Behind the name, which ends at the last bracket, the third field is the first.
        let fields = stat.rsplit(')').next().unwrap().split_ascii_whitespace();
        sum += fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum::<u64>();
        seen += 1;
        for thread in read_dir(format!("/proc/{process}/task")).unwrap() {
            let children = read_to_string(thread.unwrap().path().join("children")).unwrap();
            processes.extend(children.split_ascii_whitespace().map(|pid| pid.parse::<u32>().unwrap()));
        }
    }
    assert_eq!(seen, 1 + 4 * 2 + 2, "this process, the workers, and the fork servers");
    sum
}
