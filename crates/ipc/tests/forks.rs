//! What a process has that was made by a bare `fork`: copies of guards and handles, which are still its parent's.
//!
//! A program of its own, whose tests run one after the other: children have copies of all descriptors, and so see to it that what another
//! test has dropped is not gone yet.

use concurrent_futures_core::attach;
use concurrent_futures_ipc::connection::{RecvError, one_way};
use concurrent_futures_ipc::forks;
use concurrent_futures_ipc::named::SharedMemory;
use concurrent_futures_ipc::{
    Barrier, BoundedSemaphore, Condition, Event, Lock, OwnerDied, RLock, Semaphore, SharedSlice, SharedSliceMut,
    TryLockError, Value,
};
use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_millis(5);

/// In seconds: a child that hangs is killed.
const PATIENCE: u32 = 60;

/// What a test begins with, before it uses the library.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    static FIRST: Once = Once::new();
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: functions that may be called before and after a fork, in the thread that forks, and that are a part of the program.
    FIRST.call_once(|| assert_eq!(unsafe { libc::pthread_atfork(Some(before_a_fork), Some(after_a_fork), None) }, 0));
    alone
}

/// What another thread may do in the last instant before there is a child, or in the first one afterwards. Of the functions for that
/// these were registered first; so the library's run before the former, and after the latter.
static AT_THE_NEXT_FORK: [Mutex<Option<Step>>; 2] = [Mutex::new(None), Mutex::new(None)];

type Step = Box<dyn FnOnce() + Send>;

fn just_before_the_next_fork(step: impl FnOnce() + Send + 'static) {
    *AT_THE_NEXT_FORK[0].lock().unwrap() = Some(Box::new(step));
}

fn just_after_the_next_fork(step: impl FnOnce() + Send + 'static) {
    *AT_THE_NEXT_FORK[1].lock().unwrap() = Some(Box::new(step));
}

extern "C" fn before_a_fork() {
    do_now(&AT_THE_NEXT_FORK[0]);
}

extern "C" fn after_a_fork() {
    do_now(&AT_THE_NEXT_FORK[1]);
}

fn do_now(step: &Mutex<Option<Step>>) {
    let step = step.lock().unwrap().take();
    if let Some(step) = step {
        step();
    }
}

fn fork() -> i32 {
    // SAFETY: the child has this one thread; libc sees to it that it can allocate, and no test beside this one has a lock that it needs.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "{}", io::Error::last_os_error());
    if pid == 0 {
        // SAFETY: a call that takes a number.
        unsafe { libc::alarm(PATIENCE) };
    }
    pid
}

/// The end of a child.
fn leave(is_so: bool) -> ! {
    // SAFETY: nothing of its parent is cleaned up by its copy.
    unsafe { libc::_exit(if is_so { 0 } else { 1 }) }
}

#[must_use]
struct Child(i32);

impl Child {
    fn join(self) {
        let mut status = 0;
        // SAFETY: a child of this process, and the status goes to a variable of ours.
        assert_eq!(unsafe { libc::waitpid(self.0, &raw mut status, 0) }, self.0);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "the child says otherwise: {status:#x}");
    }
}

/// Has a child do something with its copy of `ours`, and say whether all is as it should be.
fn forked<T>(ours: T, run: impl FnOnce(T) -> bool) -> (T, Child) {
    match fork() {
        0 => leave(catch_unwind(AssertUnwindSafe(|| run(ours))).unwrap_or(false)),
        pid => (ours, Child(pid)),
    }
}

/// The same, until it has ended.
fn in_a_child<T>(ours: T, run: impl FnOnce(T) -> bool) -> T {
    let (ours, child) = forked(ours, run);
    child.join();
    ours
}

#[test]
fn a_permit_stays_with_the_parent() {
    let _alone = alone();
    let semaphore = Semaphore::new(2).unwrap();
    let permit = semaphore.acquire();
    let permit = in_a_child(permit, |copy| {
        drop(copy);
        let own = semaphore.try_acquire();
        own.is_some() && semaphore.value() == 0
    });
    // That of the child has come back, since the child is dead.
    assert_eq!(semaphore.value(), 1);
    let permit = in_a_child(permit, |copy| {
        copy.forget();
        semaphore.value() == 1
    });
    assert_eq!(semaphore.value(), 1);
    drop(permit);
    assert_eq!(semaphore.value(), 2);

    let bounded = BoundedSemaphore::new(1).unwrap();
    let permit = in_a_child(bounded.acquire(), |copy| {
        drop(copy);
        bounded.release().is_err() && bounded.try_acquire().is_none()
    });
    drop(permit);
    assert_eq!(bounded.value(), 1);
}

#[test]
fn the_seat_of_a_permit_may_be_the_childs_own_meanwhile() {
    let _alone = alone();
    let (semaphore, given_back) = (Semaphore::new(1).unwrap(), Event::new().unwrap());
    let (permit, child) = forked(semaphore.acquire(), |copy| {
        given_back.wait();
        let own = semaphore.try_acquire();
        drop(copy);
        own.is_some() && semaphore.value() == 0
    });
    drop(permit);
    given_back.set();
    child.join();
    assert_eq!(semaphore.value(), 1);
}

#[test]
fn a_lock_stays_with_the_parent() {
    let _alone = alone();
    let lock = Lock::new().unwrap();
    let guard = in_a_child(lock.lock().unwrap(), |copy| {
        drop(copy);
        matches!(lock.try_lock(), Err(TryLockError::WouldBlock))
    });
    assert!(lock.is_locked());

    let unlocked = Event::new().unwrap();
    let (guard, child) = forked(guard, |copy| {
        unlocked.wait();
        let own = lock.lock().unwrap();
        drop(copy);
        let is_locked = lock.is_locked();
        drop(own);
        is_locked && !lock.is_locked()
    });
    drop(guard);
    unlocked.set();
    child.join();
    assert!(!lock.is_locked());
}

#[test]
fn a_recursive_lock_is_let_go_as_often_as_the_parent_has_it() {
    let _alone = alone();
    let (lock, changed) = (RLock::new().unwrap(), Condition::new().unwrap());
    let both = (lock.lock().unwrap(), lock.lock().unwrap());
    let (first, second) = in_a_child(both, |copies| {
        drop(copies);
        matches!(lock.try_lock(), Err(TryLockError::WouldBlock))
    });
    thread::scope(|s| {
        s.spawn(|| {
            let _guard = lock.lock().unwrap();
            changed.notify_one();
        });
        let first = changed.wait(first).unwrap();
        drop((first, second));
    });
    assert!(!lock.is_locked());
}

#[test]
fn who_waits_with_a_copy_of_a_guard_gets_the_lock_in_the_end() {
    let _alone = alone();
    let (lock, changed, unlocked) = (RLock::new().unwrap(), Condition::new().unwrap(), Event::new().unwrap());
    let (guard, child) = forked(lock.lock().unwrap(), |copy| {
        unlocked.wait();
        let (own, notified) = changed.wait_timeout(copy, SOON).unwrap();
        let is_locked = lock.is_locked();
        drop(own);
        !notified && is_locked && !lock.is_locked()
    });
    drop(guard);
    unlocked.set();
    child.join();
}

#[test]
fn an_action_of_a_barrier_that_forks_is_the_parents() {
    let _alone = alone();
    let (barrier, pid) = (Barrier::new(1).unwrap(), Cell::new(-1));
    let outcome = barrier.wait_with(|| pid.set(fork()));
    if pid.get() == 0 {
        leave(outcome.is_err() && !barrier.is_broken());
    }
    assert_eq!(outcome, Ok(0));
    Child(pid.get()).join();

    let outcome = catch_unwind(AssertUnwindSafe(|| {
        barrier.wait_with(|| {
            pid.set(fork());
            if pid.get() == 0 {
                resume_unwind(Box::new("on purpose"));
            }
        })
    }));
    if pid.get() == 0 {
        leave(outcome.is_err() && !barrier.is_broken());
    }
    assert_eq!(outcome.unwrap(), Ok(0));
    Child(pid.get()).join();
    assert_eq!(barrier.wait(), Ok(0));
}

#[test]
fn a_value_stays_locked() {
    let _alone = alone();
    let value = Value::new([1_u64, 2, 3]).unwrap();
    let guard = value.lock().unwrap_or_else(OwnerDied::into_guard);
    let guard = in_a_child(guard, |copy| {
        drop(copy);
        matches!(value.try_lock(), Err(TryLockError::WouldBlock))
    });
    assert!(value.get_lock().is_locked());
    drop(guard);
    assert!(!value.get_lock().is_locked() && value.get() == [1, 2, 3]);
}

#[test]
fn memory_keeps_its_name_until_the_parent_lets_it_go() {
    let _alone = alone();
    let memory = SharedMemory::create(None, 8).unwrap();
    let name = memory.name().unwrap().to_owned();
    let memory = in_a_child(memory, |copy| {
        drop(copy);
        SharedMemory::open(&name).is_ok()
    });
    assert!(SharedMemory::open(&name).is_ok());
    drop(memory);
    assert_eq!(SharedMemory::open(&name).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_connection_ends_with_the_last_of_them() {
    let _alone = alone();
    let (sender, receiver) = one_way::<u32>().unwrap();
    let sender = in_a_child(sender, |copy| {
        drop(copy);
        matches!(receiver.try_recv(), Err(RecvError::Empty))
    });
    sender.send(1).unwrap();
    drop(sender);
    assert_eq!(receiver.recv().unwrap(), 1);
    assert!(receiver.recv().unwrap_err().is_end());
}

#[test]
fn an_end_that_is_dropped_at_the_instant_of_a_fork_is_the_childs_too() {
    let _alone = alone();
    let (sender, receiver) = one_way::<u32>().unwrap();
    let looked = Event::new().unwrap();
    just_after_the_next_fork(move || drop(sender));
    let ((), child) = forked((), |()| {
        looked.wait();
        true
    });
    assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)));
    looked.set();
    child.join();
    assert!(receiver.recv().unwrap_err().is_end());
}

#[test]
fn an_end_that_is_made_at_the_instant_of_a_fork_is_the_childs_too() {
    let _alone = alone();
    let (made, looked) = (Arc::new(Mutex::new(None)), Event::new().unwrap());
    let place = made.clone();
    just_before_the_next_fork(move || *place.lock().unwrap() = Some(one_way::<u32>().unwrap()));
    let ((), child) = forked((), |()| {
        looked.wait();
        true
    });
    let (sender, receiver) = made.lock().unwrap().take().unwrap();
    drop(sender);
    assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)));
    looked.set();
    child.join();
    assert!(receiver.recv().unwrap_err().is_end());
}

#[test]
fn an_end_that_is_dropped_while_the_library_forks_is_closed() {
    let _alone = alone();
    let (sender, receiver) = one_way::<u32>().unwrap();
    let looked = Event::new().unwrap();
    // As another thread may, before the library knows that it has forked.
    let drop_in_the_parent = |pid| if pid == 0 { std::mem::forget(sender) } else { drop(sender) };
    let pid = forks::own(|| {
        let pid = fork();
        drop_in_the_parent(pid);
        pid
    });
    if pid == 0 {
        looked.wait();
        leave(true);
    }
    assert!(receiver.try_recv().unwrap_err().is_end());
    looked.set();
    Child(pid).join();
}

/// Memory that is used again has this size, or more.
const LEN: usize = 512 << 10;

fn slice_of(byte: u8) -> SharedSlice<u8> {
    SharedSliceMut::from_fn(LEN, |_| byte).unwrap().freeze()
}

fn is_all(slice: &SharedSlice<u8>, byte: u8) -> bool {
    slice.iter().all(|other| *other == byte)
}

/// Sends it to nobody: from then on it is memory that others may have had.
fn send_and_drop(slice: SharedSlice<u8>) {
    let mut beside = Vec::new();
    attach::collect(&mut beside, || postcard::to_allocvec(&slice)).unwrap();
}

/// Leaves memory that can be used again; the thread that gives it back later sleeps, so it holds nothing.
fn leave_some() {
    let sleeps = || {
        std::fs::read_dir("/proc/self/task").unwrap().any(|task| {
            let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
            stat.contains("(cf-memory) S")
        })
    };
    let limit = Instant::now() + Duration::from_secs(PATIENCE.into());
    loop {
        let begun = Instant::now();
        send_and_drop(slice_of(1));
        // It wakes after a second.
        if sleeps() && begun.elapsed() < Duration::from_millis(300) {
            return;
        }
        assert!(Instant::now() < limit, "there is no such thread, or it does not sleep");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn memory_that_is_used_again_is_the_parents() {
    let _alone = alone();
    let (made, written) = (Event::new().unwrap(), Event::new().unwrap());
    leave_some();
    let ((), child) = forked((), |()| {
        let own = slice_of(2);
        made.set();
        written.wait();
        is_all(&own, 2)
    });
    made.wait();
    let ours = slice_of(3);
    written.set();
    child.join();
    assert!(is_all(&ours, 3));
}

#[test]
fn memory_that_is_sent_after_the_fork_is_not_used_again() {
    let _alone = alone();
    let written = Event::new().unwrap();
    let (slice, child) = forked(slice_of(1), |copy| {
        written.wait();
        is_all(&copy, 1)
    });
    send_and_drop(slice);
    let ours = slice_of(3);
    written.set();
    child.join();
    assert!(is_all(&ours, 3));
}

#[test]
fn memory_that_is_sent_at_the_instant_of_the_fork_is_not_used_again() {
    let _alone = alone();
    let slice = slice_of(1);
    let written = Event::new().unwrap();
    let same = slice.clone();
    just_after_the_next_fork(move || send_and_drop(same));
    let (slice, child) = forked(slice, |copy| {
        written.wait();
        is_all(&copy, 1)
    });
    drop(slice);
    let ours = slice_of(3);
    written.set();
    child.join();
    assert!(is_all(&ours, 3));
}

#[test]
fn a_slice_that_was_sent_before_the_fork_stays_what_it_is_in_the_child() {
    let _alone = alone();
    let slice = slice_of(1);
    send_and_drop(slice.clone());
    let written = Event::new().unwrap();
    let (slice, child) = forked(slice, |copy| {
        written.wait();
        is_all(&copy, 1)
    });
    drop(slice);
    let ours = slice_of(3);
    written.set();
    child.join();
    assert!(is_all(&ours, 3));
}
