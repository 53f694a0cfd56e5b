//! Calls into a library that knows nothing of signals.

use std::mem::MaybeUninit;
use std::ptr;

/// Runs `f` with the signals of this thread held back.
///
/// `ipc-channel` neither retries a call that a signal interrupted nor keeps a write to a dead peer from raising SIGPIPE,
/// which ends a program that has given SIGPIPE its default back. Other signals wait or go to another thread; a SIGPIPE
/// that `f` raised is forgotten, its error code says the same.
pub(super) fn undisturbed<T>(f: impl FnOnce() -> T) -> T {
    let _guard = Guard::new();
    f()
}

/// Signals that tell of a fault in this very thread, or of time and debugging: holding them back would hide something.
const NOT_HELD: [i32; 8] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGSYS,
    libc::SIGPROF,
];

struct Guard {
    before: libc::sigset_t,
    pipe_was_pending: bool,
}

impl Guard {
    fn new() -> Self {
        let mut held = full_set();
        for signal in NOT_HELD {
            // SAFETY: the set is initialised and the number is a signal's.
            unsafe { libc::sigdelset(&mut held, signal) };
        }
        let mut before = full_set();
        // SAFETY: both sets are initialised. With a valid `how` the call does not fail.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &held, &mut before) };
        Guard { before, pipe_was_pending: is_pending(libc::SIGPIPE) }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.pipe_was_pending && is_pending(libc::SIGPIPE) {
            let mut pipe = full_set();
            // SAFETY: the set is initialised by the call.
            unsafe { libc::sigemptyset(&mut pipe) };
            // SAFETY: the set is initialised and the number is a signal's.
            unsafe { libc::sigaddset(&mut pipe, libc::SIGPIPE) };
            let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: set and time are initialised; nothing is to be told about the signal.
            unsafe { libc::sigtimedwait(&pipe, ptr::null_mut(), &at_once) };
        }
        // SAFETY: the set is the thread's own from before; the mask now is not asked for.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, ptr::null_mut()) };
    }
}

fn is_pending(signal: i32) -> bool {
    let mut pending = full_set();
    // SAFETY: the set is valid for a write.
    unsafe { libc::sigpending(&mut pending) };
    // SAFETY: the set is initialised and the number is a signal's.
    unsafe { libc::sigismember(&pending, signal) == 1 }
}

fn full_set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the pointer is valid for a write of the set, which the call initialises.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    // SAFETY: `sigfillset` has initialised it and does not fail.
    unsafe { set.assume_init() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_held(signal: i32) -> bool {
        let mut mask = full_set();
        // SAFETY: no new mask is given, the set is valid for a write.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), &mut mask) };
        // SAFETY: the set is initialised and the number is a signal's.
        unsafe { libc::sigismember(&mask, signal) == 1 }
    }

    #[test]
    fn a_broken_pipe_leaves_no_signal() {
        let _alone = crate::sys::signals::DISPOSITIONS.lock();
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        // A program that another test starts may have a copy for a moment: closing it would not be enough.
        theirs.shutdown(std::net::Shutdown::Both).unwrap();
        let byte = [0u8];
        let error = undisturbed(|| {
            assert!(is_held(libc::SIGPIPE) && is_held(libc::SIGTERM) && !is_held(libc::SIGSEGV));
            // SAFETY: one byte is readable, and the descriptor is open.
            let sent = unsafe { libc::send(std::os::fd::AsRawFd::as_raw_fd(&ours), byte.as_ptr().cast(), 1, 0) };
            assert_eq!(sent, -1);
            assert!(is_pending(libc::SIGPIPE), "held back, even though it is ignored");
            std::io::Error::last_os_error()
        });
        assert_eq!(error.raw_os_error(), Some(libc::EPIPE));
        assert!(!is_pending(libc::SIGPIPE));
        assert!(!is_held(libc::SIGPIPE) && !is_held(libc::SIGTERM));
    }

    #[test]
    fn the_mask_comes_back_after_a_panic() {
        let outcome = std::panic::catch_unwind(|| undisturbed(|| std::panic::resume_unwind(Box::new(()))));
        assert!(outcome.is_err());
        assert!(!is_held(libc::SIGTERM));
    }
}
