//! What a worker costs that does nothing.

use crate::pools::{Pool, procspawn};
use crate::python::{POOLS, Python};
use crate::start::{WAYS, started};
use concurrent_futures::StartMethod;
use concurrent_futures::process::DataPath;
use concurrent_futures_benches::{Bench, Column, Unit};
use std::fs::read_to_string;
use std::time::Duration;

/// So long a worker is left alone before its memory is read: it may still be on its way back to sleep.
const CALM: Duration = Duration::from_millis(10);

/// What is in no other process.
pub fn of_an_idle_worker(bench: &Bench, python: Option<&Python>) {
    let title = "Private memory of an idle worker";
    let Some(mut table) = bench.table("memory", title, Unit::KIBIBYTES) else { return };
    table.note(
        "Private_Clean + Private_Dirty of its smaps_rollup, when it has done one empty task. In brackets: how many",
    );
    table.note("times as much it is. The fork server is one more process in each pool.");
    let mut column = Column::new("pool of one");
    for (name, method, path) in WAYS {
        column.row(name, move || worker(started(1, method, path)));
    }
    column.row("concurrent-futures, the fork server itself", || {
        let pool = started(1, StartMethod::ForkServer, DataPath::Ring);
        let server = pool.call(|_: u64| std::os::unix::process::parent_id(), 7);
        private(server)
    });
    column.row("procspawn", || worker(procspawn(1)));
    for (python, (kind, name)) in python.iter().flat_map(|python| POOLS.map(|pool| (python, pool))) {
        let request = format!("memory {kind}");
        column.row(name, move || python.ask(&request));
    }
    table.measure(column);
    table.print();
}

fn worker(pool: impl Pool) -> f64 {
    let worker = pool.call(|_: u64| std::process::id(), 7);
    std::thread::sleep(CALM);
    private(worker)
}

/// In bytes.
fn private(pid: u32) -> f64 {
    let file = format!("/proc/{pid}/smaps_rollup");
    let rollup = read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let kib = |line: &str| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok();
    let private = rollup.lines().filter(|line| line.starts_with("Private_Clean") || line.starts_with("Private_Dirty"));
    1024.0 * private.filter_map(kib).sum::<u64>() as f64
}
