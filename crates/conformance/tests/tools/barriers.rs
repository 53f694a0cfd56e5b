//! `Barrier`: CPython's `_TestBarrier`, and what happens when one is killed who waits.

use crate::process::end;
use concurrent_futures::multiprocessing::{Barrier, BrokenBarrier, Event, Process, Semaphore};
use concurrent_futures_conformance::sweep::{Moment, Sweep, alone};
use concurrent_futures_conformance::{PATIENCE, until};
use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

const N: usize = 5;
const A_MOMENT: Duration = Duration::from_millis(20);

/// Runs it in four processes, and here.
fn in_all<A>(work: fn(A), argument: A)
where
    A: Clone + Send + serde::Serialize + serde::de::DeserializeOwned + 'static,
{
    let processes = [(); N - 1].map(|()| Process::start(work, argument.clone()).unwrap());
    work(argument);
    assert!(processes.iter().all(|process| end(process).success()));
}

/// CPython's `test_barrier`, `test_barrier_10`: nobody goes on before all have come.
#[test]
fn nobody_goes_on_before_all_have_come() {
    fn passes((barrier, come): (Barrier, Semaphore)) {
        for round in 1..=20 {
            come.release().unwrap();
            barrier.wait().unwrap();
            assert!(come.value() as usize >= round * N, "{round}");
            barrier.wait().unwrap();
        }
    }
    let barrier = Barrier::new(N).unwrap();
    assert_eq!((barrier.parties(), barrier.n_waiting(), barrier.is_broken()), (N, 0, false));
    in_all(passes, (barrier.clone(), Semaphore::new(0).unwrap()));
    assert_eq!((barrier.n_waiting(), barrier.is_broken()), (0, false));
}

/// CPython's `test_thousand`.
#[test]
fn again_and_again() {
    fn passes(barrier: Barrier) {
        (0..300).for_each(|_| assert!(barrier.wait().is_ok()));
    }
    in_all(passes, Barrier::new(N).unwrap());
}

#[test]
fn each_has_another_number() {
    fn passes((barrier, numbers): (Barrier, Vec<Semaphore>)) {
        numbers[barrier.wait().unwrap()].release().unwrap();
    }
    let numbers: Vec<_> = (0..N).map(|_| Semaphore::new(0).unwrap()).collect();
    in_all(passes, (Barrier::new(N).unwrap(), numbers.clone()));
    assert!(numbers.iter().all(|number| number.value() == 1), "{numbers:?}");
}

#[test]
fn the_action_is_done_once_and_before_all_go_on() {
    fn passes((barrier, done): (Barrier, Semaphore)) {
        for round in 1..=5 {
            barrier.wait_with(|| done.release().unwrap()).unwrap();
            assert_eq!(done.value(), round);
            barrier.wait().unwrap();
        }
    }
    in_all(passes, (Barrier::new(N).unwrap(), Semaphore::new(0).unwrap()));
}

#[test]
fn an_action_that_panics_breaks_it() {
    let (barrier, come) = (Barrier::new(2).unwrap(), AtomicUsize::new(0));
    let panicked = AtomicUsize::new(0);
    thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                come.fetch_add(1, SeqCst);
                match catch_unwind(AssertUnwindSafe(|| barrier.wait_with(|| panic!("on purpose")))) {
                    Ok(outcome) => assert!(outcome.is_err()),
                    Err(_) => drop(panicked.fetch_add(1, SeqCst)),
                }
            });
        }
    });
    assert!(barrier.is_broken() && panicked.load(SeqCst) == 1);
}

#[test]
fn abort_is_for_all_until_it_is_reset() {
    fn waits((barrier, broken): (Barrier, Semaphore)) {
        assert!(barrier.wait().is_err());
        assert!(barrier.wait().is_err());
        broken.release().unwrap();
    }
    let (barrier, broken) = (Barrier::new(N).unwrap(), Semaphore::new(0).unwrap());
    let processes = [(); 3].map(|()| Process::start(waits, (barrier.clone(), broken.clone())).unwrap());
    until("they wait", || barrier.n_waiting() == 3);
    barrier.abort();
    assert!(processes.iter().all(|process| end(process).success()));
    assert!(broken.value() == 3 && barrier.is_broken() && barrier.n_waiting() == 0);
    assert!(barrier.wait().is_err());
    barrier.reset();
    assert!(!barrier.is_broken());
    in_all(|barrier| assert!(barrier.wait().is_ok()), barrier);
}

#[test]
fn who_waits_when_it_is_reset_has_waited_in_vain() {
    fn waits(barrier: Barrier) {
        assert!(barrier.wait().is_err());
        assert!(barrier.wait().is_ok());
    }
    let barrier = Barrier::new(3).unwrap();
    let processes = [(); 2].map(|()| Process::start(waits, barrier.clone()).unwrap());
    until("both wait", || barrier.n_waiting() == 2);
    barrier.reset();
    barrier.wait().unwrap();
    assert!(processes.iter().all(|process| end(process).success()));
    assert!(!barrier.is_broken());
}

#[test]
fn who_is_too_late_breaks_it() {
    fn waits(barrier: Barrier) {
        assert!(barrier.wait().is_err());
    }
    let barrier = Barrier::new(3).unwrap();
    let process = Process::start(waits, barrier.clone()).unwrap();
    until("it waits", || barrier.n_waiting() == 1);
    let begun = Instant::now();
    assert!(barrier.wait_timeout(A_MOMENT).is_err() && begun.elapsed() >= A_MOMENT);
    assert!(end(&process).success() && barrier.is_broken());

    let barrier = Barrier::with_timeout(2, A_MOMENT).unwrap();
    assert!(barrier.wait().is_err() && barrier.is_broken());
}

#[test]
fn one_alone_never_waits() {
    let barrier = Barrier::new(1).unwrap();
    assert_eq!([barrier.wait(), barrier.wait(), barrier.wait_timeout(Duration::ZERO)], [Ok(0); 3]);
    assert_eq!(Barrier::new(0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    assert_eq!(format!("{barrier:?}"), "Barrier { parties: 1, waiting: 0, broken: false, .. }");
}

#[test]
fn a_death_breaks_it() {
    fn waits(barrier: Barrier) {
        let _ = barrier.wait();
    }
    fn acts((barrier, acting): (Barrier, Event)) {
        let _ = barrier.wait_with(|| {
            acting.set();
            loop {
                thread::park();
            }
        });
    }
    let barrier = Barrier::new(3).unwrap();
    let process = Process::start(waits, barrier.clone()).unwrap();
    until("it waits", || barrier.n_waiting() == 1);
    thread::scope(|s| {
        let outcome = s.spawn(|| barrier.wait());
        until("both wait", || barrier.n_waiting() == 2);
        process.kill().unwrap();
        assert!(outcome.join().unwrap().is_err(), "nobody tells it, but it looks");
    });
    end(&process);
    barrier.reset();

    let (barrier, acting) = (Barrier::new(2).unwrap(), Event::new().unwrap());
    thread::scope(|s| {
        let outcome = s.spawn(|| barrier.wait());
        until("it waits", || barrier.n_waiting() == 1);
        let process = Process::start(acts, (barrier.clone(), acting.clone())).unwrap();
        assert!(acting.wait_timeout(PATIENCE));
        process.kill().unwrap();
        assert!(outcome.join().unwrap().is_err());
        end(&process);
    });
}

/// Comes each time that it is told to, and says so when it gets on, whatever it got.
fn comes((barrier, again, on): (Barrier, Semaphore, Semaphore)) {
    loop {
        again.acquire().forget();
        let _: Result<usize, BrokenBarrier> = barrier.wait();
        on.release().unwrap();
    }
}

/// The other one waits already. Whatever becomes of the victim, the other one gets on: with it, by a broken barrier, or with
/// whoever comes instead.
fn killed_as_the_last((barrier, again, on): (Barrier, Semaphore, Semaphore)) -> u64 {
    let arm = || {
        again.release().unwrap();
        until("the other one waits", || barrier.n_waiting() == 1);
    };
    arm();
    let swept = Sweep::every(131).run(
        || _ = barrier.wait(),
        |moment: Moment| {
            if barrier.n_waiting() == 1 {
                assert!(barrier.wait_timeout(PATIENCE).is_ok(), "{moment:?}");
            }
            on.acquire_timeout(PATIENCE).unwrap_or_else(|| panic!("the other one waits for ever: {moment:?}")).forget();
            barrier.reset();
            arm();
        },
    );
    swept.kills
}

#[test]
fn sweep_of_the_last_one() {
    let all = (Barrier::new(2).unwrap(), Semaphore::new(0).unwrap(), Semaphore::new(0).unwrap());
    let process = Process::target(comes, all.clone()).daemon(true).start().unwrap();
    assert!(alone(killed_as_the_last, all) > 1);
    process.kill().unwrap();
    end(&process);
}

fn killed_as_the_first((barrier, again, on): (Barrier, Semaphore, Semaphore)) -> u64 {
    let told = Cell::new(false);
    let tell = || {
        if !told.replace(true) {
            again.release().unwrap();
        }
    };
    let swept = Sweep::every(397).when_blocked(tell).run(
        || _ = barrier.wait(),
        |moment: Moment| {
            if told.take() {
                // It has come, or is about to: then it finds the barrier broken, or somebody has to come instead.
                until("the other one gets on", || {
                    if barrier.n_waiting() == 1 {
                        assert!(barrier.wait_timeout(PATIENCE).is_ok(), "{moment:?}");
                    }
                    on.try_acquire().map(|permit| permit.forget()).is_some()
                });
            }
            assert_eq!(barrier.n_waiting(), 0, "{moment:?}");
            barrier.reset();
        },
    );
    swept.kills
}

#[test]
fn sweep_of_the_first_one() {
    let all = (Barrier::new(2).unwrap(), Semaphore::new(0).unwrap(), Semaphore::new(0).unwrap());
    let process = Process::target(comes, all.clone()).daemon(true).start().unwrap();
    assert!(alone(killed_as_the_first, all) > 1);
    process.kill().unwrap();
    end(&process);
}
