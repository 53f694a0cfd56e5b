//! Within one process: what needs no second one.

use super::{Barrier, BoundedSemaphore, Condition, Event, Kind, Lock, MUTEX_SIZE, RLock, RobustMutex, Semaphore};
use crate::SharedMemory;
use concurrent_futures_core::attach::{self, Arrived};
use serde::Serialize;
use serde::de::DeserializeOwned;
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
    unsafe { RobustMutex::open(Arc::new(memory), MUTEX_SIZE, mutex.kind()) }
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

fn is_mapped(start: usize) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().any(|line| line.starts_with(&format!("{start:x}-")))
}

#[test]
fn memory_with_a_forgotten_lock_stays_where_it_is() {
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

/// As another process gets it, in a mapping of its own.
fn sent<T: Serialize + DeserializeOwned>(handle: &T) -> T {
    let mut beside = Vec::new();
    let bytes = attach::collect(&mut beside, || postcard::to_allocvec(handle)).unwrap();
    attach::provide(Arrived::all(beside), || postcard::from_bytes(&bytes)).unwrap()
}

#[test]
fn what_comes_twice_is_the_same() {
    let lock = Lock::new().unwrap();
    let guard = lock.lock().unwrap();
    assert!(sent(&lock).is_locked() && sent(&lock.clone()).try_lock().is_err());
    drop(guard);

    let lock = RLock::new().unwrap();
    let other = sent(&lock);
    let first = lock.lock().unwrap();
    let second = other.lock().unwrap();
    assert!(lock.is_locked());
    drop(first);
    // The thread is known by what it has locked through the first mapping, which goes only now.
    drop(lock);
    assert!(other.is_locked());
    drop(second);
    assert!(!other.is_locked());

    let semaphore = Semaphore::new(2).unwrap();
    let other = sent(&semaphore);
    let permit = other.acquire();
    assert_eq!((semaphore.value(), sent(&semaphore).value()), (1, 1));
    drop(permit);
    let bounded = sent(&BoundedSemaphore::new(1).unwrap());
    assert!(bounded.release().is_err());

    let event = Event::new().unwrap();
    let other = sent(&event);
    thread::scope(|s| {
        s.spawn(|| other.wait());
        event.set();
    });

    let barrier = Barrier::with_timeout(2, Duration::from_secs(60)).unwrap();
    let other = sent(&barrier);
    assert_eq!(other.parties(), 2);
    thread::scope(|s| {
        let first = s.spawn(|| barrier.wait());
        assert!(other.wait().is_ok() && first.join().unwrap().is_ok());
    });
}

#[test]
fn a_condition_goes_with_any_mapping_of_its_lock() {
    let (lock, changed) = (Lock::new().unwrap(), Condition::new().unwrap());
    let (same_lock, same_changed) = (sent(&lock), sent(&changed));
    thread::scope(|s| {
        let guard = lock.lock().unwrap();
        s.spawn(|| {
            let _guard = same_lock.lock().unwrap();
            same_changed.notify_one();
        });
        drop(changed.wait(guard).unwrap());
    });
}

#[test]
fn memory_with_a_forgotten_permit_stays_where_it_is() {
    let kept = Semaphore::new(1).unwrap();
    let other = sent(&kept);
    let start = other.memory().start().addr().get();
    std::mem::forget(other.acquire());
    drop(other);
    assert!(is_mapped(start));
    assert_eq!(kept.value(), 0);
}

#[test]
fn memory_of_another_kind_is_refused() {
    let (lock, event) = (Lock::new().unwrap(), Event::new().unwrap());
    let mut beside = Vec::new();
    let bytes = attach::collect(&mut beside, || postcard::to_allocvec(&lock)).unwrap();
    let as_event: Result<Event, _> = attach::provide(Arrived::all(beside), || postcard::from_bytes(&bytes));
    assert!(as_event.is_err(), "it is too small: {event:?}");
}

#[test]
fn memory_without_room_for_a_lock_is_refused() {
    let small = SharedMemory::create(8).unwrap();
    let mut beside = Vec::new();
    // As a lock in this memory would be sent.
    let place = attach::collect(&mut beside, || attach::put(small.attachment())).unwrap();
    let bytes = postcard::to_allocvec(&(place, 8_u64)).unwrap();
    let lock: Result<Lock, _> = attach::provide(Arrived::all(beside.clone()), || postcard::from_bytes(&bytes));
    let rlock: Result<RLock, _> = attach::provide(Arrived::all(beside), || postcard::from_bytes(&bytes));
    assert!(lock.is_err() && rlock.is_err());
}

/// How often that memory is mapped.
fn mappings(memory: &SharedMemory) -> usize {
    let inode = format!(" {} ", rustix::fs::fstat(memory.fd()).unwrap().st_ino);
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    // A file of another file system may have the same number.
    maps.lines().filter(|line| line.contains(&inode) && line.contains("/memfd:")).count()
}

#[test]
fn what_somebody_has_through_another_mapping_keeps_none_but_that() {
    let semaphore = Semaphore::new(3).unwrap();
    let _permit = semaphore.acquire();
    for _ in 0..20 {
        let other = sent(&semaphore);
        drop(other.acquire());
    }
    assert_eq!(mappings(semaphore.memory()), 1);

    let ours = mutex(Kind::Once);
    for _ in 0..20 {
        let other = again(&ours);
        drop(other.lock());
        let _held = ours.lock();
        drop(other);
    }
    assert_eq!(mappings(ours.memory()), 1);
}

#[test]
fn what_was_locked_and_forgotten_stays_mapped() {
    let ours = mutex(Kind::Once);
    let other = again(&ours);
    std::mem::forget(other.lock());
    drop(other);
    assert_eq!(mappings(ours.memory()), 2);

    let semaphore = Semaphore::new(1).unwrap();
    let other = sent(&semaphore);
    std::mem::forget(other.acquire());
    drop(other);
    assert_eq!(mappings(semaphore.memory()), 2);
}
