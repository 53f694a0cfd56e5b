//! What it costs to have a worker.

use crate::nothing;
use crate::pools::{Pool, procspawn};
use crate::python::Python;
use concurrent_futures::process::DataPath;
use concurrent_futures::{ProcessPoolExecutor, StartMethod};
use concurrent_futures_benches::{Bench, Column, Unit, seconds};
use rustix::process::{Signal, getpid, kill_process};
use std::hint::black_box;

/// Ways to start workers, and what the pool sends its tasks by.
pub const WAYS: [(&str, StartMethod, DataPath); 3] = [
    ("concurrent-futures, fork server", StartMethod::ForkServer, DataPath::Ring),
    ("concurrent-futures, fork server, sockets", StartMethod::ForkServer, DataPath::Socket),
    ("concurrent-futures, spawn", StartMethod::Spawn, DataPath::Ring),
];

/// A pool of so many.
pub fn started(workers: usize, method: StartMethod, path: DataPath) -> ProcessPoolExecutor {
    let builder = ProcessPoolExecutor::builder().max_workers(workers).start_method(method).data_path(path);
    builder.build().expect("a pool of processes")
}

/// From nothing to the first result.
pub fn cold(bench: &Bench, python: Option<&Python>) {
    let title = "Start of a pool of two, to the first result";
    let Some(mut table) = bench.table("start", title, Unit::MILLISECONDS) else { return };
    table.note("`u64 -> u64`. The end of the pool is not counted.");
    table.note("Python's fork server is started once in a program; that is not counted either.");
    let mut column = Column::new("2 workers");
    for (name, method, path) in WAYS {
        column.row(name, move || first_result(|| started(2, method, path)));
    }
    column.row("procspawn", || first_result(|| procspawn(2)));
    if let Some(python) = python {
        for method in ["fork", "forkserver", "spawn"] {
            let request = format!("cold executor {method} 2 0");
            column.row(format!("Python ProcessPoolExecutor, {method}"), move || python.ask(&request));
        }
        column.row("Python multiprocessing.Pool, fork", || python.ask("cold pool fork 2 0"));
    }
    table.measure(column);
    table.print();
}

/// From a task that kills its worker to the result of the next.
pub fn replacement(bench: &Bench, python: Option<&Python>) {
    let title = "Replacement of a worker";
    let Some(mut table) = bench.table("replacement", title, Unit::MILLISECONDS) else { return };
    table.note(
        "Pool of one. A task kills its worker with SIGKILL; its error is taken; the next task is submitted and its",
    );
    table.note(
        "result taken. Python's executor is broken then: a new one is made. multiprocessing.Pool loses the task.",
    );
    let pools = WAYS.map(|(name, method, path)| (name, started(1, method, path)));
    let procspawn = procspawn(1);
    let mut column = Column::new("1 worker");
    for (name, pool) in &pools {
        column.row(*name, move || kill_and_go_on(pool));
    }
    column.row("procspawn", || kill_and_go_on(&procspawn));
    if let Some(python) = python {
        column.row("Python ProcessPoolExecutor, fork", || python.ask("replace executor"));
    }
    table.measure(column);
    table.print();
}

/// The memory of the parent is not to be seen.
pub fn large_parent(bench: &Bench, python: Option<&Python>) {
    let mib = bench.options().pick(64, 1024);
    let title = "Start of a pool of one from a large parent, to the first result";
    let Some(mut table) = bench.table("large-parent", title, Unit::MILLISECONDS) else { return };
    table.note("In brackets: how many times as fast it is from a small parent.");
    let large = format!("parent that holds {mib} MiB");
    for (name, method, path) in WAYS {
        let mut column = Column::new(name);
        column.row("small parent", || first_result(|| started(1, method, path)));
        column.row(&large, || with_ballast(mib, || first_result(|| started(1, method, path))));
        table.measure(column);
    }
    let mut column = Column::new("procspawn");
    column.row("small parent", || first_result(|| procspawn(1)));
    column.row(&large, || with_ballast(mib, || first_result(|| procspawn(1))));
    table.measure(column);
    if let Some(python) = python {
        let mut column = Column::new("Python ProcessPoolExecutor, fork");
        column.row("small parent", || python.ask("cold executor fork 1 0"));
        column.row(&large, || python.ask(&format!("cold executor fork 1 {mib}")));
        table.measure(column);
    }
    table.print();
}

fn first_result<P: Pool>(make: impl FnOnce() -> P) -> f64 {
    seconds(|| {
        let pool = make();
        assert_eq!(pool.call(nothing::<u64>, 7), 7);
        pool
    })
}

fn with_ballast<T>(mib: usize, work: impl FnOnce() -> T) -> T {
    let ballast = black_box(vec![1_u8; mib << 20]);
    let done = work();
    drop(black_box(ballast));
    done
}

fn kill_and_go_on(pool: &impl Pool) -> f64 {
    assert_eq!(pool.call(nothing::<u64>, 7), 7);
    seconds(|| {
        assert!(pool.take(pool.submit(die, 7)).is_err());
        assert_eq!(pool.call(nothing::<u64>, 7), 7);
    })
}

fn die(_: u64) {
    kill_process(getpid(), Signal::KILL).expect("one may kill oneself");
}
