//! `Condition`: CPython's `_TestCondition`, and what happens when one is killed who waits or notifies.

use crate::process::end;
use concurrent_futures::multiprocessing::{
    Condition, Event, Lock, LockGuard, OwnerDied, Process, RLock, Semaphore, TryLockError,
};
use concurrent_futures_conformance::PATIENCE;
use concurrent_futures_conformance::sweep::{Sweep, alone};
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

const A_MOMENT: Duration = Duration::from_millis(20);

/// What those who wait, and those who wake them, have in common.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Room {
    lock: Lock,
    changed: Condition,
    sleeping: Semaphore,
    woken: Semaphore,
}

impl Room {
    fn new() -> Room {
        let none = || Semaphore::new(0).unwrap();
        Room { lock: Lock::new().unwrap(), changed: Condition::new().unwrap(), sleeping: none(), woken: none() }
    }

    /// Whoever has died with the lock.
    fn lock(&self) -> LockGuard<'_> {
        match self.lock.lock_timeout(PATIENCE) {
            Ok(guard) => guard,
            Err(TryLockError::OwnerDied(died)) => died.into_guard(),
            Err(TryLockError::WouldBlock) => panic!("somebody has the lock for ever"),
        }
    }

    /// Returns when so many more wait.
    fn wait_for_sleepers(&self, count: usize) {
        (0..count).for_each(|_| self.sleeping.acquire_timeout(PATIENCE).expect("it comes").forget());
        // They have said so under the lock, and let it go by waiting.
        drop(self.lock());
    }

    fn wait_for_woken(&self, count: usize) {
        (0..count).for_each(|_| self.woken.acquire_timeout(PATIENCE).expect("it is awake").forget());
    }
}

fn sleeps(room: Room) {
    let guard = room.lock();
    room.sleeping.release().unwrap();
    let _guard = room.changed.wait(guard).unwrap_or_else(OwnerDied::into_guard);
    room.woken.release().unwrap();
}

#[test]
fn notify_wakes_so_many_and_no_more() {
    let room = Room::new();
    let processes = [(); 4].map(|()| Process::start(sleeps, room.clone()).unwrap());
    thread::scope(|s| {
        (0..2).for_each(|_| drop(s.spawn(|| sleeps(room.clone()))));
        room.wait_for_sleepers(6);
        assert_eq!(room.woken.value(), 0);
        let notify = |how: &dyn Fn(&Condition), count| {
            let guard = room.lock();
            how(&room.changed);
            drop(guard);
            room.wait_for_woken(count);
            thread::sleep(A_MOMENT);
            assert_eq!(room.woken.value(), 0);
        };
        notify(&|changed| changed.notify_one(), 1);
        notify(&|changed| changed.notify(2), 2);
        notify(&|changed| changed.notify(0), 0);
        notify(&|changed| changed.notify_all(), 3);
        notify(&|changed| changed.notify_all(), 0);
    });
    assert!(processes.iter().all(|process| end(process).success()));
}

#[test]
fn waiting_has_an_end() {
    let (lock, changed) = (Lock::new().unwrap(), Condition::new().unwrap());
    let begun = Instant::now();
    let (guard, notified) = changed.wait_timeout(lock.lock().unwrap(), A_MOMENT).unwrap();
    assert!(!notified && begun.elapsed() >= A_MOMENT && lock.is_locked());
    let (guard, is_so) = changed.wait_for_timeout(guard, A_MOMENT, || false).unwrap();
    assert!(!is_so);
    let (guard, is_so) = changed.wait_for_timeout(guard, Duration::ZERO, || true).unwrap();
    assert!(is_so);
    drop(guard);
    assert!(!lock.is_locked());
}

/// CPython's `test_waitfor`: somebody else makes it so, one by one.
#[test]
fn waiting_for_something_to_be_so() {
    #[derive(Serialize, Deserialize, Clone)]
    struct Count(Lock, Condition, Semaphore);
    fn waits(Count(lock, changed, number): Count) {
        let guard = lock.lock().unwrap();
        number.release().unwrap();
        changed.notify_all();
        let guard = changed.wait_for(guard, || number.value() == 4).unwrap();
        drop(guard);
        let (_guard, is_so) = changed.wait_for_timeout(lock.lock().unwrap(), PATIENCE, || number.value() == 4).unwrap();
        assert!(is_so);
    }
    let all @ Count(lock, changed, number) =
        &Count(Lock::new().unwrap(), Condition::new().unwrap(), Semaphore::new(0).unwrap());
    let process = Process::start(waits, all.clone()).unwrap();
    drop(changed.wait_for(lock.lock().unwrap(), || number.value() == 1).unwrap());
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(5));
        let _guard = lock.lock().unwrap();
        number.release().unwrap();
        changed.notify_one();
    }
    assert!(end(&process).success());
}

#[test]
fn an_rlock_is_let_go_however_often_it_is_held() {
    fn notifies((lock, changed, here): (RLock, Condition, Event)) {
        here.set();
        let _guard = lock.lock().unwrap();
        changed.notify_one();
    }
    let (lock, changed, here) = (RLock::new().unwrap(), Condition::new().unwrap(), Event::new().unwrap());
    let outer = lock.lock().unwrap();
    let middle = lock.lock().unwrap();
    let process = Process::start(notifies, (lock.clone(), changed.clone(), here.clone())).unwrap();
    here.wait();
    let inner = lock.lock().unwrap();
    let inner = changed.wait(inner).unwrap();
    let is_free = || thread::scope(|s| s.spawn(|| lock.try_lock().is_ok()).join().unwrap());
    assert!(end(&process).success());
    for guard in [inner, outer, middle] {
        assert!(!is_free());
        drop(guard);
    }
    assert!(is_free());
}

#[test]
fn who_waits_is_told_that_the_owner_of_the_lock_has_died() {
    fn dies((lock, changed): (Lock, Condition)) {
        let _guard = lock.lock().unwrap();
        changed.notify_one();
        std::process::abort();
    }
    let (lock, changed) = (Lock::new().unwrap(), Condition::new().unwrap());
    let guard = lock.lock().unwrap();
    let process = Process::start(dies, (lock.clone(), changed.clone())).unwrap();
    let OwnerDied(guard) = changed.wait(guard).expect_err("it had the lock");
    drop(guard);
    assert!(!end(&process).success());
    assert!(lock.lock().is_ok());
}

#[test]
fn those_who_died_while_they_waited_are_passed_over() {
    let room = Room::new();
    let dead = [(); 3].map(|()| Process::start(sleeps, room.clone()).unwrap());
    room.wait_for_sleepers(3);
    let alive = Process::start(sleeps, room.clone()).unwrap();
    room.wait_for_sleepers(1);
    for process in &dead {
        process.kill().unwrap();
        end(process);
    }
    room.changed.notify_one();
    assert!(end(&alive).success());
    assert_eq!(room.woken.value(), 1);
}

/// Waits again and again, each time when it is told to.
fn sleeps_again((room, again): (Room, Semaphore)) {
    loop {
        again.acquire().forget();
        sleeps(room.clone());
    }
}

/// The victim waits first, and then another one: who notifies one after the victim's death wakes the other one.
fn killed_while_it_waits((room, again): (Room, Semaphore)) -> u64 {
    let swept = Sweep::every(211).when_blocked(|| room.changed.notify_all()).run(
        || drop(room.changed.wait(room.lock.lock().unwrap_or_else(OwnerDied::into_guard))),
        |_| {
            again.release().unwrap();
            room.wait_for_sleepers(1);
            let guard = room.lock();
            room.changed.notify_one();
            drop(guard);
            room.wait_for_woken(1);
        },
    );
    swept.kills
}

#[test]
fn sweep_of_one_who_waits() {
    let (room, again) = (Room::new(), Semaphore::new(0).unwrap());
    let process = Process::target(sleeps_again, (room.clone(), again.clone())).daemon(true).start().unwrap();
    assert!(alone(killed_while_it_waits, (room, again)) > 1);
    process.kill().unwrap();
    end(&process);
}

/// Both wait; one is notified, the victim, which has waited longer. Killed before it has the lock, it leaves that to the other one.
fn killed_when_it_is_notified((room, again, on): (Room, Semaphore, Event)) -> u64 {
    let both_wait = Cell::new(false);
    let wake_the_first = || {
        if !both_wait.replace(true) {
            again.release().unwrap();
            room.wait_for_sleepers(1);
        }
        room.changed.notify_one();
    };
    let swept = Sweep::every(997).when_blocked(wake_the_first).run(
        || {
            let guard = room.lock.lock().unwrap_or_else(OwnerDied::into_guard);
            let _guard = room.changed.wait(guard).unwrap_or_else(OwnerDied::into_guard);
            on.set();
        },
        |moment| {
            if !both_wait.take() {
                return;
            }
            match room.lock.lock_timeout(PATIENCE) {
                // It got on, or has died with the lock.
                Ok(_) if on.is_set() => room.changed.notify_one(),
                Err(TryLockError::OwnerDied(_)) => room.changed.notify_one(),
                Ok(_) => {}
                Err(TryLockError::WouldBlock) => panic!("somebody has the lock for ever: {moment:?}"),
            }
            room.wait_for_woken(1);
            on.clear();
        },
    );
    swept.kills
}

#[test]
fn sweep_of_one_who_is_notified() {
    let (room, again) = (Room::new(), Semaphore::new(0).unwrap());
    let process = Process::target(sleeps_again, (room.clone(), again.clone())).daemon(true).start().unwrap();
    assert!(alone(killed_when_it_is_notified, (room, again, Event::new().unwrap())) > 1);
    process.kill().unwrap();
    end(&process);
}

fn killed_while_it_notifies((room, again): (Room, Semaphore)) -> u64 {
    again.release().unwrap();
    room.wait_for_sleepers(1);
    let swept = Sweep::every(97).run(
        || room.changed.notify_one(),
        |_| {
            room.changed.notify_one();
            room.wait_for_woken(1);
            again.release().unwrap();
            room.wait_for_sleepers(1);
        },
    );
    swept.kills
}

#[test]
fn sweep_of_one_who_notifies() {
    let (room, again) = (Room::new(), Semaphore::new(0).unwrap());
    let process = Process::target(sleeps_again, (room.clone(), again.clone())).daemon(true).start().unwrap();
    assert!(alone(killed_while_it_notifies, (room, again)) > 1);
    process.kill().unwrap();
    end(&process);
}
