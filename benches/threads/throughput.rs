//! Tasks per second.

use crate::pools::{Carrier, Threads, carriers};
use concurrent_futures_benches::{Bench, Column, Unit, seconds};

const WINDOW: usize = 1000;

/// One thread submits, and takes the results.
pub fn one_submitter(bench: &Bench) {
    measure(bench, "submit", 1);
}

/// Four threads do, each its own.
pub fn four_submitters(bench: &Bench) {
    measure(bench, "submit-from-four", 4);
}

fn measure(bench: &Bench, name: &str, submitters: usize) {
    let title = match submitters {
        1 => "Submit and result of an empty task, one submitter".to_owned(),
        n => format!("Submit and result of an empty task, {n} submitters"),
    };
    let Some(mut table) = bench.table(name, &title, Unit::MILLION_PER_SECOND) else { return };
    let tasks = bench.options().pick(20_000, 200_000);
    table.note(format!(
        "`u64 -> u64`; each submitter submits {WINDOW} tasks, then takes their results, then the next {WINDOW}; {tasks} in all."
    ));
    for workers in [1, 2, 4] {
        let carriers = carriers(workers);
        let mut column = Column::new(plural(workers));
        for (name, carrier) in &carriers {
            column.row(*name, || tasks as f64 / seconds(|| submit(&**carrier, tasks, submitters)));
        }
        // It takes its time: fewer of them, and few at once.
        let few = tasks / 500;
        column.row("std::thread per task", || {
            few as f64
                / seconds(|| {
                    std::thread::scope(|scope| {
                        (0..submitters).for_each(|_| _ = scope.spawn(|| Threads.windows(few / submitters, few / 10)));
                    })
                })
        });
        table.measure(column);
    }
    table.print();
}

fn submit(contender: &dyn Carrier, tasks: usize, submitters: usize) {
    if submitters == 1 {
        return contender.windows(tasks, WINDOW);
    }
    std::thread::scope(|scope| {
        for _ in 0..submitters {
            scope.spawn(|| contender.windows(tasks / submitters, WINDOW));
        }
    });
}

pub fn plural(workers: usize) -> String {
    if workers == 1 { "1 worker".to_owned() } else { format!("{workers} workers") }
}
