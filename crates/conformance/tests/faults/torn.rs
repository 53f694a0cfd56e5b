//! Rows 5 to 7: workers that die while a message is on its way.

use crate::bystanders::{Bystanders, assert_usable};
use crate::ground::{Ground, Lane, Load, assert_killed_by_others, death, pid, stop, strike};
use crate::relay::{Way, install};
use crate::rows;
use concurrent_futures::{ExecutorExt, Future, ProcessPoolExecutor};
use concurrent_futures_conformance::{Soon, until};
use rustix::process::{Signal, getpid, kill_process};
use serde_bytes::ByteBuf;
use std::path::PathBuf;
use std::time::{Duration, Instant};

fn dies_after(x: Load<(Way, usize)>) -> Load<u32> {
    let (way, bytes) = x.value;
    install(way, bytes);
    x.with(std::process::id())
}

/// Lets so many bytes pass. `None`: the worker died of it before it had answered.
fn arm(ground: Ground, ex: &ProcessPoolExecutor, way: Way, bytes: usize) -> Option<u32> {
    match ex.submit(dies_after, ground.load((way, bytes))).soon() {
        Ok(worker) => Some(worker.value),
        outcome => {
            assert_killed_by_others(&death(outcome), "SIGKILL");
            None
        }
    }
}

fn row_05_a_worker_dies_at_every_byte_of_its_request(ground: Ground) {
    let ex = ground.pool(1);
    for bytes in 0.. {
        let worker = arm(ground, &ex, Way::Down, bytes).expect("nothing comes down while it answers");
        let victim = ex.submit(pid, ground.load(())).soon();
        let bystanders = Bystanders::of(ground, &ex);
        match victim {
            Ok(other) if other.value != worker => {}
            // All of it has passed.
            Ok(_) => {
                assert!(bytes > 16, "{bytes} bytes are no request");
                bystanders_after_a_late_death(ground, bystanders);
                break;
            }
            // It had not started, so only handles are lost.
            Err(error) => {
                assert_eq!(ground.lane, Lane::Handles, "after {bytes} bytes: {error}");
                assert_killed_by_others(&death::<()>(Err(error)), "SIGKILL");
            }
        }
        if bytes % 8 == 0 {
            assert_usable(ground, &ex);
        }
    }
    assert_usable(ground, &ex);
}

/// The relay still stands, and has killed the worker with the first byte of what came next.
fn bystanders_after_a_late_death(ground: Ground, bystanders: Bystanders) {
    if ground.lane == Lane::Bytes {
        bystanders.succeed();
    }
}

fn row_05_a_worker_dies_at_every_byte_of_its_reply(ground: Ground) {
    let ex = ground.pool(1);
    for bytes in 0.. {
        let Some(worker) = arm(ground, &ex, Way::Up, bytes) else { continue };
        let victim = ex.submit(pid, ground.load(())).soon();
        let bystanders = Bystanders::of(ground, &ex);
        match victim {
            Ok(whole) => {
                assert_eq!(whole.value, worker);
                assert!(bytes > 16, "{bytes} bytes are no reply");
                break;
            }
            outcome => {
                let death = death(outcome);
                assert_killed_by_others(&death, "SIGKILL");
                assert_eq!(death.pid(), worker);
            }
        }
        bystanders.succeed();
    }
    // The relay still stands: some task is the next to die of it.
    let _ = ex.submit(pid, ground.load(())).soon();
    until("a worker without a relay", || ex.submit(pid, ground.load(())).soon().is_ok());
    assert_usable(ground, &ex);
}

/// A moment that is too short to sleep.
fn spin(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

fn row_05_a_worker_is_killed_at_any_instant_of_a_task(ground: Ground) {
    let ex = ground.pool(1);
    for step in 0..100 {
        let worker = ex.submit(pid, ground.load(())).soon().expect("a fresh task").value;
        let victim = ex.submit(pid, ground.load(()));
        spin(Duration::from_micros(step * 5));
        strike(worker, Signal::KILL);
        match victim.soon() {
            Ok(result) => assert!(result.value != 0),
            outcome => {
                let death = death(outcome);
                assert_killed_by_others(&death, "SIGKILL");
                assert_eq!(death.pid(), worker);
            }
        }
        if ground.lane == Lane::Handles {
            // Handles that are sent to a worker that is dead already are lost with it; bytes are not.
            until("the death is noticed", || !ex.worker_pids().contains(&worker));
        }
    }
    assert_usable(ground, &ex);
}

/// In the first worker only: kills the process a moment later.
fn dies_soon((once, moment): (PathBuf, Duration)) {
    if std::fs::File::create_new(once).is_ok() {
        std::thread::spawn(move || {
            spin(moment);
            kill_process(getpid(), Signal::KILL).expect("this very process");
        });
    }
}

/// Between its birth and its first answer a worker gets its task, and opens its lane for handles.
fn row_05_a_worker_is_killed_at_any_instant_of_its_first_task(ground: Ground) {
    let place = tempfile::Builder::new().prefix("place").tempdir().expect("a directory");
    for step in 0..60 {
        let once = place.path().join(step.to_string());
        let initializer = (once, Duration::from_micros(step * 20));
        let ex = ground.settings(1).initializer(dies_soon, initializer).build().expect("a pool");
        if let Err(error) = ex.submit(pid, ground.load(())).soon() {
            assert_killed_by_others(&death::<()>(Err(error)), "SIGKILL");
        }
        until("no worker is left that is to die", || ex.submit(pid, ground.load(())).soon().is_ok());
        if step % 20 == 0 {
            // It may strike only now, in the middle of these.
            let _ = Bystanders::of(ground, &ex);
        }
    }
}

const LARGE: usize = 1 << 20;

fn large(x: Load<usize>) -> Load<ByteBuf> {
    let value = ByteBuf::from(vec![7; x.value]);
    x.with(value)
}

fn measure(x: Load<ByteBuf>) -> Load<(u32, usize)> {
    assert!(x.value.iter().all(|byte| *byte == 7));
    let value = (std::process::id(), x.value.len());
    x.with(value)
}

/// Sizes at which something changes in sockets and buffers, and their neighbours.
fn cuts() -> impl Iterator<Item = usize> {
    let edges = [64, 4096, 16 << 10, 32 << 10, 64 << 10, 208 << 10, 512 << 10, LARGE];
    let near = edges.into_iter().flat_map(|edge| [edge - 17, edge - 1, edge, edge + 1]);
    near.chain((1..30).map(|step| step * LARGE / 30 + step))
}

fn row_06_a_large_result_is_torn(ground: Ground) {
    let ex = ground.pool(1);
    for bytes in cuts() {
        let worker = arm(ground, &ex, Way::Up, bytes).expect("its own answer is short");
        let torn = ex.submit(large, ground.load(LARGE + 100));
        let bystanders = Bystanders::of(ground, &ex);
        let death = death(torn.soon());
        assert_killed_by_others(&death, "SIGKILL");
        assert_eq!(death.pid(), worker);
        bystanders.succeed();
    }
    assert_eq!(ex.submit(large, ground.load(LARGE)).soon().expect("whole").value.len(), LARGE);
    assert_usable(ground, &ex);
}

/// The same with a kill from outside, at instants that nobody has chosen.
fn row_06_a_worker_is_killed_at_any_instant_of_a_large_result(ground: Ground) {
    fn announce_and_return(x: Load<(PathBuf, usize)>) -> Load<ByteBuf> {
        let (mark, size) = &x.value;
        let value = ByteBuf::from(vec![7; *size]);
        std::fs::File::create_new(mark).expect("the first one");
        x.with(value)
    }
    let ex = ground.pool(2);
    let place = tempfile::Builder::new().prefix("place").tempdir().expect("a directory");
    for step in 0..40 {
        let bystanders = Bystanders::of(ground, &ex);
        bystanders.succeed();
        let mark = place.path().join(step.to_string());
        let future = ex.submit(announce_and_return, ground.load((mark.clone(), 4 * LARGE)));
        until("it is about to return", || mark.exists());
        spin(Duration::from_micros(step * 200));
        let workers = ex.worker_pids();
        workers.iter().for_each(|worker| strike(*worker, Signal::KILL));
        match future.soon() {
            Ok(result) => assert!(result.value.len() == 4 * LARGE && result.value.iter().all(|byte| *byte == 7)),
            outcome => {
                let death = death(outcome);
                assert_killed_by_others(&death, "SIGKILL");
                assert!(workers.contains(&death.pid()));
            }
        }
        until("the deaths are noticed", || ex.worker_pids().iter().all(|worker| !workers.contains(worker)));
    }
    assert_usable(ground, &ex);
}

fn row_07_a_worker_dies_while_a_large_argument_comes(ground: Ground) {
    let ex = ground.pool(1);
    for bytes in cuts() {
        let worker = arm(ground, &ex, Way::Down, bytes).expect("nothing comes down while it answers");
        let torn = ex.submit(measure, ground.load(ByteBuf::from(vec![7; LARGE + 100])));
        let bystanders = Bystanders::of(ground, &ex);
        assert_moved_on(ground, torn, worker);
        bystanders.succeed();
    }
    assert_usable(ground, &ex);
}

/// A worker that does not read leaves most of the argument with the pool.
fn row_07_a_stopped_worker_is_killed_under_a_large_argument(ground: Ground) {
    let ex = ground.pool(1);
    for size in [100, 64 << 10, 300 << 10, 8 * LARGE] {
        let worker = ex.submit(pid, ground.load(())).soon().expect("a fresh task").value;
        stop(worker);
        let stuck = ex.submit(measure, ground.load(ByteBuf::from(vec![7; size])));
        let behind = Bystanders::of(ground, &ex);
        assert!(!stuck.running());
        strike(worker, Signal::KILL);
        assert_moved_on(ground, stuck, worker);
        behind.succeed();
    }
    assert_usable(ground, &ex);
}

/// What had not started is done by another worker; if it had handles, they are lost, and it says so.
#[track_caller]
fn assert_moved_on(ground: Ground, future: Future<Load<(u32, usize)>>, worker: u32) {
    match future.soon() {
        Ok(result) => assert_ne!(result.value.0, worker),
        Err(error) => {
            assert_eq!(ground.lane, Lane::Handles, "{error}");
            let death = death::<()>(Err(error));
            assert_killed_by_others(&death, "SIGKILL");
            assert_eq!(death.pid(), worker);
        }
    }
}

rows! {
    links {
        row_05_a_worker_dies_at_every_byte_of_its_request,
        row_05_a_worker_dies_at_every_byte_of_its_reply,
        row_05_a_worker_is_killed_at_any_instant_of_a_task,
        row_05_a_worker_is_killed_at_any_instant_of_its_first_task,
        row_06_a_large_result_is_torn,
        row_06_a_worker_is_killed_at_any_instant_of_a_large_result,
        row_07_a_worker_dies_while_a_large_argument_comes,
        row_07_a_stopped_worker_is_killed_under_a_large_argument,
    }
}
