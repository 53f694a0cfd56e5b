//! Standard descriptors and the buffers in front of them.

use std::io::{self, Write};
use std::os::fd::{BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, fcntl_dupfd_cloexec, fcntl_getfd};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// Writes out what Rust's and C's buffers hold: `_exit` and a fork would lose it, or write it twice.
///
/// A failure to write is the reader's doing (a closed pipe, a full disk) and stays without consequence, as
/// it does at the end of every program.
pub(crate) fn flush() {
    let _ = io::stdout().flush();
    let _ = io::stderr().flush();
    // SAFETY: a null stream means all of them; C's streams are initialised before any Rust code runs.
    unsafe { libc::fflush(ptr::null_mut()) };
}

/// Writes out what a task has printed: what Rust and C hold for standard output. As [`flush`], but for the streams that the
/// program has opened itself: to look through them costs more than many a task. Standard error has no buffers.
pub(crate) fn flush_printed() {
    unsafe extern "C" {
        static stdout: *mut libc::FILE;
        /// How many bytes wait in a buffer: a look without the stream's lock.
        fn __fpending(stream: *mut libc::FILE) -> libc::size_t;
    }
    let _ = io::stdout().flush();
    // SAFETY: it is there since before any Rust code runs, and nobody writes it but a program that means to.
    let stream = unsafe { stdout };
    // SAFETY: a stream of C's. What a thread writes that the task has left behind may be seen or not, as ever.
    if !stream.is_null() && unsafe { __fpending(stream) } > 0 {
        // SAFETY: a stream of C's.
        unsafe { libc::fflush(stream) };
    }
}

/// Leaves the process at once, without `atexit` handlers and destructors, with all buffers written out.
pub(crate) fn flush_and_exit(code: i32) -> ! {
    flush();
    exit_now(code)
}

/// Leaves the process at once; what is buffered is lost.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process; nothing of it runs afterwards that could depend on any state.
    unsafe { libc::_exit(code) }
}

/// Opens /dev/null where one of the three standard descriptors is closed, as Rust's start-up does it:
/// otherwise the next file to be opened would take its place and receive what the program prints.
pub(crate) fn fill_gaps() -> io::Result<()> {
    for fd in 0..=2 {
        if fcntl_getfd(standard(fd)) == Err(Errno::BADF) {
            let null = null()?;
            // The lowest free number is this one, as those below are open by now.
            let filled = null.into_raw_fd();
            debug_assert_eq!(filled, fd);
        }
    }
    Ok(())
}

/// Moves what is standard input away from there, to a descriptor that closes on exec, and leaves /dev/null.
pub(crate) fn take_stdin() -> io::Result<OwnedFd> {
    let taken = fcntl_dupfd_cloexec(standard(0), 3)?;
    dup2_stdin(null()?)?;
    Ok(taken)
}

/// Puts these in the places of standard output and error. What is buffered goes to the new ones.
pub(crate) fn redirect(stdout: OwnedFd, stderr: OwnedFd) -> io::Result<()> {
    dup2_stdout(stdout)?;
    Ok(dup2_stderr(stderr)?)
}

/// Puts these in the places of standard input, output and error, where there is one.
pub(crate) fn replace(streams: [Option<OwnedFd>; 3]) -> io::Result<()> {
    let [stdin, stdout, stderr] = streams;
    stdin.map_or(Ok(()), dup2_stdin)?;
    stdout.map_or(Ok(()), dup2_stdout)?;
    Ok(stderr.map_or(Ok(()), dup2_stderr)?)
}

/// /dev/null, close-on-exec.
pub(crate) fn null() -> io::Result<OwnedFd> {
    let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    null.map_err(|error| {
        let error = io::Error::from(error);
        io::Error::new(error.kind(), format!("/dev/null cannot be opened: {error}"))
    })
}

/// One of the three standard descriptors, which may be closed.
pub(crate) fn standard(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: not -1. The numbers 0 to 2 belong to the whole program and are never owned by a value of ours;
    // where one is closed the calls above fail with EBADF, which they expect.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_reads_as_empty() {
        assert_eq!(rustix::io::read(null().unwrap(), &mut [0; 4]), Ok(0));
    }

    #[test]
    fn open_standard_descriptors_are_left_alone() {
        fill_gaps().unwrap();
        flush();
    }
}
