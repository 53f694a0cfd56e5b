use super::block::Ticket;
use super::travel::{Message, Raw};
use super::*;
use concurrent_futures_core::attach::{self, Arrived, Attachment};
use concurrent_futures_core::codec::{decode, encode};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// A message, as it lies between two processes.
type Sent = (Vec<u8>, Vec<Attachment>);

fn send<T: Serialize>(value: &T) -> Sent {
    let (mut bytes, mut attachments) = (Vec::new(), Vec::new());
    let encoded = attach::collect(&mut attachments, || encode(value, &mut bytes)).unwrap();
    assert!(!encoded.handles, "nothing of it looks like a handle of ipc-channel");
    (bytes, attachments)
}

fn receive<T: DeserializeOwned>((bytes, attachments): Sent) -> Result<T, String> {
    attach::provide(Arrived::all(attachments), || decode(&bytes)).map_err(|failure| failure.into_message())
}

/// As it would come from another process, which has the same descriptor under another number.
fn foreign((bytes, attachments): Sent) -> Sent {
    let duplicate = |one: Attachment| Attachment::new(one.into_fd().unwrap().try_clone().unwrap());
    (bytes, attachments.into_iter().map(duplicate).collect())
}

fn numbers(n: u64) -> SharedSlice<u64> {
    (0..n).collect()
}

fn eventually(what: &str, happened: impl Fn() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_is_small_travels_as_bytes() {
    for n in [0, 1, 2048] {
        let (bytes, attachments) = send(&numbers(n));
        assert!(attachments.is_empty() && bytes.len() < 17 << 10);
        assert_eq!(receive::<SharedSlice<u64>>((bytes, attachments)).unwrap(), numbers(n));
    }
    assert_eq!(receive::<SharedBytes>(send(&SharedBytes::default())).unwrap(), SharedBytes::default());
    let odd = encode(&Message::Inline(Raw(&[1; 9])), &mut Vec::new());
    assert!(odd.is_ok());
    let mut bytes = Vec::new();
    let _ = encode(&Message::Inline(Raw(&[1; 9])), &mut bytes).unwrap();
    assert!(receive::<SharedSlice<u64>>((bytes, vec![])).unwrap_err().contains("whole number"));
}

#[test]
fn what_is_large_is_one_memory_wherever_it_is() {
    let slice = SharedSliceMut::from_fn(100_000, |n| n as u32).unwrap().freeze();
    let (bytes, attachments) = send(&(slice.clone(), vec![slice.clone(), slice.slice(50_000..)], slice.slice(7..9)));
    assert!((1..=2).contains(&attachments.len()) && bytes.len() < 200, "{} bytes", bytes.len());
    type Value = (SharedSlice<u32>, Vec<SharedSlice<u32>>, SharedSlice<u32>);
    let back: Value = receive(foreign((bytes, attachments))).unwrap();
    assert!(back.0.as_ptr() == slice.as_ptr() && back.1[0].as_ptr() == slice.as_ptr(), "it is not mapped twice");
    assert_eq!((&back.1[1][..], &back.2[..]), (&slice[50_000..], &[7, 8][..]));
}

#[test]
fn what_comes_from_elsewhere_is_mapped_and_may_go_on() {
    // 5 MiB: no other test has blocks of that size.
    let slice = SharedSliceMut::from_fn(5 << 20, |n| (n % 251) as u8).unwrap().freeze();
    let sent = foreign(send(&slice));
    drop(slice);
    let mut back: SharedBytes = receive(sent).unwrap();
    for _ in 0..3 {
        back = receive(foreign(send(&back))).unwrap();
    }
    assert!(back.iter().enumerate().all(|(n, byte)| *byte == (n % 251) as u8));
}

#[test]
fn a_vector_is_copied_once_and_its_views_are_views_of_that() {
    let slice = numbers(10_000);
    let (first, view) = (send(&slice), send(&slice.slice(4_000..)));
    let first: SharedSlice<u64> = receive(foreign(first)).unwrap();
    let view: SharedSlice<u64> = receive(foreign(view)).unwrap();
    assert_eq!((&first, &view), (&slice, &slice.slice(4_000..)));
    assert_eq!(first[4_000..].as_ptr(), view.as_ptr());
    assert_ne!(first.as_ptr(), slice.as_ptr());
}

#[test]
fn plain_serde_says_why_not() {
    for n in [10, 10_000] {
        let failure = encode(&numbers(n), &mut Vec::new()).unwrap_err();
        let words = failure.message();
        assert!(words.contains("SharedSlice<u64>") && words.contains("another process of this program"), "{words}");
        assert!(postcard::to_allocvec(&numbers(n)).is_err());
    }
    let (bytes, _) = send(&numbers(10_000));
    let failure = decode::<SharedSlice<u64>>(&bytes).unwrap_err();
    assert!(failure.message().contains("another process of this program"), "{failure}");
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
struct Particle {
    place: [f64; 3],
    kind: u64,
}

#[test]
fn structs_of_plain_data() {
    let particles =
        SharedSliceMut::from_fn(5_000, |n| Particle { place: [n as f64; 3], kind: n as u64 }).unwrap().freeze();
    assert_eq!(receive::<SharedSlice<Particle>>(foreign(send(&particles))).unwrap()[4_999], particles[4_999]);
    // Another type of the same size would be as valid: they are bytes.
    let wrong = receive::<SharedSlice<[u64; 3]>>(foreign(send(&particles.slice(4_998..))));
    assert!(wrong.unwrap_err().contains("whole number"));
}

/// A message about memory of which the sender says what it likes.
fn claim<T: bytemuck::Pod + std::fmt::Debug>(fd: OwnedFd, len: u64, offset: u64, elements: u64) -> String {
    let block = Ticket { memory: 0, token: None, number: 1, len };
    let mut bytes = Vec::new();
    let _ = encode(&Message::Shared { block, offset, len: elements }, &mut bytes).unwrap();
    receive::<SharedSlice<T>>((bytes, vec![Attachment::new(fd)])).map(|slice| slice.len()).unwrap_err()
}

fn memory(len: u64, seals: SealFlags) -> OwnedFd {
    let fd = memfd_create("hostile", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&fd, len).unwrap();
    fcntl_add_seals(&fd, seals).unwrap();
    fd
}

#[test]
fn memory_that_is_not_what_it_should_be_is_refused() {
    let all = SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL;
    assert!(claim::<u8>(std::fs::File::open("/proc/self/exe").unwrap().into(), 8192, 0, 1).contains("no memory file"));
    assert!(claim::<u8>(std::io::pipe().unwrap().0.into(), 8192, 0, 1).contains("no memory file"));
    for missing in [SealFlags::SHRINK, SealFlags::GROW, SealFlags::FUTURE_WRITE, SealFlags::SEAL] {
        assert!(claim::<u8>(memory(8192, all - missing), 8192, 0, 1).contains("not sealed"), "{missing:?}");
    }
    for len in [0, 1, 4096, 8191, 8193, u64::MAX] {
        assert!(claim::<u8>(memory(8192, all), len, 0, 1).contains("another size"), "{len}");
    }
    assert!(claim::<u8>(memory(0, all), 0, 0, 0).contains("another size"));
    for (offset, len) in [(0, 8193), (8192, 1), (u64::MAX, 1), (1, u64::MAX), (8193, 0)] {
        assert!(claim::<u8>(memory(8192, all), 8192, offset, len).contains("not within"), "{offset} {len}");
    }
    assert!(claim::<u64>(memory(8192, all), 8192, 4, 1).contains("not within"), "not in line");
    assert!(claim::<u64>(memory(8192, all), 8192, 0, 1 << 61).contains("not within"));
}

#[test]
fn nobody_can_write_to_what_was_sent() {
    let (_, attachments) = send(&SharedSlice::copy_of(&[1_u8; 100_000]).unwrap());
    let fd = attachments.into_iter().next().unwrap().into_fd().unwrap();
    assert_eq!(rustix::io::pwrite(&fd, b"x", 0), Err(rustix::io::Errno::PERM));
    assert_eq!(ftruncate(&fd, 0), Err(rustix::io::Errno::PERM));
    let reopened =
        std::fs::OpenOptions::new().write(true).open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd)));
    let written = reopened.and_then(|mut file| std::io::Write::write_all(&mut file, b"x"));
    assert!(written.is_err());
}

/// As large as no other test's, so that nobody else takes it.
///
/// Memory is kept for a moment, and that of the tests beside this one may push it out: what was not kept is tried once more.
#[test]
fn memory_is_used_again_when_nobody_has_it_and_not_before() {
    const LEN: usize = 24 << 20;
    let make = |first: u8| {
        let mut slice = SharedSliceMut::<u8>::zeroed(LEN).unwrap();
        assert!(slice.chunks(4096).all(|page| page == [0; 4096]));
        slice[0] = first;
        slice.freeze()
    };
    let is_used_again = || {
        let first = make(1);
        let start = first.as_ptr();
        let on_its_way = foreign(send(&first));
        drop(first);
        // Somebody may still read it.
        let second = make(2);
        let back: SharedBytes = receive(on_its_way).unwrap();
        assert_eq!((back[0], second[0]), (1, 2));
        let (is_where_it_was, start) = (back.as_ptr() == start, back.as_ptr());
        let mut onward = foreign(send(&back));
        drop(back);
        let third = make(3);
        // The token alone is enough: whoever has the memory has that.
        let memory = onward.1.remove(0).into_fd().unwrap();
        let fourth = make(4);
        let mut byte = [0];
        assert_eq!(rustix::io::pread(&memory, &mut byte, 0), Ok(1));
        assert_eq!((byte, third[0], fourth[0]), ([1], 3, 4), "each has its own");
        drop((memory, onward));
        let fifth = make(5);
        let is_used_again = is_where_it_was && fifth.as_ptr() == start;
        // What was never sent is given back at once.
        let (never, sent) = (second.as_ptr(), fifth.as_ptr());
        drop(send(&fifth));
        drop((second, third, fourth, fifth));
        assert!(!retired::keeps(never));
        eventually("what was kept is given back", || !retired::keeps(sent));
        is_used_again
    };
    eventually("it is used again", is_used_again);
}

/// A token that is another pipe's says nothing about this memory.
#[test]
fn a_wrong_token_ends_the_reuse() {
    const LEN: usize = 70 << 20;
    let slice = SharedSliceMut::<u8>::zeroed(LEN).unwrap().freeze();
    let start = slice.as_ptr();
    let (bytes, mut attachments) = foreign(send(&slice));
    drop(slice);
    attachments[1] = Attachment::new(std::io::pipe().unwrap().1.into());
    let back: SharedBytes = receive((bytes, attachments)).unwrap();
    assert_eq!(back.len(), LEN);
    drop(back);
    assert!(!retired::keeps(start));
}

#[test]
fn it_is_shown_within_reason() {
    assert_eq!(format!("{:?}", numbers(3)), "[0, 1, 2]");
    assert!(format!("{:?}", numbers(1_000_000)).ends_with("15, ... 1000000 in all]"));
    assert_eq!(format!("{:?}", SharedSliceMut::from_fn(2, |n| n as u8).unwrap()), "[0, 1]");
}

#[test]
fn slices_of_nothing() {
    assert!(SharedSliceMut::<u32>::zeroed(0).unwrap().freeze().is_empty());
    assert!(SharedSliceMut::<u32>::zeroed(usize::MAX).is_err() && SharedSliceMut::<u32>::zeroed(1 << 61).is_err());
    let all = SharedSlice::copy_of(&[1_u16; 20_000]).unwrap();
    assert!(all.slice(20_000..).is_empty() && all.slice(5..5).slice(..).is_empty());
    assert_eq!(receive::<SharedSlice<u16>>(send(&all.slice(20_000..))).unwrap().len(), 0);
    assert!(std::panic::catch_unwind(|| all.slice(..20_001)).is_err());
    assert!(std::panic::catch_unwind(|| all.slice(..=usize::MAX)).is_err());
}
