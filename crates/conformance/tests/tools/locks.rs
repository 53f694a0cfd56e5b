//! `Lock` and `RLock`.

use concurrent_futures::multiprocessing::{Lock, OwnerDied, RLock, TryLockError};
use concurrent_futures_conformance::PATIENCE;
use concurrent_futures_conformance::sweep::{Sweep, alone};

/// Each time there is one kill while it is locked, and one while it is not.
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

fn killed_with_two_guards(lock: RLock) -> (u64, u64) {
    let mut died = 0;
    let swept = Sweep::every(3).run(
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
