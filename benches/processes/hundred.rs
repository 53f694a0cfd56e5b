//! A pool against a process for each task.

use crate::nothing;
use crate::pools::{Pool, ours, procspawn};
use crate::python::Python;
use concurrent_futures::ProcessPoolExecutor;
use concurrent_futures_benches::{Bench, Column, Unit, seconds};
use std::collections::VecDeque;
use std::process::{Child, Command, Stdio};

const TASKS: u64 = 100;
const WORKERS: usize = 4;

/// With this variable the bench is a program that prints its value, and nothing else.
const NUMBER: &str = "CONCURRENT_FUTURES_BENCH_NUMBER";

/// To be called first in `main`.
pub fn be_a_program_if_asked() {
    if let Some(number) = std::env::var(NUMBER).ok().and_then(|number| number.parse::<u64>().ok()) {
        println!("{}", nothing(number));
        std::process::exit(0);
    }
}

/// A hundred tiny tasks.
pub fn tasks(bench: &Bench, python: Option<&Python>) {
    let title = "A hundred tiny tasks: a pool of four against a hundred processes";
    let Some(mut table) = bench.table("hundred", title, Unit::MILLISECONDS) else { return };
    table.note("`u64 -> u64`. Start and end of the pool are counted. Of the fresh processes four run at a time. In brackets: how");
    table.note("many times as fast the pool is that is made for these tasks.");
    let own = "pool of 4, made for it";
    let there = "pool of 4 that is there";
    let fresh = "a process for each";

    let warm = ours(WORKERS, None);
    let mut column = Column::new("concurrent-futures");
    column.row(own, || made_for_it(|| ours(WORKERS, None)));
    column.row(there, || seconds(|| all(&warm)));
    column.row(fresh, || made_for_it(one_task_each));
    column.row("the program for each, by std::process::Command", || seconds(programs));
    table.measure(column);
    drop(warm);

    let warm = procspawn(WORKERS);
    let mut column = Column::new("procspawn");
    column.row(own, || made_for_it(|| procspawn(WORKERS)));
    column.row(there, || seconds(|| all(&warm)));
    column.row(fresh, || {
        let start = |x| procspawn::spawn(x, nothing::<u64>);
        seconds(|| four_at_a_time(start, |handle| handle.join().expect("the task returns")))
    });
    table.measure(column);
    warm.end();

    for (python, (kind, method, name)) in python.iter().flat_map(|python| {
        let kinds = [("pool", "fork", "Python Pool, fork"), ("pool", "spawn", "Python Pool, spawn")];
        kinds.map(|kind| (python, kind))
    }) {
        // Hundreds of interpreters take seconds.
        let tasks = if method == "spawn" { bench.options().pick(10, TASKS) } else { TASKS };
        let mut column = Column::new(name);
        let request = format!("hundred {kind} {method} {tasks}");
        column.row(own, move || python.ask(&request));
        let request = format!("hundred fresh {method} {tasks}");
        column.row(fresh, move || python.ask(&request));
        table.measure(column);
    }
    table.print();
}

fn made_for_it<P: Pool>(make: impl FnOnce() -> P) -> f64 {
    seconds(|| {
        let pool = make();
        all(&pool);
        pool.end();
    })
}

fn all(pool: &impl Pool) {
    let handles: Vec<_> = (0..TASKS).map(|x| pool.submit(nothing::<u64>, x)).collect();
    let sum: u64 = handles.into_iter().map(|handle| pool.take(handle).expect("the task returns")).sum();
    assert_eq!(sum, (0..TASKS).sum());
}

/// A worker leaves after its first task.
fn one_task_each() -> ProcessPoolExecutor {
    let builder = ProcessPoolExecutor::builder().max_workers(WORKERS).max_tasks_per_child(1);
    builder.build().expect("a pool of processes")
}

fn programs() {
    four_at_a_time(program, printed);
}

fn program(x: u64) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("a program has a file"));
    command.env(NUMBER, x.to_string()).stdout(Stdio::piped()).spawn().expect("the bench starts")
}

fn printed(child: Child) -> u64 {
    let output = child.wait_with_output().expect("the bench is a child");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("it prints a number")
}

fn four_at_a_time<H>(start: impl Fn(u64) -> H, take: impl Fn(H) -> u64) {
    let mut running = VecDeque::with_capacity(WORKERS);
    let mut sum = 0;
    for x in 0..TASKS {
        if running.len() == WORKERS {
            sum += running.pop_front().map_or(0, &take);
        }
        running.push_back(start(x));
    }
    sum += running.into_iter().map(take).sum::<u64>();
    assert_eq!(sum, (0..TASKS).sum());
}
