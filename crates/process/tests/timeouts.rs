//! Tasks that run out of time or are aborted, and what becomes of their workers.

mod support;

use concurrent_futures_core::{Backoff, Executor, ExecutorExt, Grace, Shutdown, task};
use concurrent_futures_process::ProcessPoolExecutor;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use support::*;

const SHORT: Duration = Duration::from_millis(40);

fn pid(_: ()) -> u32 {
    std::process::id()
}

fn square(x: u64) -> u64 {
    x * x
}

/// Never returns, and says where.
fn hang(path: PathBuf) {
    std::fs::write(path, std::process::id().to_string()).unwrap();
    loop {
        std::thread::park();
    }
}

/// The same, whatever it is asked or told.
fn hang_deaf(path: PathBuf) {
    // SAFETY: a disposition without a handler.
    unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
    hang(path);
}

/// Returns when it is asked to.
fn obey(path: PathBuf) -> u32 {
    std::fs::write(path, std::process::id().to_string()).unwrap();
    while !task::current().should_stop() {
        std::thread::yield_now();
    }
    std::process::id()
}

fn read_pid(path: &std::path::Path) -> u32 {
    eventually("the task says where it runs", || pid_in(path).is_some());
    pid_in(path).unwrap()
}

/// Where the task runs, if it has said so.
fn pid_in(path: &std::path::Path) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.parse().ok()
}

#[test]
fn row19_a_timeout_costs_its_worker_and_no_other() {
    with_both(|builder| {
        let place = Place::new();
        let mut gate = place.gate("gate");
        let pool = builder.max_workers(2).build().unwrap();
        let neighbour = pool.submit(wait_at, gate.path());
        await_start(&neighbour);
        let mut given = SHORT;
        let submit = |limit| {
            given = limit;
            pool.task(hang, place.path("late")).timeout(limit).submit()
        };
        let (late, victim) = limited(submit, || pid_in(&place.path("late")));
        let waiting: Vec<_> = (0..20).map(|n| pool.submit(square, n)).collect();
        let error = outcome(late).unwrap_err();
        assert!(error.timeout() == Some(given) && error.attempts() == 1, "{error}");
        eventually("its worker is ended", || is_gone(victim));
        for (n, future) in waiting.into_iter().enumerate() {
            assert_eq!(outcome(future).unwrap(), square(n as u64));
        }
        assert!(neighbour.running());
        gate.open();
        let neighbour = outcome(neighbour).unwrap();
        assert_ne!(neighbour, victim);
        assert!(pool.worker_pids().contains(&neighbour));
    });
}

#[test]
fn row18_what_ignores_sigterm_is_killed() {
    with_both(|builder| {
        let place = Place::new();
        let pool = builder.max_workers(1).build().unwrap();
        let grace = Grace::new().ask(SHORT).terminate(SHORT);
        let mut start = Instant::now();
        let submit = |limit| {
            start = Instant::now();
            pool.task(hang_deaf, place.path("pid")).timeout(limit).grace(grace).submit()
        };
        let (late, victim) = limited(submit, || pid_in(&place.path("pid")));
        assert!(outcome(late).unwrap_err().is_timeout());
        assert_eq!(outcome(pool.submit(square, 3)).unwrap(), 9);
        assert!(is_gone(victim) && start.elapsed() >= 3 * SHORT, "there was room only when it was gone");
        assert_ne!(outcome(pool.submit(pid, ())).unwrap(), victim);
    });
}

#[test]
fn who_returns_when_asked_keeps_its_worker() {
    with_both(|builder| {
        let place = Place::new();
        let pool = builder.max_workers(1).build().unwrap();
        for (n, abort) in [false, true, false, true].into_iter().enumerate() {
            let path = place.path(&n.to_string());
            let task = pool.task(obey, path.clone()).grace(Grace::new().ask(LIMIT));
            let future = if abort { task.submit() } else { task.timeout(SHORT).submit() };
            let at = read_pid(&path);
            assert!(!abort || future.abort());
            let error = outcome(future).unwrap_err();
            assert!(if abort { error.is_aborted() } else { error.is_timeout() }, "{error}");
            assert_eq!(outcome(pool.submit(pid, ())).unwrap(), at, "the worker lives on");
        }
    });
}

#[test]
fn row19_abort_stops_what_runs_and_cancels_what_waits() {
    with_both(|builder| {
        let place = Place::new();
        let mut gate = place.gate("gate");
        let pool = builder.max_workers(2).build().unwrap();
        let neighbour = pool.submit(wait_at, gate.path());
        await_start(&neighbour);
        let running = pool.submit(hang, place.path("pid"));
        let victim = read_pid(&place.path("pid"));
        let waiting = pool.submit(square, 3);
        let rest: Vec<_> = (0..20).map(|n| pool.submit(square, n)).collect();
        assert!(waiting.abort() && waiting.cancelled());
        assert!(running.abort() && !running.cancelled() && running.abort() == running.abort());
        let error = outcome(running).unwrap_err();
        assert!(error.is_aborted(), "{error}");
        for (n, future) in rest.into_iter().enumerate() {
            assert_eq!(outcome(future).unwrap(), square(n as u64));
        }
        eventually("its worker is ended", || is_gone(victim));
        gate.open();
        assert!(outcome(neighbour).is_ok());
        let done = pool.submit(square, 4);
        done.wait();
        assert!(!done.abort());
        assert_eq!(outcome(done).unwrap(), 16);
        in_time("shutdown", move || pool.shutdown(Shutdown::WAIT));
    });
}

#[test]
fn aborting_at_any_instant_costs_nothing_else() {
    with_both(|builder| {
        let pool = builder.max_workers(2).build().unwrap();
        pool.warm_up().unwrap();
        let mut aborted = 0;
        for n in 0..200_u64 {
            let before = pool.submit(square, n);
            let future = pool.submit(square, n + 1);
            let after = pool.submit(square, n + 2);
            let start = Instant::now();
            while start.elapsed() < Duration::from_micros(n % 100) {
                std::hint::spin_loop();
            }
            let was_stopped = future.abort();
            match outcome(future) {
                Ok(value) => assert!(!was_stopped && value == square(n + 1)),
                Err(error) => assert!(was_stopped && (error.is_aborted() || error.is_cancelled()), "{error}"),
            }
            aborted += u32::from(was_stopped);
            assert_eq!(outcome(before).unwrap(), square(n));
            assert_eq!(outcome(after).unwrap(), square(n + 2));
        }
        eprintln!("{aborted} were aborted or cancelled");
        in_time("shutdown", move || pool.shutdown(Shutdown::WAIT));
    });
}

#[test]
fn a_worker_that_is_stopped_is_killed_when_its_task_runs_out_of_time() {
    with_both(|builder| {
        fn stop(_: ()) {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP).unwrap();
        }
        let pool = builder.max_workers(1).build().unwrap();
        let grace = Grace::new().terminate(SHORT);
        let late = pool.task(stop, ()).timeout(Duration::from_millis(100)).grace(grace).submit();
        assert!(outcome(late).unwrap_err().is_timeout());
        assert_eq!(outcome(pool.submit(square, 3)).unwrap(), 9);
    });
}

#[test]
fn a_deadline_covers_all_attempts() {
    with_both(|builder| {
        let pool = builder.max_workers(1).build().unwrap();
        pool.warm_up().unwrap();
        let fails = |()| Err::<(), _>("again");
        let attempts = |limit| {
            let task = pool.task(fails, ()).retries(u32::MAX).backoff(Backoff::fixed(SHORT));
            let error = outcome(task.deadline(Instant::now() + limit).submit_fallible()).unwrap_err();
            assert!(error.is_timeout() || error.is_failed(), "{error}");
            error.attempts()
        };
        // Even where everything stands still for a second, there is time for a second attempt in one of these.
        let limits = [1, 5, 20].map(Duration::from_secs);
        assert!(limits.into_iter().any(|limit| attempts(limit) > 1));
    });
}

#[test]
fn an_attempt_that_takes_too_long_is_followed_by_another() {
    with_both(|builder| {
        /// The first attempt hangs, in its own way.
        fn second_time(deaf: bool) -> u32 {
            match (task::current().attempt(), deaf) {
                (1, true) => hang_deaf("/dev/null".into()),
                (1, false) => hang("/dev/null".into()),
                _ => {}
            }
            task::current().attempt()
        }
        let pool = builder.max_workers(1).build().unwrap();
        for deaf in [false, true] {
            let grace = Grace::new().terminate(SHORT);
            let limit = Duration::from_millis(500);
            let future = pool.task(second_time, deaf).timeout(limit).grace(grace).retries(3).submit();
            let begun = Instant::now();
            future.wait();
            assert!(begun.elapsed() >= limit, "the first attempt has taken its time");
            // Where everything stands still for half a second, the second attempt is too slow as well.
            let attempts = future.attempts();
            assert!(attempts >= 2);
            match outcome(future) {
                Ok(attempt) => assert_eq!(attempt, attempts),
                Err(error) => assert!(error.is_timeout() && attempts == 4, "{error}"),
            }
        }
        // One that returns when it is asked to has not been good enough either.
        let place = Place::new();
        let grace = Grace::new().ask(LIMIT);
        let future = pool.task(obey, place.path("pid")).timeout(SHORT).grace(grace).retries(2).submit();
        let error = outcome(future).unwrap_err();
        assert!(error.is_timeout() && error.attempts() == 3, "{error}");
        assert_eq!(pool.worker_pids(), [read_pid(&place.path("pid"))]);
    });
}

#[test]
fn killing_the_pool_overrides_patience() {
    let place = Place::new();
    let pool = ProcessPoolExecutor::builder().max_workers(1).build().unwrap();
    let grace = Grace::new().ask(LIMIT).terminate(LIMIT);
    let late = pool.task(hang_deaf, place.path("pid")).timeout(SHORT).grace(grace).retries(5).submit();
    read_pid(&place.path("pid"));
    pool.kill_workers();
    let error = outcome(late).unwrap_err();
    assert!(error.is_worker_death() || error.is_timeout(), "{error}");
    in_time("shutdown", move || pool.shutdown(Shutdown::WAIT));
}

#[test]
fn row19_time_runs_out_at_any_instant() {
    fn busy(micros: u64) -> u64 {
        let start = Instant::now();
        while start.elapsed() < Duration::from_micros(micros) {
            std::hint::spin_loop();
        }
        micros
    }
    with_both(|builder| {
        let pool = builder.max_workers(2).build().unwrap();
        pool.warm_up().unwrap();
        let mut late = 0;
        for n in 0..100_u64 {
            let others: Vec<_> = (0..4).map(|k| pool.submit(square, n + k)).collect();
            let retries = u32::try_from(n % 3).unwrap();
            let task = pool.task(busy, 1000 + 10 * n).timeout(Duration::from_micros(1500)).retries(retries);
            let future = task.submit();
            let more: Vec<_> = (0..4).map(|k| pool.submit(square, n + k)).collect();
            match outcome(future) {
                Ok(value) => assert_eq!(value, 1000 + 10 * n),
                Err(error) => {
                    assert!(error.is_timeout() && error.attempts() == 1 + retries, "{error}");
                    late += 1;
                }
            }
            for (k, future) in others.into_iter().enumerate().chain(more.into_iter().enumerate()) {
                assert_eq!(outcome(future).unwrap(), square(n + k as u64));
            }
        }
        eprintln!("{late} were late");
        in_time("shutdown", move || pool.shutdown(Shutdown::WAIT));
    });
}

#[test]
fn what_is_stopped_leaves_nothing_behind() {
    // In a worker, where no other test opens and closes things.
    let outer = ProcessPoolExecutor::new(1).unwrap();
    let left = outer.submit(
        |()| {
            let run = || {
                let pool = ProcessPoolExecutor::new(2).unwrap();
                for n in 0..4 {
                    let late = pool.task(hang, "/dev/null".into()).timeout(Duration::from_millis(5)).retries(n % 2);
                    let (late, aborted) = (late.submit(), pool.submit(hang_deaf, "/dev/null".into()));
                    late.wait();
                    aborted.abort();
                    pool.resize(1 + n as usize % 2).unwrap();
                }
                assert_eq!(pool.submit(square, 3).result().unwrap(), 9);
            };
            run();
            let before = files_and_threads((usize::MAX, usize::MAX));
            for _ in 0..5 {
                run();
            }
            files_and_threads(before);
        },
        (),
    );
    outcome(left).unwrap();
}
