//! A progress bar on stderr.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::walk;

const WIDTH: usize = 30;
const BETWEEN_DRAWINGS: Duration = Duration::from_millis(100);

/// Erases itself when it is dropped.
pub struct Progress {
    total: Arc<Total>,
    files: u64,
    bytes: u64,
    started: Instant,
    drawn: Option<Instant>,
    /// results scroll by on the same terminal
    shares_the_terminal: bool,
}

/// What there is to do, counted while the work already runs.
#[derive(Default)]
struct Total {
    files: AtomicU64,
    bytes: AtomicU64,
    known: AtomicBool,
}

impl Progress {
    /// `None` when stderr is not a terminal.
    pub fn on_terminal(paths: &[PathBuf]) -> Option<Self> {
        if !io::stderr().is_terminal() {
            return None;
        }
        let total = Arc::new(Total::default());
        let (counter, paths) = (Arc::clone(&total), paths.to_vec());
        // Not joined: the bar needs it no longer when the work is done, and it ends with the
        // program.
        thread::spawn(move || counter.count(&paths));
        Some(Progress {
            total,
            files: 0,
            bytes: 0,
            started: Instant::now(),
            drawn: None,
            shares_the_terminal: io::stdout().is_terminal(),
        })
    }

    /// One more file is done.
    pub fn advance(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
        if self.drawn.is_none_or(|at| at.elapsed() >= BETWEEN_DRAWINGS) {
            self.drawn = Some(Instant::now());
            put(&format!("\r{}\x1b[K", self.text()));
        }
    }

    /// Makes room for a line on stderr.
    pub fn erase(&mut self) {
        if self.drawn.take().is_some() {
            put("\r\x1b[K");
        }
    }

    /// Makes room for a line on stdout, where that is the same terminal.
    pub fn erase_for_stdout(&mut self) {
        if self.shares_the_terminal {
            self.erase();
        }
    }

    fn text(&self) -> String {
        let files = self.files;
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        let done = mebibytes(self.bytes);
        let rate = done / seconds;
        if !self.total.known.load(Ordering::Acquire) {
            return format!("{files} files, {done:.1} MiB, {rate:.0} MiB/s");
        }
        let of = self.total.files.load(Ordering::Relaxed);
        let share = share(self.bytes, self.total.bytes.load(Ordering::Relaxed));
        format!("{} {:3.0}%  {files}/{of} files, {done:.1} MiB, {rate:.0} MiB/s", bar(share), share * 100.0)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.erase();
    }
}

impl Total {
    fn count(&self, paths: &[PathBuf]) {
        for found in walk::files(paths) {
            self.files.fetch_add(1, Ordering::Relaxed);
            // what cannot be read is reported by the walk that does the work
            if let Some(is) = found.ok().and_then(|file| file.metadata().ok()) {
                self.bytes.fetch_add(is.len(), Ordering::Relaxed);
            }
        }
        self.known.store(true, Ordering::Release);
    }
}

/// A terminal that went away costs the bar, not the work.
fn put(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// from 0 to 1, also when files grow while they are read
fn share(done: u64, of: u64) -> f64 {
    if of == 0 { 1.0 } else { (done as f64 / of as f64).min(1.0) }
}

fn bar(share: f64) -> String {
    let filled = (share * WIDTH as f64) as usize;
    format!("[{:=<filled$}{:<rest$}]", "", "", rest = WIDTH - filled)
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}
