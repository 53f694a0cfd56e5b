//! Large blocks of bytes and numbers: as arguments and results, alone and inside other things, and when things go wrong.

mod support;

use concurrent_futures_core::{ExecutorExt, OnDrop};
use concurrent_futures_process::ProcessPoolExecutor;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::path::PathBuf;
use std::sync::Arc;
use support::*;

/// Large enough that it does not fit a socket's buffer.
const LARGE: usize = 3 << 20;

fn bytes(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect()
}

fn echo<T>(value: T) -> T {
    value
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Measurement {
    name: String,
    samples: Vec<f64>,
    raw: ByteBuf,
    small: Vec<u8>,
    inner: Option<Box<Measurement>>,
}

fn measurement() -> Measurement {
    let one = |inner| Measurement {
        name: "n".repeat(LARGE / 2),
        samples: (0..LARGE / 8).map(|i| i as f64 / 3.0).collect(),
        raw: ByteBuf::from(bytes(LARGE, 1)),
        small: vec![1, 2, 3],
        inner,
    };
    one(Some(Box::new(one(None))))
}

#[test]
fn whatever_has_large_blocks_comes_back_as_it_was() {
    with_both(|builder| {
        let pool = builder.max_workers(1).build().unwrap();
        assert!(outcome(pool.submit(echo, bytes(LARGE, 3))).unwrap() == bytes(LARGE, 3));
        assert!(outcome(pool.submit(echo, ByteBuf::from(bytes(LARGE, 3)))).unwrap() == bytes(LARGE, 3));
        let floats: Vec<f64> = (0..LARGE / 8).map(|i| i as f64).collect();
        assert!(outcome(pool.submit(echo, floats.clone())).unwrap() == floats);
        assert!(outcome(pool.submit(echo, (7_u64, floats.clone()))).unwrap() == (7, floats.clone()));
        assert!(outcome(pool.submit(echo, (bytes(LARGE, 1), floats.clone()))).unwrap() == (bytes(LARGE, 1), floats));
        assert!(outcome(pool.submit(echo, "ä".repeat(LARGE))).unwrap() == "ä".repeat(LARGE));
        assert!(outcome(pool.submit(echo, measurement())).unwrap() == measurement());
        assert!(outcome(pool.submit(echo, vec![measurement(); 3])).unwrap() == vec![measurement(); 3]);
        // Sizes around that of a part.
        for len in [16_383, 16_384, 16_385, 65_536 + 1] {
            assert!(outcome(pool.submit(echo, bytes(len, 9))).unwrap() == bytes(len, 9));
        }
    });
}

#[test]
fn chunks_have_the_blocks_of_their_items() {
    let pool = pool(2);
    let items: Vec<Vec<u8>> = (0..40_u8).map(|n| bytes(usize::from(n) * 3000, n)).collect();
    for chunk in [1, 7, 40] {
        let back: Vec<Vec<u8>> =
            pool.tasks(echo, items.clone()).chunksize(chunk).map().collect::<Result<_, _>>().unwrap();
        assert!(back == items);
    }
    // An item that cannot be read has an error of its own, and the next one has its own blocks.
    #[derive(Clone, Serialize, Deserialize)]
    #[serde(try_from = "Vec<u8>")]
    struct Even(Vec<u8>);
    impl TryFrom<Vec<u8>> for Even {
        type Error = &'static str;
        fn try_from(bytes: Vec<u8>) -> Result<Self, Self::Error> {
            if bytes[0].is_multiple_of(2) { Ok(Even(bytes)) } else { Err("odd") }
        }
    }
    impl From<Even> for Vec<u8> {
        fn from(even: Even) -> Self {
            even.0
        }
    }
    let items = (0..10_u8).map(|n| Even(vec![n; 20_000]));
    let back: Vec<_> = pool.tasks(|even: Even| even.0, items).chunksize(10).map().collect();
    for (n, item) in back.into_iter().enumerate() {
        match item {
            Ok(bytes) => assert!(n % 2 == 0 && bytes == vec![n as u8; 20_000]),
            Err(error) => assert!(n % 2 == 1 && error.to_string().contains("odd"), "{error}"),
        }
    }
}

#[test]
fn many_large_tasks_at_once() {
    with_both(|builder| {
        let pool = builder.max_workers(2).build().unwrap();
        let futures: Vec<_> = (0..30_u8).map(|n| (n, pool.submit(echo, bytes(LARGE / 3, n)))).collect();
        for (n, future) in futures {
            assert!(outcome(future).unwrap() == bytes(LARGE / 3, n));
        }
    });
}

fn die_once((marker, bytes): (PathBuf, Vec<u8>)) -> Vec<u8> {
    if std::fs::File::create_new(&marker).is_ok() {
        std::process::abort();
    }
    bytes
}

#[test]
fn another_attempt_has_the_blocks_again() {
    let pool = pool(1);
    let place = Place::new();
    let argument = (place.path("first"), bytes(LARGE, 5));
    let future = pool.task(die_once, argument).retries(1).submit();
    assert!(outcome(future).unwrap() == bytes(LARGE, 5));
}

#[test]
fn what_has_not_started_goes_elsewhere_with_its_blocks() {
    let pool = pool(1);
    let place = Place::new();
    let mut gate = place.gate("gate");
    let pid = outcome(pool.submit(|_: ()| std::process::id(), ())).unwrap();
    let first = pool.submit(wait_at, gate.path());
    await_start(&first);
    let others: Vec<_> = (0..4_u8).map(|n| (n, pool.submit(echo, bytes(100_000, n)))).collect();
    let cancelled = pool.submit(echo, bytes(LARGE, 8));
    assert!(cancelled.cancel());
    kill(pid);
    gate.open();
    assert!(outcome(first).unwrap_err().is_worker_death());
    for (n, future) in others {
        assert!(outcome(future).unwrap() == bytes(100_000, n));
    }
}

#[test]
fn a_worker_that_dies_while_it_receives_or_sends_costs_one_task() {
    // It is killed at some time between the first byte to it and the last from it.
    let pool = ProcessPoolExecutor::builder().max_workers(1).build().unwrap();
    for _ in 0..20 {
        let pid = outcome(pool.submit(|_: ()| std::process::id(), ())).unwrap();
        let future = pool.submit(echo, bytes(2 * LARGE, 1));
        kill(pid);
        match outcome(future) {
            Ok(back) => assert!(back == bytes(2 * LARGE, 1)),
            Err(error) => assert!(error.is_worker_death(), "{error}"),
        }
    }
    assert!(outcome(pool.submit(echo, bytes(LARGE, 2))).unwrap() == bytes(LARGE, 2));
}

#[test]
fn shared_bytes_are_not_copied_for_each_task() {
    // In a process of its own, in which nothing else is resident one moment and not the next.
    outcome(pool(1).submit(|()| shared_bytes_stay_where_they_are(), ())).unwrap();
}

fn shared_bytes_stay_where_they_are() {
    let pool = pool(2);
    let place = Place::new();
    let mut gate = place.gate("gate");
    let blocker = [pool.submit(wait_at, gate.path()), pool.submit(wait_at, gate.path())];
    blocker.iter().for_each(await_start);
    let shared: Arc<[u8]> = bytes(LARGE, 6).into();
    let before = resident();
    let futures: Vec<_> = (0..100).map(|_| pool.submit(|bytes: Arc<[u8]>| bytes.len(), shared.clone())).collect();
    assert!(resident() < before + 100 * LARGE / 4, "{} more bytes are resident", resident() - before);
    gate.open();
    for future in futures {
        assert_eq!(outcome(future).unwrap(), LARGE);
    }
    drop(pool);
    assert_eq!(Arc::strong_count(&shared), 1);
}

/// Bytes of this process.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn a_pool_that_is_dropped_lets_go_of_what_was_lent() {
    let pool = ProcessPoolExecutor::builder().max_workers(1).on_drop(OnDrop::Kill).build().unwrap();
    let shared: Arc<[u8]> = bytes(LARGE, 6).into();
    let place = Place::new();
    let gate = place.gate("gate");
    let first = pool.submit(wait_at, gate.path());
    await_start(&first);
    let futures: Vec<_> = (0..3).map(|_| pool.submit(|bytes: Arc<[u8]>| bytes.len(), shared.clone())).collect();
    drop(pool);
    for future in futures {
        assert!(outcome(future).is_err());
    }
    eventually("what was lent is given back", || Arc::strong_count(&shared) == 1);
}
