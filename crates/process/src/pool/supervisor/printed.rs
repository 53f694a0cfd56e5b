//! What a worker prints, where that is captured.

use crate::sys::capture::Tail;
use crate::sys::poller::{Interest, Poller};
use concurrent_futures_core::TaskOutput;
use std::io;
use std::os::fd::OwnedFd;

/// The pool's ends of a worker's standard output and error.
#[derive(Debug)]
pub(super) struct Printed {
    stdout: Tail,
    stderr: Tail,
}

impl Printed {
    /// With the worker's ends. The poller says when there is something to [`drain`](Self::drain).
    pub(super) fn watched(poller: &Poller, token: u64) -> io::Result<(Self, [OwnedFd; 2])> {
        let (stdout, out) = Tail::pipe()?;
        let (stderr, err) = Tail::pipe()?;
        poller.add(&stdout, token, Interest::READ)?;
        poller.add(&stderr, token, Interest::READ)?;
        Ok((Printed { stdout, stderr }, [out, err]))
    }

    /// Takes in what is there, so that the worker can print more. No more at a time than the other workers can wait for.
    pub(super) fn drain(&mut self, poller: &Poller) {
        for tail in [&mut self.stdout, &mut self.stderr] {
            if !tail.drain() {
                // It would say so for ever. An error means that it has been removed before.
                let _ = poller.remove(&*tail);
            }
        }
    }

    /// Everything that the worker has written up to now, since the last call.
    pub(super) fn take(&mut self, poller: &Poller) -> TaskOutput {
        self.drain(poller);
        let ((stdout, more_out), (stderr, more_err)) = (self.stdout.take(), self.stderr.take());
        TaskOutput::new(stdout, stderr, more_out || more_err)
    }
}

/// The last lines of a text, for an error message; `None`: there are none.
pub(super) fn last_lines(text: &[u8]) -> Option<String> {
    const LINES: usize = 20;
    const BYTES: usize = 4096;
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(BYTES)..]);
    let text = text.trim_end();
    let start = text.rmatch_indices('\n').nth(LINES - 1).map_or(0, |(at, _)| at + 1);
    (!text.is_empty()).then(|| text[start..].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_the_last_twenty() {
        let text: String = (0..100).map(|n| format!("line {n}\n")).collect();
        let last = last_lines(text.as_bytes()).unwrap();
        assert_eq!(
            (last.lines().count(), last.lines().next(), last.lines().last()),
            (20, Some("line 80"), Some("line 99"))
        );
        assert_eq!(last_lines(b"one\ntwo").as_deref(), Some("one\ntwo"));
        assert_eq!((last_lines(b""), last_lines(b"\n\n")), (None, None));
        assert_eq!(last_lines(&[b'x'; 10_000]).unwrap().len(), 4096);
        assert!(last_lines(&[0xff; 9]).is_some());
    }
}
