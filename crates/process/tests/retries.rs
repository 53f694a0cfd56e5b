//! Tasks that are attempted again.

mod support;

use concurrent_futures_core::{Backoff, Executor, ExecutorExt, KilledBy, RetryOn, Shutdown, task};
use concurrent_futures_process::ipc_channel::ipc::{self, IpcSender};
use concurrent_futures_process::{ProcessPoolExecutor, StartMethod};
use std::time::{Duration, Instant};
use support::*;

fn square(x: u64) -> u64 {
    x * x
}

fn attempt() -> u32 {
    task::current().attempt()
}

/// Kills its worker in all attempts before the given one.
fn die_before(good: u32) -> u32 {
    if attempt() < good {
        std::process::abort();
    }
    attempt()
}

fn panic_before(good: u32) -> u32 {
    assert!(attempt() >= good, "not yet");
    attempt()
}

fn fail_before(good: u32) -> Result<u32, String> {
    if attempt() < good { Err("not yet".to_owned()) } else { Ok(attempt()) }
}

fn builder() -> concurrent_futures_process::ProcessPoolBuilder {
    ProcessPoolExecutor::builder()
}

#[test]
fn what_ends_badly_is_tried_again() {
    with_both(|builder| {
        let pool = builder.max_workers(2).build().unwrap();
        let others: Vec<_> = (0..50).map(|n| pool.submit(square, n)).collect();
        let tasks = [
            pool.task(die_before, 3).retries(2).submit(),
            pool.task(panic_before, 3).retries(2).submit(),
            pool.task(fail_before, 3).retries(2).submit_fallible(),
            pool.task(|_| attempt(), 3).retries(2).retry_if(|attempt| *attempt < 3).submit(),
        ];
        for future in tasks {
            future.wait();
            assert_eq!(future.attempts(), 3);
            assert_eq!(outcome(future).unwrap(), 3);
        }
        for (n, future) in others.into_iter().enumerate() {
            assert_eq!(outcome(future).unwrap(), square(n as u64));
        }
    });
}

#[test]
fn the_last_attempt_decides() {
    with_both(|builder| {
        let pool = builder.max_workers(1).build().unwrap();
        let error = outcome(pool.task(die_before, 9).retries(2).submit()).unwrap_err();
        let death = error.death().unwrap();
        assert_eq!((error.attempts(), death.deaths(), death.killed_by()), (3, 3, KilledBy::Nobody), "{error}");
        let error = outcome(pool.task(panic_before, 9).retries(2).submit()).unwrap_err();
        assert!(error.is_panic() && error.attempts() == 3, "{error}");
        let error = outcome(pool.task(fail_before, 9).retries(2).submit_fallible()).unwrap_err();
        assert!(error.is_failed() && error.attempts() == 3, "{error}");
        // A value that is not good enough is still the value.
        let value = outcome(pool.task(|_| attempt(), 9).retries(2).retry_if(|_| true).submit());
        assert_eq!(value.unwrap(), 3);
        // And without retries nothing is tried again.
        let error = outcome(pool.submit(die_before, 2)).unwrap_err();
        assert!(error.is_worker_death() && error.attempts() == 1, "{error}");
    });
}

#[test]
fn only_what_was_asked_for_is_tried_again() {
    let pool = pool(1);
    let error = outcome(pool.task(die_before, 2).retries(5).retry_on(RetryOn::PANIC).submit()).unwrap_err();
    assert!(error.is_worker_death() && error.attempts() == 1, "{error}");
    let error = outcome(pool.task(panic_before, 2).retries(5).retry_on(RetryOn::WORKER_DEATH).submit()).unwrap_err();
    assert!(error.is_panic() && error.attempts() == 1, "{error}");
}

#[test]
fn a_pause_can_be_cancelled_and_holds_nobody_up() {
    with_both(|builder| {
        let pool = builder.max_workers(1).build().unwrap();
        let pausing = || pool.task(panic_before, 9).retries(5).backoff(Backoff::fixed(LIMIT * 10).jitter(0.0)).submit();
        let (cancelled, aborted, expired) = (pausing(), pausing(), {
            let task = pool.task(panic_before, 9).retries(5).backoff(Backoff::fixed(LIMIT * 10).jitter(0.0));
            task.deadline(Instant::now() + LIMIT * 100).submit()
        });
        let futures = [cancelled, aborted, expired];
        eventually("all pause", || futures.iter().all(|future| future.attempts() == 1 && !future.running()));
        // Other tasks run meanwhile.
        assert_eq!(outcome(pool.submit(square, 4)).unwrap(), 16);
        assert_eq!(pool.stats().queued, 3);
        assert!(futures[0].cancel() && futures[1].abort() && futures[2].cancel());
        in_time("shutdown", move || pool.shutdown(Shutdown::WAIT));
        for future in futures {
            let error = outcome(future).unwrap_err();
            assert!(error.is_cancelled() && error.attempts() == 1, "{error}");
        }
    });
}

#[test]
fn a_shutdown_waits_for_attempts_to_come_unless_it_cancels() {
    with_both(|builder| {
        let pool = builder.max_workers(1).build().unwrap();
        let backoff = Backoff::fixed(Duration::from_millis(50));
        let future = pool.task(die_before, 4).retries(5).backoff(backoff).submit();
        in_time("shutdown", move || pool.shutdown(Shutdown::WAIT));
        assert!(future.done());
        assert_eq!(outcome(future).unwrap(), 4);
    });
    let pool = builder().max_workers(1).build().unwrap();
    let future = pool.task(panic_before, 9).retries(5).backoff(Backoff::fixed(LIMIT * 10).jitter(0.0)).submit();
    eventually("it pauses", || future.attempts() == 1 && !future.running());
    in_time("shutdown", move || pool.shutdown(Shutdown::WAIT.cancel_futures()));
    assert!(outcome(future).unwrap_err().is_cancelled());
}

#[test]
fn killing_the_pool_ends_all_attempts() {
    let place = Place::new();
    let closed = place.gate("closed");
    let pool = builder().max_workers(1).build().unwrap();
    let future = pool.task(wait_at, closed.path()).retries(100).submit();
    await_start(&future);
    pool.kill_workers();
    let error = outcome(future).unwrap_err();
    assert_eq!(error.death().unwrap().killed_by(), KilledBy::Shutdown);
    in_time("shutdown", move || pool.shutdown(Shutdown::WAIT));
}

#[test]
fn row12_a_poison_task_is_given_up_and_the_others_finish() {
    with_both(|builder| {
        let pool = builder.max_workers(2).max_deaths_per_task(3).build().unwrap();
        let poison: Vec<_> = (0..2).map(|_| pool.task(die_before, u32::MAX).retries(1000).submit()).collect();
        let others: Vec<_> = (0..200).map(|n| pool.submit(square, n)).collect();
        for future in poison {
            let error = outcome(future).unwrap_err();
            assert_eq!((error.attempts(), error.death().unwrap().deaths()), (3, 3), "{error}");
        }
        for (n, future) in others.into_iter().enumerate() {
            assert_eq!(outcome(future).unwrap(), square(n as u64));
        }
    });
}

#[test]
fn a_task_whose_handles_are_gone_is_not_tried_again() {
    fn die(_: IpcSender<u32>) {
        std::process::abort();
    }
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let pool = builder().start_method(method).max_workers(1).build().unwrap();
        let (sender, _receiver) = ipc::channel().unwrap();
        let error = outcome(pool.task(die, sender).retries(5).submit()).unwrap_err();
        assert!(error.is_worker_death() && error.attempts() == 1, "{error}");
    }
}

#[test]
fn a_bounded_queue_takes_what_comes_back() {
    let pool = builder().max_workers(1).queue_bound(1).build().unwrap();
    let futures: Vec<_> = (0..30).map(|n| pool.task(die_before, 1 + n % 3).retries(5).submit()).collect();
    for (n, future) in futures.into_iter().enumerate() {
        assert_eq!(outcome(future).unwrap() as usize, 1 + n % 3);
    }
}
