//! The last part of what comes through a pipe.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, read, retry_on_intr};

use super::socket;

/// The end from which a pipe is read, with the last of what has come.
#[derive(Debug)]
pub(crate) struct Tail {
    fd: OwnedFd,
    bytes: VecDeque<u8>,
    /// There was more than is kept.
    cut: bool,
    ended: bool,
}

/// So much is kept.
pub(crate) const KEPT: usize = 1 << 20;

/// So much is read at a time. More than a pipe holds (the most to which anybody without privilege can enlarge it): after a
/// read of so much, or to the end of what is there, what was in it before has been read.
const AT_A_TIME: usize = 1 << 20;

impl Tail {
    /// A pipe's two ends; the second is for the writer, and blocks.
    pub(crate) fn pipe() -> io::Result<(Self, OwnedFd)> {
        let (reader, writer) = io::pipe()?;
        let fd = OwnedFd::from(reader);
        socket::set_nonblocking(&fd, true)?;
        Ok((Tail { fd, bytes: VecDeque::new(), cut: false, ended: false }, writer.into()))
    }

    /// Reads what is there, without waiting and without end. `false`: nothing will come any more.
    pub(crate) fn drain(&mut self) -> bool {
        let mut buffer = [0; 1 << 16];
        let mut left = AT_A_TIME;
        while left > 0 && !self.ended {
            match retry_on_intr(|| read(&self.fd, &mut buffer)) {
                Ok(0) => self.ended = true,
                Ok(len) => {
                    self.keep(&buffer[..len]);
                    left = left.saturating_sub(len);
                }
                Err(Errno::AGAIN) => break,
                // A pipe has no errors of its own.
                Err(_) => self.ended = true,
            }
        }
        !self.ended
    }

    /// What has come since the last call, and whether that is not all of it.
    pub(crate) fn take(&mut self) -> (Vec<u8>, bool) {
        (std::mem::take(&mut self.bytes).into(), std::mem::take(&mut self.cut))
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        if let Some(surplus) = self.bytes.len().checked_sub(KEPT).filter(|&surplus| surplus > 0) {
            self.bytes.drain(..surplus);
            self.cut = true;
        }
    }
}

impl AsFd for Tail {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;

    #[test]
    fn what_came_is_taken_once() {
        let (mut tail, writer) = Tail::pipe().unwrap();
        let mut writer = File::from(writer);
        assert!(tail.drain());
        assert_eq!(tail.take(), (vec![], false));
        writer.write_all(b"one").unwrap();
        writer.write_all(b"two").unwrap();
        assert!(tail.drain());
        assert_eq!(tail.take(), (b"onetwo".to_vec(), false));
        writer.write_all(b"three").unwrap();
        drop(writer);
        // A program that another test starts may have a copy until it has come to its exec.
        while tail.drain() {
            std::thread::yield_now();
        }
        assert_eq!(tail.take(), (b"three".to_vec(), false));
    }

    #[test]
    fn only_the_end_of_a_flood_is_kept() {
        let (mut tail, writer) = Tail::pipe().unwrap();
        let flood = std::thread::spawn(move || {
            let mut writer = File::from(writer);
            for round in 0..100_u8 {
                writer.write_all(&vec![round; 50_000]).unwrap();
            }
        });
        // It waits for its reader, as any writer does.
        while tail.drain() {
            std::thread::yield_now();
        }
        flood.join().unwrap();
        let (bytes, cut) = tail.take();
        assert!(cut && bytes.len() == KEPT && bytes.capacity() < 4 * KEPT);
        assert_eq!((bytes[0], bytes[KEPT - 1]), (79, 99));
        assert_eq!(tail.take(), (vec![], false));
    }
}
