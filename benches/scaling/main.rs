//! How much of the machine is left for the tasks: efficiency by workers and by the length of a task.
//!
//! ```text
//! cargo bench -p concurrent-futures-benches --bench scaling -- --svg docs
//! ```

mod idle;
mod plot;
mod work;

use concurrent_futures::prelude::*;
use concurrent_futures::process::DataPath;
use concurrent_futures_benches::{Bench, Column, Options, Unit};
use plot::{Line, Panel, Plot};
use std::thread::available_parallelism;
use std::time::Duration;
use work::{Length, by_map, by_submit, by_threads, efficiency};

const LENGTHS: [u64; 4] = [1, 10, 100, 1000];

fn main() {
    let Some(options) = Options::from_args() else { return };
    let bench = Bench::new("Scaling", options);
    let threads = |workers| ThreadPoolExecutor::new(workers).expect("a pool of threads");
    let processes = |workers| {
        let builder = ProcessPoolExecutor::builder().max_workers(workers).data_path(DataPath::Ring);
        builder.build().expect("a pool of processes")
    };
    scaling(&bench, "threads", threads);
    scaling(&bench, "processes", processes);
    idle::idle(&bench);
}

/// 1, 2, 4 and so on, and as many as there are CPUs.
fn crews() -> Vec<usize> {
    let cpus = available_parallelism().map_or(1, usize::from);
    let mut crews: Vec<usize> = std::iter::successors(Some(1), |n| Some(n * 2)).take_while(|n| *n < cpus).collect();
    crews.push(cpus);
    crews
}

fn workers(n: usize) -> String {
    if n == 1 { "1 worker".to_owned() } else { format!("{n} workers") }
}

fn scaling<E: Executor>(bench: &Bench, name: &str, pool: impl Fn(usize) -> E) {
    let title = format!("Scaling of the pool of {name}");
    let Some(mut table) = bench.table(&format!("scaling-{name}"), &title, Unit::PERCENT) else { return };
    table.note(
        "Work divided by workers and by the time that they took: 100 % is the loop that just works, measured before",
    );
    table.note(
        "each sample. A task spins for the time that its column says. submit: 64 in flight for each worker, the oldest",
    );
    table.note(
        "result is taken, then the next task submitted; map: all items, results in order. Bare threads share the work",
    );
    table.note(
        "out before they begin: what this machine gives at best. The thread that submits works beside the workers.",
    );
    let crews = crews();
    let pools: Vec<(usize, E)> = crews.iter().map(|n| (*n, pool(*n))).collect();
    let work = Duration::from_millis(bench.options().pick(4, 40));
    for micros in LENGTHS {
        let length = Length::calibrated(micros);
        let mut column = Column::new(format!("{micros} µs"));
        for n in crews.iter().rev() {
            column.row(bare(*n), move || efficiency(length, *n, work, |tasks| by_threads(*n, length, tasks)));
        }
        for (n, pool) in &pools {
            column.row(format!("submit, {}", workers(*n)), move || {
                efficiency(length, *n, work, |tasks| by_submit(pool, 64 * n, length, tasks))
            });
        }
        for (n, pool) in &pools {
            column.row(format!("map, {}", workers(*n)), move || {
                efficiency(length, *n, work, |tasks| by_map(pool, length, tasks))
            });
        }
        table.measure(column);
    }
    if let Some(folder) = bench.options().svg() {
        let line = |label: String, row: &dyn Fn(usize) -> String, column: &str, dashed| Line {
            label,
            points: crews.iter().filter_map(|n| Some((*n, table.median(&row(*n), column)?))).collect(),
            dashed,
        };
        let panel = |way: &str| {
            let row = |n: usize| format!("{way}, {}", workers(n));
            let lengths = LENGTHS.map(|micros| line(format!("{micros} µs"), &row, &format!("{micros} µs"), false));
            let limit = line("bare threads, 1000 µs".to_owned(), &bare, "1000 µs", true);
            Panel { title: way.to_owned(), lines: lengths.into_iter().chain([limit]).collect() }
        };
        let plot = Plot {
            title: format!("{title}: efficiency by length of task"),
            subtitle: bench.machine(),
            panels: vec![panel("submit"), panel("map")],
        };
        let file = folder.join(format!("scaling-{name}.svg"));
        std::fs::write(&file, plot.to_svg()).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
    table.print();
}

fn bare(n: usize) -> String {
    if n == 1 { "1 bare thread".to_owned() } else { format!("{n} bare threads") }
}
