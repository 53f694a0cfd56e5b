//! Parts two and three of the invariant: what had nothing to do with the fault succeeds, and the pool is usable.

use crate::ground::{Ground, Load, square};
use concurrent_futures::{ExecutorExt, Future, ProcessPoolExecutor};
use concurrent_futures_conformance::{PATIENCE, Soon};

/// Tasks that have nothing to do with what happens to their pool.
#[derive(Debug)]
#[must_use = "they are looked at by `succeed`"]
pub struct Bystanders(Vec<(u64, Future<Load<u64>>)>);

impl Bystanders {
    pub fn of(ground: Ground, ex: &ProcessPoolExecutor) -> Self {
        Bystanders((0..8).map(|number| (number, ex.submit(square, ground.load(number)))).collect())
    }

    /// All of them have come to their right ends.
    #[track_caller]
    pub fn succeed(self) {
        for (number, future) in self.0 {
            let value = future.soon().unwrap_or_else(|error| panic!("a task that had nothing to do with it: {error}"));
            assert_eq!(value.value, number * number);
        }
    }
}

/// A fresh task of the pool returns its result, by either way of data.
#[track_caller]
pub fn assert_usable(ground: Ground, ex: &ProcessPoolExecutor) {
    let (load, listener) = ground.listened(12);
    let result = ex.submit(square, load).soon().unwrap_or_else(|error| panic!("a fresh task: {error}"));
    assert_eq!(result.value, 144);
    if let Some(listener) = listener {
        result.call(5);
        assert_eq!(listener.try_recv_timeout(PATIENCE).expect("the handle has come back"), 5);
    }
    Bystanders::of(ground, ex).succeed();
}
