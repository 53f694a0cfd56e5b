//! `Value`, `Array`, `RawValue`, `RawArray` between processes.

use concurrent_futures::bytemuck::{Pod, Zeroable};
use concurrent_futures::multiprocessing::{Array, OwnerDied, Process, RLock, RawArray, RawValue, TryLockError, Value};
use concurrent_futures::{ExecutorExt, ProcessPoolExecutor};
use concurrent_futures_conformance::sweep::{Sweep, alone};
use concurrent_futures_conformance::{PATIENCE, Soon, Stage, Ticket};
use serde::{Deserialize, Serialize};

fn joined(process: std::io::Result<Process>) {
    assert!(process.unwrap().join().unwrap().success());
}

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
struct Body {
    place: [f64; 3],
    id: u64,
}

// SAFETY: four words without padding, for which any bits are valid.
unsafe impl Pod for Body {}
// SAFETY: as above.
unsafe impl Zeroable for Body {}

#[derive(Serialize, Deserialize)]
struct Everything {
    byte: Value<u8>,
    long: Value<i64>,
    double: Value<f64>,
    body: Value<Body>,
    raw: RawValue<u16>,
}

impl Everything {
    fn change(self) {
        self.byte.set(b'y');
        self.long.update(|long| long * 2);
        self.double.set(-1.5);
        self.body.update(|body| Body { id: body.id + 1, ..body });
        self.raw.fetch_add(1);
    }
}

/// CPython's `_TestValue.test_value` and `_TestSharedCTypes.test_sharedctypes`, with and without a lock.
#[test]
fn what_a_child_changes_the_parent_sees() {
    let body = Body { place: [1.0, 2.0, 3.0], id: 41 };
    let make = || -> std::io::Result<Everything> {
        Ok(Everything {
            byte: Value::new(b'x')?,
            long: Value::new(1 << 40)?,
            double: Value::new(2.5)?,
            body: Value::new(body)?,
            raw: RawValue::new(u16::MAX)?,
        })
    };
    let all = make().unwrap();
    let sent = Everything {
        byte: all.byte.clone(),
        long: all.long.clone(),
        double: all.double.clone(),
        body: all.body.clone(),
        raw: all.raw.clone(),
    };
    joined(Process::start(Everything::change, sent));
    assert_eq!((all.byte.get(), all.long.get(), all.double.get(), all.raw.get()), (b'y', 1 << 41, -1.5, 0));
    assert_eq!(all.body.get(), Body { id: 42, ..body });
}

fn running_sum((locked, raw): (Array<i32>, RawArray<i32>)) {
    let mut guard = locked.lock().unwrap();
    for index in 1..guard.len() {
        let before = guard.get(index - 1);
        guard.update(index, |value| value + before);
        raw.fetch_add(index, raw.get(index - 1));
    }
}

/// CPython's `_TestArray.test_array`.
#[test]
fn arrays_are_changed_in_place() {
    let start = [680, 626, 934, 821, 150, 233, 548, 982, 714, 831];
    let (locked, raw) = (Array::new(start).unwrap(), RawArray::new(start).unwrap());
    joined(Process::start(running_sum, (locked.clone(), raw.clone())));
    let expected: Vec<i32> = start
        .iter()
        .scan(0, |sum, value| {
            *sum += value;
            Some(*sum)
        })
        .collect();
    assert_eq!((locked.to_vec(), raw.to_vec()), (expected.clone(), expected));
}

/// CPython's `_TestArray.test_array_from_size` and `test_accepts_long`.
#[test]
fn arrays_are_zeroed() {
    for _ in 0..3 {
        let array = Array::<i32>::zeroed(10).unwrap();
        assert_eq!(array.to_vec(), [0; 10]);
        array.write_at(0, &[7; 10]);
    }
    assert_eq!(Array::<u8>::zeroed(10 << 20).unwrap().len(), 10 << 20);
}

fn count((locked, raw, times): (Value<u64>, RawValue<u64>, u64)) {
    for _ in 0..times {
        let mut guard = locked.lock().unwrap();
        guard += 1;
        drop(guard);
        locked.update(|count| count + 1);
        raw.fetch_add(2);
    }
}

#[test]
fn nothing_is_lost_of_what_many_processes_add() {
    let (locked, raw) = (Value::new(0).unwrap(), RawValue::new(0).unwrap());
    let pool = ProcessPoolExecutor::new(3).unwrap();
    for task in pool.submit_all(count, (0..6).map(|_| (locked.clone(), raw.clone(), 500))) {
        task.soon().unwrap();
    }
    assert_eq!((locked.get(), raw.get()), (6000, 6000));
}

/// CPython's `_TestValue.test_getobj_getlock`: one lock for several, also that of another one.
#[test]
fn several_share_a_lock() {
    let lock = RLock::new().unwrap();
    let pair = (Value::with_lock(0_i64, &lock).unwrap(), Array::with_lock([0_i64; 4], &lock).unwrap());
    let both_ways = |(value, array): (Value<i64>, Array<i64>)| {
        for _ in 0..300 {
            let _lock = value.get_lock().lock().unwrap();
            assert_eq!(value.get(), array.iter().sum());
            value.update(|value| value + 1);
            array.update(2, |element| element + 1);
        }
    };
    let guard = lock.lock().unwrap();
    let processes = [(); 2].map(|()| Process::start(both_ways, pair.clone()).unwrap());
    pair.0.set(1);
    pair.1.set(3, 1);
    drop(guard);
    assert!(processes.iter().all(|process| process.join().unwrap().success()));
    assert_eq!((pair.0.get(), pair.1.to_vec()), (601, vec![0, 0, 600, 1]));
}

fn hold((value, array, ticket): (Value<u32>, Array<u32>, Ticket)) {
    let mut value = value.lock().unwrap();
    let mut array = array.lock().unwrap();
    value += 1;
    array.set(0, 1);
    ticket.enter("has both");
    value += 1;
}

#[test]
fn who_is_killed_with_them_locked_keeps_nobody_from_them() {
    let (value, array, stage) = (Value::new(10).unwrap(), Array::new([0; 2]).unwrap(), Stage::new());
    let process = Process::start(hold, (value.clone(), array.clone(), stage.ticket())).unwrap();
    let arrival = stage.next();
    assert!(matches!(value.try_lock(), Err(TryLockError::WouldBlock)));
    process.kill().unwrap();
    process.join().unwrap();
    drop(arrival);
    assert_eq!((value.get(), array.get(0)), (11, 1));
    assert!(value.lock().is_err() && array.lock().is_err(), "they are told");
    assert!(value.lock().is_ok() && array.lock().is_ok(), "once");
}

/// Too large for one store.
type Large = [u64; 2];

/// Killed at each instant of an update: the value is the one before or the one after, and nobody waits for ever.
fn updates_are_swept((small, large): (Value<u64>, Value<Large>)) -> (u64, u64) {
    let (mut old, mut new) = (0, 0);
    let swept = Sweep::every(13).run(
        || {
            small.update(|value| value + 1);
        },
        |moment| {
            let guard = small.lock_timeout(PATIENCE);
            let guard = guard.or_else(|error| match error {
                TryLockError::OwnerDied(OwnerDied(guard)) => Ok(guard),
                late => Err(late),
            });
            match guard.unwrap().get() {
                0 => old += 1,
                1 => new += 1,
                other => panic!("{other} at {moment:?}"),
            }
            small.set(0);
        },
    );
    let more = Sweep::every(61).run(
        || {
            large.update(|value| value.map(|word| word + 1));
        },
        |moment| {
            match large.get() {
                [0, 0] => old += 1,
                [1, 1] => new += 1,
                other => panic!("{other:?} at {moment:?}"),
            }
            large.set([0; 2]);
        },
    );
    assert_eq!(old + new, swept.kills + more.kills);
    (old, new)
}

#[test]
fn sweep_of_an_update() {
    let (small, large) = (Value::new(0).unwrap(), Value::new([0; 2]).unwrap());
    let (old, new) = alone(updates_are_swept, (small.clone(), large));
    assert!(old > 0 && new > 0, "{old} and {new}");
    assert_eq!(small.get(), 0);
}
