//! Within one process; the death of a process is the end of a thread that has not unlocked.

use super::*;
use crate::{OwnerDied, RLock, TryLockError};
use bytemuck::{Pod, Zeroable};
use concurrent_futures_core::attach::{self, Arrived};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
struct Point {
    x: f64,
    y: f64,
    name: [u8; 8],
}

fn try_sent<F: Serialize, T: DeserializeOwned>(handle: &F) -> Result<T, String> {
    let mut attachments = Vec::new();
    let bytes = attach::collect(&mut attachments, || postcard::to_allocvec(handle)).unwrap();
    attach::provide(Arrived::all(attachments), || postcard::from_bytes(&bytes)).map_err(|error| error.to_string())
}

/// What another process would have of it.
fn sent<T: Serialize + DeserializeOwned>(handle: &T) -> T {
    try_sent(handle).unwrap()
}

fn value_of<T: Pod + PartialEq + Debug>(one: T, two: T) {
    let ours = Value::new(one).unwrap();
    let theirs = sent(&ours);
    assert_eq!(theirs.get(), one);
    theirs.set(two);
    assert_eq!((ours.get(), ours.replace(one), theirs.get()), (two, two, one));
    assert_eq!((ours.update(|_| two), theirs.get()), (two, two));
    let mut guard = theirs.lock().unwrap();
    assert_eq!((guard.get(), guard.update(|_| one), ours.get()), (two, one, one));
    thread::scope(|s| s.spawn(|| assert!(ours.try_lock().is_err())).join().unwrap());
}

#[test]
fn values_of_all_sizes() {
    value_of(1_u8, 2);
    value_of(-1_i16, 2);
    value_of(1.5_f32, -2.5);
    value_of(u64::MAX, 2);
    value_of([1_u8; 3], [2; 3]);
    value_of(u128::MAX, 2);
    let point = Point { x: 1.5, y: 2.5, name: *b"somebody" };
    value_of(point, Point { x: 3.5, ..point });
}

#[test]
fn nothing_is_lost_of_what_many_add() {
    let (locked, raw) = (Value::new(0.0_f64).unwrap(), RawValue::new(0_i64).unwrap());
    thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                let (locked, raw) = (sent(&locked), sent(&raw));
                for _ in 0..500 {
                    locked.update(|sum| sum + 1.0);
                    let mut guard = locked.lock().unwrap();
                    guard += 2.0;
                    guard -= 1.0;
                    guard *= 1.0;
                    drop(guard);
                    raw.fetch_add(3);
                    raw.fetch_sub(1);
                    raw.update(|sum| sum - 1);
                }
            });
        }
    });
    assert_eq!((locked.get(), raw.get()), (4000.0, 2000));
}

#[test]
fn a_large_value_is_never_torn() {
    let value = Value::new([0_u64; 9]).unwrap();
    thread::scope(|s| {
        let writers: Vec<_> = (1..3)
            .map(|n| {
                s.spawn({
                    let value = sent(&value);
                    move || (0..2000).for_each(|_| value.set([n; 9]))
                })
            })
            .collect();
        while writers.iter().any(|writer| !writer.is_finished()) {
            let [first, rest @ ..] = value.get();
            assert!(rest.iter().all(|word| *word == first));
        }
    });
}

#[test]
fn one_lock_for_several() {
    let lock = RLock::new().unwrap();
    let (from, to) = (Value::with_lock(100_i64, &lock).unwrap(), Array::with_lock([0_i64; 3], &lock).unwrap());
    // Sent together or one by one, it is the same lock.
    let (there, array) = (sent(&from), sent(&to));
    let guard = there.lock().unwrap();
    thread::scope(|s| {
        s.spawn(|| assert!(lock.try_lock().is_err() && array.try_lock().is_err() && from.try_lock().is_err()));
    });
    from.update(|from| from - 10);
    array.update(1, |to| to + 10);
    drop(guard);
    assert_eq!((there.get(), to.to_vec(), from.get_lock().is_locked()), (90, vec![0, 10, 0], false));
    let own = Value::new(1_u8).unwrap();
    let other = Value::with_lock(2_u8, own.get_lock()).unwrap();
    let other = sent(&other);
    let guard = own.lock().unwrap();
    thread::scope(|s| s.spawn(|| assert!(other.try_lock().is_err())).join().unwrap());
    assert_eq!((other.get(), guard.get()), (2, 1));
}

#[test]
fn of_a_death_the_next_one_is_told_who_locks_it() {
    let value = Value::new(7_u32).unwrap();
    let die = || {
        thread::scope(|s| {
            let dying = s.spawn(|| {
                let mut guard = value.lock().unwrap_or_else(OwnerDied::into_guard);
                guard += 1;
                std::mem::forget(guard);
            });
            dying.join().unwrap();
        });
    };
    die();
    assert!(value.lock().is_err());
    assert!(value.lock().is_ok());
    die();
    // These do not mind, and keep the news.
    assert_eq!((value.get(), value.update(|value| value + 1)), (9, 10));
    assert!(matches!(value.try_lock(), Err(TryLockError::OwnerDied(OwnerDied(guard))) if guard.get() == 10));
    assert!(value.lock().is_ok());
    die();
    value.set(1);
    assert!(matches!(value.lock_timeout(Duration::from_secs(60)), Err(TryLockError::OwnerDied(_))));
    assert!(value.lock().is_ok());
}

#[test]
fn an_update_that_panics_changes_nothing() {
    let (value, array) = (Value::new([1_u64; 2]).unwrap(), Array::new([1, 2]).unwrap());
    let panics = catch_unwind(AssertUnwindSafe(|| value.update(|_| panic!("no"))));
    assert!(panics.is_err() && value.lock().is_ok_and(|guard| guard.get() == [1, 1]));
    let panics = catch_unwind(AssertUnwindSafe(|| array.update(0, |_| panic!("no"))));
    assert!(panics.is_err() && array.lock().is_ok() && array.to_vec() == [1, 2]);
}

#[test]
fn arrays() {
    let ours = Array::new(0..10_i32).unwrap();
    let theirs = sent(&ours);
    assert_eq!((theirs.len(), theirs.is_empty(), theirs.get(9)), (10, false, 9));
    theirs.set(9, -9);
    theirs.fill(..2, 7);
    theirs.write_at(3, &[30, 40]);
    assert_eq!(theirs.update(5, |five| five * 10), 50);
    assert_eq!(ours.to_vec(), [7, 7, 2, 30, 40, 50, 6, 7, 8, -9]);
    assert_eq!((ours.read(3..=4), ours.read(10..), ours.iter().next_back()), (vec![30, 40], vec![], Some(-9)));
    let mut guard = ours.lock().unwrap();
    guard.swap(0, 9);
    guard.fill(1..3, 0);
    guard.write_at(6, &[1, 1]);
    assert_eq!((guard.iter().sum::<i32>(), guard.get(0), guard.len()), (-9 + 30 + 40 + 50 + 2 + 8 + 7, -9, 10));
    assert_eq!(guard.update(0, |value| -value), 9);
    assert_eq!(guard.read(..2), theirs.read(..2));
    drop(guard);

    let raw = RawArray::new([1_u8, 2, 3]).unwrap();
    let there = sent(&raw);
    assert_eq!((there.fetch_add(2, 255), there.fetch_sub(0, 2), there.update(1, |two| two << 1)), (3, 1, 2));
    assert_eq!((raw.to_vec(), raw.compare_exchange(1, 4, 9)), (vec![255, 4, 2], Ok(4)));
    raw.fill(.., 1);
    assert_eq!(there.iter().collect::<Vec<_>>(), [1, 1, 1]);

    let empty = sent(&Array::<u64>::zeroed(0).unwrap());
    assert!(empty.is_empty() && empty.to_vec().is_empty());
    let points = Array::new([Point { x: 1.0, y: 2.0, name: [1; 8] }; 3]).unwrap();
    assert_eq!(sent(&points).get(2), points.get(0));
    assert!(format!("{points:?} {:?}", points.lock()).contains("x: 1.0"));
}

#[test]
fn what_is_not_in_an_array_is_refused() {
    let array = Array::new([1, 2, 3]).unwrap();
    let raw = RawArray::new([1, 2, 3]).unwrap();
    let refused: [&dyn Fn(); 8] = [
        &|| assert_eq!(array.get(3), 0),
        &|| array.set(3, 0),
        &|| drop(array.read(2..4)),
        &|| drop(array.read(..=usize::MAX)),
        &|| drop(raw.read((Bound::Excluded(usize::MAX), Bound::Unbounded))),
        &|| array.write_at(2, &[1, 2]),
        &|| raw.fill(..=3, 0),
        &|| assert_eq!(raw.get(usize::MAX), 0),
    ];
    for call in refused {
        assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
    }
    assert!(array.lock().is_ok_and(|guard| guard.iter().eq([1, 2, 3])), "it is not locked for ever");
    assert_eq!(RawArray::<u64>::zeroed(usize::MAX).unwrap_err().kind(), std::io::ErrorKind::OutOfMemory);
}

#[test]
fn what_arrives_is_checked() {
    let value = Value::new(1_u32).unwrap();
    assert!(postcard::to_allocvec(&value).is_err());
    assert_eq!(try_sent::<_, Value<f32>>(&value).unwrap().get().to_bits(), 1, "any bytes are a number");
    assert!(try_sent::<_, Value<u64>>(&value).is_err());
    assert!(try_sent::<_, RawArray<[u8; 3]>>(&value).is_err());
    // A value is an array of one, but not of more.
    let mut attachments = Vec::new();
    let place = attach::collect(&mut attachments, || attach::put(value.ground().memory().attachment())).unwrap();
    let bytes = value.ground().memory().len() as u64;
    for (bytes, len) in [(bytes, u64::MAX), (bytes, 3), (bytes + 8, 1), (1, 1)] {
        let message = postcard::to_allocvec(&(place, bytes, 4_u32, len, None::<()>)).unwrap();
        let arrived = Arrived::all(attachments.clone());
        let outcome = attach::provide(arrived, || postcard::from_bytes::<Array<u32>>(&message).map(drop));
        assert!(outcome.is_err(), "{len} elements in {bytes} bytes");
    }
}
