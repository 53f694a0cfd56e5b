//! Tasks whose argument and result are one number.

use crate::nothing;
use crate::pools::{Pool, ours, procspawn};
use crate::python::{POOLS, Python};
use concurrent_futures::prelude::*;
use concurrent_futures_benches::{Bench, Column, Table, Unit, median_of_each, seconds};
use std::collections::VecDeque;
use std::hint::black_box;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const WINDOW: usize = 64;

/// Tasks per second.
pub fn stream(bench: &Bench, python: Option<&Python>) {
    let title = "Submit and result of an empty task";
    let Some(mut table) = bench.table("submit", title, Unit::THOUSAND_PER_SECOND) else { return };
    let tasks = bench.options().pick(2_000, 100_000);
    let python_tasks = bench.options().pick(500, 5_000);
    table.note(format!(
        "`u64 -> u64`, {WINDOW} in flight: the oldest result is taken, then the next task submitted; {tasks} tasks in a \
         sample, {python_tasks} of procspawn and Python."
    ));
    for workers in [1, 2] {
        let (ours, procspawn) = (ours(workers, None), procspawn(workers));
        let mut column = Column::new(plural(workers));
        column.row("concurrent-futures", || tasks as f64 / seconds(|| fly(&ours, tasks)));
        column.row("procspawn", || python_tasks as f64 / seconds(|| fly(&procspawn, python_tasks)));
        for (python, (kind, name)) in python.iter().flat_map(|python| POOLS.map(|pool| (python, pool))) {
            let request = format!("stream {kind} {workers} {python_tasks} {WINDOW}");
            column.row(name, move || python_tasks as f64 / python.ask(&request));
        }
        table.measure(column);
        close(python);
    }
    table.print();
}

fn fly(pool: &impl Pool, tasks: usize) {
    let mut flying = VecDeque::with_capacity(WINDOW);
    let mut sum = 0;
    let mut land = |handle| sum += pool.take(handle).expect("the task returns");
    for x in 0..tasks as u64 {
        if flying.len() == WINDOW {
            flying.pop_front().into_iter().for_each(&mut land);
        }
        flying.push_back(pool.submit(nothing::<u64>, x));
    }
    flying.into_iter().for_each(land);
    assert_eq!(sum, (0..tasks as u64).sum());
}

/// One task directly after the other.
pub fn round_trip(bench: &Bench, python: Option<&Python>) {
    let count = bench.options().pick(100, 2_000);
    let table = bench.table("round-trip", "Round trip of one task at a time, hot", Unit::MICROSECONDS);
    table.into_iter().for_each(|table| round_trips(table, python, count, None));
}

/// Both sides have gone to sleep meanwhile.
pub fn round_trip_paused(bench: &Bench, python: Option<&Python>) {
    let count = bench.options().pick(20, 200);
    let title = "Round trip of one task at a time, after 1 ms pauses";
    let table = bench.table("round-trip-paused", title, Unit::MICROSECONDS);
    table.into_iter().for_each(|table| round_trips(table, python, count, Some(Duration::from_millis(1))));
}

fn round_trips(mut table: Table<'_>, python: Option<&Python>, count: usize, pause: Option<Duration>) {
    table.note(format!("`u64 -> u64`; a round is the median of {count} tasks."));
    for workers in [1, 2] {
        let (ours, procspawn) = (ours(workers, None), procspawn(workers));
        let mut column = Column::new(plural(workers));
        column.row("concurrent-futures", || median_of_each(count, pause, || back_and_forth(&ours)));
        column.row("procspawn", || median_of_each(count, pause, || back_and_forth(&procspawn)));
        for (python, (kind, name)) in python.iter().flat_map(|python| POOLS.map(|pool| (python, pool))) {
            let pause_ms = pause.map_or(0, |pause| pause.as_millis());
            let request = format!("round_trip {kind} {workers} {count} {pause_ms}");
            column.row(name, move || python.ask(&request));
        }
        let mut pipe = Pipe::new();
        column.row("limit: a bare pipe", move || median_of_each(count, pause, || pipe.there_and_back()));
        table.measure(column);
        close(python);
    }
    table.print();
}

/// Another process that writes to one pipe what it reads from another.
struct Pipe {
    child: Child,
}

impl Pipe {
    fn new() -> Pipe {
        // It reads and writes whatever comes, and does nothing else.
        let child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("cat");
        Pipe { child }
    }

    fn there_and_back(&mut self) {
        let (Some(there), Some(back)) = (&mut self.child.stdin, &mut self.child.stdout) else {
            unreachable!("both are piped")
        };
        let mut bytes = 7_u64.to_le_bytes();
        there.write_all(&bytes).expect("it reads");
        back.read_exact(&mut bytes).expect("it writes");
        assert_eq!(u64::from_le_bytes(bytes), 7);
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // At the end of its input it leaves.
        self.child.stdin = None;
        assert!(self.child.wait().expect("our child").success());
    }
}

fn back_and_forth(pool: &impl Pool) {
    assert_eq!(pool.call(nothing::<u64>, 7), 7);
}

/// Many numbers.
pub fn map(bench: &Bench, python: Option<&Python>) {
    const CHUNKS_PER_WORKER: usize = 8;
    let count: usize = bench.options().pick(50_000, 1_000_000);
    let title = format!("`map` over {count} numbers");
    let Some(mut table) = bench.table("map", &title, Unit::MILLISECONDS) else { return };
    table.note(format!(
        "`u64 -> u64`, an empty function, to a list of results. Chunks: ours by itself, else {CHUNKS_PER_WORKER} for each \
         worker (procspawn has no map: cut by hand)."
    ));
    let items: Vec<u64> = (0..count as u64).collect();
    for workers in [1, 2] {
        let (ours, procspawn) = (ours(workers, None), procspawn(workers));
        let threads = ThreadPoolExecutor::new(workers).expect("some workers");
        let chunk = count.div_ceil(CHUNKS_PER_WORKER * workers);
        let items = &items[..];
        let mut column = Column::new(plural(workers));
        column.row("concurrent-futures", || {
            let map = || ours.map(nothing::<u64>, items.iter().copied()).collect::<Result<Vec<u64>, TaskError>>();
            seconds(|| assert_eq!(map().expect("no item fails").len(), items.len()))
        });
        column.row("concurrent-futures, into_vec", || {
            let map = || ours.map(nothing::<u64>, items.iter().copied()).into_vec();
            seconds(|| assert_eq!(map().expect("no item fails").len(), items.len()))
        });
        column.row("threads of concurrent-futures, into_vec", || {
            let map = || threads.map(nothing::<u64>, items.iter().copied()).into_vec();
            seconds(|| assert_eq!(map().expect("no item fails").len(), items.len()))
        });
        column.row("procspawn", || seconds(|| assert_eq!(in_chunks(&procspawn, items, chunk).len(), items.len())));
        for (python, (kind, name)) in python.iter().flat_map(|python| POOLS.map(|pool| (python, pool))) {
            let request = format!("map {kind} {workers} {count} {chunk}");
            column.row(name, move || python.ask(&request));
        }
        table.measure(column);
        close(python);
    }
    table.print();
}

/// Many numbers that take about a microsecond each, beside threads.
pub fn map_of_work(bench: &Bench) {
    const CHUNKS_PER_WORKER: usize = 8;
    let count: usize = bench.options().pick(20_000, 1_000_000);
    let title = format!("`map` over {count} items of about 1 µs");
    let Some(mut table) = bench.table("map-of-work", &title, Unit::MILLISECONDS) else { return };
    table.note(format!(
        "`u64 -> u64`, {ROUNDS} rounds of a hash, to a list of results. Chunks: ours by itself, else {CHUNKS_PER_WORKER} for each \
         worker."
    ));
    let items: Vec<u64> = (0..count as u64).collect();
    for workers in [1, 2] {
        let (ours, procspawn) = (ours(workers, None), procspawn(workers));
        let threads = ThreadPoolExecutor::new(workers).expect("some workers");
        let items = &items[..];
        let mut column = Column::new(plural(workers));
        column.row("concurrent-futures", || {
            let map = || ours.map(work, items.iter().copied()).collect::<Result<Vec<u64>, TaskError>>();
            seconds(|| assert_eq!(map().expect("no item fails").len(), items.len()))
        });
        column.row("threads of concurrent-futures", || {
            let map = || threads.map(work, items.iter().copied()).collect::<Result<Vec<u64>, TaskError>>();
            seconds(|| assert_eq!(map().expect("no item fails").len(), items.len()))
        });
        let chunk = count.div_ceil(CHUNKS_PER_WORKER * workers);
        let call = |chunk: Vec<u64>| chunk.into_iter().map(work).collect::<Vec<u64>>();
        column.row("procspawn", || seconds(|| assert_eq!(chunks(&procspawn, items, chunk, call).len(), items.len())));
        column.row("a plain loop", || {
            let results = || items.iter().map(|&x| black_box(work)(x)).collect::<Vec<u64>>();
            seconds(|| assert_eq!(black_box(results()).len(), items.len()))
        });
        table.measure(column);
    }
    table.print();
}

const ROUNDS: u64 = 600;

/// Not so many rounds as take a microsecond by the clock: a worker process would have to be told.
fn work(x: u64) -> u64 {
    (0..ROUNDS).fold(x, |x, n| (x ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29))
}

fn in_chunks(pool: &impl Pool, items: &[u64], chunk: usize) -> Vec<u64> {
    chunks(pool, items, chunk, |chunk: Vec<u64>| chunk.into_iter().map(nothing).collect::<Vec<u64>>())
}

fn chunks(pool: &impl Pool, items: &[u64], chunk: usize, call: fn(Vec<u64>) -> Vec<u64>) -> Vec<u64> {
    let handles: Vec<_> = items.chunks(chunk).map(|chunk| pool.submit(call, chunk.to_vec())).collect();
    handles.into_iter().flat_map(|handle| pool.take(handle).expect("the task returns")).collect()
}

fn plural(workers: usize) -> String {
    if workers == 1 { "1 worker".to_owned() } else { format!("{workers} workers") }
}

fn close(python: Option<&Python>) {
    python.into_iter().for_each(Python::close_pools);
}
