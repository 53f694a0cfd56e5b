//! Queues between processes.

use crate::pipe::python;
use concurrent_futures::multiprocessing::{Connection, Process, Queue, pipe};
use concurrent_futures_benches::{Bench, Column, Unit, median_of_each, seconds};
use std::time::Duration;

/// Items per second.
pub fn stream(bench: &Bench) {
    let Some(mut table) = bench.table("queue-stream", "Queue: items through it", Unit::THOUSAND_PER_SECOND) else {
        return;
    };
    let python = python(&mut table);
    let count = bench.options().pick(20_000, 400_000);
    let fewer = bench.options().pick(2_000, 40_000);
    table.note(format!(
        "A `u64` each, producers and consumers processes of their own; {count} in a sample, {fewer} of Python."
    ));
    for (producers, consumers) in [(1, 1), (2, 2)] {
        let crew = Crew::start(producers, consumers);
        let mut column = Column::new(format!("{producers} to {consumers}"));
        column.row("concurrent-futures", || count as f64 / seconds(|| crew.pass(count)));
        for kind in ["Queue", "SimpleQueue"] {
            if let Some(python) = &python {
                let request = format!("queue_stream {kind} {producers} {consumers} {fewer}");
                column.row(format!("Python {kind}"), move || fewer as f64 / python.ask(&request));
            }
        }
        table.measure(column);
    }
    table.print();
}

/// An item there, and one back over another queue.
pub fn round_trip(bench: &Bench) {
    let Some(mut table) = bench.table("queue-round-trip", "Queue: round trip of one `u64`", Unit::MICROSECONDS) else {
        return;
    };
    let python = python(&mut table);
    table.note("Over a queue there and another one back.");
    fn echo((there, back): (Queue<u64>, Queue<u64>)) {
        while let Ok(item) = there.get() {
            back.put(item).expect("somebody waits for it");
        }
    }
    let (there, back) = (Queue::new().expect("a queue"), Queue::new().expect("a queue"));
    let peer = Process::start(echo, (there.clone(), back.clone())).expect("a process");
    for (name, count, pause) in [
        ("hot", bench.options().pick(500, 5_000), None),
        ("after 1 ms pauses", bench.options().pick(50, 300), Some(Duration::from_millis(1))),
    ] {
        let mut column = Column::new(name);
        column.row("concurrent-futures", || {
            median_of_each(count, pause, || {
                there.put(7).expect("it is open");
                assert_eq!(back.get().expect("an answer"), 7);
            })
        });
        for kind in ["Queue", "SimpleQueue"] {
            if let Some(python) = &python {
                let request = format!("queue_round_trip {kind} {count} {}", pause.map_or(0, |pause| pause.as_millis()));
                column.row(format!("Python {kind}"), move || python.ask(&request));
            }
        }
        table.measure(column);
    }
    there.close().expect("it is open");
    peer.join().expect("it is ours");
    table.print();
}

/// What one of the crew is to do.
#[derive(serde::Serialize, serde::Deserialize)]
enum Job {
    Put(u64),
    Get(u64),
}

/// Processes that put, and processes that get.
struct Crew {
    producers: Vec<Connection<Job, u64>>,
    consumers: Vec<Connection<Job, u64>>,
    processes: Vec<Process>,
}

impl Crew {
    fn start(producers: usize, consumers: usize) -> Crew {
        fn work((control, queue): (Connection<u64, Job>, Queue<u64>)) {
            while let Ok(job) = control.recv() {
                let sum = match job {
                    Job::Put(count) => (0..count).map(|n| queue.put(n).map_or(0, |()| n)).sum(),
                    Job::Get(count) => (0..count).map(|_| queue.get().expect("an item")).sum(),
                };
                control.send(sum).expect("somebody waits for it");
            }
        }
        let queue = Queue::new().expect("a queue");
        let mut crew = Crew { producers: Vec::new(), consumers: Vec::new(), processes: Vec::new() };
        for number in 0..producers + consumers {
            let (control, theirs) = pipe().expect("a pipe");
            crew.processes.push(Process::start(work, (theirs, queue.clone())).expect("a process"));
            if number < producers { &mut crew.producers } else { &mut crew.consumers }.push(control);
        }
        crew
    }

    fn pass(&self, count: u64) {
        let all = |crew: &[Connection<Job, u64>], job: fn(u64) -> Job| {
            crew.iter().for_each(|one| one.send(job(count / crew.len() as u64)).expect("it is there"));
        };
        all(&self.producers, Job::Put);
        all(&self.consumers, Job::Get);
        let sums = |crew: &[Connection<Job, u64>]| crew.iter().map(|one| one.recv().expect("a sum")).sum::<u64>();
        assert_eq!(sums(&self.producers), sums(&self.consumers));
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        // At the end of the connections they leave.
        self.producers.clear();
        self.consumers.clear();
        for process in &self.processes {
            process.join().expect("it is ours");
        }
    }
}
