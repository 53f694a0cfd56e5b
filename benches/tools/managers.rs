//! How many calls of objects a manager's server does.

use crate::python::Python;
use concurrent_futures::multiprocessing::Manager;
use concurrent_futures::multiprocessing::managers::{ManagedDict, ManagedLock};
use concurrent_futures::{ExecutorExt, ProcessPoolExecutor};
use concurrent_futures_benches::{Bench, Column, Unit, seconds};

const LARGE: usize = 64 << 10;

fn get((dict, calls): (ManagedDict<u64, u64>, u64)) {
    for _ in 0..calls {
        assert_eq!(dict.get(&7).expect("the server is there"), Some(7));
    }
}

fn set((dict, calls): (ManagedDict<u64, u64>, u64)) {
    for number in 0..calls {
        dict.insert(8, number).expect("the server is there");
    }
}

fn lock(lock: &ManagedLock, calls: u64) {
    for _ in 0..calls {
        lock.lock().expect("nobody dies").unlock().expect("it is held");
    }
}

/// What is measured.
type Sample<'a> = Box<dyn Fn() -> f64 + 'a>;

pub fn calls(bench: &Bench) {
    let title = "Calls of a manager's objects";
    let Some(mut table) = bench.table("manager", title, Unit::THOUSAND_PER_SECOND) else { return };
    table.note(
        "A dictionary of numbers: `get` and `set` of one key. Clients are processes; with two, the calls of both.",
    );
    table.note("`lock`: taken and let go, which are two calls. `64 KiB`: a value of so many bytes is got.");
    let python = Python::start("managers.py");
    if let Some(python) = &python {
        table.note(format!("{}.", python.version()));
    }
    let manager = Manager::new().expect("a server can be started");
    let dict = manager.dict([(7_u64, 7_u64)]).expect("the server is there");
    let large = manager.dict([(0_u64, vec![7_u8; LARGE])]).expect("the server is there");
    let mutex = manager.lock().expect("the server is there");
    let pool = ProcessPoolExecutor::new(2).expect("two workers");

    let (dict, large, mutex, pool) = (&dict, &large, &mutex, &pool);
    let two = move |f: fn((ManagedDict<u64, u64>, u64)), calls: u64| {
        let whole = seconds(|| {
            let tasks = [0; 2].map(|_| pool.submit(f, (dict.clone(), calls)));
            for task in tasks {
                task.result().expect("the server is there");
            }
        });
        (2 * calls) as f64 / whole
    };
    let calls: u64 = bench.options().pick(1_000, 4_000);
    let rate = move |calls: u64, whole: f64| calls as f64 / whole;
    let ours: [(&str, Sample<'_>); 6] = [
        ("get", Box::new(move || rate(calls, seconds(|| get((dict.clone(), calls)))))),
        ("set", Box::new(move || rate(calls, seconds(|| set((dict.clone(), calls)))))),
        ("get, 2 clients", Box::new(move || two(get, calls))),
        ("set, 2 clients", Box::new(move || two(set, calls))),
        ("lock", Box::new(move || rate(calls, seconds(|| lock(mutex, calls))))),
        (
            "64 KiB",
            Box::new(move || {
                let get = || assert!(large.get(&0).is_ok_and(|value| value.is_some_and(|value| value.len() == LARGE)));
                rate(calls, seconds(|| (0..calls).for_each(|_| get())))
            }),
        ),
    ];
    for (name, sample) in ours {
        let mut column = Column::new(name);
        column.row("concurrent-futures Manager", sample);
        if let Some(python) = &python {
            let request = format!("{} {}", name.replace(", 2 clients", "2").replace("64 KiB", "large"), calls / 4);
            column.row("Python Manager", move || python.ask(&request));
        }
        table.measure(column);
    }
    table.print();
}
