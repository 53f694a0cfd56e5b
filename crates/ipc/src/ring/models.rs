//! Models of the ring's protocol, checked by loom over all interleavings:
//! `RUSTFLAGS="--cfg concurrent_futures_loom" cargo test -p concurrent-futures-ipc --release --lib loom_`.
//!
//! Loom reports a wake-up that is lost as a deadlock, and bytes that are read while they are written as a race.

use super::{Consumer, Place, Producer, Wake};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering, fence};
use loom::thread;

/// A ring of four bytes.
fn ring() -> (Place, Producer, Consumer) {
    let place = Place::of(4);
    (place.share(), Producer::new(place.share()), Consumer::new(place))
}

fn write_all(producer: &mut Producer, mut bytes: &[u8]) {
    loop {
        let written = producer.write(bytes).unwrap();
        bytes = &bytes[written..];
        if bytes.is_empty() {
            producer.publish();
            return producer.ringer().ring().unwrap();
        }
        producer.wait_for_room().unwrap();
    }
}

fn read(consumer: &mut Consumer, limit: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(limit);
    consumer.read(&mut bytes, limit).unwrap();
    bytes
}

fn read_to(consumer: &mut Consumer, total: usize, limit: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < total {
        consumer.wait().unwrap();
        bytes.extend(read(consumer, limit));
    }
    bytes
}

#[test]
fn loom_a_reader_that_sleeps_is_woken() {
    loom::model(|| {
        let (_, mut producer, mut consumer) = ring();
        let writer = thread::spawn(move || {
            write_all(&mut producer, b"a");
            write_all(&mut producer, b"bc");
        });
        assert_eq!(read_to(&mut consumer, 3, 4), b"abc");
        writer.join().unwrap();
    });
}

#[test]
fn loom_a_writer_that_waits_for_room_is_woken_and_bytes_go_round() {
    for limit in [1, 3, 4] {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(move || {
            let (_, mut producer, mut consumer) = ring();
            let writer = thread::spawn(move || write_all(&mut producer, b"abcdefg"));
            assert_eq!(read_to(&mut consumer, 7, limit), b"abcdefg");
            writer.join().unwrap();
        });
    }
}

/// As the supervisor: it listens to a bell, and looks when it has rung.
#[test]
fn loom_a_bell_is_rung_for_what_comes() {
    loom::model(|| {
        let (place, mut producer, mut consumer) = ring();
        let mut ear = place.ear();
        assert!(!consumer.arm(Wake::ByDoorbell).unwrap());
        let writer = thread::spawn(move || {
            write_all(&mut producer, b"a");
            write_all(&mut producer, b"b");
        });
        let mut bytes = Vec::new();
        while bytes.len() < 2 {
            ear.sleep();
            consumer.disarm();
            loop {
                bytes.extend(read(&mut consumer, 4));
                if !consumer.arm(Wake::ByDoorbell).unwrap() {
                    break;
                }
            }
        }
        assert_eq!(bytes, b"ab");
        writer.join().unwrap();
    });
}

/// As the parent that writes: it never waits, and goes on when it is rung.
#[test]
fn loom_a_bell_is_rung_for_room() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let (place, mut producer, mut consumer) = ring();
        let reader = thread::spawn(move || read_to(&mut consumer, 7, 3));
        let (mut rest, mut ear) = (&b"abcdefg"[..], place.ear());
        loop {
            let written = producer.write(rest).unwrap();
            rest = &rest[written..];
            producer.publish();
            producer.ringer().ring().unwrap();
            if rest.is_empty() {
                break;
            }
            if !producer.want_room(Wake::ByDoorbell).unwrap() {
                ear.sleep();
            }
        }
        assert_eq!(reader.join().unwrap(), b"abcdefg");
    });
}

/// Two rings, as a worker and its parent have.
#[test]
fn loom_there_and_back() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let (_, mut down, mut worker_in) = ring();
        let (_, mut worker_out, mut up) = ring();
        let worker = thread::spawn(move || {
            for _ in 0..2 {
                let bytes = read_to(&mut worker_in, 3, 4);
                write_all(&mut worker_out, &bytes);
            }
        });
        for bytes in [b"abc", b"def"] {
            write_all(&mut down, bytes);
            assert_eq!(read_to(&mut up, 3, 4), bytes);
        }
        worker.join().unwrap();
    });
}

/// The bytes are published by one thread of a process while another one rings.
#[test]
fn loom_whoever_rings_rings_for_all_that_is_published() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let (_, mut producer, mut consumer) = ring();
        let ringer = producer.ringer();
        let other = thread::spawn(move || ringer.ring().unwrap());
        let reader = thread::spawn(move || read_to(&mut consumer, 1, 4));
        write_all(&mut producer, b"a");
        other.join().unwrap();
        assert_eq!(reader.join().unwrap(), b"a");
    });
}

/// As a thread that waits for one task's answer: it sleeps at the ring, and whoever else completes the task wakes it there. The
/// sleeper says that it sleeps, notes, and looks; the other one says that there is nothing to wait for, and looks.
#[test]
fn loom_a_sleeper_is_woken_by_the_producer_or_by_whoever_makes_it_needless() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let (_, mut producer, mut consumer) = ring();
        let (asleep, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let bed = consumer.bed();
        let other = {
            let (asleep, done, bed) = (asleep.clone(), done.clone(), consumer.bed());
            thread::spawn(move || {
                done.store(true, Ordering::Release);
                fence(Ordering::SeqCst);
                if asleep.load(Ordering::Relaxed) {
                    bed.wake().unwrap();
                }
            })
        };
        let writer = thread::spawn(move || write_all(&mut producer, b"a"));
        let mut bytes = Vec::new();
        while !done.load(Ordering::Acquire) || bytes.is_empty() {
            asleep.store(true, Ordering::Relaxed);
            let found = consumer.arm(Wake::ByFutex).unwrap();
            // Whether it waits for the answer, or for somebody to say that it need not.
            let wanted = !done.load(Ordering::Acquire) || bytes.is_empty();
            if !found && wanted {
                bed.sleep(None).unwrap();
            }
            asleep.store(false, Ordering::Relaxed);
            consumer.disarm();
            bytes.extend(read(&mut consumer, 4));
        }
        assert_eq!(bytes, b"a");
        other.join().unwrap();
        writer.join().unwrap();
    });
}
