//! The time from submitting one task to holding its result, nothing else going on.

use crate::pools::{Carrier, Threads, carriers};
use crate::throughput::plural;
use concurrent_futures_benches::{Bench, Column, Unit, median_of_each};
use std::time::Duration;

/// One task directly after the other.
pub fn hot(bench: &Bench) {
    let count = bench.options().pick(200, 5_000);
    measure(bench, "latency", "Latency of one task at a time, hot", count, None);
}

/// All threads have gone to sleep meanwhile.
pub fn paused(bench: &Bench) {
    let pause = Duration::from_millis(1);
    let count = bench.options().pick(20, 200);
    measure(bench, "latency-paused", "Latency of one task at a time, after 1 ms pauses", count, Some(pause));
}

fn measure(bench: &Bench, name: &str, title: &str, count: usize, pause: Option<Duration>) {
    let Some(mut table) = bench.table(name, title, Unit::MICROSECONDS) else { return };
    table.note(format!("`u64 -> u64`, an empty task; a round is the median of {count} tasks."));
    for workers in [1, 2] {
        let carriers = carriers(workers);
        let mut column = Column::new(plural(workers));
        for (name, carrier) in &carriers {
            column.row(*name, move || median_of_each(count, pause, || carrier.one()));
        }
        column.row("std::thread per task", move || median_of_each(count / 10, pause, || Threads.one()));
        table.measure(column);
    }
    table.print();
}
