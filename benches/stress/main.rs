//! All primitives at once, used by processes that are killed at random instants; no measurement but a trial.
//!
//! ```sh
//! cargo run --release -p concurrent-futures-benches --example stress -- --seconds 600 --seed 7
//! ```

use concurrent_futures_conformance::stress::{Options, run};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const HELP: &str = "\
cargo run --release -p concurrent-futures-benches --example stress -- [OPTION]...

--seconds N     how long (60)
--actors N      processes that use everything (6)
--couples N     pairs of processes with a pipe between them (2)
--kill-every N  milliseconds between two kills from outside, on average (50)
--seed N        of all that is left to chance (1)
";

/// Between two lines.
const REPORT: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let ms = Duration::from_millis;
    let mut options = Options { time: ms(60_000), actors: 6, couples: 2, kill_every: ms(50), seed: 1 };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let number = args.next().and_then(|number| number.parse::<u64>().ok());
        match (arg.as_str(), number) {
            ("--seconds", Some(n)) => options.time = Duration::from_secs(n),
            ("--actors", Some(n)) => options.actors = n as usize,
            ("--couples", Some(n)) => options.couples = n as usize,
            ("--kill-every", Some(n)) => options.kill_every = ms(n),
            ("--seed", Some(n)) => options.seed = n,
            _ => {
                eprint!("{HELP}");
                return ExitCode::from(2);
            }
        }
    }
    println!("{options:?}");
    let begun = Instant::now();
    let mut next = begun + REPORT;
    let report = run(options, |report| {
        if Instant::now() >= next {
            next += REPORT;
            println!("{:4} s: {report}", begun.elapsed().as_secs());
        }
    });
    match report {
        Ok(report) => {
            println!("in all: {report}");
            let well = report.complaints.is_empty();
            println!("{}", if well { "nothing was lost, and nothing is left" } else { "FAILED" });
            if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            println!("FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}
