//! The relay of a worker whose link is a pair of rings.
//!
//! The memory that the worker has mapped is changed under it, at the same address, for other memory, in which the rings are as
//! they were at this moment. So it goes on with rings of which the other ends are here. The pool keeps the first memory.

use crate::relay::die;
use concurrent_futures_ipc::ring::{self, Consumer, Place, Producer};
use concurrent_futures_ipc::{Doorbell, SharedMemory};
use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Its name, as the pool gives it.
const NAME: &str = "concurrent-futures-rings";

/// The rings of a worker: the memory, and where the worker itself has it mapped.
pub struct Rings {
    memory: SharedMemory,
    mapped_at: usize,
}

/// This worker's, if its link is a pair of rings.
pub fn of_this_worker() -> Option<Rings> {
    let descriptor = find(|link| link.contains(NAME))?;
    // Before it is mapped here, too.
    let maps = fs::read_to_string("/proc/self/maps").expect("/proc is there");
    let mut mapped = maps.lines().filter(|line| line.contains(NAME));
    let start = mapped.next().and_then(|line| line.split('-').next()).expect("it is mapped");
    assert!(mapped.next().is_none(), "it is mapped once");
    let len = rustix::fs::fstat(&descriptor).expect("it is open").st_size;
    Some(Rings {
        memory: SharedMemory::open(descriptor, usize::try_from(len).expect("it is mapped")).expect("the pool's"),
        mapped_at: usize::from_str_radix(start, 16).expect("an address"),
    })
}

/// To be called in a task, as the worker does not touch its link meanwhile: so many bytes pass from the pool, and to it.
pub fn install(rings: Rings, down: usize, up: usize) {
    let Rings { memory: pools, mapped_at } = rings;
    let capacity = pools.len() / 2 - ring::size(0);
    let (down_at, up_at) = (0, ring::size(capacity));
    let bell = Arc::new(Doorbell::from(find(|link| link == "anon_inode:[eventfd]").expect("a worker has a bell")));
    let ours = Arc::new(SharedMemory::create(pools.len()).expect("memory"));
    let pools = Arc::new(pools);
    // The worker has read what it has read, and written what it has written; the ends here have done the same.
    for at in [down_at, up_at] {
        let [tail, head] = [0, 128].map(|word| at + word);
        let position = number(&pools, if at == down_at { head } else { tail }).load(Ordering::Acquire);
        number(&ours, tail).store(position, Ordering::Relaxed);
        number(&ours, head).store(position, Ordering::Release);
    }
    put_in_place(&ours, mapped_at);
    let place = |memory: &Arc<SharedMemory>, at, bell: Option<&Arc<Doorbell>>| {
        // SAFETY: of each of these places there is one end here, and the other one at the pool or in the worker.
        unsafe { Place::new(memory.clone(), at, capacity, bell.cloned()) }
    };
    let from_pool = Consumer::taking_over(place(&pools, down_at, Some(&bell))).expect("sound");
    let to_worker = Producer::taking_over(place(&ours, down_at, None)).expect("sound");
    let from_worker = Consumer::taking_over(place(&ours, up_at, None)).expect("sound");
    let to_pool = Producer::taking_over(place(&pools, up_at, Some(&bell))).expect("sound");
    thread::spawn(move || hand_on(from_pool, to_worker, down));
    thread::spawn(move || hand_on(from_worker, to_pool, up));
}

/// Maps the memory in the place of other memory of the same size.
fn put_in_place(memory: &SharedMemory, at: usize) {
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_FIXED);
    let at = ptr::without_provenance_mut(at);
    // SAFETY: what was mapped there is the worker's memory of rings, of this size. Nobody has a reference into it but to
    // atomics, for which the new values are as good as any that the pool could have written.
    let mapped = unsafe { libc::mmap(at, memory.len(), access, flags, memory.fd().as_raw_fd(), 0) };
    assert_eq!(mapped, at, "{}", std::io::Error::last_os_error());
}

fn hand_on(mut from: Consumer, mut to: Producer, mut left: usize) {
    let mut buffer = Vec::with_capacity(64 * 1024);
    loop {
        from.wait().expect("sound");
        buffer.clear();
        let read = from.read(&mut buffer, 64 * 1024).expect("sound");
        let passing = read.min(left);
        let mut rest = &buffer[..passing];
        while !rest.is_empty() {
            match to.write(rest).expect("sound") {
                0 => to.wait_for_room().expect("sound"),
                written => rest = &rest[written..],
            }
        }
        if to.publish() {
            to.ringer().ring().expect("a bell");
        }
        left -= passing;
        if passing < read {
            die();
        }
    }
}

fn number(memory: &SharedMemory, at: usize) -> &AtomicU64 {
    // SAFETY: one of the first words of a ring, which lies within the memory.
    let word = unsafe { memory.start().add(at) };
    // SAFETY: mapped as long as the borrow, aligned, and any bit pattern is a valid atomic.
    unsafe { word.cast().as_ref() }
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
