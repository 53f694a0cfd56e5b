//! `as_completed` on futures of every executor; see also the tests of core (`as_completed.rs` there).

use crate::tasks::{hold, invert, occupy, square};
use concurrent_futures::{Executor, ExecutorExt, Shutdown, as_completed};
use concurrent_futures_conformance::{Kind, PATIENCE, Soon, Stage, tests};
use std::collections::HashMap;
use std::time::Duration;

fn gives_each_once_with_its_key(kind: Kind) {
    let ex = kind.pool(2);
    let futures: HashMap<u64, _> = (0..30).map(|x| (x, ex.submit(square, x))).collect();
    let mut seen = 0;
    for (x, future) in as_completed(futures) {
        assert_eq!(future.soon().unwrap(), square(x));
        seen += 1;
    }
    assert_eq!(seen, 30);
}

fn gives_what_is_done_before_what_is_not(kind: Kind) {
    let (ex, stage) = (kind.pool(2), Stage::new());
    let (mut futures, arrivals) = occupy(&ex, &stage, 1);
    let done = ex.submit(|x: u32| x, 7);
    assert!(done.wait_timeout(PATIENCE));
    futures.push(done);
    let mut completed = as_completed(futures);
    assert_eq!(completed.next().unwrap().soon().unwrap(), 7);
    drop(arrivals);
    assert_eq!(completed.next().unwrap().soon().unwrap(), 0);
    assert!(completed.next().is_none());
}

fn gives_them_in_the_order_in_which_they_end(kind: Kind) {
    let (ex, stage) = (kind.pool(3), Stage::new());
    let (futures, arrivals) = occupy(&ex, &stage, 3);
    let mut completed = as_completed(futures.into_iter().enumerate());
    let mut arrivals: Vec<_> = arrivals.into_iter().map(Some).collect();
    for i in [2, 0, 1] {
        drop(arrivals[i].take());
        assert_eq!(completed.next().unwrap().0, i);
    }
}

fn errors_come_as_well(kind: Kind) {
    let ex = kind.pool(2);
    let completed = as_completed(ex.submit_all(invert, [0, 1, 0]));
    assert_eq!(completed.filter_map(|future| future.soon().err()).filter(|error| error.is_panic()).count(), 2);
}

fn time_runs_out_after_all_that_was_done(kind: Kind) {
    let (ex, stage) = (kind.pool(3), Stage::new());
    let (mut futures, _arrivals) = occupy(&ex, &stage, 2);
    let done = [3, 4].map(|x| ex.submit(|x: u32| x, x));
    assert!(done.iter().all(|future| future.wait_timeout(PATIENCE)));
    futures.extend(done);
    for timeout in [Duration::ZERO, Duration::from_millis(10)] {
        let mut items = as_completed(&futures).timeout(timeout);
        assert!(items.next().unwrap().is_ok() && items.next().unwrap().is_ok());
        let rest = items.next().unwrap().unwrap_err();
        assert_eq!(rest.to_string(), "2 (of 4) futures unfinished");
        assert!(items.next().is_none());
    }
}

fn cancelled_ones_come_at_once(kind: Kind) {
    let (ex, stage) = (kind.pool(1), Stage::new());
    let (_running, _arrivals) = occupy(&ex, &stage, 1);
    let futures = ex.submit_all(square, 0..3);
    let mut completed = as_completed(&futures);
    futures[2].cancel();
    assert!(completed.next().unwrap().cancelled());
    ex.shutdown(Shutdown::NO_WAIT.cancel_futures());
    assert_eq!(completed.filter(|future| future.cancelled()).count(), 2);
}

fn a_crawler_pushes_what_it_finds(kind: Kind) {
    fn links(page: u32) -> Vec<u32> {
        [2 * page + 1, 2 * page + 2].into_iter().filter(|link| *link < 30).collect()
    }
    let ex = kind.pool(2);
    let mut pages = as_completed([(0, ex.submit(links, 0))]);
    let mut seen = Vec::new();
    while let Some((page, found)) = pages.next() {
        seen.push(page);
        pages.extend(found.soon().unwrap().into_iter().map(|link| (link, ex.submit(links, link))));
    }
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..30));
}

fn can_be_a_stream(kind: Kind) {
    use futures::StreamExt;
    let ex = kind.pool(2);
    let stream = as_completed(ex.submit_all(square, 0..20)).into_stream();
    let sum = stream.then(|future| future).map(Result::unwrap).fold(0, |sum, x| async move { sum + x });
    assert_eq!(futures::executor::block_on(sum), (0..20).map(square).sum());
}

#[test]
fn takes_futures_of_different_executors() {
    let pools: Vec<_> = Kind::ALL.into_iter().map(|kind| (kind, kind.pool(1))).collect();
    let stage = Stage::new();
    let futures = pools[1..].iter().map(|(kind, ex)| (*kind, ex.submit(hold, (stage.ticket(), 1))));
    let mut completed = as_completed(futures);
    completed.push((Kind::Serial, pools[0].1.submit(|x: u32| x, 1)));
    assert_eq!(completed.next().unwrap().0, Kind::Serial);
    for arrival in stage.wait_for(Kind::ALL.len() - 1) {
        arrival.release();
    }
    assert_eq!(completed.count(), Kind::ALL.len() - 1);
}

tests! {
    all {
        gives_each_once_with_its_key,
        errors_come_as_well,
        a_crawler_pushes_what_it_finds,
        can_be_a_stream,
    }
    parallel {
        gives_what_is_done_before_what_is_not,
        gives_them_in_the_order_in_which_they_end,
        time_runs_out_after_all_that_was_done,
        cancelled_ones_come_at_once,
    }
}
