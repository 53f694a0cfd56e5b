//! `Event`: CPython's `_TestEvent`, and what happens when one is killed who sets it or waits for it.

use crate::process::end;
use concurrent_futures::multiprocessing::{Event, Process, Semaphore};
use concurrent_futures_conformance::PATIENCE;
use concurrent_futures_conformance::sweep::{Sweep, alone};
use std::thread;
use std::time::{Duration, Instant};

const A_MOMENT: Duration = Duration::from_millis(20);

#[test]
fn set_clear_and_waits_with_an_end() {
    let event = Event::new().unwrap();
    assert!(!event.is_set());
    assert_eq!(format!("{event:?}"), "Event { set: false, .. }");
    assert!(!event.wait_timeout(Duration::ZERO));
    let begun = Instant::now();
    assert!(!event.wait_timeout(A_MOMENT) && begun.elapsed() >= A_MOMENT);
    for _ in 0..2 {
        event.set();
        assert!(event.is_set() && event.wait_timeout(Duration::ZERO));
        event.wait();
    }
    assert_eq!(format!("{event:?}"), "Event { set: true, .. }");
    event.clear();
    assert!(!event.is_set() && !event.wait_timeout(Duration::ZERO));
}

#[test]
fn all_who_wait_in_whatever_process_get_on() {
    fn waits((event, back): (Event, Semaphore)) {
        event.wait();
        assert!(event.is_set());
        back.release().unwrap();
    }
    let (event, back) = (Event::new().unwrap(), Semaphore::new(0).unwrap());
    let processes = [(); 3].map(|()| Process::start(waits, (event.clone(), back.clone())).unwrap());
    thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| assert!(event.wait_timeout(PATIENCE)));
        }
        assert_eq!(back.value(), 0);
        event.set();
    });
    assert!(processes.iter().all(|process| end(process).success()));
    assert_eq!(back.value(), 3);
}

/// Also when it is cleared before they are awake.
#[test]
fn who_waited_when_it_was_set_gets_on() {
    let event = Event::new().unwrap();
    for _ in 0..200 {
        thread::scope(|s| {
            let waits = s.spawn(|| event.wait_timeout(PATIENCE));
            while !waits.is_finished() {
                event.set();
                event.clear();
            }
            assert!(waits.join().unwrap());
        });
    }
}

#[test]
fn a_process_that_waits_and_is_killed_takes_nothing_with_it() {
    fn waits((event, here): (Event, Semaphore)) {
        here.release().unwrap();
        event.wait();
    }
    let (event, here) = (Event::new().unwrap(), Semaphore::new(0).unwrap());
    let processes = [(); 4].map(|()| Process::start(waits, (event.clone(), here.clone())).unwrap());
    for _ in &processes {
        here.acquire_timeout(PATIENCE).unwrap().forget();
    }
    processes[0].kill().unwrap();
    processes[2].kill().unwrap();
    event.set();
    assert!(!end(&processes[0]).success() && !end(&processes[2]).success());
    assert!(end(&processes[1]).success() && end(&processes[3]).success());
}

/// Waits again and again, and says so each time that it gets on.
fn gets_on((event, rearm, got_on): (Event, Semaphore, Semaphore)) {
    loop {
        event.wait();
        got_on.release().unwrap();
        rearm.acquire().forget();
    }
}

fn killed_while_it_sets((event, rearm, got_on): (Event, Semaphore, Semaphore)) -> (u64, u64) {
    let mut unset = 0;
    let swept = Sweep::every(11).run(
        || event.set(),
        |moment| {
            if !event.is_set() {
                unset += 1;
                event.set();
            }
            got_on.acquire_timeout(PATIENCE).unwrap_or_else(|| panic!("it does not get on: {moment:?}")).forget();
            event.clear();
            rearm.release().unwrap();
        },
    );
    (swept.kills, unset)
}

#[test]
fn sweep_of_one_who_sets() {
    let all = (Event::new().unwrap(), Semaphore::new(0).unwrap(), Semaphore::new(0).unwrap());
    let process = Process::target(gets_on, all.clone()).daemon(true).start().unwrap();
    let (kills, unset) = alone(killed_while_it_sets, all);
    assert!(0 < unset && unset < kills, "{unset} of {kills}");
    process.kill().unwrap();
    end(&process);
}

fn killed_while_it_clears(event: Event) -> u64 {
    let swept = Sweep::every(7).run(
        || event.clear(),
        |_| {
            event.set();
            assert!(event.wait_timeout(Duration::ZERO));
        },
    );
    swept.kills
}

#[test]
fn sweep_of_one_who_clears() {
    let event = Event::new().unwrap();
    event.set();
    assert!(alone(killed_while_it_clears, event) > 1);
}

fn killed_while_it_waits((event, rearm, got_on): (Event, Semaphore, Semaphore)) -> u64 {
    let swept = Sweep::every(41).when_blocked(|| event.set()).run(
        || event.wait(),
        |moment| {
            event.set();
            got_on.acquire_timeout(PATIENCE).unwrap_or_else(|| panic!("it does not get on: {moment:?}")).forget();
            event.clear();
            rearm.release().unwrap();
        },
    );
    swept.kills
}

#[test]
fn sweep_of_one_who_waits() {
    let all = (Event::new().unwrap(), Semaphore::new(0).unwrap(), Semaphore::new(0).unwrap());
    let process = Process::target(gets_on, all.clone()).daemon(true).start().unwrap();
    assert!(alone(killed_while_it_waits, all) > 1);
    process.kill().unwrap();
    end(&process);
}
