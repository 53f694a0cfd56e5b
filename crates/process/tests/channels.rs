//! Channels and shared memory of ipc-channel, as arguments and results.

mod support;

use concurrent_futures_core::ExecutorExt;
use ipc_channel::ipc::{self, IpcReceiver, IpcSender, IpcSharedMemory};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use support::*;

fn square(x: u64) -> u64 {
    x * x
}

#[derive(Serialize, Deserialize)]
struct Job {
    numbers: Vec<u64>,
    progress: IpcSender<u64>,
}

fn stream(job: Job) -> usize {
    for n in &job.numbers {
        job.progress.send(n * n).unwrap();
    }
    job.numbers.len()
}

#[test]
fn a_task_streams_while_it_runs() {
    with_both(|builder| {
        let pool = builder.max_workers(2).build().unwrap();
        for round in 1..4 {
            let (progress, results) = ipc::channel().unwrap();
            let future = pool.submit(stream, Job { numbers: (0..100 * round).collect(), progress });
            for n in 0..100 * round {
                assert_eq!(results.recv().unwrap(), n * n);
            }
            assert_eq!(outcome(future).unwrap(), 100 * round as usize);
            assert!(results.recv().is_err(), "the only sender was the worker's");
        }
    });
}

#[test]
fn receivers_and_shared_memory_travel_both_ways() {
    fn sum(numbers: IpcReceiver<u64>) -> u64 {
        std::iter::from_fn(|| numbers.recv().ok()).sum()
    }
    fn reverse(bytes: IpcSharedMemory) -> (IpcSharedMemory, usize) {
        let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
        (IpcSharedMemory::from_bytes(&reversed), reversed.len())
    }
    fn open(_: ()) -> (IpcSender<String>, IpcReceiver<String>) {
        ipc::channel().unwrap()
    }
    with_both(|builder| {
        let pool = builder.max_workers(1).build().unwrap();
        let (sender, numbers) = ipc::channel().unwrap();
        let total = pool.submit(sum, numbers);
        for n in 0..1000 {
            sender.send(n).unwrap();
        }
        drop(sender);
        assert_eq!(outcome(total).unwrap(), 499_500);
        let bytes: Vec<u8> = (0..100_000).map(|n| n as u8).collect();
        let (reversed, len) = outcome(pool.submit(reverse, IpcSharedMemory::from_bytes(&bytes))).unwrap();
        assert!(len == bytes.len() && reversed.iter().rev().eq(bytes.iter()));
        let (sender, receiver) = outcome(pool.submit(open, ())).unwrap();
        sender.send("made in a worker".to_owned()).unwrap();
        assert_eq!(receiver.recv().unwrap(), "made in a worker");
    });
}

#[test]
fn many_at_once_with_others_between() {
    let pool = pool(3);
    let (progress, results) = ipc::channel().unwrap();
    let futures: Vec<_> = (0..100_u64)
        .map(|n| {
            let plain = pool.submit(square, n);
            (pool.submit(stream, Job { numbers: vec![n], progress: progress.clone() }), plain)
        })
        .collect();
    let mut seen: Vec<u64> = (0..100).map(|_| results.recv().unwrap()).collect();
    seen.sort_unstable();
    assert!(seen.into_iter().eq((0..100).map(square)));
    for (n, (streamed, plain)) in futures.into_iter().enumerate() {
        assert_eq!((outcome(streamed).unwrap(), outcome(plain).unwrap()), (1, square(n as u64)));
    }
}

#[test]
fn a_cancelled_task_gives_its_channel_up() {
    let pool = pool(1);
    let place = Place::new();
    let mut gate = place.gate("gate");
    let first = pool.submit(wait_at, gate.path());
    let (progress, results) = ipc::channel::<u64>().unwrap();
    let cancelled = pool.submit(stream, Job { numbers: vec![1], progress });
    await_start(&first);
    assert!(cancelled.cancel());
    gate.open();
    outcome(first).unwrap();
    assert_eq!(outcome(pool.submit(square, 2)).unwrap(), 4);
    drop((pool, cancelled));
    assert!(results.recv().is_err(), "nobody has the sender any more");
}

#[test]
fn a_death_closes_the_channel_and_costs_only_its_task() {
    fn die(job: Job) {
        job.progress.send(1).unwrap();
        std::process::abort()
    }
    let pool = pool(1);
    let (progress, results) = ipc::channel().unwrap();
    let dead = pool.submit(die, Job { numbers: vec![], progress });
    let (next_progress, next_results) = ipc::channel().unwrap();
    let next = pool.submit(stream, Job { numbers: vec![5], progress: next_progress });
    assert_eq!(results.recv().unwrap(), 1);
    assert!(results.recv().is_err());
    assert!(outcome(dead).unwrap_err().is_worker_death());
    assert_eq!(outcome(next).unwrap(), 1);
    assert_eq!(next_results.recv().unwrap(), 25);
}

#[test]
fn what_cannot_travel_spoils_nothing_else() {
    #[derive(Serialize, Deserialize)]
    struct Many(Vec<IpcSender<u64>>);
    let pool = pool(1);
    let (sender, results) = ipc::channel().unwrap();
    let many = Many((0..100).map(|_| sender.clone()).collect());
    let error = outcome(pool.submit(|many: Many| many.0.len(), many)).unwrap_err();
    assert!(error.is_codec(), "{error}");
    // A result with too many, too.
    let error = outcome(pool.submit(|s: IpcSender<u64>| Many((0..100).map(|_| s.clone()).collect()), sender.clone()));
    assert!(error.map(drop).unwrap_err().is_codec());
    assert_eq!(outcome(pool.submit(stream, Job { numbers: vec![3], progress: sender })).unwrap(), 1);
    assert_eq!(results.recv().unwrap(), 9);
}

#[test]
fn a_task_with_a_channel_does_not_wait_behind_a_long_one() {
    let pool = pool(2);
    let place = Place::new();
    let mut gate = place.gate("gate");
    let long = pool.submit(wait_at, gate.path());
    await_start(&long);
    let (progress, results) = ipc::channel().unwrap();
    let futures: Vec<_> =
        (0..20).map(|n| pool.submit(stream, Job { numbers: vec![n], progress: progress.clone() })).collect();
    for n in 0..20 {
        assert_eq!(results.recv().unwrap(), n * n, "one worker is left, and it takes them in order");
    }
    gate.open();
    outcome(long).unwrap();
    assert!(futures.into_iter().all(|future| outcome(future).is_ok()));
}

#[test]
fn a_channel_beside_a_path() {
    fn wait_and_tell((gate, done): (PathBuf, IpcSender<u32>)) {
        done.send(wait_at(gate)).unwrap();
    }
    let pool = pool(2);
    let place = Place::new();
    let mut gate = place.gate("gate");
    let (done, told) = ipc::channel().unwrap();
    let futures: Vec<_> = (0..2).map(|_| pool.submit(wait_and_tell, (gate.path(), done.clone()))).collect();
    futures.iter().for_each(await_start);
    gate.open();
    let mut pids = [told.recv().unwrap(), told.recv().unwrap()];
    pids.sort_unstable();
    assert_eq!(pids.to_vec(), pool.worker_pids());
}
