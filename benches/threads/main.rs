//! Thread pools: what carrying a task costs, beside the rivals.
//!
//! ```text
//! cargo bench -p concurrent-futures-benches --bench threads -- --quick
//! ```

mod fib;
mod latency;
mod limit;
mod map;
mod pools;
mod throughput;

use concurrent_futures_benches::{Bench, Options};

fn main() {
    let Some(options) = Options::from_args() else { return };
    let bench = Bench::new("Threads", options);
    throughput::one_submitter(&bench);
    throughput::four_submitters(&bench);
    latency::hot(&bench);
    latency::paused(&bench);
    map::middling_items(&bench);
    map::cheap_items(&bench);
    fib::nested(&bench);
}

/// The task that does nothing.
fn nothing(x: u64) -> u64 {
    x
}
