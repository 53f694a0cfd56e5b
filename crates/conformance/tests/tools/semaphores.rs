//! `Semaphore` and `BoundedSemaphore`: CPython's `_TestSemaphore`, and what happens when a holder is killed.

use crate::process::end;
use concurrent_futures::multiprocessing::{BoundedSemaphore, Event, Permit, Process, Semaphore};
use concurrent_futures_conformance::sweep::{Sweep, alone};
use concurrent_futures_conformance::{PATIENCE, until};
use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

const A_MOMENT: Duration = Duration::from_millis(20);

#[test]
fn permits_are_counted() {
    let two = Semaphore::new(2).unwrap();
    assert_eq!(two.value(), 2);
    let first = two.acquire();
    assert_eq!(two.value(), 1);
    let second = two.try_acquire().unwrap();
    assert_eq!(two.value(), 0);
    assert!(two.try_acquire().is_none());
    drop(first);
    assert_eq!(two.value(), 1);
    drop(second);
    assert_eq!(two.value(), 2);
    // As in Python it has no upper limit.
    two.release().unwrap();
    two.release_many(2).unwrap();
    assert_eq!(two.value(), 5);
    assert_eq!(format!("{two:?}"), "Semaphore { value: 5, .. }");
    assert!(two.release_many(u32::MAX).is_err() && two.value() == 5);
    assert!(Semaphore::new(u32::MAX).is_err());
}

#[test]
fn a_bounded_one_takes_no_more_than_it_gave() {
    let one = BoundedSemaphore::new(1).unwrap();
    assert!(one.release().is_err());
    let permit = one.acquire();
    assert!(one.release().is_err(), "it is in somebody's hand");
    permit.forget();
    assert_eq!(one.value(), 0);
    assert!(one.release_many(2).is_err());
    one.release().unwrap();
    assert!(one.release().is_err());
    assert_eq!(one.value(), 1);
}

#[test]
fn waiting_has_an_end() {
    let none = Semaphore::new(0).unwrap();
    assert!(none.try_acquire().is_none());
    assert!(none.acquire_timeout(Duration::ZERO).is_none());
    let begun = Instant::now();
    assert!(none.acquire_timeout(A_MOMENT).is_none() && begun.elapsed() >= A_MOMENT);
}

/// A producer of permits in one process, who is no owner of any, and consumers elsewhere.
#[test]
fn what_one_process_releases_another_one_acquires() {
    fn consumes((made, used): (Semaphore, Semaphore)) {
        for _ in 0..100 {
            made.acquire().forget();
            used.release().unwrap();
        }
    }
    let (made, used) = (Semaphore::new(0).unwrap(), Semaphore::new(0).unwrap());
    let processes = [(); 3].map(|()| Process::start(consumes, (made.clone(), used.clone())).unwrap());
    for _ in 0..150 {
        made.release_many(2).unwrap();
        used.acquire().forget();
        used.acquire_timeout(PATIENCE).unwrap().forget();
    }
    assert!(processes.iter().all(|process| end(process).success()));
    assert_eq!((made.value(), used.value()), (0, 0));
}

#[test]
fn never_more_at_a_time() {
    fn works((semaphore, inside): (Semaphore, Semaphore)) {
        for _ in 0..50 {
            let _permit = semaphore.acquire();
            inside.release().unwrap();
            assert!(inside.value() <= 2);
            inside.acquire().forget();
        }
    }
    let (semaphore, inside) = (Semaphore::new(2).unwrap(), Semaphore::new(0).unwrap());
    let processes = [(); 4].map(|()| Process::start(works, (semaphore.clone(), inside.clone())).unwrap());
    assert!(processes.iter().all(|process| end(process).success()));
    assert_eq!((semaphore.value(), inside.value()), (2, 0));
}

#[test]
fn permits_of_the_dead_come_back() {
    fn keeps((semaphore, kept): (Semaphore, Event)) {
        let _permits = (semaphore.acquire(), semaphore.acquire());
        semaphore.acquire().forget();
        kept.set();
        loop {
            thread::park();
        }
    }
    let (semaphore, kept) = (Semaphore::new(3).unwrap(), Event::new().unwrap());
    for forgotten in 0..2 {
        let process = Process::start(keeps, (semaphore.clone(), kept.clone())).unwrap();
        assert!(kept.wait_timeout(PATIENCE));
        assert_eq!(semaphore.value(), 0);
        thread::scope(|s| {
            // Both who wait get one, though nobody wakes them.
            let waits = [(); 2].map(|()| s.spawn(|| semaphore.acquire_timeout(PATIENCE).unwrap().forget()));
            process.kill().unwrap();
            waits.into_iter().for_each(|thread| thread.join().unwrap());
        });
        end(&process);
        semaphore.release_many(2).unwrap();
        assert_eq!(semaphore.value(), 2, "the third one was nobody's, the {forgotten}th time");
        kept.clear();
        semaphore.release().unwrap();
    }
}

#[test]
fn a_thread_that_ends_with_permits_gives_them_back() {
    let many = Semaphore::new(100).unwrap();
    thread::scope(|s| {
        s.spawn(|| {
            let permits: Vec<_> = (0..100).map(|_| many.acquire()).collect();
            std::mem::forget(permits);
        });
    });
    until("its permits are back", || many.value() == 100);
}

fn killed_with_a_permit(semaphore: Semaphore) -> u64 {
    let swept = Sweep::every(31).run(
        || drop(semaphore.acquire()),
        |moment| {
            assert_eq!(semaphore.value(), 2, "{moment:?}");
            let both = (semaphore.try_acquire().unwrap(), semaphore.try_acquire().unwrap());
            assert!(semaphore.try_acquire().is_none());
            drop(both);
        },
    );
    swept.kills
}

#[test]
fn sweep_of_a_permit() {
    let semaphore = Semaphore::new(2).unwrap();
    assert!(alone(killed_with_a_permit, semaphore.clone()) > 1);
    assert_eq!(semaphore.value(), 2);
}

/// What was forgotten and not yet released is lost with who was to release it, and no more.
fn killed_with_a_forgotten_permit(semaphore: BoundedSemaphore) -> (u64, u64) {
    let mut lost = 0;
    let swept = Sweep::every(53).run(
        || {
            semaphore.acquire().forget();
            semaphore.release().unwrap();
        },
        |moment| {
            if semaphore.value() == 1 {
                lost += 1;
                semaphore.release().unwrap();
            }
            assert_eq!(semaphore.value(), 2, "{moment:?}");
            assert!(semaphore.release().is_err(), "{moment:?}");
        },
    );
    (swept.kills, lost)
}

#[test]
fn sweep_of_a_forgotten_permit() {
    let (kills, lost) = alone(killed_with_a_forgotten_permit, BoundedSemaphore::new(2).unwrap());
    assert!(0 < lost && lost < kills, "{lost} of {kills}");
}

fn killed_while_it_waits(semaphore: Semaphore) -> u64 {
    let ours: Cell<Option<Permit<'_>>> = Cell::new(Some(semaphore.acquire()));
    let swept = Sweep::every(211).when_blocked(|| drop(ours.take())).run(
        || drop(semaphore.acquire()),
        |moment| {
            drop(ours.take());
            ours.set(Some(semaphore.acquire_timeout(PATIENCE).unwrap_or_else(|| panic!("{moment:?}"))));
            assert_eq!(semaphore.value(), 0, "{moment:?}");
        },
    );
    drop(ours.take());
    swept.kills
}

#[test]
fn sweep_of_one_who_waits_for_a_permit() {
    let semaphore = Semaphore::new(1).unwrap();
    assert!(alone(killed_while_it_waits, semaphore.clone()) > 1);
    assert_eq!(semaphore.value(), 1);
}
