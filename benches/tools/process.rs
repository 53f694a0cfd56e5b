//! What a process costs that does nothing.

use crate::python::Python;
use concurrent_futures::StartMethod;
use concurrent_futures::multiprocessing::{Process, ProcessBuilder};
use concurrent_futures_benches::{Bench, Column, Unit, seconds};
use std::process::Command;

const AT_ONCE: usize = 50;

fn nothing(_: u64) {}

pub fn start_and_join(bench: &Bench) {
    let title = "A process from its start to the end of join";
    let Some(mut table) = bench.table("process", title, Unit::MILLISECONDS) else { return };
    table.note(format!("`u64 -> ()`. One after the other; and {AT_ONCE} started, then all joined, the time of each."));
    table.note("Fork servers run already. `Command` runs /bin/true, which need not find a function.");
    let python = Python::start("process.py");
    if let Some(python) = &python {
        table.note(format!("{}.", python.version()));
    }
    for (name, count) in [("alone", 1), ("many", AT_ONCE)] {
        let mut column = Column::new(name);
        column.row("concurrent-futures, fork server", move || ours(count, |process| process.start()));
        let spawn = |process: ProcessBuilder<u64, ()>| process.start_method(StartMethod::Spawn).start();
        column.row("concurrent-futures, spawn", move || ours(count, spawn));
        // SAFETY: this program has one thread.
        column.row("concurrent-futures, fork", move || ours(count, |process| unsafe { process.start_fork() }));
        column.row("std::process::Command", move || {
            let start = || Command::new("/bin/true").spawn().expect("it is there");
            all(count, start, |mut child| assert!(child.wait().is_ok_and(|status| status.success())))
        });
        column.row("procspawn::spawn", move || {
            all(count, || procspawn::spawn(7, nothing), |handle| handle.join().expect("it does nothing"))
        });
        for method in ["fork", "forkserver", "spawn"] {
            let Some(python) = &python else { break };
            let request = format!("{method} {count}");
            column.row(format!("Python Process, {method}"), move || python.ask(&request));
        }
        table.measure(column);
    }
    table.print();
}

fn ours(count: usize, start: fn(ProcessBuilder<u64, ()>) -> std::io::Result<Process>) -> f64 {
    let start = || start(Process::target(nothing, 7)).expect("there is room for it");
    all(count, start, |process| assert!(process.join().is_ok_and(|status| status.success())))
}

/// Seconds for each.
fn all<P>(count: usize, start: impl Fn() -> P, join: impl Fn(P)) -> f64 {
    let whole = seconds(|| {
        let processes: Vec<_> = (0..count).map(|_| start()).collect();
        processes.into_iter().for_each(join);
    });
    whole / count as f64
}
