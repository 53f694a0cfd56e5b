//! A worker's rings in the hands of its task: for tests with workers that are enemies.

use super::WorkerEnd;
use super::ring::{DOWN_AT, NAME, RingEnd, SIZE, UP_AT};
use concurrent_futures_ipc::ring::{Consumer, Place, Producer};
use concurrent_futures_ipc::{Doorbell, SharedMemory};
use std::fs;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a ring's memory has at its start, from there: see the README of `ring` in `concurrent-futures-ipc`.
pub(crate) const TAIL: usize = 0;
pub(crate) const HEAD: usize = 128;

impl RingEnd {
    /// This process's, if it is a worker with rings. Whoever had it before must not use it any more, or its enemies have won.
    pub(crate) fn taken_over() -> Option<RingEnd> {
        let memory = Arc::new(memory()?);
        let bell = Arc::new(Doorbell::from(find(|link| link == "anon_inode:[eventfd]").expect("a worker has a bell")));
        // SAFETY: the worker's own producer and consumer rest while its task runs.
        let place = |at| unsafe { Place::new(memory.clone(), at, super::ring::CAPACITY, Some(bell.clone())) };
        let consumer = Consumer::taking_over(place(DOWN_AT)).expect("sound so far");
        let producer = Producer::taking_over(place(UP_AT)).expect("sound so far");
        Some(RingEnd::new(consumer, producer))
    }

    /// Writes bytes that are no whole frame, or more than one, and waits until the parent has taken them: the worker, which
    /// knows nothing of them, would write over them.
    pub(crate) fn send_all(&mut self, bytes: &[u8]) {
        self.send_raw(bytes).expect("the parent keeps its part in order");
        while !self.is_drained() {
            std::thread::yield_now();
        }
    }

    /// Writes a number into the memory of both rings: `offset` bytes behind the start of the one to the parent, or from it.
    pub(crate) fn scribble(is_up: bool, offset: usize, number: u64) {
        let memory = memory().expect("a worker with rings");
        let at = if is_up { UP_AT } else { DOWN_AT } + offset;
        // SAFETY: within the first words of a ring.
        let word = unsafe { memory.start().add(at) };
        // SAFETY: mapped as long as the borrow, aligned, and any bit pattern is a valid atomic.
        unsafe { word.cast::<AtomicU64>().as_ref() }.store(number, Ordering::SeqCst);
    }

    /// Has the supervisor look.
    pub(crate) fn ring() {
        let bell = find(|link| link == "anon_inode:[eventfd]").expect("a worker has a bell");
        Doorbell::from(bell).ring().expect("it is one");
    }
}

fn memory() -> Option<SharedMemory> {
    let memory = find(|link| link.contains(NAME))?;
    Some(SharedMemory::open(memory, SIZE).expect("it is the pool's"))
}

/// A duplicate of the one descriptor of this process that leads to something of this name.
fn find(is_it: impl Fn(&str) -> bool) -> Option<OwnedFd> {
    let entries = fs::read_dir("/proc/self/fd").expect("/proc is there").flatten();
    let mut found =
        entries.filter(|entry| fs::read_link(entry.path()).is_ok_and(|link| link.to_str().is_some_and(&is_it)));
    let number = found.next()?.file_name().to_str()?.parse().expect("a number");
    assert!(found.next().is_none(), "a worker has one of them");
    // SAFETY: it was just seen, and the worker, whose task runs, does not close it meanwhile.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    Some(fd.try_clone_to_owned().expect("a duplicate"))
}
