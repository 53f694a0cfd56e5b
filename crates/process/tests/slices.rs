//! `SharedSlice` and `SharedBytes` between processes.

mod support;

use concurrent_futures_core::{Executor, ExecutorExt, Shutdown};
use concurrent_futures_ipc::{SharedBytes, SharedSlice, SharedSliceMut};
use concurrent_futures_process::ProcessPoolExecutor;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use support::*;

/// Larger than what travels as bytes.
const LEN: usize = 100_000;

fn numbers(from: u64) -> SharedSlice<u64> {
    SharedSliceMut::from_fn(LEN, |n| from + n as u64).unwrap().freeze()
}

fn sum(numbers: SharedSlice<u64>) -> u64 {
    numbers.iter().sum()
}

fn total(from: u64) -> u64 {
    (from..from + LEN as u64).sum()
}

#[derive(Serialize, Deserialize)]
struct Request {
    name: String,
    parts: Vec<SharedSlice<u64>>,
    raw: Option<SharedBytes>,
}

#[derive(Serialize, Deserialize)]
struct Answer {
    sums: HashMap<usize, u64>,
    all: SharedSlice<u64>,
    upper: SharedBytes,
}

fn serve(request: Request) -> Answer {
    let sums = request.parts.iter().map(|part| part.iter().sum()).enumerate().collect();
    let all = request.parts.iter().flatten().copied().collect();
    let upper = request.raw.map(|raw| raw.to_ascii_uppercase()).unwrap_or_default().into();
    Answer { sums, all, upper: if request.name == "small" { SharedBytes::default() } else { upper } }
}

#[test]
fn as_arguments_as_results_and_as_fields_of_both() {
    with_all(|builder| {
        let pool = builder.max_workers(2).build().unwrap();
        assert_eq!(outcome(pool.submit(sum, numbers(5))).unwrap(), total(5));
        let back =
            outcome(pool.submit(|bytes: SharedBytes| bytes.slice(1..), SharedBytes::from(vec![7; LEN]))).unwrap();
        assert_eq!(back, SharedBytes::from(vec![7; LEN - 1]));
        for name in ["small", "large"] {
            let parts = vec![numbers(0), numbers(1), numbers(2).slice(10..20), SharedSlice::default()];
            let raw = (name == "large").then(|| SharedBytes::from("shared ".repeat(LEN)));
            let answer = outcome(pool.submit(serve, Request { name: name.into(), parts, raw })).unwrap();
            assert_eq!((answer.sums[&0], answer.sums[&1], answer.sums[&2]), (total(0), total(1), (12..22).sum()));
            assert_eq!((answer.all.len(), answer.all[LEN]), (2 * LEN + 10, 1));
            assert!(answer.upper.is_empty() || answer.upper.starts_with(b"SHARED SHARED") && name == "large");
        }
    });
}

#[test]
fn what_a_worker_makes_arrives_without_a_copy_and_goes_on() {
    let pool = pool(2);
    let made = outcome(pool.submit(|from: u64| numbers(from), 3)).unwrap();
    let futures: Vec<_> = (0..8).map(|_| pool.submit(sum, made.clone())).collect();
    assert!(futures.into_iter().all(|future| outcome(future).unwrap() == total(3)));
    // What comes back is where it was.
    let same = outcome(pool.submit(|slice: SharedSlice<u64>| slice.slice(1..), made.clone())).unwrap();
    assert_eq!(same.as_ptr(), made[1..].as_ptr());
    let shared = format!("{:x}", made.as_ptr() as usize);
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.starts_with(&shared)).expect("it is a mapping of its own");
    assert!(line.contains("r--s") && line.contains("memfd:concurrent-futures-slice"), "{line}");
}

#[test]
fn in_maps_and_in_contexts() {
    let pool = pool(2);
    let table = numbers(0);
    let rows: Vec<_> = (0..10).map(|n| table.slice(n * 10_000..(n + 1) * 10_000)).collect();
    let sums: u64 = pool.map(sum, rows).map(Result::unwrap).sum();
    assert_eq!(sums, total(0));
    let lookups = pool.with_context(table).map(|table: &SharedSlice<u64>, at: usize| table[at], (0..LEN).step_by(999));
    assert!(lookups.map(Result::unwrap).eq((0..LEN as u64).step_by(999)));
    let grown: Vec<_> = pool.map(|n: u64| SharedSlice::from(vec![n; 5_000]), 0..50).map(Result::unwrap).collect();
    assert!(grown.iter().enumerate().all(|(n, slice)| slice.len() == 5_000 && slice[4_999] == n as u64));
}

#[test]
fn retries_and_what_waited_behind_a_death_read_the_same() {
    fn die_once((mark, numbers): (PathBuf, SharedSlice<u64>)) -> u64 {
        if !mark.exists() {
            touch(mark);
            std::process::abort()
        }
        sum(numbers)
    }
    with_all(|builder| {
        let pool = builder.max_workers(1).build().unwrap();
        let place = Place::new();
        let slice = numbers(1);
        let first = pool.task(die_once, (place.path("died"), slice.clone())).retries(1).submit();
        let behind: Vec<_> = (0..4).map(|_| pool.submit(sum, slice.clone())).collect();
        assert_eq!(outcome(first).unwrap(), total(1));
        assert!(behind.into_iter().all(|future| outcome(future).unwrap() == total(1)));
    });
}

/// How many kilobytes of shared memory of slices a process has mapped, and how much of that is its own share.
fn mapped(pid: u32) -> (u64, u64) {
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let (mut inside, mut size, mut share) = (false, 0, 0);
    for line in smaps.lines() {
        let number = || line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap();
        match line.split_ascii_whitespace().next() {
            Some("Rss:") if inside => size += number(),
            Some("Pss:") if inside => share += number(),
            Some(word) if !word.ends_with(':') => inside = line.contains("memfd:concurrent-futures-slice"),
            _ => {}
        }
    }
    (size, share)
}

#[test]
fn four_workers_have_one_memory() {
    fn look_and_wait((slice, started, gate): (SharedSlice<u64>, PathBuf, PathBuf)) -> u32 {
        assert_eq!(slice.iter().sum::<u64>(), total(9));
        touch(started);
        let us = wait_at(gate);
        drop(slice);
        us
    }
    let pool = pool(4);
    let place = Place::new();
    let mut gate = place.gate("gate");
    let slice = numbers(9);
    let started = |n: usize| place.path(&format!("started {n}"));
    let futures: Vec<_> =
        (0..4).map(|n| pool.submit(look_and_wait, (slice.clone(), started(n), gate.path()))).collect();
    eventually("all have read it", || (0..4).all(|n| exists(&started(n))));
    let kilobytes = (LEN * 8 / 1024) as u64;
    for pid in pool.worker_pids() {
        let (size, share) = mapped(pid);
        assert!(size >= kilobytes, "{size} of {kilobytes}");
        // A fifth each: four workers and this process, which has written it.
        assert!(share <= kilobytes / 4, "{share} of {kilobytes}");
    }
    gate.open();
    let mut pids: Vec<_> = futures.into_iter().map(|future| outcome(future).unwrap()).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 4);
}

/// Descriptors of slices and mappings of them in a process.
fn held(pid: u32) -> usize {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return 0 };
    let links = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    let descriptors = links.filter(|link| link.to_string_lossy().contains("concurrent-futures-slice")).count();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    descriptors + maps.lines().filter(|line| line.contains("concurrent-futures-slice")).count()
}

/// In a process of its own: other tests have slices, too.
#[test]
fn nothing_is_left_when_the_last_holder_is_gone() {
    fn alone(_: ()) {
        let us = std::process::id();
        let pool = ProcessPoolExecutor::new(2).unwrap();
        let slice = numbers(0);
        let mut made = Vec::new();
        for round in 0..10 {
            let futures: Vec<_> = (0..8).map(|_| pool.submit(|slice: SharedSlice<u64>| slice, slice.clone())).collect();
            let results: Vec<_> = (0..4).map(|n| pool.submit(numbers, n)).collect();
            if let Some(pid) = pool.worker_pids().get(round % 2) {
                kill_again(*pid);
            }
            for future in futures {
                assert!(outcome(future).map_or_else(|error| error.is_worker_death(), |back| back == slice));
            }
            made.extend(results.into_iter().filter_map(|future| outcome(future).ok()));
        }
        let workers = pool.worker_pids();
        drop((made, slice));
        // What was large is kept for a moment, here and there, to be used again.
        eventually("nobody has any of it", || held(us) == 0 && workers.iter().all(|pid| held(*pid) == 0));
        pool.shutdown(Shutdown::WAIT);
    }
    let pool = pool(1);
    outcome(pool.submit(alone, ())).unwrap();
}

#[test]
fn the_next_task_has_the_memory_of_the_one_before() {
    with_all(|builder| {
        let pool = builder.max_workers(1).build().unwrap();
        let round = |n: u64| {
            let slice = SharedSliceMut::from_fn(LEN, |_| n).unwrap().freeze();
            let start = slice.as_ptr() as usize;
            assert_eq!(outcome(pool.submit(sum, slice)).unwrap(), n * LEN as u64);
            start
        };
        // Other tests take such memory as well, and after a second it is given back.
        let mut before = round(0);
        let again = (1..1_000).any(|n| std::mem::replace(&mut before, round(n)) == before);
        assert!(again, "never");
    });
}

#[test]
fn an_initializer_may_keep_one() {
    static TABLE: std::sync::OnceLock<SharedSlice<u64>> = std::sync::OnceLock::new();
    fn keep(table: SharedSlice<u64>) {
        TABLE.set(table).unwrap();
    }
    let pool = ProcessPoolExecutor::builder().max_workers(2).initializer(keep, numbers(4)).build().unwrap();
    assert!(pool.map(|at: usize| TABLE.get().unwrap()[at], 0..100).map(Result::unwrap).eq(4..104));
}

/// What a thread takes is not even looked at; what a worker cannot take is an error of that task.
#[test]
fn a_worker_without_descriptors_says_so() {
    fn allow(n: u64) {
        let maximum = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
        let limit = rustix::process::Rlimit { current: Some(n), maximum };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    }
    let pool = ProcessPoolExecutor::builder().max_workers(1).initializer(allow, 40).build().unwrap();
    let many: Vec<_> = (0..100).map(numbers).collect();
    let error = outcome(pool.submit(|many: Vec<SharedSlice<u64>>| many.len(), many.clone())).unwrap_err();
    assert!(error.codec().unwrap().message().contains("RLIMIT_NOFILE"), "{error}");
    // Nor can it make any.
    let error = outcome(pool.submit(|n: usize| (0..n as u64).map(numbers).collect::<Vec<_>>(), 100)).unwrap_err();
    assert!(error.panic().is_some(), "{error}");
    assert_eq!(outcome(pool.submit(sum, many[3].clone())).unwrap(), total(3));
}

/// 1 GiB, to four workers. Its cost is in `benches/processes`.
#[test]
#[ignore = "needs 1 GiB of memory"]
fn a_gigabyte() {
    let pool = pool(4);
    let mut bytes = SharedSliceMut::zeroed(1 << 30).unwrap();
    bytes.chunks_mut(1 << 20).enumerate().for_each(|(n, part)| part.fill(n as u8));
    let bytes = bytes.freeze();
    let quarter = |n: usize| bytes.slice(n << 28..(n + 1) << 28);
    let look = |part: SharedSlice<u8>| part.iter().step_by(4096).map(|byte| u64::from(*byte)).sum::<u64>();
    let sums: Vec<u64> = pool.map(look, (0..4).map(quarter).collect::<Vec<_>>()).map(Result::unwrap).collect();
    assert_eq!(sums, [256 * (0..256).sum::<u64>(); 4]);
}
