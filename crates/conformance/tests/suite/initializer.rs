//! What runs in each worker before its first task.

use crate::tasks::{hold, square};
use concurrent_futures::{Executor, ExecutorExt, Future, Refusal, Shutdown};
use concurrent_futures_conformance::{Arrival, Kind, PATIENCE, Soon, Stage, Ticket, tests};
use std::cell::RefCell;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

thread_local! {
    static PREPARED: RefCell<String> = const { RefCell::new(String::new()) };
}

fn prepare((ticket, word): (Ticket, String)) {
    PREPARED.set(word);
    ticket.tell("prepared");
}

fn prepared((ticket, number): (Ticket, u32)) -> String {
    ticket.enter(number);
    PREPARED.with_borrow(Clone::clone)
}

fn runs_once_in_every_worker_before_its_first_task(kind: Kind) {
    let stage = Stage::new();
    let ex = kind.pool_with_initializer(2, prepare, (stage.ticket(), "ready".to_string()));
    let futures: Vec<_> = (0..2).map(|number| ex.submit(prepared, (stage.ticket(), number))).collect();
    let arrivals = stage.wait_for(4);
    let place = |i: usize| (arrivals[i].pid(), arrivals[i].thread().to_owned());
    for i in 0..4 {
        if arrivals[i].words() != "prepared" {
            let before = (0..i).filter(|&j| arrivals[j].words() == "prepared" && place(j) == place(i)).count();
            assert_eq!(before, 1, "{arrivals:?}");
        }
    }
    drop(arrivals);
    assert!(futures.into_iter().all(|future| future.soon().unwrap() == "ready"));
    let more = ex.submit_all(square, 0..20);
    assert!(more.into_iter().all(|future| future.soon().is_ok()));
    ex.shutdown(Shutdown::WAIT);
    assert!(stage.said().is_empty(), "never a second time");
}

fn may_return_a_result(kind: Kind) {
    let stage = Stage::new();
    let initializer: fn(Ticket) -> Result<(), std::io::Error> = |ticket| {
        ticket.tell("prepared");
        Ok(())
    };
    let ex = kind.pool_with_initializer(1, initializer, stage.ticket());
    assert_eq!(ex.submit(square, 3).soon().unwrap(), 9);
    assert_eq!(stage.said(), ["prepared"]);
}

fn why_broken(ex: &dyn Executor) -> String {
    let error = ex.submit(square, 3).soon().unwrap_err();
    match error.refusal() {
        Some(Refusal::Broken(why)) => why.to_string(),
        other => panic!("not broken, but {other:?}: {error}"),
    }
}

fn that_fails_breaks_the_pool_and_says_why(kind: Kind) {
    let ex = kind.pool_with_initializer(2, |name: String| Err::<(), _>(format!("no {name}")), "disk".to_string());
    // Some that wait for a worker that will never be ready, and some that come later.
    for future in ex.submit_all(square, 0..10) {
        let error = future.soon().unwrap_err();
        assert!(matches!(error.refusal(), Some(Refusal::Broken(why)) if why.contains("no disk")), "{error}");
    }
    let why = why_broken(&ex);
    assert!(why.contains("no disk") && why.contains("initializer"), "{why}");
    let tried = ex.try_submit(square, 4).unwrap_err();
    assert!(matches!(tried.why, Refusal::Broken(_)) && tried.args == 4);
    ex.shutdown(Shutdown::WAIT);
}

fn that_panics_breaks_the_pool_and_says_why(kind: Kind) {
    let ex = kind.pool_with_initializer(1, |name: String| -> () { panic!("no {name} at all") }, "network".to_string());
    let why = why_broken(&ex);
    assert!(why.contains("no network at all"), "{why}");
}

/// A pool of two, of which one runs a task on the stage, and the other has failed in its initializer.
fn half_broken(kind: Kind, stage: &Stage) -> (Box<dyn Executor>, Future<u32>, Arrival) {
    let initializer: fn(Ticket) -> Result<(), String> =
        |ticket| if ticket.ask("may I?") { Ok(()) } else { Err("it may not".to_string()) };
    let ex = kind.pool_with_initializer(2, initializer, stage.ticket());
    let running = ex.submit(hold, (stage.ticket(), 1));
    stage.next().say_yes();
    let arrival = stage.next();
    assert_eq!(arrival.words(), "1");
    let pending = ex.submit(square, 3);
    stage.next().release();
    assert!(matches!(pending.soon().unwrap_err().refusal(), Some(Refusal::Broken(_))));
    assert!(why_broken(&ex).contains("it may not"));
    (ex, running, arrival)
}

fn that_fails_does_not_disturb_what_runs(kind: Kind) {
    let stage = Stage::new();
    let (ex, running, arrival) = half_broken(kind, &stage);
    assert!(running.running());
    arrival.release();
    assert_eq!(running.soon().unwrap(), 1);
    ex.shutdown(Shutdown::WAIT);
}

fn that_failed_does_not_keep_drop_from_waiting(kind: Kind) {
    let stage = Stage::new();
    let (ex, running, arrival) = half_broken(kind, &stage);
    let (dropped, is_dropped) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            drop(ex);
            dropped.send(()).unwrap();
        });
        assert!(is_dropped.recv_timeout(Duration::from_millis(50)).is_err(), "a task is running");
        arrival.release();
        is_dropped.recv_timeout(PATIENCE).unwrap();
        assert!(running.done());
    });
}

/// A process that ends in its initializer will do so again: the pool says so rather than try for ever.
fn that_ends_the_process_breaks_the_pool(kind: Kind) {
    let ex = kind.pool_with_initializer(2, |code: i32| -> () { std::process::exit(code) }, 3);
    let error = ex.submit(square, 3).soon().unwrap_err();
    assert!(matches!(error.refusal(), Some(Refusal::Broken(_))), "{error}");
    ex.shutdown(Shutdown::WAIT);
}

fn that_cannot_be_sent_is_refused_at_the_start(kind: Kind) {
    struct Stubborn;
    impl serde::Serialize for Stubborn {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("I stay here"))
        }
    }
    impl<'de> serde::Deserialize<'de> for Stubborn {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            unreachable!("it never leaves")
        }
    }
    let error = kind.processes(1).initializer(|_: Stubborn| (), Stubborn).build().unwrap_err();
    assert!(error.to_string().contains("I stay here"), "{error}");
}

tests! {
    parallel {
        runs_once_in_every_worker_before_its_first_task,
        may_return_a_result,
        that_fails_breaks_the_pool_and_says_why,
        that_panics_breaks_the_pool_and_says_why,
        that_fails_does_not_disturb_what_runs,
        that_failed_does_not_keep_drop_from_waiting,
    }
    process {
        that_ends_the_process_breaks_the_pool,
        that_cannot_be_sent_is_refused_at_the_start,
    }
}
