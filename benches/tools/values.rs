//! What processes share and change: values, arrays, lists, and memory with a name.

use crate::python::Python;
use concurrent_futures::multiprocessing::{Array, Process, RawValue, ShareableList, SharedMemory, Value};
use concurrent_futures_benches::{Bench, Column, Unit, seconds};
use shared_memory::ShmemConf;
use std::hint::black_box;

/// Something to be measured.
type Work<'a, R> = Box<dyn Fn() -> R + 'a>;

pub fn all(bench: &Bench) {
    let python = Python::start("values.py");
    values(bench, python.as_ref());
    arrays(bench, python.as_ref());
    memory(bench, python.as_ref());
}

/// Changes a second.
fn rate(times: u64, work: impl FnOnce()) -> f64 {
    times as f64 / seconds(work)
}

fn repeat<R>(times: u64, work: impl Fn() -> R) {
    for _ in 0..times {
        black_box(work());
    }
}

fn values(bench: &Bench, python: Option<&Python>) {
    let Some(mut table) = bench.table("values", "One value, and one element of a list", Unit::MILLION_PER_SECOND)
    else {
        return;
    };
    table.note(
        "Of an i64. `update`: one more, under the lock; in one process, and in two at once (their start included).",
    );
    table.note("`get`: read, under the lock. `set`: written, without one (`RawValue`). `list`: an element of a ShareableList set.");
    if let Some(python) = python {
        table.note(format!("{}.", python.version()));
    }
    let times = bench.options().pick(20_000, 1_000_000);
    let slow = bench.options().pick(5_000, 100_000);
    let value = Value::new(0_i64).expect("there is memory");
    let raw = RawValue::new(0_i64).expect("there is memory");
    let list = ShareableList::new([0_i64.into(), "text".into()]).expect("there is memory");
    let ours: [(&str, Work<'_, ()>); 4] = [
        ("update", Box::new(|| repeat(times, || value.update(|value| value + 1)))),
        ("get", Box::new(|| repeat(times, || value.get()))),
        ("raw", Box::new(|| (0..times).for_each(|n| raw.set(n as i64)))),
        ("list", Box::new(|| (0..times).for_each(|n| list.set(0, n as i64).expect("there is room")))),
    ];
    for (what, work) in &ours {
        let mut column = Column::new(if *what == "raw" { "set" } else { what });
        column.row("concurrent-futures", || rate(times, work));
        if *what == "update" {
            column
                .row("concurrent-futures, RawValue::fetch_add", || rate(times, || repeat(times, || raw.fetch_add(1))));
        }
        if let Some(python) = python {
            let request = format!("alone {what} {slow}");
            column.row("Python", move || python.ask(&request));
        }
        table.measure(column);
    }
    let mut column = Column::new("update, two processes");
    column.row("concurrent-futures", || two(times, &value, add));
    column.row("concurrent-futures, RawValue::fetch_add", || two(times, &raw, fetch_add));
    if let Some(python) = python {
        let request = format!("updates 2 {slow}");
        column.row("Python", move || python.ask(&request));
    }
    table.measure(column);
    table.print();
}

fn add((value, times): (Value<i64>, u64)) {
    repeat(times, || value.update(|value| value + 1));
}

fn fetch_add((value, times): (RawValue<i64>, u64)) {
    repeat(times, || value.fetch_add(1));
}

/// By two processes at once.
fn two<V: Clone + concurrent_futures::Portable>(times: u64, value: &V, work: fn((V, u64))) -> f64 {
    rate(2 * times, || {
        let processes = [(); 2].map(|()| Process::start(work, (value.clone(), times)).expect("there is room for it"));
        for process in processes {
            assert!(process.join().is_ok_and(|status| status.success()));
        }
    })
}

fn arrays(bench: &Bench, python: Option<&Python>) {
    const LENGTH: usize = 1_000_000;
    let Some(mut table) = bench.table("array", "All of an array", Unit::MILLISECONDS) else { return };
    table.note(format!("{LENGTH} elements of an i32, under the lock: to a `Vec` (a list), and from a slice (a list)."));
    let array = Array::<i32>::zeroed(LENGTH).expect("there is memory");
    let new: Vec<i32> = (0..LENGTH as i32).collect();
    let ours: [(&str, Work<'_, f64>); 2] = [
        ("read", Box::new(|| seconds(|| array.to_vec()))),
        ("write", Box::new(|| seconds(|| array.write_at(0, &new)))),
    ];
    for (what, work) in &ours {
        let mut column = Column::new(*what);
        column.row("concurrent-futures", work);
        if let Some(python) = python {
            let request = format!("array {what} {LENGTH}");
            column.row("Python", move || python.ask(&request));
        }
        table.measure(column);
    }
    table.print();
}

fn memory(bench: &Bench, python: Option<&Python>) {
    const SMALL: usize = 64 << 10;
    const LARGE: usize = 16 << 20;
    let Some(mut table) = bench.table("shared-memory", "Shared memory with a name", Unit::MICROSECONDS) else { return };
    table.note("`create`: 64 KiB made and removed. `copy`: 16 MiB written from a buffer, and read to a new one.");
    table.note("`shared_memory` gives a pointer: whoever uses it must know that nobody else does; here it is copied by memcpy.");
    let times = bench.options().pick(20, 500);
    let mut column = Column::new("create");
    column.row("concurrent-futures", || {
        seconds(|| (0..times).for_each(|_| drop(SharedMemory::create(None, SMALL).expect("there is room"))))
            / times as f64
    });
    column.row("shared_memory", || {
        let make = || ShmemConf::new().size(SMALL).create().expect("there is room");
        seconds(|| (0..times).for_each(|_| drop(make()))) / times as f64
    });
    if let Some(python) = python {
        let request = format!("memory create {SMALL} {times}");
        column.row("Python", move || python.ask(&request));
    }
    table.measure(column);

    let copies = bench.options().pick(1, 4);
    let data = vec![1_u8; LARGE];
    let ours = SharedMemory::create(None, LARGE).expect("there is room");
    let theirs = ShmemConf::new().size(LARGE).create().expect("there is room");
    let each = |work: &dyn Fn()| seconds(|| (0..copies).for_each(|_| work())) / f64::from(copies);
    let mut column = Column::new("copy");
    column.row("concurrent-futures", || {
        each(&|| {
            ours.write_at(0, &data);
            black_box(ours.read(..));
        })
    });
    column.row("shared_memory", || {
        each(&|| {
            // SAFETY: so many bytes are mapped, and nobody else has them.
            unsafe { theirs.as_ptr().copy_from_nonoverlapping(data.as_ptr(), LARGE) };
            // SAFETY: as above.
            black_box(unsafe { std::slice::from_raw_parts(theirs.as_ptr(), LARGE) }.to_vec());
        })
    });
    if let Some(python) = python {
        let request = format!("memory copy {LARGE} {copies}");
        column.row("Python", move || python.ask(&request));
    }
    table.measure(column);
    table.print();
}
