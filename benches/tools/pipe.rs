//! Connections of two processes.

use crate::python::Python;
use concurrent_futures::ipc_channel::ipc::{self, IpcBytesReceiver, IpcBytesSender, IpcReceiver, IpcSender};
use concurrent_futures::multiprocessing::{Connection, Process, Receiver, Sender, one_way, pipe};
use concurrent_futures_benches::{Bench, Column, Table, Unit, median_of_each, seconds};
use std::time::Duration;

/// Small messages, one way.
pub fn small(bench: &Bench) {
    let title = "Pipe: small messages one way";
    let Some(mut table) = bench.table("pipe-small", title, Unit::THOUSAND_PER_SECOND) else { return };
    let python = python(&mut table);
    let count = bench.options().pick(20_000, 500_000);
    let fewer = bench.options().pick(2_000, 50_000);
    table.note(format!(
        "A `u64` from one process to another, which answers when it has all; {count} in a sample, {fewer} of ipc-channel and \
         Python."
    ));
    let ours = Ours::start();
    let theirs = Theirs::start();
    let mut column = Column::new("u64");
    column.row("concurrent-futures", || count as f64 / seconds(|| ours.numbers(count)));
    column.row("ipc-channel", || fewer as f64 / seconds(|| theirs.numbers(fewer)));
    if let Some(python) = &python {
        column.row("Python Pipe", move || fewer as f64 / python.ask(&format!("pipe_stream {fewer} 0")));
    }
    table.measure(column);
    table.print();
}

/// One message there, one back.
pub fn round_trip(bench: &Bench) {
    let Some(mut table) = bench.table("pipe-round-trip", "Pipe: round trip of one `u64`", Unit::MICROSECONDS) else {
        return;
    };
    let python = python(&mut table);
    let ours = Ours::start();
    let theirs = Theirs::start();
    for (name, count, pause) in [
        ("hot", bench.options().pick(500, 5_000), None),
        ("after 1 ms pauses", bench.options().pick(50, 300), Some(Duration::from_millis(1))),
    ] {
        let mut column = Column::new(name);
        column.row("concurrent-futures", || median_of_each(count, pause, || ours.there_and_back()));
        column.row("ipc-channel", || median_of_each(count, pause, || theirs.there_and_back()));
        if let Some(python) = &python {
            let pause = pause.map_or(0, |pause| pause.as_millis());
            column.row("Python Pipe", move || python.ask(&format!("pipe_round_trip {count} {pause}")));
        }
        table.measure(column);
    }
    table.print();
}

/// Bytes per second.
pub fn bandwidth(bench: &Bench) {
    let Some(mut table) = bench.table("pipe-bandwidth", "Pipe: bytes one way, time for 64 MiB", Unit::MILLISECONDS)
    else {
        return;
    };
    let python = python(&mut table);
    table.note("Received as a vector of bytes each; nobody looks at them.");
    let ours = Ours::start();
    let theirs = Theirs::start();
    for (name, size) in [("of 64 KiB", 64 << 10), ("of 1 MiB", 1 << 20), ("of 64 MiB", 64 << 20)] {
        let count = (64 << 20) / size;
        let bytes = vec![1_u8; size];
        let mut column = Column::new(name);
        column.row("concurrent-futures", || seconds(|| ours.bytes(&bytes, count)));
        column.row("ipc-channel", || seconds(|| theirs.bytes(&bytes, count)));
        if let Some(python) = &python {
            column.row("Python Pipe", move || python.ask(&format!("pipe_stream {count} {size}")));
        }
        table.measure(column);
    }
    table.print();
}

/// Python, whose version is noted.
pub fn python(table: &mut Table<'_>) -> Option<Python> {
    let python = Python::start("pipes_and_queues.py");
    table.note(
        python
            .as_ref()
            .map_or("No python3 here: its rows are left out.".to_owned(), |python| format!("{}.", python.version())),
    );
    python
}

/// What the other process is to do next.
#[derive(serde::Serialize, serde::Deserialize)]
enum Job {
    Numbers(usize),
    Bytes(usize),
}

struct Ours {
    control: Connection<Job, u64>,
    data: Sender<u64>,
    peer: Process,
}

impl Ours {
    fn start() -> Ours {
        fn peer((control, data): (Connection<u64, Job>, Receiver<u64>)) {
            while let Ok(job) = control.recv() {
                let answer = match job {
                    Job::Numbers(count) => (0..count).map(|_| data.recv().expect("a number")).sum(),
                    Job::Bytes(count) => {
                        (0..count).map(|_| data.recv_bytes(usize::MAX).expect("bytes").len() as u64).sum()
                    }
                };
                control.send(answer).expect("somebody waits for it");
            }
        }
        let (control, theirs) = pipe().expect("a pipe");
        let (data, receiver) = one_way().expect("a pipe");
        let peer = Process::start(peer, (theirs, receiver)).expect("a process");
        Ours { control, data, peer }
    }

    fn numbers(&self, count: usize) {
        self.control.send(Job::Numbers(count)).expect("it is there");
        (0..count as u64).for_each(|n| self.data.send(n).expect("it is there"));
        assert_eq!(self.control.recv().expect("an answer"), (0..count as u64).sum::<u64>());
    }

    fn bytes(&self, bytes: &[u8], count: usize) {
        self.control.send(Job::Bytes(count)).expect("it is there");
        (0..count).for_each(|_| self.data.send_bytes(bytes).expect("it is there"));
        assert_eq!(self.control.recv().expect("an answer"), (count * bytes.len()) as u64);
    }

    /// Of a request for nothing.
    fn there_and_back(&self) {
        self.control.send(Job::Numbers(0)).expect("it is there");
        assert_eq!(self.control.recv().expect("an answer"), 0);
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.peer.kill().expect("it is ours");
    }
}

struct Theirs {
    control: IpcSender<Job>,
    answers: IpcReceiver<u64>,
    data: IpcSender<u64>,
    raw: IpcBytesSender,
    peer: Process,
}

impl Theirs {
    fn start() -> Theirs {
        type Ends = (IpcReceiver<Job>, IpcSender<u64>, IpcReceiver<u64>, IpcBytesReceiver);
        fn peer((control, answers, data, raw): Ends) {
            while let Ok(job) = control.recv() {
                let answer = match job {
                    Job::Numbers(count) => (0..count).map(|_| data.recv().expect("a number")).sum(),
                    Job::Bytes(count) => (0..count).map(|_| raw.recv().expect("bytes").len() as u64).sum(),
                };
                answers.send(answer).expect("somebody waits for it");
            }
        }
        let (control, jobs) = ipc::channel().expect("a channel");
        let (back, answers) = ipc::channel().expect("a channel");
        let (data, receiver) = ipc::channel().expect("a channel");
        let (raw, raw_receiver) = ipc::bytes_channel().expect("a channel");
        let peer = Process::start(peer, (jobs, back, receiver, raw_receiver)).expect("a process");
        Theirs { control, answers, data, raw, peer }
    }

    fn numbers(&self, count: usize) {
        self.control.send(Job::Numbers(count)).expect("it is there");
        (0..count as u64).for_each(|n| self.data.send(n).expect("it is there"));
        assert_eq!(self.answers.recv().expect("an answer"), (0..count as u64).sum::<u64>());
    }

    fn bytes(&self, bytes: &[u8], count: usize) {
        self.control.send(Job::Bytes(count)).expect("it is there");
        (0..count).for_each(|_| self.raw.send(bytes).expect("it is there"));
        assert_eq!(self.answers.recv().expect("an answer"), (count * bytes.len()) as u64);
    }

    fn there_and_back(&self) {
        self.control.send(Job::Numbers(0)).expect("it is there");
        assert_eq!(self.answers.recv().expect("an answer"), 0);
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        self.peer.kill().expect("it is ours");
    }
}
