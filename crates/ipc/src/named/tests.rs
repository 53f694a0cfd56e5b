//! Within one process: to the kernel each handle that was opened, or that came with a message, is a holder of its own.

use super::name::Name;
use super::registry::{self, Object, Removal};
use super::*;
use concurrent_futures_core::attach::{self, Arrived};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

fn path(name: &str) -> PathBuf {
    Path::new("/dev/shm").join(name)
}

/// What a process would get that is sent this.
fn sent(memory: &SharedMemory) -> impl FnOnce() -> SharedMemory + use<> {
    let mut attachments = Vec::new();
    let bytes = attach::collect(&mut attachments, || postcard::to_allocvec(memory)).unwrap();
    move || attach::provide(Arrived::all(attachments), || postcard::from_bytes(&bytes)).unwrap()
}

/// As a process leaves it that is killed. Any other program of the user may remove it from now on.
fn left_behind(name: &Name) -> Object {
    let (fd, object) = registry::create(name, 100, |_| Ok(()), |_| {}).unwrap();
    drop(fd);
    object
}

/// Waits until it is gone. While another thread scavenges, that one may have it locked for the moment in which it looks or removes.
fn remove(object: &Object) {
    until("nobody else looks at it", || object.remove_if_left(false).unwrap() == Removal::Gone);
}

/// Waits until the name is gone: that of the last handle leaves it to whoever is about to remove it.
fn is_removed(name: &str) {
    until("it has no name", || !path(name).exists());
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "not reached: {what}");
        thread::yield_now();
    }
}

fn kind<T: fmt::Debug>(outcome: io::Result<T>) -> ErrorKind {
    outcome.unwrap_err().kind()
}

#[test]
fn what_one_writes_others_read() {
    let ours = SharedMemory::create(None, 512).unwrap();
    let name = ours.name().unwrap();
    let theirs = SharedMemory::open(name).unwrap();
    assert_eq!((theirs.size(), theirs.name(), ours.read(..)), (512, Some(name), vec![0; 512]));
    ours.write_at(510, &[1, 2]);
    theirs.words()[1].store(u64::from_ne_bytes([3; 8]), Relaxed);
    assert_eq!((theirs.read(509..), ours.read(7..17)), (vec![0, 1, 2], [&[0][..], &[3; 8], &[0]].concat()));
    theirs.fill(1..=2, 9);
    assert_eq!(ours.read(..4), [0, 9, 9, 0]);
    // Also by the means of anybody else.
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path(name)).unwrap();
    file.write_all_at(b"hello", 100).unwrap();
    assert_eq!(ours.read(100..105), b"hello");
    let meta = file.metadata().unwrap();
    assert_eq!((meta.permissions().mode() & 0o7777, meta.size()), (0o600, 512));
}

#[test]
fn a_name_is_there_as_long_as_anybody_has_a_handle() {
    let first = SharedMemory::create(None, 8).unwrap();
    let name = first.name().unwrap().to_owned();
    let (clone, other) = (first.clone(), SharedMemory::open(&name).unwrap());
    for handle in [first, clone] {
        drop(handle);
        assert!(path(&name).exists());
    }
    let under_way = sent(&other);
    drop(other);
    assert!(path(&name).exists(), "a message has it");
    let arrived = under_way();
    drop(sent(&arrived));
    assert!(path(&name).exists());
    arrived.write_at(0, b"as ever!");
    assert_eq!(SharedMemory::open(&name).unwrap().read(..), b"as ever!");
    drop(arrived);
    is_removed(&name);
    assert_eq!(kind(SharedMemory::open(&name)), ErrorKind::NotFound);
}

#[test]
fn a_name_that_is_taken_is_refused_and_given_again_when_it_is_free() {
    let name = Name::at_random();
    let first = SharedMemory::create(name.as_str(), 8).unwrap();
    assert_eq!(kind(SharedMemory::create(name.as_str(), 8)), ErrorKind::AlreadyExists);
    first.unlink().unwrap();
    assert_eq!(kind(first.unlink()), ErrorKind::NotFound);
    let second = SharedMemory::create(format!("/{}", name.as_str()).as_str(), 16).unwrap();
    // Of the first there is the memory alone; what it does about its name does not concern the second.
    assert_eq!(kind(first.unlink()), ErrorKind::NotFound);
    first.untrack().unwrap();
    drop(first);
    assert_eq!(SharedMemory::open(name.as_str()).unwrap().size(), 16);
    assert_eq!(second.name(), Some(name.as_str()));
}

#[test]
fn what_is_untracked_stays_until_it_is_unlinked() {
    let memory = SharedMemory::create(None, 8).unwrap();
    let name = memory.name().unwrap().to_owned();
    memory.untrack().unwrap();
    memory.untrack().unwrap();
    drop(memory);
    scavenge().unwrap();
    assert_eq!(kind(SharedMemory::create(name.as_str(), 8)), ErrorKind::AlreadyExists);
    let found = SharedMemory::open(&name).unwrap();
    found.unlink().unwrap();
    assert!(!path(&name).exists());
}

#[test]
fn what_others_have_made_is_left_to_them() {
    let name = Name::at_random();
    std::fs::write(path(name.as_str()), b"theirs").unwrap();
    let memory = SharedMemory::open(name.as_str()).unwrap();
    assert_eq!((memory.size(), memory.read(..)), (6, b"theirs".to_vec()));
    memory.untrack().unwrap();
    drop(memory);
    scavenge().unwrap();
    let file = std::fs::File::open(path(name.as_str())).unwrap();
    file.lock().unwrap();
    SharedMemory::open(name.as_str()).expect("they lock it as they like").unlink().unwrap();
    assert!(!path(name.as_str()).exists());
}

#[test]
fn what_was_left_behind_is_removed() {
    let names = [Name::at_random(), Name::at_random(), Name::at_random()];
    let [first, second, _] = names.each_ref().map(left_behind);
    // By who asks for it, by who wants the name, and by the tracker.
    remove(&first);
    assert!(!path(names[0].as_str()).exists() && !first.is_tracked());
    let again = SharedMemory::create(names[1].as_str(), 8).unwrap();
    assert_eq!(again.size(), 8);
    // The name goes before the entry, and perhaps it is another thread that scavenges who takes them away.
    until("it is forgotten", || !second.is_tracked());
    scavenge().unwrap();
    is_removed(names[2].as_str());
    assert!(path(names[1].as_str()).exists());
}

#[test]
fn a_name_that_somebody_else_has_taken_over_is_not_removed() {
    let name = Name::at_random();
    let (fd, object) = registry::create(&name, 100, |_| Ok(()), |_| {}).unwrap();
    std::fs::remove_file(path(name.as_str())).unwrap();
    std::fs::write(path(name.as_str()), b"another's").unwrap();
    drop(fd);
    remove(&object);
    assert!(!object.is_tracked());
    assert_eq!(std::fs::read(path(name.as_str())).unwrap(), b"another's");
    std::fs::remove_file(path(name.as_str())).unwrap();
}

#[test]
fn who_opens_what_is_just_removed_does_not_find_it() {
    let name = Name::at_random();
    // As the one who removes it has it open.
    let lock = |fd: &OwnedFd| Ok(rustix::fs::flock(fd, rustix::fs::FlockOperation::NonBlockingLockExclusive)?);
    let (remover, object) = registry::create(&name, 100, lock, |_| {}).unwrap();
    assert_eq!(kind(registry::open_by_name(&name)), ErrorKind::NotFound);
    assert_eq!(object.remove_if_left(false).unwrap(), Removal::Held, "and no other removes it");
    thread::scope(|s| {
        // Who wants the name waits for him.
        let next = s.spawn(|| SharedMemory::create(name.as_str(), 8));
        std::fs::remove_file(path(name.as_str())).unwrap();
        assert_eq!(next.join().unwrap().unwrap().size(), 8);
    });
    drop(remover);
    remove(&object);
}

#[test]
fn what_somebody_has_is_not_removed() {
    let name = Name::at_random();
    let (maker, object) = registry::create(&name, 100, |_| Ok(()), |_| {}).unwrap();
    let found = registry::open_by_name(&name).unwrap();
    drop(maker);
    scavenge().unwrap();
    assert_eq!(object.remove_if_left(false).unwrap(), Removal::Held);
    drop(found);
    remove(&object);
    assert!(!path(name.as_str()).exists());
}

#[test]
fn handles_that_come_and_go_at_once_lose_nothing() {
    let name = Name::at_random();
    thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                for _ in 0..200 {
                    let memory = match SharedMemory::open(name.as_str()) {
                        Err(error) if error.kind() == ErrorKind::NotFound => {
                            match SharedMemory::create(name.as_str(), 8) {
                                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                                made => made.unwrap(),
                            }
                        }
                        found => found.unwrap(),
                    };
                    memory.words()[0].fetch_add(1, Relaxed);
                    let object = memory.object.clone().unwrap();
                    assert!(object.is_tracked() && path(name.as_str()).metadata().unwrap().ino() > 0);
                }
            });
        }
    });
    is_removed(name.as_str());
}

#[test]
fn who_wants_the_name_and_who_scavenges_may_be_there_at_once() {
    let name = Name::at_random();
    thread::scope(|s| {
        let maker = s.spawn(|| {
            for _ in 0..1000 {
                drop(left_behind(&name));
                drop(SharedMemory::create(name.as_str(), 8).unwrap());
            }
        });
        while !maker.is_finished() {
            // Each time this removes what was left, and mostly also the directory, it being the last.
            scavenge().unwrap();
        }
    });
    is_removed(name.as_str());
}

#[test]
fn sizes_and_names_that_make_no_sense_are_refused() {
    for outcome in [
        SharedMemory::create("zero", 0),
        SharedMemory::anonymous(0),
        SharedMemory::create("a\0b", 8),
        SharedMemory::create("", 8),
        SharedMemory::open(""),
        SharedMemory::open("a/b"),
    ] {
        assert_eq!(kind(outcome), ErrorKind::InvalidInput);
    }
    assert_eq!(kind(SharedMemory::create(None, usize::MAX)), ErrorKind::OutOfMemory);
    // More than there is; the error comes now and not as a signal later.
    assert_eq!(kind(SharedMemory::create(None, 1 << 50)), ErrorKind::StorageFull);
    let name = Name::at_random();
    std::fs::write(path(name.as_str()), b"").unwrap();
    assert_eq!(kind(SharedMemory::open(name.as_str())), ErrorKind::InvalidData);
    std::fs::remove_file(path(name.as_str())).unwrap();
}

#[test]
fn what_arrives_is_checked() {
    let memory = SharedMemory::anonymous(100).unwrap();
    let arrived = sent(&memory)();
    arrived.write_at(99, &[1]);
    assert_eq!((memory.read(99..), arrived.name()), (vec![1], None));
    assert!(postcard::to_allocvec(&memory).is_err());

    let refused = |fd: OwnedFd, size: u64, name: Option<&str>| {
        let bytes = postcard::to_allocvec(&(0_u32, size, name)).unwrap();
        let arrived = Arrived::all(vec![Attachment::new(fd)]);
        let outcome = attach::provide(arrived, || postcard::from_bytes::<SharedMemory>(&bytes));
        assert!(outcome.is_err(), "{outcome:?}");
    };
    let named = SharedMemory::create(None, 100).unwrap();
    let fd = |memory: &SharedMemory| memory.memory.fd().try_clone_to_owned().unwrap();
    refused(fd(&memory), 101, None);
    refused(fd(&named), 100, None);
    refused(fd(&named), 99, named.name());
    refused(fd(&named), 100, Some("a/b"));
    refused(std::io::pipe().unwrap().0.into(), 100, Some("name"));
}

/// What makes a tracker know these objects, and nobody who could tell it more.
fn control_of<'a>(objects: impl IntoIterator<Item = &'a Object>) -> OwnedFd {
    let (ours, theirs) = crate::message::pair().unwrap();
    for object in objects {
        let message = object.to_bytes();
        assert_eq!(Object::from_bytes(&message).as_ref(), Some(object));
        rustix::net::send(&ours, &message, rustix::net::SendFlags::NOSIGNAL).unwrap();
    }
    theirs
}

#[test]
fn the_tracker_removes_what_is_left_when_nobody_has_it() {
    let [left, held] = [Name::at_random(), Name::at_random()];
    let holder = SharedMemory::create(held.as_str(), 8).unwrap();
    let control = control_of([&left_behind(&left), holder.object.as_ref().unwrap()]);
    thread::scope(|s| {
        let tracker = s.spawn(|| tracker::serve(control.as_fd()));
        while path(left.as_str()).exists() {
            thread::yield_now();
        }
        assert!(!tracker.is_finished() && path(held.as_str()).exists());
        drop(holder);
        tracker.join().unwrap().unwrap();
    });
    is_removed(held.as_str());
}

#[test]
fn the_tracker_waits_for_all_at_once() {
    let long_held = [(); 5].map(|()| SharedMemory::create(None, 8).unwrap());
    let name = Name::at_random();
    let (fd, object) = registry::create(&name, 100, |_| Ok(()), |_| {}).unwrap();
    let control = control_of(long_held.iter().filter_map(|memory| memory.object.as_ref()).chain([&object]));
    thread::scope(|s| {
        let tracker = s.spawn(|| tracker::serve(control.as_fd()));
        until("it waits", || long_held.iter().any(|memory| is_awaited(memory.object.as_ref().unwrap())));
        // As the end of a process that is killed.
        drop(fd);
        is_removed(name.as_str());
        assert!(long_held.iter().all(|memory| path(memory.name().unwrap()).exists()));
        drop(long_held);
        tracker.join().unwrap().unwrap();
    });
}

/// Whether somebody waits for the file's lock.
fn is_awaited(object: &Object) -> bool {
    let inode = format!(":{} ", std::fs::metadata(path(object.name.as_str())).unwrap().ino());
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    locks.lines().any(|line| line.contains("-> FLOCK") && line.contains(&inode))
}

#[test]
fn what_is_untracked_while_a_tracker_waits_for_it_keeps_its_name() {
    let memory = SharedMemory::create(None, 8).unwrap();
    let object = memory.object.clone().unwrap();
    thread::scope(|s| {
        let tracker = s.spawn(|| object.remove_if_left(true));
        until("it waits", || is_awaited(&object));
        memory.untrack().unwrap();
        drop(memory);
        assert_eq!(tracker.join().unwrap().unwrap(), Removal::Gone);
    });
    SharedMemory::open(object.name.as_str()).unwrap().unlink().unwrap();
}
