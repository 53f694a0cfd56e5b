//! Rows 1 to 4: workers that die, by themselves or by others.

use crate::bystanders::{Bystanders, assert_usable};
use crate::ground::{Ground, Lane, Load, assert_killed_by_others, death, occupy, pid, strike};
use crate::rows;
use concurrent_futures::{Executor, ExecutorExt};
use concurrent_futures_conformance::{Soon, Stage, until, wait_for_end};
use rustix::process::Signal;

type Crash = fn(Load<()>) -> Load<()>;

fn segfault(x: Load<()>) -> Load<()> {
    // SAFETY: ends this process by the signal of a bad access, which is what is wanted.
    unsafe { libc::raise(libc::SIGSEGV) };
    x
}

fn touch_nothing(x: Load<()>) -> Load<()> {
    let nowhere = std::hint::black_box(8_usize) as *const u8;
    // SAFETY: it is not sound, and is meant to end this process, which has nothing to lose.
    std::hint::black_box(unsafe { nowhere.read_volatile() });
    x
}

fn abort(_: Load<()>) -> Load<()> {
    std::process::abort()
}

#[allow(unconditional_recursion, reason = "it is to overflow the stack")]
fn deeper(n: u64) -> u64 {
    let here = std::hint::black_box([n; 64]);
    deeper(here[7] + 1) + here[3]
}

fn overflow(x: Load<()>) -> Load<()> {
    std::hint::black_box(deeper(1));
    x
}

fn row_01_a_task_crashes(ground: Ground) {
    let ex = ground.pool(2);
    let crashes: [(Crash, &[&str]); 4] = [
        (segfault, &["SIGSEGV"]),
        (touch_nothing, &["SIGSEGV", "SIGBUS"]),
        (abort, &["SIGABRT"]),
        // Rust's own handler turns it into an abort, where it is installed.
        (overflow, &["SIGSEGV", "SIGABRT"]),
    ];
    for (crash, signals) in crashes {
        let before = Bystanders::of(ground, &ex);
        let crash = ex.submit(crash, ground.load(()));
        let after = Bystanders::of(ground, &ex);
        let death = death(crash.soon());
        assert!(death.signal().is_some_and(|name| signals.contains(&name)) && !death.by_pool(), "{death}");
        assert!(death.pid() != 0 && death.exit_code().is_none());
        before.succeed();
        after.succeed();
        assert_usable(ground, &ex);
    }
}

/// As by `_exit`: nothing of the program's runs at its end.
fn exit_at_once(x: Load<i32>) -> Load<()> {
    // SAFETY: ends the process, whatever state it is in.
    unsafe { libc::_exit(x.value) }
}

fn exit(x: Load<i32>) -> Load<()> {
    std::process::exit(x.value)
}

fn row_02_a_task_exits_without_a_result(ground: Ground) {
    let ex = ground.pool(2);
    for exit in [exit_at_once, exit] {
        for code in [0, 1, 255] {
            let bystanders = Bystanders::of(ground, &ex);
            let death = death(ex.submit(exit, ground.load(code)).soon());
            assert_eq!((death.exit_code(), death.signal(), death.by_pool()), (Some(code), None, false), "{death}");
            bystanders.succeed();
            assert_usable(ground, &ex);
        }
    }
}

fn row_03_a_worker_is_killed_at_work(ground: Ground) {
    for (signal, name) in [(Signal::KILL, "SIGKILL"), (Signal::TERM, "SIGTERM"), (Signal::HUP, "SIGHUP")] {
        let (ex, stage) = (ground.pool(2), Stage::new());
        let (mut running, mut arrivals) = occupy(ground, &ex, &stage, 2);
        let queued = Bystanders::of(ground, &ex);
        let (victim, neighbour) = (arrivals.remove(0), arrivals.remove(0));
        strike(victim.pid(), signal);
        let death = death(running.remove(0).soon());
        assert_killed_by_others(&death, name);
        assert_eq!(death.pid(), victim.pid());
        neighbour.release();
        assert_eq!(running.remove(0).soon().expect("the neighbour is not disturbed").value, 1);
        queued.succeed();
        assert_usable(ground, &ex);
    }
}

fn row_04_an_idle_worker_is_killed(ground: Ground) {
    let ex = ground.pool(2);
    for _ in 0..5 {
        assert_usable(ground, &ex);
        let idle = ex.worker_pids();
        assert!(!idle.is_empty());
        idle.iter().for_each(|worker| strike(*worker, Signal::KILL));
        until("the deaths are noticed", || ex.worker_pids().iter().all(|worker| !idle.contains(worker)));
        idle.into_iter().for_each(wait_for_end);
        assert_usable(ground, &ex);
    }
    // All at once, and work comes at the same moment: bytes that had not started go elsewhere.
    for _ in 0..20 {
        let worker = ex.submit(pid, ground.load(())).soon().expect("a fresh task").value;
        strike(worker, Signal::KILL);
        let raced = ex.submit(pid, ground.load(())).soon();
        match ground.lane {
            Lane::Bytes => assert_ne!(raced.expect("it had not started").value, worker),
            // Handles can be sent once only: what was given to a worker that was dead already dies with it.
            Lane::Handles => {
                if let Err(error) = raced {
                    assert_eq!(death::<()>(Err(error)).pid(), worker);
                }
            }
        }
    }
    assert!(ex.stats().workers <= 2);
    assert_usable(ground, &ex);
}

rows! {
    links {
        row_01_a_task_crashes,
        row_02_a_task_exits_without_a_result,
        row_03_a_worker_is_killed_at_work,
        row_04_an_idle_worker_is_killed,
    }
}
