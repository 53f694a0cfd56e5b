//! A judge of programs that nobody has read: each entry runs in a worker process with limits of time, memory and files, is
//! stopped when it goes too far, and is reported with what it printed. The others do not notice.
//!
//! ```sh
//! cargo run --release --example judge
//! ```

use concurrent_futures::prelude::*;
use concurrent_futures::{Backoff, Grace, KilledBy, RetryOn, TaskErrorKind, task};
use serde::{Deserialize, Serialize};
use std::thread;
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// What was handed in.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Entry {
    Sum,
    Prints,
    Panics,
    Aborts,
    Loops,
    Listens,
    Eats,
    OpensFiles,
    Unlucky,
}

use Entry::*;

fn run(entry: Entry) -> u64 {
    match entry {
        Sum => (1..=1_000).sum(),
        Prints => {
            println!("the answer is near");
            42
        }
        Panics => panic!("I give up"),
        Aborts => std::process::abort(),
        Loops => loop {
            std::hint::spin_loop();
        },
        Listens => {
            while !task::current().should_stop() {
                thread::sleep(Duration::from_millis(1));
            }
            0
        }
        Eats => {
            let mut eaten = Vec::new();
            loop {
                eaten.push(vec![1_u8; MIB as usize]);
            }
        }
        OpensFiles => {
            let open = |_| std::fs::File::open("/dev/null").expect("another descriptor");
            (0..1_000).map(open).collect::<Vec<_>>().len() as u64
        }
        // Crashes twice, as a program does that depends on the weather.
        Unlucky if task::current().attempt() < 3 => std::process::abort(),
        Unlucky => 7,
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let judge = ProcessPoolExecutor::builder().max_workers(2).capture_output(true).build()?;
    let entries = [Sum, Prints, Panics, Aborts, Loops, Listens, Eats, OpensFiles, Unlucky];
    let futures = entries.map(|entry| {
        let limit = Duration::from_millis(if matches!(entry, Loops | Listens) { 500 } else { 60_000 });
        let future = judge
            .task(run, entry)
            .name(format!("{entry:?}"))
            .timeout(limit)
            .grace(Grace::new().ask(Duration::from_millis(50)).terminate(Duration::from_millis(50)))
            .memory_limit(256 * MIB)
            .open_files_limit(64)
            .retries(if matches!(entry, Unlucky) { 5 } else { 0 })
            .retry_on(RetryOn::WORKER_DEATH)
            .backoff(Backoff::exponential(Duration::from_millis(1), Duration::from_millis(50)))
            .submit();
        (entry, future)
    });
    for (entry, future) in futures {
        future.wait();
        let (attempts, output) = (future.attempts(), future.output().unwrap_or_default());
        let verdict = match future.result() {
            Ok(value) => format!("{value} after {attempts} attempts; it printed {:?}", output.stdout_text()),
            Err(error) => match error.kind() {
                TaskErrorKind::TimedOut(limit) => format!("not done in {limit:?}"),
                TaskErrorKind::Panicked(panic) => format!("panicked: {}", panic.message()),
                TaskErrorKind::WorkerDied(death) if death.killed_by() == KilledBy::Memory => "too much memory".into(),
                TaskErrorKind::WorkerDied(death) => format!("died of {}", death.signal().unwrap_or("nothing known")),
                other => other.to_string(),
            },
        };
        println!("{entry:?}: {verdict}");
    }
    println!("afterwards: {}", judge.submit(run, Sum).result()?);
    Ok(())
}
