//! Row 30: the fork server is killed. There is none where workers are spawned.

use crate::bystanders::{Bystanders, assert_usable};
use crate::ground::{Ground, Load, death, occupy, strike, strike_worker};
use crate::rows;
use concurrent_futures::{Executor, ExecutorExt, ProcessPoolExecutor};
use concurrent_futures_conformance::{Soon, Stage, until, wait_for_end};
use rustix::process::Signal;
use std::time::Duration;

fn parent(x: Load<()>) -> Load<u32> {
    x.with(std::os::unix::process::parent_id())
}

fn server(ground: Ground, ex: &ProcessPoolExecutor) -> u32 {
    let server = ex.submit(parent, ground.load(())).soon().expect("a number").value;
    assert_ne!(server, std::process::id());
    server
}

fn row_30_the_fork_server_is_killed_while_it_is_idle(ground: Ground) {
    let ex = ground.pool(2);
    for _ in 0..4 {
        let old = server(ground, &ex);
        strike(old, Signal::KILL);
        wait_for_end(old);
        assert_usable(ground, &ex);
        // Its workers have lost their parent; new ones have a new one.
        let workers = ex.worker_pids();
        // One of which the old server died before it had let it go has left by itself.
        workers.iter().for_each(|worker| _ = strike_worker(&ex, *worker, Signal::KILL));
        until("the deaths are noticed", || ex.worker_pids().iter().all(|worker| !workers.contains(worker)));
        assert_ne!(server(ground, &ex), old);
    }
    assert_usable(ground, &ex);
}

fn row_30_the_fork_server_is_killed_while_its_workers_run(ground: Ground) {
    let (ex, stage) = (ground.pool(3), Stage::new());
    let old = server(ground, &ex);
    let (mut running, mut arrivals) = occupy(ground, &ex, &stage, 3);
    let queued = Bystanders::of(ground, &ex);
    strike(old, Signal::KILL);
    wait_for_end(old);
    // How an orphan dies is still known, or that it is not.
    let victim = arrivals.remove(0);
    strike(victim.pid(), Signal::KILL);
    let death = death(running.remove(0).soon());
    assert_eq!(death.pid(), victim.pid());
    assert!(death.signal().is_none_or(|name| name == "SIGKILL") && death.exit_code().is_none() && !death.by_pool());
    drop(arrivals);
    let numbers: Vec<_> = running.into_iter().map(|future| future.soon().expect("not disturbed").value).collect();
    assert_eq!(numbers, [1, 2]);
    queued.succeed();
    assert_usable(ground, &ex);
}

fn row_30_the_fork_server_is_killed_while_it_forks(ground: Ground) {
    for step in 0..20 {
        let ex = ground.pool(1);
        let old = server(ground, &ex);
        ex.resize(6).expect("a size");
        let stage = Stage::new();
        let mut futures = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_micros(step * 100));
                strike(old, Signal::KILL);
            });
            let (held, arrivals) = occupy(ground, &ex, &stage, 6);
            drop(arrivals);
            futures.extend(held);
        });
        for (number, future) in (0..).zip(futures) {
            assert_eq!(future.soon().expect("it had not started, or was not disturbed").value, number);
        }
        assert!(ex.stats().workers <= 6);
        assert_usable(ground, &ex);
    }
}

rows! {
    only ForkServer {
        row_30_the_fork_server_is_killed_while_it_is_idle,
        row_30_the_fork_server_is_killed_while_its_workers_run,
        row_30_the_fork_server_is_killed_while_it_forks,
    }
}
