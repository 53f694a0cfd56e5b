//! Locks, semaphores and events between processes.

use crate::python::Python;
use concurrent_futures::multiprocessing::{Event, Lock, Process, RLock, Semaphore};
use concurrent_futures_benches::{Bench, Column, Unit, seconds};
use concurrent_futures_ipc::SharedMemory;
use raw_sync::Timeout;
use raw_sync::events::{Event as RawEvent, EventImpl, EventInit, EventState};
use raw_sync::locks::{LockImpl, LockInit, Mutex as RawMutex};
use std::ptr::NonNull;
use std::sync::Barrier;
use std::thread;

pub fn all(bench: &Bench) {
    let python = Python::start("locks.py");
    alone(bench, python.as_ref());
    contended(bench, python.as_ref());
    round_trips(bench, python.as_ref());
}

fn alone(bench: &Bench, python: Option<&Python>) {
    let title = "Locks that nobody else wants";
    let Some(mut table) = bench.table("locks-alone", title, Unit::MILLION_PER_SECOND) else { return };
    table.note("Locked and unlocked, acquired and released; `event`: waited for one that is set. parking_lot's are of one process.");
    let times: u32 = bench.options().pick(20_000, 1_000_000);
    let rate = |work: &dyn Fn()| f64::from(times) / seconds(|| (0..times).for_each(|_| work()));

    let memory = SharedMemory::create(4096).expect("a page");
    let raw_lock = RawLock::new(&memory);
    let (lock, within) = (Lock::new().expect("a lock"), parking_lot::Mutex::new(()));
    let mut column = Column::new("lock");
    column.row("concurrent-futures", || rate(&|| drop(lock.lock())));
    python_row(&mut column, python, format!("alone Lock {times}"), |taken| 1.0 / taken);
    column.row("raw_sync", || rate(&|| drop(raw_lock.0.lock())));
    column.row("parking_lot", || rate(&|| drop(within.lock())));
    table.measure(column);

    let (lock, within) = (RLock::new().expect("a lock"), parking_lot::ReentrantMutex::new(()));
    let mut column = Column::new("rlock");
    column.row("concurrent-futures", || rate(&|| drop(lock.lock())));
    python_row(&mut column, python, format!("alone RLock {times}"), |taken| 1.0 / taken);
    column.row("parking_lot", || rate(&|| drop(within.lock())));
    table.measure(column);

    let semaphore = Semaphore::new(4).expect("a semaphore");
    let mut column = Column::new("semaphore");
    column.row("concurrent-futures", || rate(&|| drop(semaphore.acquire())));
    python_row(&mut column, python, format!("alone Semaphore {times}"), |taken| 1.0 / taken);
    table.measure(column);

    let memory = SharedMemory::create(4096).expect("a page");
    let raw_event = RawSignal::new(&memory, false);
    raw_event.0.set(EventState::Signaled).expect("it can be set");
    let event = Event::new().expect("an event");
    event.set();
    let mut column = Column::new("event");
    column.row("concurrent-futures", || rate(&|| event.wait()));
    python_row(&mut column, python, format!("is_set {times}"), |taken| 1.0 / taken);
    column.row("raw_sync", || rate(&|| raw_event.0.wait(Timeout::Infinite).expect("it is set")));
    table.measure(column);
    table.print();
}

fn contended(bench: &Bench, python: Option<&Python>) {
    let title = "A lock that two want all the time";
    let Some(mut table) = bench.table("locks-contended", title, Unit::MILLION_PER_SECOND) else { return };
    table.note("Two processes lock and unlock it, each so often; parking_lot: two threads of one process.");
    let times: u32 = bench.options().pick(5_000, 200_000);

    fn again_and_again((lock, here, go, times): (Lock, Semaphore, Event, u32)) {
        here.release().expect("it is counted");
        go.wait();
        (0..times).for_each(|_| drop(lock.lock().expect("nobody dies")));
    }
    let mut column = Column::new("2");
    column.row("concurrent-futures", || {
        let (lock, here) = (Lock::new().expect("a lock"), Semaphore::new(0).expect("a semaphore"));
        let go = Event::new().expect("an event");
        let start =
            |_| Process::start(again_and_again, (lock.clone(), here.clone(), go.clone(), times)).expect("a process");
        let processes: Vec<_> = (0..2).map(start).collect();
        processes.iter().for_each(|_| here.acquire().forget());
        let taken = seconds(|| {
            go.set();
            processes.iter().for_each(|process| assert!(process.join().expect("it is ours").success()));
        });
        f64::from(2 * times) / taken
    });
    python_row(&mut column, python, format!("contended {times}"), |taken| 1.0 / taken);
    column.row("parking_lot", || {
        let (lock, go) = (parking_lot::Mutex::new(()), Barrier::new(3));
        let taken = thread::scope(|s| {
            let work = || {
                go.wait();
                (0..times).for_each(|_| drop(lock.lock()));
            };
            let threads = [s.spawn(work), s.spawn(work)];
            seconds(|| {
                go.wait();
                threads.into_iter().for_each(|thread| thread.join().expect("it does not panic"));
            })
        });
        f64::from(2 * times) / taken
    });
    table.measure(column);
    table.print();
}

/// Both sides sleep in turn, so each round trip has two wake-ups.
fn round_trips(bench: &Bench, python: Option<&Python>) {
    let title = "Two who wait for each other";
    let Some(mut table) = bench.table("wake-ups", title, Unit::MICROSECONDS) else { return };
    table.note("One wakes the other, which wakes the first one: the mean of so many round trips. raw_sync: two threads of one process.");
    let times: u32 = bench.options().pick(500, 10_000);

    fn semaphores((there, back, times): (Semaphore, Semaphore, u32)) {
        for _ in 0..times {
            there.acquire().forget();
            back.release().expect("it is counted");
        }
    }
    let mut column = Column::new("semaphores");
    column.row("concurrent-futures", || {
        let [there, back] = [(); 2].map(|()| Semaphore::new(0).expect("a semaphore"));
        let process = Process::start(semaphores, (there.clone(), back.clone(), times + 1)).expect("a process");
        let once = || {
            there.release().expect("it is counted");
            back.acquire().forget();
        };
        once();
        let taken = seconds(|| (0..times).for_each(|_| once()));
        process.join().expect("it is ours");
        taken / f64::from(times)
    });
    python_row(&mut column, python, format!("semaphore_round_trip {times}"), |taken| taken);
    table.measure(column);

    fn events((there, back, times): (Event, Event, u32)) {
        for _ in 0..times {
            there.wait();
            there.clear();
            back.set();
        }
    }
    let mut column = Column::new("events");
    column.row("concurrent-futures", || {
        let [there, back] = [(); 2].map(|()| Event::new().expect("an event"));
        let process = Process::start(events, (there.clone(), back.clone(), times + 1)).expect("a process");
        let once = || {
            there.set();
            back.wait();
            back.clear();
        };
        once();
        let taken = seconds(|| (0..times).for_each(|_| once()));
        process.join().expect("it is ours");
        taken / f64::from(times)
    });
    python_row(&mut column, python, format!("event_round_trip {times}"), |taken| taken);
    column.row("raw_sync", || {
        let memory = [(); 2].map(|()| SharedMemory::create(4096).expect("a page"));
        let [there, back] = memory.each_ref().map(|memory| RawSignal::new(memory, true));
        thread::scope(|s| {
            s.spawn(|| {
                let [there, back] = memory.each_ref().map(RawSignal::of);
                for _ in 0..=times {
                    there.0.wait(Timeout::Infinite).expect("it comes");
                    back.0.set(EventState::Signaled).expect("it can be set");
                }
            });
            let once = || {
                there.0.set(EventState::Signaled).expect("it can be set");
                back.0.wait(Timeout::Infinite).expect("it comes");
            };
            once();
            seconds(|| (0..times).for_each(|_| once())) / f64::from(times)
        })
    });
    table.measure(column);
    table.print();
}

/// What Python answers is the seconds of one.
fn python_row<'a>(column: &mut Column<'a>, python: Option<&'a Python>, request: String, value: fn(f64) -> f64) {
    if let Some(python) = python {
        column.row(python.version(), move || value(python.ask(&request)));
    }
}

/// A lock of raw_sync in a page of its own.
struct RawLock(Box<dyn LockImpl>);

impl RawLock {
    fn new(memory: &SharedMemory) -> RawLock {
        let start = memory.start().as_ptr();
        // SAFETY: a new page, mapped as long as the bench goes on; what it protects is never looked at.
        let made = unsafe { RawMutex::new(start, NonNull::dangling().as_ptr()) };
        RawLock(made.expect("a lock").0)
    }
}

/// An event of raw_sync in a page of its own; it may clear itself when somebody has waited for it.
struct RawSignal(Box<dyn EventImpl>);

impl RawSignal {
    fn new(memory: &SharedMemory, clears_itself: bool) -> RawSignal {
        // SAFETY: a new page, mapped as long as the bench goes on.
        let made = unsafe { RawEvent::new(memory.start().as_ptr(), clears_itself) };
        RawSignal(made.expect("an event").0)
    }

    fn of(memory: &SharedMemory) -> RawSignal {
        // SAFETY: it was made there, and is mapped as long as the bench goes on.
        let opened = unsafe { RawEvent::from_existing(memory.start().as_ptr()) };
        RawSignal(opened.expect("an event").0)
    }
}
