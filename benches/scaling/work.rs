//! Tasks of a known length, and ways to have them done.

use concurrent_futures::Future;
use concurrent_futures::prelude::*;
use concurrent_futures_benches::seconds;
use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Duration;

/// A task's length, in rounds of [`spin`].
#[derive(Clone, Copy)]
pub struct Length {
    rounds: u64,
    micros: u64,
}

impl Length {
    /// On this machine, as fast as it is now.
    pub fn calibrated(micros: u64) -> Length {
        const ROUNDS: u64 = 1 << 20;
        let fastest = (0..9).map(|_| seconds(|| black_box(spin(black_box(ROUNDS))))).fold(f64::INFINITY, f64::min);
        let rounds = micros as f64 * 1e-6 / (fastest / ROUNDS as f64);
        Length { rounds: (rounds as u64).max(1), micros }
    }

    /// How many fill that time.
    fn tasks_in(self, time: Duration) -> u64 {
        (time.as_micros() as u64 / self.micros).max(1)
    }
}

/// A loop in which each round needs the one before.
pub fn spin(rounds: u64) -> u64 {
    let mut x = rounds;
    for _ in 0..rounds {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        x ^= x >> 29;
    }
    x
}

/// Which part of the time of `workers` goes into tasks, when `run` has so many done that each worker has work for `time`.
/// What a task takes is measured just before, so that a slow moment of the machine counts for little.
pub fn efficiency(length: Length, workers: usize, time: Duration, run: impl FnOnce(u64)) -> f64 {
    let few = length.tasks_in(time / 4).max(10);
    let each = seconds(|| alone(length, few)) / few as f64;
    let tasks = length.tasks_in(time) * workers as u64;
    each * tasks as f64 / (workers as f64 * seconds(|| run(tasks)))
}

fn alone(length: Length, tasks: u64) {
    for _ in 0..tasks {
        black_box(spin(black_box(length.rounds)));
    }
}

pub fn by_threads(threads: usize, length: Length, tasks: u64) {
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| alone(length, tasks / threads as u64));
        }
    });
}

pub fn by_submit(pool: &impl Executor, window: usize, length: Length, tasks: u64) {
    let mut flying = VecDeque::with_capacity(window);
    for _ in 0..tasks {
        if flying.len() == window {
            flying.pop_front().into_iter().for_each(land);
        }
        flying.push_back(pool.submit(spin, length.rounds));
    }
    flying.into_iter().for_each(land);
}

fn land(future: Future<u64>) {
    black_box(future.result().expect("the task returns"));
}

pub fn by_map(pool: &impl Executor, length: Length, tasks: u64) {
    let items = std::iter::repeat_n(length.rounds, tasks as usize);
    let results: Vec<u64> = pool.map(spin, items).collect::<Result<_, _>>().expect("no item fails");
    assert_eq!(results.len() as u64, tasks);
}
