//! Submits work of all kinds and checks what comes of it.

use crate::tally::{Kind, Tally};
use crate::work;
use concurrent_futures::{Backoff, ExecutorExt, Future, Grace, ProcessPoolExecutor, RetryOn, TaskError};
use serde_bytes::ByteBuf;
use std::collections::VecDeque;
use std::time::Duration;

/// A future that is not done then is lost.
const LOST: Duration = Duration::from_secs(120);
/// More accidents in a row than chance can bring about.
const RETRIES: u32 = 200;
/// The limit of tasks that run into one.
const SHORT: Duration = Duration::from_millis(30);

/// Splitmix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// Waits for one result and looks whether it is right.
type Check<'a> = Box<dyn FnOnce(&Tally) + 'a>;

/// Works while `goes_on`, then waits for what is under way.
pub fn drive(pool: &ProcessPoolExecutor, tally: &Tally, seed: u64, under_way: usize, goes_on: impl Fn() -> bool) {
    let mut chance = Chance(seed);
    let mut checks: VecDeque<Check<'_>> = VecDeque::new();
    while goes_on() {
        checks.push_back(submit(pool, &mut chance));
        if checks.len() >= under_way
            && let Some(check) = checks.pop_front()
        {
            check(tally);
        }
    }
    for check in checks {
        check(tally);
    }
}

fn submit<'a>(pool: &'a ProcessPoolExecutor, chance: &mut Chance) -> Check<'a> {
    let x = chance.next();
    let simple = |f: fn(u64) -> u64| pool.task(f, x).retries(RETRIES).retry_on(RetryOn::WORKER_DEATH);
    match chance.below(100) {
        0..50 => is_value(Kind::Small, simple(work::mix).submit(), work::mix(x)),
        50..60 => {
            let time = Duration::from_micros(chance.below(4000));
            let nap = pool.task(work::nap, (time, x)).retries(RETRIES);
            is_value(Kind::Nap, nap.submit(), work::mix(x))
        }
        60..65 => {
            let len = 1 << (10 + chance.below(12));
            let bytes = vec![x as u8; usize::try_from(len).expect("it is small")];
            let expected = ByteBuf::from(vec![(x as u8).wrapping_add(1); bytes.len()]);
            let shift = pool.task(work::shift, ByteBuf::from(bytes)).retries(RETRIES);
            is_value(Kind::Large, shift.submit(), expected)
        }
        65..70 => {
            let len = chance.below(500);
            let map = pool.tasks(work::mix, x..x.saturating_add(len)).retries(RETRIES).map();
            Box::new(move |tally| {
                let outcome: Result<Vec<u64>, TaskError> = map.collect();
                let right: Vec<_> = (x..x.saturating_add(len)).map(work::mix).collect();
                tally.done(Kind::Map, 1);
                if outcome.as_ref().ok() != Some(&right) {
                    let what = outcome.map_or_else(|error| error.to_string(), |_| "wrong values".to_owned());
                    tally.wrong(Kind::Map, &what);
                }
            })
        }
        70..76 => {
            let words = format!("no luck with {x}");
            is_error(Kind::Panic, simple(work::panics).submit(), move |error| {
                error.panic().is_some_and(|panic| panic.message() == words)
            })
        }
        76..80 => is_value(Kind::PanicOnce, pool.task(work::panic_once, x).retries(RETRIES).submit(), work::mix(x)),
        80..84 => {
            let words = format!("no way with {x}");
            let task = pool.task(work::fails, x).retries(RETRIES).retry_on(RetryOn::WORKER_DEATH);
            is_error(Kind::Failure, task.submit_fallible(), move |error| {
                error.failure().is_some_and(|failure| failure.to_string().contains(&words))
            })
        }
        84..87 => is_error(Kind::Crash, pool.submit(work::crash, x), TaskError::is_worker_death),
        87..89 => is_error(Kind::Exit, pool.submit(work::leave, x), TaskError::is_worker_death),
        89..93 => is_value(Kind::CrashOnce, simple(work::crash_once).submit(), work::mix(x)),
        93..95 => {
            let task = simple(work::hang).timeout(SHORT).grace(Grace::new().terminate(SHORT));
            is_error(Kind::Timeout, task.submit(), TaskError::is_timeout)
        }
        95..97 => {
            // The pause between attempts must not count against the limit of one of them.
            let task = pool.task(work::hang_once, x).retries(RETRIES).timeout(10 * SHORT);
            is_value(Kind::HangOnce, task.backoff(Backoff::fixed(SHORT)).submit(), work::mix(x))
        }
        97..98 => {
            let future = simple(work::listen).grace(Grace::new().ask(Duration::from_secs(1))).submit();
            // Mostly before it starts.
            if chance.below(2) == 0 {
                future.abort();
            } else {
                future.cancel();
            }
            ended(Kind::Abort, future, work::mix(x))
        }
        _ => {
            let work = if chance.below(2) == 0 { work::hang } else { work::listen };
            let future = simple(work).submit();
            // Mostly while it runs. It must not stay: it could be all that the workers do.
            future.wait_timeout(Duration::from_micros(chance.below(10_000)));
            future.abort();
            ended(Kind::Abort, future, work::mix(x))
        }
    }
}

fn is_value<'a, T: PartialEq + Send + 'a>(kind: Kind, future: Future<T>, right: T) -> Check<'a> {
    Box::new(move |tally| match outcome(kind, future, tally) {
        Some(Ok(value)) if value == right => {}
        Some(Ok(_)) => tally.wrong(kind, "another value"),
        Some(Err(error)) => tally.wrong(kind, &error.to_string()),
        None => {}
    })
}

fn is_error<'a, T: Send + 'a>(
    kind: Kind,
    future: Future<T>,
    is_right: impl FnOnce(&TaskError) -> bool + 'a,
) -> Check<'a> {
    Box::new(move |tally| match outcome(kind, future, tally) {
        Some(Err(error)) if is_right(&error) => {}
        Some(Err(error)) => tally.wrong(kind, &error.to_string()),
        Some(Ok(_)) => tally.wrong(kind, "a value"),
        None => {}
    })
}

/// Was cancelled or aborted, if there was still time for that.
fn ended<'a>(kind: Kind, future: Future<u64>, right: u64) -> Check<'a> {
    Box::new(move |tally| match outcome(kind, future, tally) {
        Some(Ok(value)) if value == right => {}
        Some(Ok(_)) => tally.wrong(kind, "another value"),
        Some(Err(error)) if error.is_cancelled() || error.is_aborted() => {}
        Some(Err(error)) => tally.wrong(kind, &error.to_string()),
        None => {}
    })
}

/// `None`: lost.
fn outcome<T: Send>(kind: Kind, future: Future<T>, tally: &Tally) -> Option<Result<T, TaskError>> {
    if !future.wait_timeout(LOST) {
        tally.lost(kind, &format!("{future:?}"));
        return None;
    }
    tally.done(kind, future.attempts());
    Some(future.result())
}
