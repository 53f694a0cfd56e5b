//! Within one process: what needs no second one.

use super::{Kind, MUTEX_SIZE, RobustMutex};
use crate::SharedMemory;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_millis(5);

fn memory() -> Arc<SharedMemory> {
    Arc::new(SharedMemory::create(4096).unwrap())
}

fn mutex(kind: Kind) -> RobustMutex {
    // SAFETY: new memory, for this alone.
    unsafe { RobustMutex::init(memory(), MUTEX_SIZE, kind) }.unwrap()
}

/// The same, through a mapping of its own.
fn again(mutex: &RobustMutex) -> RobustMutex {
    let memory = mutex.memory();
    let memory = SharedMemory::open(memory.fd().try_clone_to_owned().unwrap(), memory.len()).unwrap();
    // SAFETY: `mutex` was made there.
    unsafe { RobustMutex::open(Arc::new(memory), MUTEX_SIZE) }
}

fn soon() -> Option<Instant> {
    Some(Instant::now() + SOON)
}

#[test]
fn one_has_it_and_the_others_wait() {
    let ours = mutex(Kind::Once);
    let theirs = again(&ours);
    let held = ours.lock();
    assert!(!held.owner_died() && ours.is_locked() && theirs.is_locked());
    thread::scope(|s| {
        s.spawn(|| assert!(theirs.try_lock().is_none())).join().unwrap();
        s.spawn(|| assert!(ours.lock_until(soon()).is_none())).join().unwrap();
        let waits = s.spawn(|| drop(theirs.lock()));
        drop(held);
        waits.join().unwrap();
    });
    assert!(!theirs.is_locked() && theirs.try_lock().is_some());
}

#[test]
fn who_has_it_does_not_get_it_again() {
    let ours = mutex(Kind::Once);
    let theirs = again(&ours);
    let held = ours.lock();
    assert!(ours.try_lock().is_none() && theirs.try_lock().is_none());
    let begun = Instant::now();
    assert!(theirs.lock_until(soon()).is_none() && begun.elapsed() >= SOON);
    let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(theirs.lock())));
    assert!(again.is_err());
    drop(held);
}

#[test]
fn unless_it_is_recursive() {
    let ours = mutex(Kind::Recursive);
    let theirs = again(&ours);
    let (first, second) = (ours.lock(), theirs.lock());
    let third = ours.try_lock().unwrap();
    let is_free = || thread::scope(|s| s.spawn(|| theirs.try_lock().is_some()).join().unwrap());
    for held in [first, second] {
        drop(held);
        assert!(!is_free());
    }
    drop(third);
    assert!(is_free());
}

#[test]
fn a_thread_that_ends_with_it_is_a_dead_owner_and_that_is_told_once() {
    let ours = mutex(Kind::Once);
    thread::scope(|s| s.spawn(|| std::mem::forget(ours.lock())).join().unwrap());
    assert!(again(&ours).lock().owner_died());
    assert!(!ours.lock().owner_died());
}

#[test]
fn memory_with_a_forgotten_lock_stays_where_it_is() {
    let is_mapped = |start: usize| {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().any(|line| line.starts_with(&format!("{start:x}-")))
    };
    let place = |mutex: &RobustMutex| mutex.memory().start().addr().get();
    let kept = mutex(Kind::Once);
    let forgotten = again(&kept);
    let start = place(&forgotten);
    std::mem::forget(forgotten.lock());
    drop(forgotten);
    assert!(is_mapped(start));
    // libc writes to the last one that was locked before when it unlocks the next one.
    let other = mutex(Kind::Once);
    drop(other.lock());

    let through = again(&mutex(Kind::Recursive));
    let start = place(&through);
    let (first, second) = (again(&through), through.lock());
    let held = first.lock();
    drop(second);
    drop(through);
    assert!(is_mapped(start), "the list of what this thread has leads through the first mapping");
    drop(held);
}
