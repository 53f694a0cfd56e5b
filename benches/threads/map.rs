//! `map` over many items.

use crate::pools::contenders;
use crate::throughput::plural;
use concurrent_futures::prelude::*;
use concurrent_futures_benches::{Bench, Column, Unit, seconds};
use rayon::prelude::*;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

/// Tasks of the size for which pools are made.
pub fn middling_items(bench: &Bench) {
    let count = bench.options().pick(500, 10_000);
    let title = format!("`map` over {count} items of 10 µs");
    WORK.store(rounds_of_10_microseconds(), Ordering::Relaxed);
    measure(bench, "map", &title, work, count);
}

/// Items that cost less than it costs to carry them.
pub fn cheap_items(bench: &Bench) {
    let count = bench.options().pick(200_000, 10_000_000);
    let title = format!("`map` over {count} cheap items");
    measure(bench, "map-cheap", &title, |x| mix(x, 1), count);
}

fn measure(bench: &Bench, name: &str, title: &str, f: fn(u64) -> u64, count: u64) {
    const CHUNKS_PER_WORKER: usize = 8;
    let Some(mut table) = bench.table(name, title, Unit::MILLISECONDS) else { return };
    table.note(format!(
        "From a `Vec<u64>` to a `Vec<u64>`. \"In chunks\": {CHUNKS_PER_WORKER} tasks for each worker, cut by hand."
    ));
    let items: Vec<u64> = (0..count).collect();
    for workers in [1, 2, 4] {
        let ours = ThreadPoolExecutor::new(workers).expect("some workers");
        let rayon = rayon::ThreadPoolBuilder::new().num_threads(workers).build().expect("a rayon pool");
        let chunk = items.len().div_ceil(CHUNKS_PER_WORKER * workers);
        let in_chunks = contenders(workers);

        let items = &items[..];
        let mut column = Column::new(plural(workers));
        column.row("concurrent-futures map", || {
            let map = || ours.map(f, items.iter().copied()).collect::<Result<Vec<u64>, TaskError>>();
            seconds(|| check(items, &map().expect("no item fails")))
        });
        column.row("concurrent-futures map, into_vec", || {
            let map = || ours.map(f, items.iter().copied()).into_vec();
            seconds(|| check(items, &map().expect("no item fails")))
        });
        column.row("rayon par_iter", || {
            let map = || rayon.install(|| items.par_iter().map(|&x| f(x)).collect::<Vec<u64>>());
            seconds(|| check(items, &map()))
        });
        for (name, contender) in &in_chunks {
            column.row(format!("{name}, in chunks"), || seconds(|| check(items, &contender.map(f, items, chunk))));
        }
        column.row("a plain loop", || {
            seconds(|| check(items, &items.iter().map(|&x| black_box(f)(x)).collect::<Vec<u64>>()))
        });
        table.measure(column);
    }
    table.print();
}

fn check(items: &[u64], results: &[u64]) {
    assert_eq!(items.len(), results.len());
    black_box(results);
}

/// How many rounds of `mix` an item of [`work`] takes.
static WORK: AtomicU64 = AtomicU64::new(1);

/// Work that is measured in instructions, not by the clock: a thread that is not running does nothing.
fn work(x: u64) -> u64 {
    mix(x, WORK.load(Ordering::Relaxed))
}

fn mix(x: u64, rounds: u64) -> u64 {
    (0..rounds).fold(x, |x, n| (x ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29))
}

fn rounds_of_10_microseconds() -> u64 {
    const ROUNDS: u64 = 1_000_000;
    let time = || seconds(|| black_box(mix(black_box(1), ROUNDS)));
    let best = (0..10).map(|_| time()).fold(f64::INFINITY, f64::min);
    (10e-6 / best * ROUNDS as f64) as u64
}
