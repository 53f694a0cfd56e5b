//! The command line.

use std::fmt;
use std::thread::available_parallelism;
use std::time::Duration;

const HELP: &str = "\
cargo run --release -p concurrent-futures-benches --example soak -- [OPTION]...

--seconds N     how long (60)
--workers N     of each of the two pools (the number of CPUs)
--seed N        of all that is left to chance (1)
--calm          no chaos: only what the tasks do by themselves
--flood N       and first N small tasks through bounded pools of threads and of processes (0)
";

#[derive(Debug)]
pub struct Options {
    pub time: Duration,
    pub workers: usize,
    pub seed: u64,
    pub chaos: bool,
    pub flood: u64,
}

impl Options {
    /// # Errors
    /// What to tell the user: the usage, and what made no sense.
    pub fn from_args() -> Result<Options, String> {
        let workers = available_parallelism().map_or(2, usize::from);
        let mut options = Options { time: Duration::from_secs(60), workers, seed: 1, chaos: true, flood: 0 };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut number = || args.next().and_then(|n| n.parse::<u64>().ok()).ok_or("wants a number");
            let outcome = match arg.as_str() {
                "--seconds" => number().map(|n| options.time = Duration::from_secs(n)),
                "--workers" => number().and_then(|n| match usize::try_from(n) {
                    Ok(n) if n > 0 => {
                        options.workers = n;
                        Ok(())
                    }
                    _ => Err("wants a number above zero"),
                }),
                "--seed" => number().map(|n| options.seed = n),
                "--flood" => number().map(|n| options.flood = n),
                "--calm" => {
                    options.chaos = false;
                    Ok(())
                }
                "--help" => return Err(HELP.to_owned()),
                _ => Err("is no option"),
            };
            outcome.map_err(|what| format!("{arg} {what}\n\n{HELP}"))?;
        }
        Ok(options)
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chaos = if self.chaos { "with" } else { "without" };
        write!(f, "soak: {:?}, 2 pools of {} workers, seed {}, {chaos} chaos", self.time, self.workers, self.seed)
    }
}
