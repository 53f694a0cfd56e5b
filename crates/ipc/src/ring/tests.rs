use super::{Consumer, Nonsense, Place, Producer, Wake, size};
use crate::{Doorbell, SharedMemory};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

/// Both ends of a ring, each with a mapping of its own as in two processes, and a view of the place for whoever scribbles there.
fn ring(capacity: usize) -> (Producer, Consumer, Place) {
    let bell = Arc::new(Doorbell::new().unwrap());
    // Not at the start, as if another ring stood before it.
    let memory = SharedMemory::create(size(capacity) * 2).unwrap();
    let place = |memory: SharedMemory| {
        // SAFETY: the one producer is made from the first, the one consumer from the second; the third makes neither.
        unsafe { Place::new(Arc::new(memory), 128, capacity, Some(bell.clone())) }
    };
    let again = || SharedMemory::open(memory.fd().try_clone_to_owned().unwrap(), memory.len()).unwrap();
    (Producer::new(place(again())), Consumer::new(place(again())), place(again()))
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Write(usize),
    Publish,
    Read { limit: usize, room: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..700usize).prop_map(Step::Write),
        3 => Just(Step::Publish),
        4 => (0..700usize, 0..700usize).prop_map(|(limit, room)| Step::Read { limit, room }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_published_comes_out_in_order(steps in proptest::collection::vec(step(), 1..200)) {
        let (mut producer, mut consumer, _) = ring(512);
        let (mut written, mut published) = (VecDeque::new(), VecDeque::new());
        let mut next = 0_u8;
        for step in steps {
            match step {
                Step::Write(len) => {
                    let bytes: Vec<u8> = (0..len).map(|i| next.wrapping_add(i as u8)).collect();
                    let took = producer.write(&bytes).unwrap();
                    prop_assert_eq!(took, len.min(512 - written.len() - published.len()));
                    next = next.wrapping_add(took as u8);
                    written.extend(&bytes[..took]);
                }
                Step::Publish => {
                    prop_assert_eq!(producer.publish(), !written.is_empty());
                    published.append(&mut written);
                }
                Step::Read { limit, room } => {
                    let mut bytes = Vec::with_capacity(room);
                    let room = bytes.capacity();
                    let read = consumer.read(&mut bytes, limit).unwrap();
                    prop_assert_eq!(read, limit.min(room).min(published.len()));
                    prop_assert_eq!(bytes, published.drain(..read).collect::<Vec<u8>>());
                }
            }
            prop_assert_eq!(consumer.has_bytes().unwrap(), !published.is_empty());
        }
    }

    /// Whatever the other side writes is understood or refused; nothing is read or written beyond the ring.
    #[test]
    fn no_position_does_harm(
        steps in proptest::collection::vec((step(), proptest::option::of(position()), proptest::option::of(position())), 1..40),
    ) {
        let (mut producer, mut consumer, place) = ring(512);
        for (step, head, tail) in steps {
            let header = place.header();
            head.inspect(|head| header.reader.head.store(*head, Relaxed));
            tail.inspect(|tail| header.writer.tail.store(*tail, Relaxed));
            match step {
                Step::Write(len) => drop(producer.write(&vec![7; len])),
                Step::Publish => drop(producer.publish()),
                Step::Read { limit, room } => drop(consumer.read(&mut Vec::with_capacity(room), limit)),
            }
            prop_assert!(producer.room() <= 512);
            let _ = consumer.has_bytes();
        }
    }
}

fn position() -> impl Strategy<Value = u64> {
    prop_oneof![0..2000_u64, any::<u64>(), (0..2000_u64).prop_map(|n| u64::MAX - n)]
}

#[test]
fn nonsense_is_named() {
    let (mut producer, mut consumer, place) = ring(64);
    producer.write(&[1; 64]).unwrap();
    producer.publish();
    let header = place.header();
    for (tail, claimed) in [(65, 65), (u64::MAX, u64::MAX), (1 << 63, 1 << 63)] {
        header.writer.tail.store(tail, Relaxed);
        assert_eq!(consumer.has_bytes(), Err(Nonsense { claimed, limit: 64 }));
        let error = consumer.read(&mut Vec::with_capacity(10), 10).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
        assert!(error.to_string().contains("position in the ring"), "{error}");
        assert_eq!(consumer.arm(Wake::ByDoorbell).unwrap_err().kind(), std::io::ErrorKind::InvalidData);
    }
    // It takes back what it had published.
    header.writer.tail.store(60, Relaxed);
    assert_eq!(consumer.read(&mut Vec::with_capacity(10), 10).unwrap(), 10);
    header.writer.tail.store(59, Relaxed);
    consumer.has_bytes().unwrap_err();

    for head in [65, u64::MAX] {
        header.reader.head.store(head, Relaxed);
        assert_eq!(producer.write(&[1]).unwrap_err(), Nonsense { claimed: 64_u64.wrapping_sub(head), limit: 64 });
    }
    header.reader.head.store(5, Relaxed);
    assert_eq!(producer.write(&[1]), Ok(1));
    header.reader.head.store(3, Relaxed);
    producer.write(&[1; 10]).unwrap_err();
}

#[test]
fn others_can_go_on_where_the_first_have_stopped() {
    let (mut producer, mut consumer, place) = ring(64);
    producer.write(&[1; 50]).unwrap();
    producer.publish();
    consumer.read(&mut Vec::with_capacity(30), 30).unwrap();
    let (mut producer, mut consumer) =
        (Producer::taking_over(place.share()).unwrap(), Consumer::taking_over(place.share()).unwrap());
    assert_eq!(producer.write(&[2; 100]), Ok(44));
    producer.publish();
    let mut bytes = Vec::with_capacity(64);
    assert_eq!(consumer.read(&mut bytes, 100).unwrap(), 64);
    assert_eq!(bytes, [[1; 20].to_vec(), [2; 44].to_vec()].concat());
    place.header().writer.tail.store(1 << 40, Relaxed);
    Producer::taking_over(place.share()).unwrap_err();
    Consumer::taking_over(place).unwrap_err();
}

#[test]
fn whoever_looks_is_not_rung_and_whoever_sleeps_is_rung_once() {
    let (mut producer, mut consumer, place) = ring(64);
    let ringer = producer.ringer();
    let noted = || place.header().writer.reader.is_noted();
    producer.write(&[1]).unwrap();
    producer.publish();
    assert!(consumer.arm(Wake::ByDoorbell).unwrap() && !noted(), "something is there");
    consumer.read(&mut Vec::with_capacity(1), 1).unwrap();
    assert!(!consumer.arm(Wake::ByDoorbell).unwrap() && noted());
    producer.write(&[1]).unwrap();
    producer.publish();
    ringer.ring().unwrap();
    assert!(!noted());
    ringer.ring().unwrap();
    // A note that means nothing is taken as well.
    place.header().writer.reader.store(0xdead_beef);
    ringer.ring().unwrap();
    assert!(!noted());
}

#[test]
fn a_late_wake_leaves_the_note_of_another_alone() {
    let (mut producer, mut consumer, place) = ring(64);
    let noted = || place.header().writer.reader.is_noted();
    let bed = consumer.bed();
    assert!(!consumer.arm(Wake::ByFutex).unwrap());
    bed.wake().unwrap();
    assert!(!noted());
    // Whoever slept has gone, and the bell is to be rung now.
    assert!(!consumer.arm(Wake::ByDoorbell).unwrap());
    bed.wake().unwrap();
    assert!(noted());
    producer.write(b"a").unwrap();
    producer.publish();
    producer.ringer().ring().unwrap();
    assert!(!noted());
}

#[test]
fn room_is_told_when_half_of_it_is_there() {
    let (mut producer, mut consumer, place) = ring(64);
    let wanted = || place.header().reader.writer.is_noted();
    assert_eq!(producer.write(&[1; 100]), Ok(64));
    producer.publish();
    assert!(!producer.want_room(Wake::ByDoorbell).unwrap());
    let mut bytes = Vec::with_capacity(100);
    assert!(consumer.read(&mut bytes, 31).unwrap() == 31 && wanted());
    assert!(consumer.read(&mut bytes, 1).unwrap() == 1 && !wanted());
    assert!(producer.want_room(Wake::ByDoorbell).unwrap() && !wanted());
}

#[test]
fn a_sleep_has_an_end() {
    let (_producer, mut consumer, _) = ring(64);
    assert!(!consumer.arm(Wake::ByFutex).unwrap());
    let waited = consumer.sleep(Some(Instant::now() + Duration::from_millis(2))).unwrap();
    assert_eq!(waited, crate::futex::Waited::TimedOut);
}

/// Both sleep now and then, for the ring is small.
#[test]
fn many_bytes_through_a_small_ring() {
    const TOTAL: usize = 1 << 20;
    let (mut producer, mut consumer, _) = ring(64);
    thread::scope(|s| {
        s.spawn(move || {
            let bytes: Vec<u8> = (0..TOTAL).map(|i| (i % 251) as u8).collect();
            let (mut at, mut len) = (0, 1);
            while at < TOTAL {
                let end = TOTAL.min(at + len);
                while at < end {
                    match producer.write(&bytes[at..end]).unwrap() {
                        0 => producer.wait_for_room().unwrap(),
                        written => at += written,
                    }
                }
                producer.publish();
                producer.ringer().ring().unwrap();
                len = len * 5 % 211;
            }
        });
        let mut bytes = Vec::with_capacity(TOTAL);
        while bytes.len() < TOTAL {
            consumer.wait().unwrap();
            consumer.read(&mut bytes, 1000).unwrap();
        }
        assert!(bytes.iter().enumerate().all(|(i, byte)| usize::from(*byte) == i % 251));
    });
}

#[test]
#[should_panic = "a ring needs its room"]
fn a_ring_that_does_not_fit() {
    let memory = Arc::new(SharedMemory::create(4096).unwrap());
    // SAFETY: it is refused.
    unsafe { Place::new(memory, 0, 4096, None) };
}
