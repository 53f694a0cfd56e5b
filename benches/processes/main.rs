//! Pools of worker processes: what carrying a task costs, beside the rivals.
//!
//! ```text
//! cargo bench -p concurrent-futures-benches --bench processes -- --quick
//! ```
//!
//! Python's rows are left out where there is no `python3`.

mod hundred;
mod memory;
mod payload;
mod pools;
mod python;
mod small;
mod start;

use concurrent_futures_benches::{Bench, Options};
use python::Python;

fn main() {
    // A worker of procspawn goes no further. Ours do not come here: they are recognised before `main`.
    procspawn::init();
    hundred::be_a_program_if_asked();
    let Some(options) = Options::from_args() else { return };
    let bench = Bench::new("Processes", options);
    let python = Python::start();
    match &python {
        Some(python) => println!("{}.", python.version()),
        None => println!("There is no python3 here: its rows are left out."),
    }
    let python = python.as_ref();
    small::stream(&bench, python);
    small::round_trip(&bench, python);
    small::round_trip_paused(&bench, python);
    small::map(&bench, python);
    small::map_of_work(&bench);
    payload::send(&bench, python);
    payload::echo(&bench, python);
    payload::fan_out(&bench);
    start::cold(&bench, python);
    start::replacement(&bench, python);
    start::large_parent(&bench, python);
    memory::of_an_idle_worker(&bench, python);
    hundred::tasks(&bench, python);
}

/// The task that does nothing.
fn nothing<T>(x: T) -> T {
    x
}
