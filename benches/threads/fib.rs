//! Fork and join all the way down: who waits in a task works meanwhile.

use crate::throughput::plural;
use concurrent_futures::Handle;
use concurrent_futures::prelude::*;
use concurrent_futures_benches::{Bench, Column, Unit, seconds};

/// For information: a pool with futures is not made for tasks of some nanoseconds.
pub fn nested(bench: &Bench) {
    let n = bench.options().pick(12, 20);
    let title = format!("Nested fork and join: fib({n}), no cut-off");
    let Some(mut table) = bench.table("fib", &title, Unit::MILLISECONDS) else { return };
    table.note("One of the two calls is a task (a future, a `join`), the other is made in place.");
    let expected = alone(n);
    for workers in [1, 2] {
        let ours = ThreadPoolExecutor::new(workers).expect("some workers");
        let rayon = rayon::ThreadPoolBuilder::new().num_threads(workers).build().expect("a rayon pool");
        let chili = chili::ThreadPool::with_config(chili::Config {
            thread_count: std::num::NonZero::new(workers),
            ..chili::Config::default()
        });
        let mut column = Column::new(plural(workers));
        column.row("concurrent-futures, futures", || {
            let handle = ours.handle();
            let fib = move || ours_of(&handle, n);
            seconds(|| assert_eq!(ours.spawn(fib).result().expect("the task returns"), expected))
        });
        column.row("rayon join", || seconds(|| assert_eq!(rayon.install(|| rayon_of(n)), expected)));
        column.row("chili join", || seconds(|| assert_eq!(chili_of(&mut chili.scope(), n), expected)));
        column.row("a plain function", || seconds(|| assert_eq!(alone(std::hint::black_box(n)), expected)));
        table.measure(column);
    }
    table.print();
}

fn alone(n: u32) -> u64 {
    if n < 2 { u64::from(n) } else { alone(n - 1) + alone(n - 2) }
}

fn ours_of(pool: &Handle, n: u32) -> u64 {
    if n < 2 {
        return u64::from(n);
    }
    let (task, other) = {
        let pool = pool.clone();
        concurrent_futures::task::closure(move || ours_of(&pool, n - 1))
    };
    pool.submit_task(task);
    let here = ours_of(pool, n - 2);
    here + other.result().expect("the task returns")
}

fn rayon_of(n: u32) -> u64 {
    if n < 2 {
        return u64::from(n);
    }
    let (a, b) = rayon::join(|| rayon_of(n - 1), || rayon_of(n - 2));
    a + b
}

fn chili_of(scope: &mut chili::Scope<'_>, n: u32) -> u64 {
    if n < 2 {
        return u64::from(n);
    }
    let (a, b) = scope.join(|s| chili_of(s, n - 1), |s| chili_of(s, n - 2));
    a + b
}
