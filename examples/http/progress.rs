//! A progress bar on stderr.

use std::io::{self, IsTerminal, Write};

const WIDTH: usize = 30;

/// Erases itself when it is dropped.
pub struct Progress {
    done: usize,
    of: usize,
    failed: usize,
    is_on_terminal: bool,
}

impl Progress {
    /// Draws nothing when stderr is not a terminal.
    pub fn new(of: usize) -> Self {
        let progress = Progress { done: 0, of, failed: 0, is_on_terminal: io::stderr().is_terminal() };
        progress.draw();
        progress
    }

    /// One more page is done, of so many.
    pub fn advance(&mut self, has_failed: bool, of: usize) {
        self.done += 1;
        self.failed += usize::from(has_failed);
        self.of = of;
        self.draw();
    }

    /// Prints a line where the bar is, and the bar below it.
    pub fn line(&self, print: impl FnOnce()) {
        self.put("\r\x1b[K");
        print();
        self.draw();
    }

    fn draw(&self) {
        let Progress { done, of, failed, .. } = *self;
        let filled = (WIDTH * done.min(of)).checked_div(of).unwrap_or(WIDTH);
        let failures = if failed == 0 { String::new() } else { format!(", {failed} failed") };
        let rest = WIDTH - filled;
        self.put(&format!("\r[{:=<filled$}{:<rest$}] {done}/{of} pages{failures}\x1b[K", "", ""));
    }

    /// A terminal that went away costs the bar, not the work.
    fn put(&self, text: &str) {
        if self.is_on_terminal {
            let _ = io::stderr().write_all(text.as_bytes());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.put("\r\x1b[K");
    }
}
