//! Ways to carry bytes between a parent and one worker, bare: frames over two rings in shared memory and over a unix stream
//! socket, the two data paths of the process pool, and ipc-channel's channel of bytes. What speaks for which stands in
//! `crates/process/src/link/mod.rs`; these are its figures.
//!
//! ```text
//! cargo bench -p concurrent-futures-benches --bench link -- --quick
//! ```
//!
//! The other process is this program, started again with a word that says what it is to echo over. Frames have a head of
//! fixed size that tells the length of the body, as those of the pool; a reader takes what is there with one call.

mod channel;
mod ring;
mod socket;

use channel::Channel;
use concurrent_futures_benches::{Bench, Column, Options, Unit, median_of_each, seconds};
use ring::Ring;
use socket::{Batching, Socket};
use std::time::Duration;

/// A small task and its answer, of the size that the pool's have with a `u64` inside.
const SMALL: usize = 8;
const WINDOW: usize = 64;

/// A way to a process that echoes.
trait Link {
    fn send(&mut self, body: &[u8]);
    /// Sends what is held back, and waits for the next body.
    fn receive(&mut self) -> Vec<u8>;
}

fn main() {
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next()) {
        (Some(socket::ECHO), None) => return socket::echo(Batching::Off),
        (Some(socket::ECHO_IN_BATCHES), None) => return socket::echo(Batching::On),
        (Some(ring::ECHO), None) => return ring::echo(),
        (Some(channel::ECHO), Some(name)) => return channel::echo(name),
        _ => {}
    }
    let Some(options) = Options::from_args() else { return };
    let bench = Bench::new("Link", options);
    small(&bench);
    round_trip(&bench, "round-trip", "Round trip of one small frame, hot", None);
    round_trip(
        &bench,
        "round-trip-paused",
        "Round trip of one small frame, after 1 ms pauses",
        Some(Duration::from_millis(1)),
    );
    large(&bench);
}

fn links() -> Vec<(&'static str, Box<dyn Link>)> {
    vec![
        ("ring, a look with yield then a futex", Box::new(Ring::new())),
        ("unix stream, frames in batches", Box::new(Socket::new(Batching::On))),
        ("unix stream, a write for each frame", Box::new(Socket::new(Batching::Off))),
        ("ipc-channel, bytes", Box::new(Channel::new())),
    ]
}

fn small(bench: &Bench) {
    let title = format!("Small frames there and back, {WINDOW} in flight");
    let Some(mut table) = bench.table("stream", &title, Unit::THOUSAND_PER_SECOND) else { return };
    let frames = bench.options().pick(5_000, 200_000);
    table.note(format!(
        "Bodies of {SMALL} bytes, one echoing process; the oldest answer is taken, then the next frame sent."
    ));
    let mut links = links();
    let mut column = Column::new("1 worker");
    for (name, link) in &mut links {
        column.row(*name, || frames as f64 / seconds(|| fly(&mut **link, frames)));
    }
    table.measure(column);
    table.print();
}

fn fly(link: &mut dyn Link, frames: usize) {
    for sent in 0..frames {
        if sent >= WINDOW {
            assert_eq!(link.receive().len(), SMALL);
        }
        link.send(&[7; SMALL]);
    }
    for _ in 0..WINDOW.min(frames) {
        assert_eq!(link.receive().len(), SMALL);
    }
}

fn round_trip(bench: &Bench, name: &str, title: &str, pause: Option<Duration>) {
    let Some(mut table) = bench.table(name, title, Unit::MICROSECONDS) else { return };
    let count = bench.options().pick(50, if pause.is_some() { 300 } else { 5_000 });
    table.note(format!("A body of {SMALL} bytes; a round is the median of {count} frames."));
    let mut links = links();
    let mut column = Column::new("1 worker");
    for (name, link) in &mut links {
        column.row(*name, || median_of_each(count, pause, || back_and_forth(&mut **link, &[7; SMALL])));
    }
    table.measure(column);
    table.print();
}

fn large(bench: &Bench) {
    let title = "Large bodies there and back";
    let Some(mut table) = bench.table("large", title, Unit::MILLISECONDS) else { return };
    table.note("One body at a time, read whole before it is sent back.");
    let mut links = links();
    for (name, size) in [("1 MiB", 1 << 20), ("64 MiB", 64 << 20)] {
        let count = bench.options().pick(1, if size > 1 << 20 { 2 } else { 30 });
        let body = vec![7; size];
        let mut column = Column::new(name);
        for (name, link) in &mut links {
            let body = &body[..];
            column.row(*name, move || median_of_each(count, None, || back_and_forth(&mut **link, body)));
        }
        table.measure(column);
    }
    table.print();
}

fn back_and_forth(link: &mut dyn Link, body: &[u8]) {
    link.send(body);
    assert_eq!(link.receive().len(), body.len());
}
