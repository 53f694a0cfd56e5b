//! Tasks with many bytes.

use crate::nothing;
use crate::pools::{Pool, ours, procspawn};
use crate::python::{POOLS, Python};
use concurrent_futures::{Portable, ProcessPoolExecutor, SharedBytes, SharedSlice, SharedSliceMut};
use concurrent_futures_benches::{Bench, Column, Table, Unit, seconds};
use procspawn::serde::Shmem;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::ops::Deref;

const PAGE: usize = 4096;
const SIZES: [(&str, usize); 2] = [("1 MiB", 1 << 20), ("64 MiB", 64 << 20)];

/// Bytes to a worker, which looks at each page.
pub fn send(bench: &Bench, python: Option<&Python>) {
    let table = bench.table("send", "Bytes to a worker", Unit::MILLISECONDS);
    table.into_iter().for_each(|table| measure(bench, table, Direction::There, python));
}

/// Bytes to a worker and back.
pub fn echo(bench: &Bench, python: Option<&Python>) {
    let table = bench.table("echo", "Bytes to a worker and back", Unit::MILLISECONDS);
    table.into_iter().for_each(|table| measure(bench, table, Direction::ThereAndBack, python));
}

#[derive(Clone, Copy)]
enum Direction {
    /// The answer is the sum of one byte of each page.
    There,
    ThereAndBack,
}

fn measure(bench: &Bench, mut table: Table<'_>, direction: Direction, python: Option<&Python>) {
    table.note("One worker, one task at a time. Everybody begins with bytes in the memory of the parent.");
    let (request, what) = match direction {
        Direction::There => ("send", "The worker reads one byte of each page."),
        Direction::ThereAndBack => ("echo", "The worker returns what it got."),
    };
    table.note(what);
    table.note("Each row begins with a task that does not count: memory that nobody uses goes back to the kernel, and from a virtual machine to its host, while other rows are measured.");
    table.note(
        "Made in place: the bytes are in a SharedSlice before the clock starts, as they are where a program fills one.",
    );
    let (ours, procspawn) = (ours(1, None), procspawn(1));
    for (name, size) in SIZES {
        let count = bench.options().pick(1, if size > 1 << 20 { 3 } else { 50 });
        let mut column = Column::new(name);
        column.row("concurrent-futures Vec<u8>", || sample::<Vec<u8>>(&ours, direction, size, count));
        column.row("concurrent-futures serde_bytes", || sample::<ByteBuf>(&ours, direction, size, count));
        column.row("concurrent-futures, a struct with a Vec<u8>", || sample::<Frame>(&ours, direction, size, count));
        column.row("concurrent-futures SharedBytes", || sample::<SharedBytes>(&ours, direction, size, count));
        column.row("concurrent-futures SharedSlice, made in place", || made_in_place(&ours, direction, size, count));
        column.row("procspawn Vec<u8>", || sample::<Vec<u8>>(&procspawn, direction, size, count));
        column.row("procspawn serde_bytes", || sample::<ByteBuf>(&procspawn, direction, size, count));
        column.row("procspawn Shmem", || sample::<Shmem>(&procspawn, direction, size, count));
        for (python, (kind, name)) in python.iter().flat_map(|python| POOLS.map(|pool| (python, pool))) {
            let request = format!("{request} {kind} {size} {count}");
            column.row(name, move || python.ask(&request));
        }
        table.measure(column);
    }
    python.into_iter().for_each(Python::close_pools);
    table.print();
}

/// A type that carries bytes.
trait Bytes: Portable + Deref<Target: AsRef<[u8]>> {
    fn wrap(bytes: Vec<u8>) -> Self;
}

impl Bytes for Vec<u8> {
    fn wrap(bytes: Vec<u8>) -> Self {
        bytes
    }
}

impl Bytes for SharedBytes {
    fn wrap(bytes: Vec<u8>) -> Self {
        SharedBytes::from(bytes)
    }
}

impl Bytes for ByteBuf {
    fn wrap(bytes: Vec<u8>) -> Self {
        ByteBuf::from(bytes)
    }
}

impl Bytes for Shmem {
    fn wrap(bytes: Vec<u8>) -> Self {
        Shmem::from_bytes(&bytes)
    }
}

/// A type of a user's.
#[derive(Serialize, Deserialize)]
struct Frame {
    number: u64,
    bytes: Vec<u8>,
}

impl Bytes for Frame {
    fn wrap(bytes: Vec<u8>) -> Self {
        Frame { number: 7, bytes }
    }
}

impl Deref for Frame {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        assert_eq!(self.number, 7);
        &self.bytes
    }
}

/// The time of one task, averaged over `count`.
fn sample<B: Bytes>(pool: &impl Pool, direction: Direction, size: usize, count: usize) -> f64 {
    let payloads = vec![vec![1; size]; count + 1];
    let pages = (size / PAGE) as u64;
    match direction {
        Direction::There => {
            average(payloads, |payload| pool.call(touch::<B>, B::wrap(payload)), |sum| assert_eq!(sum, pages))
        }
        Direction::ThereAndBack => average(
            payloads,
            |payload| pool.call(nothing::<B>, B::wrap(payload)),
            |back| assert_eq!(touch_slice((*back).as_ref()), pages),
        ),
    }
}

/// As [`sample`], of bytes that have been made where they can be shared.
fn made_in_place(pool: &impl Pool, direction: Direction, size: usize, count: usize) -> f64 {
    let payloads = (0..=count).map(|_| filled(size)).collect();
    let pages = (size / PAGE) as u64;
    match direction {
        Direction::There => average(payloads, |payload| pool.call(touch_shared, payload), |sum| assert_eq!(sum, pages)),
        Direction::ThereAndBack => average(
            payloads,
            |payload| pool.call(nothing::<SharedSlice<u8>>, payload),
            |back| assert_eq!(touch_slice(&back), pages),
        ),
    }
}

/// The time that `call` takes, without the first one. What it returns is checked and dropped by `check`, which does not count.
fn average<P, R>(payloads: Vec<P>, call: impl Fn(P) -> R, check: impl Fn(R)) -> f64 {
    let count = payloads.len() - 1;
    let times = payloads.into_iter().map(|payload| {
        let mut back = None;
        let elapsed = seconds(|| back = Some(call(payload)));
        back.into_iter().for_each(&check);
        elapsed
    });
    times.skip(1).sum::<f64>() / count as f64
}

fn filled(size: usize) -> SharedSlice<u8> {
    let mut bytes = SharedSliceMut::zeroed(size).expect("memory");
    bytes.fill(1);
    bytes.freeze()
}

/// Much and little, to one worker and to four.
pub fn fan_out(bench: &Bench) {
    let Some(mut table) = bench.table("fan-out", "One SharedSlice to one worker and to four", Unit::MICROSECONDS)
    else {
        return;
    };
    table.note(
        "Made in place before the clock starts. Each worker gets all of it, and is done when it has read the first and the last byte.",
    );
    let (one, four) = (ours(1, None), ours(4, None));
    let large = bench.options().pick(64 << 20, 1 << 30);
    let slices = [1 << 20, large].map(filled);
    let before = shared_memory();
    for bytes in &slices {
        let mut column = Column::new(format!("{} MiB", bytes.len() >> 20));
        column.row("to one worker", || give(&one, 1, bytes));
        column.row("to four workers, all of them", || give(&four, 4, bytes));
        table.measure(column);
    }
    let after = shared_memory();
    table.note(format!(
        "Shared memory of the machine before the first was sent: {before} MiB; after the last: {after} MiB."
    ));
    table.print();
}

fn give(pool: &ProcessPoolExecutor, workers: usize, bytes: &SharedSlice<u8>) -> f64 {
    let ends = |bytes: SharedSlice<u8>| u64::from(bytes[0]) + u64::from(bytes[bytes.len() - 1]);
    seconds(|| {
        let handles: Vec<_> = (0..workers).map(|_| Pool::submit(pool, ends, bytes.clone())).collect();
        handles.into_iter().for_each(|handle| assert_eq!(pool.take(handle).expect("the task returns"), 2));
    })
}

/// All shared memory of the machine, in MiB.
fn shared_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Shmem:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) >> 10
}

fn touch<B: Bytes>(bytes: B) -> u64 {
    touch_slice((*bytes).as_ref())
}

fn touch_shared(bytes: SharedSlice<u8>) -> u64 {
    touch_slice(&bytes)
}

fn touch_slice(bytes: &[u8]) -> u64 {
    bytes.iter().step_by(PAGE).map(|&byte| u64::from(byte)).sum()
}
