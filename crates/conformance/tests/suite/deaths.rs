//! Workers that die: only the task that had started fails. In Python the whole pool breaks.

use crate::tasks::{hold, occupy, pid, square};
use concurrent_futures::{Executor, ExecutorExt, Shutdown};
use concurrent_futures_conformance::{Kind, Soon, Stage, Ticket, run, tests, until, wait_for_end};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

fn kill(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, signal).unwrap();
}

fn exit(code: i32) -> u32 {
    std::process::exit(code)
}

fn abort((): ()) -> u32 {
    std::process::abort()
}

/// CPython's `test_killed_child`.
fn a_signal_costs_one_task(kind: Kind) {
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::KILL, "SIGKILL"), (Signal::SEGV, "SIGSEGV")] {
        let (ex, stage) = (kind.processes(2).build().unwrap(), Stage::new());
        let (mut futures, mut arrivals) = occupy(&ex, &stage, 2);
        let queued = ex.submit_all(square, 0..10);
        let victim = arrivals.remove(0);
        kill(victim.pid(), signal);
        let error = futures.remove(0).soon().unwrap_err();
        let death = error.death().unwrap_or_else(|| panic!("{error}"));
        assert_eq!((death.pid(), death.signal(), death.exit_code()), (victim.pid(), Some(name), None));
        assert!(!death.by_pool());
        let words = error.to_string();
        assert!(words.contains(&victim.pid().to_string()) && words.contains(name), "{words}");
        drop(arrivals);
        assert_eq!(futures.remove(0).soon().unwrap(), 1, "its sibling is not disturbed");
        assert!(queued.into_iter().map(|future| future.soon().unwrap()).eq((0..10).map(square)));
        assert_eq!(ex.submit(square, 9).soon().unwrap(), 81, "the pool stays usable");
    }
}

/// CPython's `test_traceback_when_child_process_terminates_abruptly`.
fn an_exit_costs_one_task_and_tells_its_code(kind: Kind) {
    let ex = kind.processes(1).build().unwrap();
    for code in [0, 7, 99] {
        let before = ex.submit(pid, ()).soon().unwrap();
        let error = ex.task(exit, code).name("exits").submit().soon().unwrap_err();
        let death = error.death().unwrap_or_else(|| panic!("{error}"));
        assert_eq!((death.pid(), death.exit_code(), death.signal()), (before, Some(code), None));
        let words = error.to_string();
        assert!(words.starts_with("task `exits` ") && words.contains(&format!("exited with code {code}")), "{words}");
        assert_ne!(ex.submit(pid, ()).soon().unwrap(), before);
    }
}

fn an_abort_is_a_signal(kind: Kind) {
    let ex = kind.processes(1).build().unwrap();
    let error = ex.submit(abort, ()).soon().unwrap_err();
    assert_eq!(error.death().unwrap().signal(), Some("SIGABRT"));
}

/// CPython's `test_broken_process_pool_traceback`: each has an error of its own.
fn each_victim_has_its_own_error(kind: Kind) {
    let ex = kind.processes(2).build().unwrap();
    let futures = [1, 2, 3].map(|code| ex.submit(exit, code));
    let codes = futures.map(|future| future.soon().unwrap_err().death().unwrap().exit_code());
    assert_eq!(codes, [Some(1), Some(2), Some(3)]);
}

fn what_was_queued_behind_the_victim_is_done(kind: Kind) {
    let (ex, stage) = (kind.processes(1).build().unwrap(), Stage::new());
    let (running, arrivals) = occupy(&ex, &stage, 1);
    let queued: Vec<_> = (1..6).map(|number| ex.submit(hold, (stage.ticket(), number))).collect();
    kill(arrivals[0].pid(), Signal::KILL);
    for number in 1..6 {
        let arrival = stage.next();
        assert_eq!(arrival.words(), number.to_string(), "in their order");
        assert_ne!(arrival.pid(), arrivals[0].pid());
    }
    assert!(running.into_iter().all(|future| future.soon().unwrap_err().is_worker_death()));
    assert!(queued.into_iter().map(|future| future.soon().unwrap()).eq(1..6));
    ex.shutdown(Shutdown::WAIT);
    assert!(stage.said().is_empty(), "and none of them twice");
}

/// In Python it breaks the pool.
fn of_an_idle_worker_nothing_is_lost(kind: Kind) {
    let ex = kind.processes(1).build().unwrap();
    let mut before = ex.submit(pid, ()).soon().unwrap();
    for _ in 0..3 {
        kill(before, Signal::KILL);
        let after = ex.submit(pid, ());
        let after = after.soon().unwrap_or_else(|error| panic!("the task had not started: {error}"));
        assert_ne!(after, before);
        before = after;
    }
}

fn of_an_idle_worker_is_noticed(kind: Kind) {
    let ex = kind.processes(2).build().unwrap();
    let worker = ex.submit(pid, ()).soon().unwrap();
    kill(worker, Signal::KILL);
    until("the pool knows", || !ex.worker_pids().contains(&worker));
}

/// CPython notices the death of a fresh worker only when the other one ends.
fn of_a_fresh_worker_is_noticed_at_once(kind: Kind) {
    for _ in 0..3 {
        let (ex, stage) = (kind.processes(2).build().unwrap(), Stage::new());
        let (running, arrivals) = occupy(&ex, &stage, 1);
        let error = ex.submit(exit, 7).soon().unwrap_err();
        assert_eq!(error.death().unwrap().exit_code(), Some(7));
        assert!(running[0].running(), "while the first is still at it");
        drop(arrivals);
    }
}

/// A result whose encoding starts a thread that ends the process a moment later, when it is perhaps being written.
struct Doomed {
    yields: u32,
    size: usize,
}

impl Serialize for Doomed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let yields = self.yields;
        std::thread::spawn(move || {
            (0..yields).for_each(|_| std::thread::yield_now());
            std::process::abort();
        });
        serializer.serialize_bytes(&vec![1; self.size])
    }
}

impl<'de> Deserialize<'de> for Doomed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        Ok(Doomed { yields: 0, size: bytes.len() })
    }
}

/// CPython hangs when the worker dies while it writes.
fn in_the_middle_of_a_large_result_resolves_the_future(kind: Kind) {
    let ex = kind.processes(2).build().unwrap();
    for yields in [0, 1, 10, 100, 1_000, 10_000] {
        let doomed = ex.submit(|yields: u32| Doomed { yields, size: 30_000_000 }, yields);
        match doomed.soon() {
            Ok(result) => assert_eq!(result.size, 30_000_000, "all of it arrived"),
            Err(error) => assert_eq!(error.death().map(|death| death.signal()), Some(Some("SIGABRT")), "{error}"),
        }
        assert_eq!(ex.submit(square, 3).soon().unwrap(), 9);
    }
}

fn die(_: u64) -> u64 {
    std::process::abort()
}

fn many_die_and_nothing_else_is_lost(kind: Kind) {
    let ex = kind.processes(2).build().unwrap();
    let futures: Vec<_> = (0..60).map(|i| (i, ex.submit(if i % 6 == 0 { die } else { square }, i))).collect();
    for (i, future) in futures {
        match future.soon() {
            Ok(value) => assert!(value == square(i) && i % 6 != 0),
            Err(error) => assert!(error.is_worker_death() && i % 6 == 0, "{i}: {error}"),
        }
    }
}

/// CPython's `test_force_shutdown_workers` and `test_terminate_workers`, `test_kill_workers`.
fn the_pool_can_end_its_workers(kind: Kind) {
    for by in ["SIGTERM", "SIGKILL"] {
        let (ex, stage) = (kind.processes(2).build().unwrap(), Stage::new());
        let (running, arrivals) = occupy(&ex, &stage, 2);
        let queued = ex.submit_all(square, 0..5);
        if by == "SIGTERM" {
            ex.terminate_workers();
        } else {
            ex.kill_workers();
        }
        for (future, arrival) in running.into_iter().zip(&arrivals) {
            let error = future.soon().unwrap_err();
            let death = error.death().unwrap_or_else(|| panic!("{error}"));
            assert_eq!((death.pid(), death.signal(), death.by_pool()), (arrival.pid(), Some(by), true));
        }
        assert!(queued.into_iter().all(|future| future.soon().unwrap_err().is_cancelled()));
        assert!(ex.submit(square, 3).soon().unwrap_err().is_refused());
        arrivals.iter().for_each(|arrival| wait_for_end(arrival.pid()));
    }
}

/// CPython's `test_force_shutdown_workers_dead_workers` and `_not_started_yet`.
fn the_pool_can_end_what_does_not_live(kind: Kind) {
    let ex = kind.processes(2).build().unwrap();
    ex.kill_workers();
    ex.terminate_workers();
    assert!(ex.submit(square, 3).soon().unwrap_err().is_refused());

    let ex = kind.processes(1).build().unwrap();
    assert!(ex.submit(abort, ()).soon().unwrap_err().is_worker_death());
    ex.kill_workers();
    ex.shutdown(Shutdown::WAIT);
    ex.kill_workers();
}

fn a_worker_that_ignores_sigterm_finishes(kind: Kind) {
    fn stubborn(ticket: Ticket) -> u32 {
        // SAFETY: ignoring a signal has no requirements.
        unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
        ticket.enter("stubborn");
        7
    }
    let (ex, stage) = (kind.processes(1).build().unwrap(), Stage::new());
    let future = ex.submit(stubborn, stage.ticket());
    let arrival = stage.next();
    ex.terminate_workers();
    arrival.release();
    assert_eq!(future.soon().unwrap(), 7);
    ex.shutdown(Shutdown::WAIT);
}

fn parent((): ()) -> u32 {
    std::os::unix::process::parent_id()
}

#[test]
fn the_death_of_the_fork_server_costs_no_task() {
    run(|| {
        let (ex, stage) = (Kind::ForkServer.processes(2).build().unwrap(), Stage::new());
        let server = ex.submit(parent, ()).soon().unwrap();
        assert_ne!(server, std::process::id());
        let (running, arrivals) = occupy(&ex, &stage, 1);
        kill(server, Signal::KILL);
        wait_for_end(server);
        // The first is busy, so this one needs a worker of a new fork server, unless there was a second one before.
        assert_eq!(ex.submit(square, 3).soon().unwrap(), 9);
        kill(arrivals[0].pid(), Signal::KILL);
        assert!(running.into_iter().all(|future| future.soon().unwrap_err().is_worker_death()));
        let (others, _arrivals) = occupy(&ex, &stage, 2);
        assert_eq!(others.len(), 2);
        assert!(ex.stats().workers == 2);
    });
}

tests! {
    process {
        a_signal_costs_one_task,
        an_exit_costs_one_task_and_tells_its_code,
        an_abort_is_a_signal,
        each_victim_has_its_own_error,
        what_was_queued_behind_the_victim_is_done,
        of_an_idle_worker_nothing_is_lost,
        of_an_idle_worker_is_noticed,
        of_a_fresh_worker_is_noticed_at_once,
        in_the_middle_of_a_large_result_resolves_the_future,
        many_die_and_nothing_else_is_lost,
        the_pool_can_end_its_workers,
        the_pool_can_end_what_does_not_live,
        a_worker_that_ignores_sigterm_finishes,
    }
}
