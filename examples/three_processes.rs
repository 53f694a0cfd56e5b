//! One process that squares the numbers from 1 to 1500; then three that share them.
//!
//! Shows: processes that run at the same time, each with its part of the work, and a pipe from each
//! on which its results come.
//!
//! ```text
//! cargo run --release --example three_processes
//! ```

use concurrent_futures::multiprocessing::connection::{Sender, one_way};
use concurrent_futures::multiprocessing::{Process, current_process};
use std::error::Error;
use std::ops::RangeInclusive;

fn squares((numbers, results): (RangeInclusive<u64>, Sender<(String, u64, u64)>)) {
    let name = current_process().name().to_owned();
    for number in numbers {
        // An error: the parent does not want them any more.
        if results.send((name.clone(), number, number * number)).is_err() {
            return;
        }
    }
}

/// Squares the numbers in as many processes as there are parts.
fn run(parts: &[RangeInclusive<u64>]) -> Result<(), Box<dyn Error>> {
    let mut started = Vec::new();
    for part in parts {
        let (results, receiver) = one_way()?;
        started.push((Process::start(squares, (part.clone(), results))?, receiver, part));
    }
    let mut sum = 0;
    for (process, results, part) in started {
        let (mut count, mut part_sum) = (0, 0);
        for result in results.iter() {
            let (name, number, square) = result?;
            assert!(name == process.name() && part.contains(&number) && square == number * number);
            (count, part_sum) = (count + 1, part_sum + square);
        }
        let status = process.join()?;
        println!(
            "{}: {count} numbers from {} to {}, sum {part_sum}, {status}",
            process.name(),
            part.start(),
            part.end()
        );
        sum += part_sum;
    }
    println!("{} at work: {sum} in all", if parts.len() == 1 { "one" } else { "three" });
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    run(&[1..=1500])?;
    run(&[1..=500, 501..=1000, 1001..=1500])
}
