//! The signal set-up that a worker starts from, whatever its parent had.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// Blocks nothing, ignores nothing but SIGPIPE and SIGTTOU.
///
/// A process keeps what its parent ignored and blocked across exec: an ignored SIGCHLD makes every wait for
/// a child fail, a blocked SIGTERM makes a worker deaf. Handlers do not survive exec, so one that is there
/// was installed on purpose by a constructor of this program, and stays. SIGPIPE is ignored as Rust's
/// start-up does it, which a worker never gets to: a write to a broken pipe is then an error, not death. And SIGTTOU is
/// ignored because a worker is not in the terminal's foreground group: to print must not stop it (`stty tostop`).
pub(crate) fn reset() -> io::Result<()> {
    for signal in 1..=libc::SIGRTMAX() {
        if !IGNORED.contains(&signal) && is_ignored(signal) {
            set_disposition(signal, libc::SIG_DFL)?;
        }
    }
    for signal in IGNORED {
        set_disposition(signal, libc::SIG_IGN)?;
    }
    unblock_all()
}

const IGNORED: [i32; 2] = [libc::SIGPIPE, libc::SIGTTOU];

/// Gives `signal` its default disposition back.
pub(crate) fn set_default(signal: i32) -> io::Result<()> {
    set_disposition(signal, libc::SIG_DFL)
}

/// Ignores `signal`.
pub(crate) fn ignore(signal: i32) -> io::Result<()> {
    set_disposition(signal, libc::SIG_IGN)
}

/// Blocks one signal in this thread, for a signalfd.
pub(crate) fn block(signal: i32) -> io::Result<()> {
    change_mask(libc::SIG_BLOCK, &set_of(Some(signal)))
}

/// Blocks no signal in this thread.
pub(crate) fn unblock_all() -> io::Result<()> {
    change_mask(libc::SIG_SETMASK, &set_of(None))
}

/// A descriptor that is readable while `signal`, which the caller has blocked, is pending.
pub(crate) fn descriptor(signal: i32) -> io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::FromRawFd;
    let set = set_of(Some(signal));
    // SAFETY: the set is initialised; -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just made this descriptor, so nobody else owns it.
    Ok(unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) })
}

fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: no new action is given and the old one goes to a buffer of its type; numbers that the C
    // library keeps for itself are refused with an error.
    let status = unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: zeroed memory is a valid `sigaction` (integers and a null-able pointer), whether or not it was filled.
    let action = unsafe { action.assume_init() };
    status == 0 && action.sa_sigaction == libc::SIG_IGN
}

fn set_disposition(signal: i32, disposition: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: default and ignore run no code of ours, so no handler has to be safe in a signal's context.
    let before = unsafe { libc::signal(signal, disposition) };
    if before == libc::SIG_ERR { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn set_of(signal: Option<i32>) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the pointer is valid for a write of the set, which the call initialises.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    if let Some(signal) = signal {
        // SAFETY: the set is initialised; a number that is no signal is refused without a change.
        unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
    }
    // SAFETY: `sigemptyset` has initialised it and does not fail.
    unsafe { set.assume_init() }
}

fn change_mask(how: i32, set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: the set is initialised and the old mask is not asked for.
    let error = unsafe { libc::pthread_sigmask(how, set, ptr::null_mut()) };
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// For tests that change what is ignored, which lets the kernel forget what is pending of it in all threads, and for those that look at
/// what is pending.
#[cfg(test)]
pub(crate) static DISPOSITIONS: parking_lot::Mutex<()> = parking_lot::Mutex::new(());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_signal_is_seen_and_reset() {
        let _alone = DISPOSITIONS.lock();
        // SIGURG is ignored by default, so that other tests of this binary do not notice.
        set_disposition(libc::SIGURG, libc::SIG_IGN).unwrap();
        assert!(is_ignored(libc::SIGURG));
        reset().unwrap();
        assert!(!is_ignored(libc::SIGURG));
        assert!(is_ignored(libc::SIGPIPE));
    }

    #[test]
    fn a_blocked_signal_is_read_from_its_descriptor() {
        // One whose default is not to be ignored: while the test above resets those, the kernel forgets what is pending of them.
        block(libc::SIGUSR2).unwrap();
        let fd = descriptor(libc::SIGUSR2).unwrap();
        // SAFETY: sends a signal that this thread blocks.
        unsafe { libc::raise(libc::SIGUSR2) };
        let mut info = [0_u8; size_of::<libc::signalfd_siginfo>()];
        assert_eq!(rustix::io::read(&fd, &mut info).unwrap(), info.len());
        assert_eq!(rustix::io::read(&fd, &mut info), Err(rustix::io::Errno::AGAIN));
        unblock_all().unwrap();
    }
}
