//! A worker that dies costs the task that it had started, and nothing else.

mod support;

use concurrent_futures_core::{Executor, ExecutorExt, Shutdown, TaskError};
use concurrent_futures_process::{DataPath, Process, ProcessPoolExecutor};
use rustix::process::Signal;
use std::path::PathBuf;
use std::sync::mpsc;
use support::*;

fn square(x: u64) -> u64 {
    x * x
}

fn abort(_: ()) {
    std::process::abort()
}

fn segv(_: ()) {
    // SAFETY: ends this process by the signal of a bad access, which is what is wanted.
    unsafe { libc::raise(libc::SIGSEGV) };
}

fn segv_at_null(_: ()) {
    // SAFETY: nothing is mapped there, so that this process ends, which is what is wanted.
    unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) };
}

#[allow(unconditional_recursion, reason = "it is to overflow the stack")]
fn overflow(n: u64) -> u64 {
    let here = std::hint::black_box([n; 64]);
    overflow(here[7] + 1) + here[3]
}

/// A task: a fork of the worker overflows its stack, and then the worker dies of something else.
fn segv_after_a_fork_that_overflowed(_: ()) {
    let overflows = Process::target(|n| assert!(overflow(n) > 0), 1_u64);
    // SAFETY: the child takes no lock that another thread of the worker may hold: it calls itself until it dies.
    let fork = unsafe { overflows.start_fork() }.unwrap();
    assert_eq!(fork.join().unwrap().signal(), Some(libc::SIGSEGV));
    segv(());
}

fn exit(code: i32) {
    std::process::exit(code)
}

fn pid(_: ()) -> u32 {
    std::process::id()
}

/// What must hold after every fault.
fn is_sound(pool: &ProcessPoolExecutor) {
    let futures: Vec<_> = (0..20).map(|n| pool.submit(square, n)).collect();
    for (n, future) in futures.into_iter().enumerate() {
        assert_eq!(outcome(future).unwrap(), square(n as u64));
    }
}

#[test]
fn every_kind_of_death_is_typed_and_alone() {
    with_both(|builder| {
        let pool = builder.max_workers(2).build().unwrap();
        let neighbours: Vec<_> = (0..10).map(|n| pool.submit(square, n)).collect();
        let death = |error: TaskError| error.death().cloned().unwrap_or_else(|| panic!("no death: {error}"));
        let aborted = death(outcome(pool.task(abort, ()).name("boom").submit()).unwrap_err());
        assert_eq!((aborted.signal(), aborted.exit_code()), (Some("SIGABRT"), None));
        assert!(!aborted.by_pool() && aborted.pid() != 0);
        assert_eq!(death(outcome(pool.submit(segv, ())).unwrap_err()).signal(), Some("SIGSEGV"));
        assert_eq!(death(outcome(pool.submit(exit, 0)).unwrap_err()).exit_code(), Some(0));
        assert_eq!(death(outcome(pool.submit(exit, 99)).unwrap_err()).exit_code(), Some(99));
        let overflow = death(outcome(pool.submit(overflow, 1)).unwrap_err());
        assert_eq!(overflow.signal(), Some("SIGSEGV"), "{overflow}");
        assert!(overflow.last_words().is_some_and(|words| words.contains("its stack overflowed")), "{overflow}");
        let segv = death(outcome(pool.submit(segv_at_null, ())).unwrap_err());
        assert!(segv.last_words().is_none(), "{segv}");
        let fork = death(outcome(pool.submit(segv_after_a_fork_that_overflowed, ())).unwrap_err());
        assert_eq!(fork.signal(), Some("SIGSEGV"), "{fork}");
        assert!(fork.last_words().is_none(), "{fork}");
        for (n, future) in neighbours.into_iter().enumerate() {
            assert_eq!(outcome(future).unwrap(), square(n as u64));
        }
        is_sound(&pool);
    });
}

/// A task: starts two programs, one of which soon has no parent, tells their pids, and ends as it is told.
#[allow(clippy::zombie_processes, reason = "that somebody ends them is what is tested")]
fn with_family((file, how): (PathBuf, u32)) -> u32 {
    let script = format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; exit 0", file.display());
    std::process::Command::new("sh").args(["-c", &script]).status().unwrap();
    let child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    std::fs::write(file.with_extension("child"), child.id().to_string()).unwrap();
    match how {
        0 => std::process::abort(),
        1 => std::process::exit(3),
        _ => loop {
            std::thread::park();
        },
    }
}

#[test]
fn what_a_dead_worker_has_started_dies_with_it() {
    with_both(|builder| {
        let pool = builder.max_workers(2).build().unwrap();
        let place = Place::new();
        let gate = place.gate("gate");
        let neighbour = pool.submit(wait_at, gate.path());
        await_start(&neighbour);
        for how in 0..3 {
            let file = place.path(&format!("family{how}"));
            let family = pool.submit(with_family, (file.clone(), how));
            let told = file.with_extension("child");
            eventually("the task has a family", || std::fs::read_to_string(&told).is_ok_and(|text| !text.is_empty()));
            let pids = [&file, &told].map(|file| std::fs::read_to_string(file).unwrap().trim().parse::<u32>().unwrap());
            if how == 2 {
                assert!(pids.iter().all(|pid| !is_gone(*pid)), "{pids:?}");
                let busy = pool.worker_pids();
                let worker = busy.into_iter().find(|pid| children_of(*pid).contains(&pids[1])).expect("its worker");
                kill(worker);
            }
            assert!(outcome(family).unwrap_err().is_worker_death());
            for pid in pids {
                eventually(&format!("process {pid} ends"), || is_gone(pid));
            }
            assert!(neighbour.running());
        }
        let mut gate = gate;
        gate.open();
        assert!(outcome(neighbour).is_ok());
        is_sound(&pool);
    });
}

#[test]
fn what_was_buffered_at_a_dead_worker_moves_on() {
    with_both(|builder| {
        let pool = builder.max_workers(1).build().unwrap();
        let place = Place::new();
        let mut gate = place.gate("gate");
        let first = pool.submit(wait_at, gate.path());
        let crash = pool.submit(
            |gate: PathBuf| {
                wait_at(gate);
                std::process::abort()
            },
            gate.path(),
        );
        let rest: Vec<_> = (0..100).map(|n| pool.submit(square, n)).collect();
        await_start(&first);
        gate.open();
        outcome(first).unwrap();
        assert!(outcome::<()>(crash).unwrap_err().is_worker_death());
        for (n, future) in rest.into_iter().enumerate() {
            assert_eq!(outcome(future).unwrap(), square(n as u64));
        }
    });
}

#[test]
fn an_idle_worker_that_is_killed_fails_nothing_and_is_replaced() {
    with_both(|builder| {
        let pool = builder.max_workers(1).build().unwrap();
        for _ in 0..5 {
            let worker = outcome(pool.submit(pid, ())).unwrap();
            assert_eq!(pool.worker_pids(), [worker]);
            kill(worker);
            eventually("the death is noticed", || pool.worker_pids().is_empty());
            is_sound(&pool);
        }
    });
}

#[test]
fn a_task_given_to_a_dying_worker_survives() {
    let pool = pool(1);
    for _ in 0..50 {
        let worker = outcome(pool.submit(pid, ())).unwrap();
        kill(worker);
        // The pool may or may not have noticed yet; the task has not started in either case.
        assert_eq!(outcome(pool.submit(square, 7)).unwrap(), 49);
    }
}

#[test]
fn a_worker_that_is_killed_at_work_fails_its_task() {
    with_both(|builder| {
        let pool = builder.max_workers(2).build().unwrap();
        let place = Place::new();
        let mut gate = place.gate("gate");
        let victim = pool.submit(wait_at, gate.path());
        await_start(&victim);
        let [worker] = pool.worker_pids()[..] else { panic!("one worker") };
        let other = pool.submit(square, 3);
        kill(worker);
        let error = outcome(victim).unwrap_err();
        let death = error.death().unwrap();
        assert_eq!((death.pid(), death.signal(), death.by_pool()), (worker, Some("SIGKILL"), false));
        assert_eq!(outcome(other).unwrap(), 9);
        gate.open();
        is_sound(&pool);
    });
}

#[test]
fn a_stopped_worker_that_is_killed_is_noticed() {
    let pool = pool(1);
    let worker = outcome(pool.submit(pid, ())).unwrap();
    stop(worker);
    let stuck = pool.submit(square, 3);
    kill(worker);
    assert_eq!(outcome(stuck).unwrap(), 9, "it had not started, so it goes elsewhere");
}

#[test]
fn a_death_half_way_through_a_large_result_is_noticed() {
    let pool = pool(2);
    let place = Place::new();
    for round in 0..10 {
        // The worker is killed while it writes, or not yet, or already: whenever it is.
        let mark = place.path(&format!("about-to-return-{round}"));
        let future = pool.submit(
            |mark: PathBuf| {
                let bytes = serde_bytes::ByteBuf::from(vec![1; 64 << 20]);
                std::fs::write(mark.with_extension("tmp"), std::process::id().to_string()).unwrap();
                std::fs::rename(mark.with_extension("tmp"), mark).unwrap();
                bytes
            },
            mark.clone(),
        );
        eventually("the task returns", || exists(&mark));
        let worker: u32 = std::fs::read_to_string(&mark).unwrap().parse().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(5 * round));
        kill(worker);
        match outcome(future) {
            Ok(bytes) => assert_eq!(bytes.len(), 64 << 20),
            Err(error) => assert_eq!(error.death().unwrap().pid(), worker, "{error}"),
        }
        is_sound(&pool);
    }
}

#[test]
fn a_death_while_a_large_argument_is_being_sent_is_noticed() {
    let pool = pool(1);
    let large = serde_bytes::ByteBuf::from(vec![1_u8; 64 << 20]);
    for round in 0..10 {
        let worker = outcome(pool.submit(pid, ())).unwrap();
        stop(worker);
        // It does not read, so the most part of this stays with the pool.
        let sum =
            pool.submit(|bytes: serde_bytes::ByteBuf| bytes.iter().map(|b| u64::from(*b)).sum::<u64>(), large.clone());
        if round % 2 == 1 {
            signal(worker, Signal::CONT);
        }
        kill(worker);
        match outcome(sum) {
            Ok(sum) => assert_eq!(sum, 64 << 20),
            Err(error) => assert_eq!(error.death().unwrap().pid(), worker, "{error}"),
        }
    }
    is_sound(&pool);
}

#[test]
fn an_argument_that_kills_its_reader_is_its_own_fault_only() {
    #[derive(serde::Serialize)]
    struct Bomb;
    impl<'de> serde::Deserialize<'de> for Bomb {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            std::process::abort()
        }
    }
    let pool = pool(1);
    let bomb = pool.submit(|_: Bomb| (), Bomb);
    let next = pool.submit(square, 2);
    assert!(outcome(bomb).unwrap_err().is_worker_death());
    assert_eq!(outcome(next).unwrap(), 4);
}

#[test]
fn a_result_that_kills_its_writer_is_its_own_fault_only() {
    #[derive(serde::Deserialize)]
    struct Bomb;
    impl serde::Serialize for Bomb {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            std::process::exit(3)
        }
    }
    let pool = pool(1);
    let bomb = pool.submit(|()| Bomb, ());
    let next = pool.submit(square, 2);
    assert_eq!(outcome(bomb).map(drop).unwrap_err().death().unwrap().exit_code(), Some(3));
    assert_eq!(outcome(next).unwrap(), 4);
}

/// Takes descriptors away from their owners in this worker.
fn close_all(_: ()) {
    for fd in 3..200 {
        // SAFETY: this worker ends by that, if it needs any of them: the point of the test.
        unsafe { libc::close(fd) };
    }
}

#[test]
fn a_task_that_closes_its_link_costs_its_worker_only() {
    let pool = ProcessPoolExecutor::builder().max_workers(1).data_path(DataPath::Socket).build().unwrap();
    let closed = pool.submit(
        |()| {
            close_all(());
            loop {
                std::thread::park();
            }
        },
        (),
    );
    let next = pool.submit(square, 2);
    let error = outcome::<()>(closed).unwrap_err();
    assert!(error.is_worker_death(), "{error}");
    assert_eq!(outcome(next).unwrap(), 4);
}

#[test]
fn a_task_that_closes_the_bell_of_its_rings_costs_its_worker_only() {
    // The rings themselves are memory. What is in them counts, also when the worker ends because it cannot ring.
    let pool = ProcessPoolExecutor::builder().max_workers(1).data_path(DataPath::Ring).build().unwrap();
    let closed = pool.submit(close_all, ());
    let next = pool.submit(square, 2);
    if let Err(error) = outcome(closed) {
        assert!(error.is_worker_death(), "{error}");
    }
    match outcome(next) {
        Ok(value) => assert_eq!(value, 4),
        // The worker had it before it could not ring.
        Err(error) => assert!(error.is_worker_death(), "{error}"),
    }
    is_sound(&pool);
}

#[test]
fn garbage_from_a_worker_costs_that_worker_only() {
    // What a worker can do to its rings is in `pool/hostile.rs`: it takes more than to write to each descriptor.
    let pool = ProcessPoolExecutor::builder().max_workers(1).data_path(DataPath::Socket).build().unwrap();
    let noise = pool.submit(
        |()| {
            for fd in 3..64 {
                // SAFETY: the bytes are those of the buffer; where they go is what the test is about.
                unsafe { libc::send(fd, [0xee_u8; 64].as_ptr().cast(), 64, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) };
            }
            loop {
                std::thread::park();
            }
        },
        (),
    );
    let next = pool.submit(square, 2);
    let error = outcome::<()>(noise).unwrap_err();
    let death = error.death().unwrap();
    assert!(death.by_pool() && death.last_words().unwrap().contains("frame"), "{error}");
    assert_eq!(outcome(next).unwrap(), 4);
}

#[test]
fn a_killed_fork_server_is_replaced_and_fails_nothing() {
    let pool = ProcessPoolExecutor::builder().max_workers(2).build().unwrap();
    let place = Place::new();
    let mut gate = place.gate("gate");
    let running = pool.submit(wait_at, gate.path());
    await_start(&running);
    let [worker] = pool.worker_pids()[..] else { panic!("one worker") };
    let stat = std::fs::read_to_string(format!("/proc/{worker}/stat")).unwrap();
    let server: u32 = stat.rsplit(')').next().unwrap().split_ascii_whitespace().nth(1).unwrap().parse().unwrap();
    assert_ne!(server, std::process::id());
    kill(server);
    // A new worker needs a new fork server; the old worker lives on.
    assert_eq!(outcome(pool.submit(square, 5)).unwrap(), 25);
    assert!(running.running());
    gate.open();
    assert_eq!(outcome(running).unwrap(), worker);
    kill(worker);
    is_sound(&pool);
}

#[test]
fn shutdown_returns_while_a_worker_is_dying() {
    for _ in 0..10 {
        let pool = pool(2);
        let futures: Vec<_> =
            (0..4).map(|n| if n % 2 == 0 { pool.submit(abort, ()) } else { pool.submit(|()| (), ()) }).collect();
        in_time("shutdown", move || pool.shutdown(Shutdown::WAIT));
        for (n, future) in futures.into_iter().enumerate() {
            assert!(future.done());
            assert_eq!(outcome(future).is_err_and(|error| error.is_worker_death()), n % 2 == 0);
        }
    }
}

#[test]
fn kills_under_load_lose_nothing_that_had_not_started() {
    const TASKS: u64 = 6000;
    let pool = pool(3);
    let (report, workers) = mpsc::channel();
    let futures: Vec<_> = (0..TASKS)
        .map(|n| {
            let future = pool.submit(|n: u64| (std::process::id(), n * n), n);
            let report = report.clone();
            // Every now and then the worker that has just finished a task is killed, whatever it is doing by now.
            if n % 150 == 0 {
                future.add_done_callback(move |outcome| {
                    if let Ok((worker, _)) = outcome {
                        report.send(*worker).unwrap();
                    }
                });
            }
            future
        })
        .collect();
    drop(report);
    let mut kills = 0;
    for worker in workers {
        let pid = rustix::process::Pid::from_raw(worker as i32).unwrap();
        // It may be gone already: then nobody is hit, as its number is not given out again so soon.
        kills += rustix::process::kill_process(pid, Signal::KILL).is_ok() as usize;
    }
    let mut died = 0;
    for (n, future) in futures.into_iter().enumerate() {
        match outcome(future) {
            Ok((_, value)) => assert_eq!(value, square(n as u64)),
            Err(error) if error.is_worker_death() => died += 1,
            Err(error) => panic!("{error}"),
        }
    }
    eprintln!("{kills} kills, {died} tasks died");
    assert!(died <= kills, "each kill costs at most one task: {died} of {kills}");
    is_sound(&pool);
}

#[test]
fn the_peak_of_a_dead_workers_memory_is_told() {
    // What the kernel counts for a process that was spawned begins with what its parent has had. This one has much, with the other
    // tests in it, and a worker little.
    outcome(pool(1).submit(|()| tells_the_peak_of_a_dead_worker(), ())).unwrap();
}

fn tells_the_peak_of_a_dead_worker() {
    const SIZE: usize = 256 << 20;
    with_both(|builder| {
        let pool = builder.max_workers(1).build().unwrap();
        let grow = |size: usize| {
            std::hint::black_box(vec![1_u8; size]);
            std::process::abort()
        };
        let death = outcome::<()>(pool.submit(grow, SIZE)).unwrap_err().death().unwrap().clone();
        let peak = death.peak_memory().expect("more than the parent has had");
        assert!(peak >= SIZE as u64 && peak < 2 * SIZE as u64, "{peak}");
        assert_eq!(death.oom(), None);
        // Not reached again: each worker has a peak of its own.
        if let Some(peak) = outcome(pool.submit(exit, 1)).unwrap_err().death().unwrap().peak_memory() {
            assert!(peak < SIZE as u64, "{peak}");
        }
    });
}
