//! `Lock` and `RLock`: CPython's `_TestLock`, and what happens when a holder is killed.

use crate::process::end;
use concurrent_futures::multiprocessing::{Event, Lock, OwnerDied, Process, RLock, TryLockError};
use concurrent_futures::{ExecutorExt, ThreadPoolExecutor};
use concurrent_futures_conformance::PATIENCE;
use concurrent_futures_conformance::sweep::{Sweep, alone};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

const A_MOMENT: Duration = Duration::from_millis(20);

/// Locks, says so, and keeps it until it is told.
fn holds((lock, locked, go): (Lock, Event, Event)) {
    let _guard = lock.lock().unwrap();
    locked.set();
    go.wait();
}

fn holds_twice((lock, locked, go): (RLock, Event, Event)) {
    let first = lock.lock().unwrap();
    let second = lock.try_lock().unwrap();
    drop(first);
    locked.set();
    go.wait();
    drop(second);
}

#[test]
fn one_guard_at_a_time() {
    let lock = Lock::new().unwrap();
    assert_eq!(format!("{lock:?}"), "Lock { locked: false, .. }");
    let guard = lock.lock().unwrap();
    assert!(lock.is_locked());
    assert!(matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
    thread::scope(|s| {
        s.spawn(|| assert!(matches!(lock.lock_timeout(A_MOMENT), Err(TryLockError::WouldBlock))));
    });
    assert_eq!(format!("{lock:?}"), "Lock { locked: true, .. }");
    drop(guard);
    drop(lock.try_lock().unwrap());
    drop(lock.lock_timeout(PATIENCE).unwrap());
    assert!(!lock.is_locked());
}

#[test]
fn a_lock_that_another_process_has() {
    let (lock, locked, go) = (Lock::new().unwrap(), Event::new().unwrap(), Event::new().unwrap());
    let process = Process::start(holds, (lock.clone(), locked.clone(), go.clone())).unwrap();
    assert!(locked.wait_timeout(PATIENCE));
    assert!(lock.is_locked());
    assert!(matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
    assert!(matches!(lock.lock_timeout(A_MOMENT), Err(TryLockError::WouldBlock)));
    go.set();
    drop(lock.lock_timeout(PATIENCE).unwrap());
    assert!(end(&process).success());
}

#[test]
fn an_rlock_is_free_when_all_its_guards_are_gone() {
    let lock = RLock::new().unwrap();
    let guards = [(); 3].map(|()| lock.lock().unwrap());
    let is_free = || thread::scope(|s| s.spawn(|| lock.try_lock().is_ok()).join().unwrap());
    for guard in guards {
        assert!(lock.is_locked() && !is_free());
        drop(guard);
    }
    assert!(!lock.is_locked() && is_free());
}

#[test]
fn an_rlock_that_another_process_has_twice() {
    let (lock, locked, go) = (RLock::new().unwrap(), Event::new().unwrap(), Event::new().unwrap());
    let process = Process::start(holds_twice, (lock.clone(), locked.clone(), go.clone())).unwrap();
    assert!(locked.wait_timeout(PATIENCE));
    assert!(lock.is_locked());
    assert!(matches!(lock.lock_timeout(A_MOMENT), Err(TryLockError::WouldBlock)));
    go.set();
    drop(lock.lock_timeout(PATIENCE).unwrap());
    assert!(end(&process).success());
}

#[test]
fn the_next_one_is_told_that_the_holder_was_killed() {
    let (lock, locked, go) = (Lock::new().unwrap(), Event::new().unwrap(), Event::new().unwrap());
    for round in 0..3 {
        let process = Process::start(holds, (lock.clone(), locked.clone(), go.clone())).unwrap();
        assert!(locked.wait_timeout(PATIENCE));
        thread::scope(|s| {
            // One who waits already, and one who comes later.
            let waits = s.spawn(|| match lock.lock() {
                Err(OwnerDied(guard)) => drop(guard),
                Ok(_) => panic!("the owner has died"),
            });
            process.kill().unwrap();
            if round == 1 {
                end(&process);
            }
            waits.join().unwrap();
        });
        end(&process);
        assert!(lock.lock().is_ok(), "it is said once");
        locked.clear();
    }
}

fn adds((lock, file, times): (Lock, PathBuf, u32)) {
    for _ in 0..times {
        let _guard = lock.lock().unwrap();
        let number: u32 = std::fs::read_to_string(&file).unwrap().parse().unwrap();
        std::fs::write(&file, (number + 1).to_string()).unwrap();
    }
}

#[test]
fn nothing_is_lost_under_a_lock() {
    let directory = tempfile::tempdir().unwrap();
    let (lock, file) = (Lock::new().unwrap(), directory.path().join("number"));
    std::fs::write(&file, "0").unwrap();
    let start = |_| Process::start(adds, (lock.clone(), file.clone(), 300)).unwrap();
    let processes: Vec<_> = (0..4).map(start).collect();
    adds((lock.clone(), file.clone(), 300));
    assert!(processes.iter().all(|process| end(process).success()));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "1500");
}

#[test]
fn a_task_that_waits_for_another_one_of_its_pool_has_a_substitute() {
    let pool = ThreadPoolExecutor::new(1).unwrap();
    let (event, lock) = (Event::new().unwrap(), Lock::new().unwrap());
    let guard = lock.lock().unwrap();
    let waits = pool.submit(|event: Event| event.wait(), event.clone());
    let locks = pool.submit(|lock: Lock| drop(lock.lock().unwrap()), lock.clone());
    let sets = pool.submit(|event: Event| event.set(), event);
    for future in [waits, sets] {
        future.result_timeout(PATIENCE).unwrap().unwrap();
    }
    drop(guard);
    locks.result_timeout(PATIENCE).unwrap().unwrap();
}

fn killed_at_every_instant(lock: Lock) -> (u64, u64) {
    let mut died = 0;
    let swept = Sweep::every(1).run(
        || drop(lock.lock().unwrap_or_else(OwnerDied::into_guard)),
        |_| match lock.lock_timeout(PATIENCE) {
            Ok(_) => {}
            Err(TryLockError::OwnerDied(_)) => died += 1,
            Err(TryLockError::WouldBlock) => panic!("nobody is there who has it"),
        },
    );
    (swept.kills, died)
}

#[test]
fn sweep_of_a_lock() {
    let lock = Lock::new().unwrap();
    let (kills, died) = alone(killed_at_every_instant, lock.clone());
    assert!(0 < died && died < kills, "{died} of {kills}");
    assert!(lock.lock().is_ok());
}

/// The one who is swept finds a dead owner, and waits for a live one.
fn killed_while_it_waits_for(lock: Lock) -> u64 {
    let held = std::cell::Cell::new(lock.lock().ok());
    let swept = Sweep::every(503).when_blocked(|| drop(held.take())).run(
        || drop(lock.lock().unwrap_or_else(OwnerDied::into_guard)),
        |_| {
            drop(held.take());
            let guard = match lock.lock_timeout(PATIENCE) {
                Ok(guard) => guard,
                Err(TryLockError::OwnerDied(died)) => died.into_guard(),
                Err(TryLockError::WouldBlock) => panic!("nobody is there who has it"),
            };
            held.set(Some(guard));
        },
    );
    swept.kills
}

#[test]
fn sweep_of_one_who_waits_for_a_lock() {
    let lock = Lock::new().unwrap();
    assert!(alone(killed_while_it_waits_for, lock.clone()) > 1);
    assert!(lock.lock().is_ok());
}

fn killed_with_two_guards(lock: RLock) -> (u64, u64) {
    let mut died = 0;
    let swept = Sweep::every(11).run(
        || {
            let first = lock.lock().unwrap_or_else(OwnerDied::into_guard);
            let second = lock.lock().unwrap();
            drop(first);
            drop(second);
        },
        |_| match lock.lock_timeout(PATIENCE) {
            Ok(_) => {}
            Err(TryLockError::OwnerDied(_)) => died += 1,
            Err(TryLockError::WouldBlock) => panic!("nobody is there who has it"),
        },
    );
    (swept.kills, died)
}

#[test]
fn sweep_of_an_rlock() {
    let lock = RLock::new().unwrap();
    let (kills, died) = alone(killed_with_two_guards, lock.clone());
    assert!(0 < died && died < kills, "{died} of {kills}");
    assert!(lock.lock().is_ok());
}
