//! What a task in a worker knows about itself.

mod support;

use concurrent_futures_core::{ExecutorExt, task};
use std::time::{Duration, Instant};
use support::*;

fn look(_: ()) -> (Option<String>, u32, Option<Duration>, bool) {
    let current = task::current();
    (current.name(), current.attempt(), current.remaining(), current.should_stop())
}

#[test]
fn a_task_knows_its_name_its_attempt_and_how_long_it_may_take() {
    with_both(|builder| {
        let pool = builder.max_workers(1).build().unwrap();
        assert_eq!(outcome(pool.submit(look, ())).unwrap(), (None, 1, None, false));

        let named = pool.task(look, ()).name("näme").timeout(LIMIT).submit();
        let (name, attempt, remaining, stop) = outcome(named).unwrap();
        assert_eq!((name.as_deref(), attempt, stop), (Some("näme"), 1, false));
        assert!(remaining.is_some_and(|left| left <= LIMIT && left > LIMIT / 2), "{remaining:?}");

        // The nearer of the two.
        let dated = pool.task(look, ()).timeout(LIMIT * 100).deadline(Instant::now() + LIMIT).submit();
        let remaining = outcome(dated).unwrap().2;
        assert!(remaining.is_some_and(|left| left <= LIMIT + Duration::from_secs(1)), "{remaining:?}");

        // The notes on one task are not those on the next.
        assert_eq!(outcome(pool.submit(look, ())).unwrap(), (None, 1, None, false));
    });
}
