//! Ten processes, and four of them at work at a time: `Semaphore(4)`.
//!
//! Shows also what Python has not: one of them is killed while it works, and its permit comes back.
//!
//! ```text
//! cargo run --release --example semaphore
//! ```

use concurrent_futures::multiprocessing::{Process, Semaphore, Value};
use std::time::Duration;

/// How many work now, and how many have worked at the same time, at the most.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Count {
    now: Value<u32>,
    most: Value<u32>,
}

fn works((number, semaphore, count): (u32, Semaphore, Count)) {
    // Given back at the end of the block, and also if this process is killed before.
    let _permit = semaphore.acquire();
    if number == 7 {
        std::process::abort();
    }
    let now = count.now.update(|now| now + 1);
    count.most.update(|most| most.max(now));
    std::thread::sleep(Duration::from_millis(20));
    count.now.update(|now| now - 1);
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let semaphore = Semaphore::new(4)?;
    let count = Count { now: Value::new(0)?, most: Value::new(0)? };
    let start = |number| Process::start(works, (number, semaphore.clone(), count.clone()));
    let processes = (0..10).map(start).collect::<Result<Vec<_>, _>>()?;
    for (number, process) in processes.iter().enumerate() {
        println!("process {number}: {}", process.join()?);
    }
    println!("more than four at a time: {}", count.most.get() > 4);
    println!("permits at the end: {}", semaphore.value());
    Ok(())
}
