//! The tools of `multiprocessing` beside Python's own, and beside a Rust crate where there is one.
//!
//! ```text
//! cargo bench -p concurrent-futures-benches --bench tools -- --quick
//! ```

mod managers;
mod pipe;
mod process;
mod python;
mod queue;
mod sync;
mod values;

use concurrent_futures_benches::{Bench, Options};

fn main() {
    // A worker of procspawn goes no further. Ours do not come here: they are recognised before `main`.
    procspawn::init();
    let Some(options) = Options::from_args() else { return };
    let bench = Bench::new("Tools", options);
    process::start_and_join(&bench);
    managers::calls(&bench);
    values::all(&bench);
    sync::all(&bench);
    pipe::small(&bench);
    pipe::round_trip(&bench);
    pipe::bandwidth(&bench);
    queue::stream(&bench);
    queue::round_trip(&bench);
}
