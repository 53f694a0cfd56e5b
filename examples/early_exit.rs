//! The main process ends while tasks of a pool run.
//!
//! Shows: a `Pool` that goes out of scope is terminated, so the program ends at once, whatever its
//! workers do; an executor is waited for; and in both cases no worker outlives the program.
//!
//! ```text
//! cargo run --release --example early_exit           # both, as programs of their own
//! cargo run --release --example early_exit pool      # the first
//! cargo run --release --example early_exit executor  # the second
//! cargo run --release --example early_exit exit      # the first, by `process::exit`
//! ```

use concurrent_futures::multiprocessing::Pool;
use concurrent_futures::prelude::*;
use std::process::Command;
use std::time::Duration;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn nap(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
    println!("a task has slept for {milliseconds} ms");
}

fn an_hour(_: ()) -> u32 {
    std::thread::sleep(Duration::from_secs(3600));
    0
}

/// Tasks of a pool are running, surely.
fn begin(pool: &Pool) -> Result<u32, TaskError> {
    for _ in 0..10 {
        pool.apply_async(an_hour, ());
    }
    pool.apply(|()| std::process::id(), ())
}

fn pool() -> Outcome {
    let pool = Pool::new(11)?;
    println!("worker {}", begin(&pool)?);
    println!("main ends");
    Ok(())
} // the pool is terminated here: its workers are killed, ten results were never asked for

fn exit() -> Outcome {
    let pool = Pool::new(11)?;
    println!("worker {}", begin(&pool)?);
    println!("main ends");
    // Nothing is dropped; the workers see that their parent is gone.
    std::process::exit(0)
}

fn executor() -> Outcome {
    let executor = ProcessPoolExecutor::new(2)?;
    for milliseconds in [200, 700] {
        executor.submit(nap, milliseconds);
    }
    println!("main ends");
    Ok(())
} // the executor waits here until its tasks are done

/// Runs this program as its own guest, and says what it has printed and whether its worker is gone.
fn show(which: &str) -> Outcome {
    let output = Command::new(std::env::current_exe()?).arg(which).output()?;
    let printed = String::from_utf8(output.stdout)?;
    let (workers, mut lines): (Vec<&str>, Vec<&str>) = printed.lines().partition(|line| line.starts_with("worker "));
    lines.sort_unstable(); // who prints first depends on the machine
    println!("{which}: {}, {}", output.status, lines.join(", "));
    for worker in workers {
        let stat = format!("/proc/{}/stat", worker.trim_start_matches("worker "));
        // It is dying, or has died: a process that is killed goes in its own time.
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            std::thread::sleep(Duration::from_millis(1));
        }
        println!("{which}: its workers are gone");
    }
    Ok(())
}

fn main() -> Outcome {
    match std::env::args().nth(1).as_deref() {
        Some("pool") => pool(),
        Some("executor") => executor(),
        Some("exit") => exit(),
        Some(other) => Err(format!("{other}: not one of pool, executor, exit").into()),
        None => ["pool", "executor", "exit"].into_iter().try_for_each(show),
    }
}
