//! What every user sees first: results, errors, cancelling, and who runs what where.

mod support;

use concurrent_futures_core::{CodecStep, Executor, ExecutorExt, Grace, Refusal, Shutdown};
use concurrent_futures_process::ProcessPoolExecutor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;
use support::*;

fn square(x: u64) -> u64 {
    x * x
}

fn pid(_: ()) -> u32 {
    std::process::id()
}

#[test]
fn results_come_back_from_other_processes() {
    with_both(|builder| {
        let pool = builder.max_workers(2).build().unwrap();
        assert_eq!(outcome(pool.submit(square, 12)).unwrap(), 144);
        assert_ne!(outcome(pool.submit(pid, ())).unwrap(), std::process::id());
        let sum: u64 = pool.map(square, 0..1000).sum::<Result<_, _>>().unwrap();
        assert_eq!(sum, (0..1000).map(square).sum());
        let texts: Vec<String> = pool.map(|x: u8| format!("{x}!"), [1, 2, 3]).collect::<Result<_, _>>().unwrap();
        assert_eq!(texts, ["1!", "2!", "3!"]);
    });
}

#[test]
fn a_panic_says_what_and_where_and_does_not_cost_the_worker() {
    let pool = pool(1);
    let before = outcome(pool.submit(pid, ())).unwrap();
    let error = outcome(pool.task(|x: u8| assert!(x > 200, "{x} is too small"), 7).name("check").submit()).unwrap_err();
    let panic = error.panic().unwrap();
    assert_eq!(panic.message(), "7 is too small");
    assert!(panic.location().unwrap().contains("submit.rs"), "{:?}", panic.location());
    assert!(panic.backtrace().contains("serve"), "{}", panic.backtrace());
    assert_eq!(error.task_name(), Some("check"));
    assert_eq!(outcome(pool.submit(pid, ())).unwrap(), before);
}

#[test]
fn an_error_of_a_fallible_task_keeps_its_words() {
    let pool = pool(1);
    let error = outcome(pool.submit_fallible(|s: String| s.parse::<u8>(), "x".to_owned())).unwrap_err();
    assert_eq!(error.failure().unwrap().message(), "x".parse::<u8>().unwrap_err().to_string());
}

/// Fails in the step that its number names.
#[derive(Debug, PartialEq)]
struct Picky(u8);

impl Serialize for Picky {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            1 => Err(serde::ser::Error::custom("not this one")),
            2 => panic!("never this one"),
            n => n.serialize(s),
        }
    }
}

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match u8::deserialize(d)? {
            3 => Err(serde::de::Error::custom("cannot be read")),
            4 => panic!("must not be read"),
            n => Ok(Picky(n)),
        }
    }
}

#[test]
fn what_cannot_travel_fails_alone_and_says_in_which_step() {
    let pool = pool(1);
    let worker = outcome(pool.submit(pid, ())).unwrap();
    let step = |future| outcome::<Picky>(future).unwrap_err().codec().map(|codec| codec.step());
    assert_eq!(step(pool.submit(|p: Picky| p, Picky(1))), Some(CodecStep::EncodeArgument));
    assert_eq!(step(pool.submit(|p: Picky| p, Picky(2))), Some(CodecStep::EncodeArgument));
    assert_eq!(step(pool.submit(|p: Picky| p, Picky(3))), Some(CodecStep::DecodeArgument));
    assert!(outcome(pool.submit(|p: Picky| p, Picky(4))).is_err());
    assert_eq!(step(pool.submit(|_: ()| Picky(1), ())), Some(CodecStep::EncodeResult));
    assert!(outcome(pool.submit(|_: ()| Picky(2), ())).is_err());
    assert_eq!(step(pool.submit(|_: ()| Picky(3), ())), Some(CodecStep::DecodeResult));
    assert!(outcome(pool.submit(|_: ()| Picky(4), ())).is_err());
    assert_eq!(outcome(pool.submit(|p: Picky| p, Picky(9))).unwrap(), Picky(9));
    assert_eq!(outcome(pool.submit(pid, ())).unwrap(), worker, "none of this costs the worker");
}

#[test]
fn a_function_of_a_loaded_library_is_refused() {
    // SAFETY: looks a name up among the loaded libraries.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"getenv".as_ptr()) };
    // SAFETY: a code pointer; it is never called, since the pool refuses it.
    let foreign: fn(u64) -> u64 = unsafe { std::mem::transmute(address) };
    let pool = pool(1);
    let error = outcome(pool.submit(foreign, 1)).unwrap_err();
    assert!(matches!(error.refusal(), Some(Refusal::Unsupported(_))), "{error}");
    assert_eq!(outcome(pool.submit(square, 3)).unwrap(), 9);
}

#[test]
fn a_context_is_there_for_every_task_and_many_contexts_are_too() {
    let pool = pool(2);
    let word = |context: &String, n: usize| format!("{context}{n}");
    for round in 0..40 {
        let bound = pool.with_context(format!("c{round}-"));
        let all: Vec<String> = bound.map(word, 0..20).collect::<Result<_, _>>().unwrap();
        assert!(all.iter().enumerate().all(|(n, text)| *text == format!("c{round}-{n}")));
    }
    // In turns, so that workers must forget and be told again.
    let bound: Vec<_> = (0..40).map(|n| pool.with_context(n)).collect();
    let futures: Vec<_> =
        (0..5).flat_map(|x| bound.iter().map(move |c| c.submit(|c: &i32, x: i32| c * 100 + x, x))).collect();
    for (at, future) in futures.into_iter().enumerate() {
        assert_eq!(outcome(future).unwrap(), (at as i32 % 40) * 100 + at as i32 / 40);
    }
}

#[test]
fn workers_have_a_name_and_no_standard_input() {
    with_both(|builder| {
        let pool = builder.max_workers(1).worker_name_prefix("hash").build().unwrap();
        let name = outcome(pool.submit(|()| std::fs::read_to_string("/proc/self/comm").unwrap(), ())).unwrap();
        assert_eq!(name.trim_end(), "hash-0");
        let input = outcome(pool.submit(|()| std::io::read_to_string(std::io::stdin()).unwrap(), ())).unwrap();
        assert_eq!(input, "");
    });
}

#[test]
fn workers_are_used_again_and_not_more_than_allowed() {
    let pool = pool(3);
    let pids: HashSet<u32> = (0..20).map(|_| outcome(pool.submit(pid, ())).unwrap()).collect();
    assert_eq!(pids.len(), 1, "one task at a time needs one worker");
    let place = Place::new();
    let mut gate = place.gate("gate");
    let futures: Vec<_> = (0..45).map(|_| pool.submit(wait_at, gate.path())).collect();
    eventually("all workers run", || futures.iter().filter(|future| future.running()).count() == 3);
    assert_eq!(pool.worker_pids().len(), 3);
    gate.open();
    let pids: HashSet<u32> = futures.into_iter().map(|future| outcome(future).unwrap()).collect();
    assert_eq!(pids.len(), 3);
}

#[test]
fn running_and_cancel_are_exact() {
    with_both(|builder| {
        let pool = builder.max_workers(1).build().unwrap();
        let place = Place::new();
        let mut gate = place.gate("gate");
        let first = pool.submit(wait_at, gate.path());
        let marks: Vec<PathBuf> = (0..5).map(|n| place.path(&format!("mark{n}"))).collect();
        let rest: Vec<_> = marks.iter().map(|mark| pool.submit(touch, mark.clone())).collect();
        await_start(&first);
        assert!(rest.iter().all(|future| !future.running() && !future.done()));
        assert!(!first.cancel());
        for future in rest.iter().step_by(2) {
            assert!(future.cancel() && future.cancelled());
        }
        gate.open();
        outcome(first).unwrap();
        for (n, future) in rest.into_iter().enumerate() {
            assert_eq!(outcome(future).is_ok(), n % 2 == 1);
        }
        drop(pool);
        assert_eq!(marks.iter().map(|mark| exists(mark)).collect::<Vec<_>>(), [false, true, false, true, false]);
    });
}

#[test]
fn what_is_buffered_behind_a_running_task_can_be_cancelled() {
    let pool = pool(1);
    let place = Place::new();
    let (mut first_gate, mut second_gate) = (place.gate("first"), place.gate("second"));
    let first = pool.submit(wait_at, first_gate.path());
    let second = pool.submit(wait_at, second_gate.path());
    let third = pool.submit(touch, place.path("third"));
    let fourth = pool.submit(square, 4);
    first_gate.open();
    // When the second runs, the worker has been given the third as well.
    await_start(&second);
    assert!(!third.running());
    assert!(third.cancel());
    assert!(!third.running());
    second_gate.open();
    assert_eq!(outcome(fourth).unwrap(), 16);
    assert!(outcome(third).unwrap_err().is_cancelled());
    assert!(outcome(first).is_ok() && outcome(second).is_ok());
    drop(pool);
    assert!(!exists(&place.path("third")));
}

#[test]
fn no_task_waits_behind_a_long_one_while_a_worker_is_idle() {
    let pool = pool(2);
    let place = Place::new();
    let (mut left, mut right) = (place.gate("left"), place.gate("right"));
    // Both workers are at work and the queue is long, so that each gets more than one task at a time.
    let mut quick: Vec<_> = (0..500).map(|n| pool.submit(square, n)).collect();
    let long = [pool.submit(wait_at, left.path()), pool.submit(wait_at, right.path())];
    quick.extend((0..500).map(|n| pool.submit(square, n)));
    long.iter().for_each(await_start);
    left.open();
    // All of them get through with one worker, whichever had been given them.
    for (n, future) in quick.into_iter().enumerate() {
        assert_eq!(outcome(future).unwrap(), square(n as u64 % 500));
    }
    assert!(long[1].running());
    right.open();
    for future in long {
        outcome(future).unwrap();
    }
}

#[test]
fn a_timeout_with_patience_fails_the_future_and_costs_nothing_else() {
    let pool = pool(1);
    let place = Place::new();
    let mut gate = place.gate("gate");
    let late =
        pool.task(wait_at, gate.path()).timeout(Duration::from_millis(50)).grace(Grace::new().ask(LIMIT)).submit();
    let next = pool.task(square, 5).timeout(LIMIT).submit();
    let error = outcome(late).unwrap_err();
    assert_eq!(error.timeout(), Some(Duration::from_millis(50)));
    assert!(!next.done(), "the worker is still busy");
    gate.open();
    assert_eq!(outcome(next).unwrap(), 25);
}

#[test]
fn the_clock_of_a_timeout_starts_with_the_task() {
    let pool = pool(1);
    let place = Place::new();
    // Even where everything stands still for a second, one of these is in time.
    let limits = [200, 1000, 5000];
    assert!(limits.into_iter().any(|limit| {
        let mut gate = place.gate(&format!("gate {limit}"));
        let first = pool.submit(wait_at, gate.path());
        let limit = Duration::from_millis(limit);
        let waiting = pool.task(square, 3).timeout(limit).submit();
        await_start(&first);
        std::thread::sleep(limit * 2);
        assert!(!waiting.done());
        gate.open();
        outcome(first).unwrap();
        let nine = outcome(waiting);
        assert!(nine.as_ref().map_or_else(|error| error.is_timeout(), |nine| *nine == 9), "{nine:?}");
        nine.is_ok()
    }));
}

#[test]
fn priorities_are_refused() {
    let pool = pool(1);
    let error = outcome(pool.task(square, 1).priority(3).submit()).unwrap_err();
    assert!(matches!(error.refusal(), Some(Refusal::Unsupported(_))), "{error}");
}

#[test]
fn a_bounded_queue_is_full_and_gets_room_again() {
    let pool = ProcessPoolExecutor::builder().max_workers(1).queue_bound(2).build().unwrap();
    let place = Place::new();
    let mut gate = place.gate("gate");
    let first = pool.submit(wait_at, gate.path());
    await_start(&first);
    let queued = [pool.submit(square, 2), pool.submit(square, 3)];
    let refused = pool.try_submit(square, 77).unwrap_err();
    assert_eq!((refused.args, refused.why), (77, Refusal::Full));
    // A cancelled task makes room.
    assert!(queued[0].cancel());
    let instead = pool.try_submit(square, 4).unwrap();
    assert_eq!(pool.try_submit(square, 5).unwrap_err().why, Refusal::Full);
    std::thread::scope(|s| {
        let waiting = s.spawn(|| pool.submit(square, 6));
        gate.open();
        assert_eq!(outcome(waiting.join().unwrap()).unwrap(), 36);
    });
    assert_eq!(outcome(instead).unwrap(), 16);
}

#[test]
fn a_full_queue_does_not_hold_up_a_shutdown() {
    let pool = ProcessPoolExecutor::builder().max_workers(1).queue_bound(1).build().unwrap();
    let place = Place::new();
    let mut gate = place.gate("gate");
    let first = pool.submit(wait_at, gate.path());
    await_start(&first);
    let queued = pool.submit(square, 2);
    std::thread::scope(|s| {
        let waiting = s.spawn(|| pool.submit(square, 6));
        pool.shutdown(concurrent_futures_core::Shutdown::NO_WAIT);
        let late = outcome(waiting.join().unwrap());
        assert!(late.is_err_and(|error| error.is_refused()));
        gate.open();
    });
    assert_eq!(outcome(queued).unwrap(), 4);
}

#[test]
fn a_handle_outlives_the_pool_and_is_refused_then() {
    let pool = pool(1);
    let handle = pool.handle();
    assert_eq!(outcome(handle.submit(square, 3)).unwrap(), 9);
    assert_eq!(handle.num_workers(), 1);
    drop(pool);
    assert_eq!(outcome(handle.submit(square, 3)).unwrap_err().refusal(), Some(&Refusal::ShutDown));
    let (args, why) = handle.try_submit(square, 3).map_err(|e| (e.args, e.why)).unwrap_err();
    assert_eq!((args, why), (3, Refusal::ShutDown));
}

#[test]
fn impossible_settings_are_refused() {
    assert!(ProcessPoolExecutor::new(0).unwrap_err().to_string().contains("max_workers"));
    let error = ProcessPoolExecutor::builder().max_tasks_per_child(0).build().unwrap_err();
    assert!(error.to_string().contains("max_tasks_per_child"));
    assert!(ProcessPoolExecutor::builder().queue_bound(0).build().is_err());
    assert!(ProcessPoolExecutor::builder().initializer(|_: Picky| (), Picky(1)).build().is_err());
}

#[test]
fn large_payloads_go_both_ways() {
    const LARGE: usize = 64 << 20;
    with_both(|builder| {
        let pool = builder.max_workers(2).build().unwrap();
        let data: Vec<u8> = (0..LARGE).map(|i| (i / 7) as u8).collect();
        let echo = pool.submit(|data: serde_bytes::ByteBuf| data, serde_bytes::ByteBuf::from(data.clone()));
        let made = pool.submit(|n: usize| serde_bytes::ByteBuf::from(vec![5; n]), LARGE);
        let small: Vec<_> = (0..50).map(|n| pool.submit(square, n)).collect();
        assert!(outcome(echo).unwrap() == data);
        assert!(outcome(made).unwrap().iter().all(|byte| *byte == 5));
        for (n, future) in small.into_iter().enumerate() {
            assert_eq!(outcome(future).unwrap(), square(n as u64));
        }
    });
}

#[test]
fn statistics_count() {
    let pool = pool(2);
    assert_eq!(pool.stats().workers, 0);
    for n in 0..10 {
        outcome(pool.submit(square, n)).unwrap();
    }
    eventually("the worker is idle", || pool.stats().idle == 1);
    let stats = pool.stats();
    assert_eq!((stats.workers, stats.queued, stats.finished), (1, 0, 10));
}

#[test]
fn tasks_start_in_the_order_of_submission() {
    // The first workers are given more than one task while others are still coming up.
    for _ in 0..20 {
        let pool = pool(3);
        let place = Place::new();
        let mut gate = place.gate("gate");
        let futures: Vec<_> = (0..9).map(|_| pool.submit(wait_at, gate.path())).collect();
        eventually("all workers run", || futures.iter().filter(|future| future.running()).count() == 3);
        assert!(futures[..3].iter().all(|future| future.running()));
        gate.open();
        for future in futures {
            outcome(future).unwrap();
        }
    }
}

#[test]
fn waiting_for_room_has_a_limit() {
    with_both(|builder| {
        let pool = builder.max_workers(1).queue_bound(1).build().unwrap();
        let place = Place::new();
        let mut gate = place.gate("gate");
        let running = pool.submit(wait_at, gate.path());
        await_start(&running);
        let waiting = pool.submit(wait_at, gate.path());
        let short = Duration::from_millis(20);
        let start = std::time::Instant::now();
        let full = pool.submit_timeout(wait_at, gate.path(), short).map(drop).unwrap_err();
        assert!(full.why == Refusal::Full && full.args == gate.path() && start.elapsed() >= short);
        std::thread::scope(|s| {
            let path = gate.path();
            let late = s.spawn(|| pool.submit_timeout(wait_at, path, LIMIT).unwrap());
            std::thread::sleep(short);
            assert!(!late.is_finished());
            gate.open();
            assert!(outcome(late.join().unwrap()).is_ok());
        });
        assert!(outcome(running).is_ok() && outcome(waiting).is_ok());
        pool.shutdown(Shutdown::WAIT);
        let refused = pool.submit_timeout(wait_at, gate.path(), LIMIT).map(drop).unwrap_err();
        assert_eq!(refused.why, Refusal::ShutDown);
    });
}
