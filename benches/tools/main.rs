//! The tools of `multiprocessing` beside Python's own, and beside a Rust crate where there is one.
//!
//! ```text
//! cargo bench -p concurrent-futures-benches --bench tools -- --quick
//! ```

use concurrent_futures_benches::{Bench, Options};

fn main() {
    let Some(options) = Options::from_args() else { return };
    let _bench = Bench::new("Tools", options);
}
