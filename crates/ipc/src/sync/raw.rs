//! The calls of libc on a mutex that is robust, shared between processes, and somewhere in memory.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// What it takes in memory: a cache line.
pub(crate) const SIZE: usize = 64;

/// From here on it needs nothing: that is for whoever has it.
pub(super) const SPARE_AT: usize = 48;

const _: () = assert!(size_of::<libc::pthread_mutex_t>() <= SPARE_AT && align_of::<libc::pthread_mutex_t>() <= 16);

/// Where in it the kernel finds who has it: the number of the thread, or a mark of its death.
const OWNER_AT: usize = if cfg!(target_env = "musl") { 4 } else { 0 };
const THREAD: u32 = 0x3fff_ffff;

/// Whether its holder can lock it once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No: it is told that it has it already.
    Once,
    /// Yes, and unlocks it as often.
    Recursive,
}

/// What a call found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Locked,
    /// Locked, and whoever had it before has died with it.
    OwnerDied,
    /// Somebody else has it.
    Busy,
    /// This thread has it already.
    Mine,
}

/// The address of one. All that is unsafe asks that [`init`](Self::init) has been called for this memory, maybe by another
/// process, and that it is mapped until the call returns, and as long as this thread has it locked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw(NonNull<libc::pthread_mutex_t>);

impl Raw {
    pub(super) fn at(place: NonNull<u8>) -> Raw {
        debug_assert!(place.addr().get().is_multiple_of(16));
        Raw(place.cast())
    }

    /// Makes it, unlocked.
    ///
    /// # Safety
    ///
    /// There are [`SIZE`] bytes of memory that can be written, and that nobody else uses before this has returned.
    pub(super) unsafe fn init(self, kind: Kind) -> io::Result<()> {
        let kind = match kind {
            Kind::Once => libc::PTHREAD_MUTEX_ERRORCHECK,
            Kind::Recursive => libc::PTHREAD_MUTEX_RECURSIVE,
        };
        let mut attributes = Attributes::new()?;
        // SAFETY: the attributes were made by `new`, as below.
        check(unsafe { libc::pthread_mutexattr_setpshared(attributes.get(), libc::PTHREAD_PROCESS_SHARED) })?;
        // SAFETY: as above.
        check(unsafe { libc::pthread_mutexattr_setrobust(attributes.get(), libc::PTHREAD_MUTEX_ROBUST) })?;
        // SAFETY: as above.
        check(unsafe { libc::pthread_mutexattr_settype(attributes.get(), kind) })?;
        // SAFETY: the memory is there and the caller's alone; the attributes as above.
        check(unsafe { libc::pthread_mutex_init(self.0.as_ptr(), attributes.get()) })
    }

    /// # Safety
    ///
    /// As [`Raw`] says.
    pub(super) unsafe fn try_lock(self) -> Found {
        // SAFETY: as the caller says.
        let code = unsafe { libc::pthread_mutex_trylock(self.0.as_ptr()) };
        // SAFETY: as the caller says; the code is of this mutex.
        unsafe { self.found(code) }
    }

    /// Waits, at most until `deadline`.
    ///
    /// # Safety
    ///
    /// As [`Raw`] says.
    pub(super) unsafe fn lock(self, deadline: Option<Instant>) -> Found {
        let code = match deadline {
            // SAFETY: as the caller says.
            None => unsafe { libc::pthread_mutex_lock(self.0.as_ptr()) },
            // SAFETY: as the caller says.
            Some(deadline) => unsafe { lock_until(self.0, deadline) },
        };
        // SAFETY: as the caller says; the code is of this mutex.
        unsafe { self.found(code) }
    }

    /// # Safety
    ///
    /// As [`Raw`] says, and `code` is what locking it has just given.
    unsafe fn found(self, code: i32) -> Found {
        match code {
            0 => Found::Locked,
            libc::EOWNERDEAD => {
                // At once: unlocked before this is done, nobody could ever lock it again. What there is to repair is the
                // business of who is told.
                // SAFETY: the mutex is as the caller says, and this thread has just got it.
                let code = unsafe { libc::pthread_mutex_consistent(self.0.as_ptr()) };
                assert!(code == 0, "a lock of a dead owner was not to be had: {}", io::Error::from_raw_os_error(code));
                Found::OwnerDied
            }
            libc::EBUSY | libc::ETIMEDOUT => Found::Busy,
            libc::EDEADLK => Found::Mine,
            code => panic!("a lock in shared memory cannot be used: {}", io::Error::from_raw_os_error(code)),
        }
    }

    /// # Safety
    ///
    /// As [`Raw`] says. This thread has it locked.
    pub(super) unsafe fn unlock(self) {
        // SAFETY: as the caller says.
        let code = unsafe { libc::pthread_mutex_unlock(self.0.as_ptr()) };
        // Otherwise somebody has scribbled over it.
        debug_assert!(code == 0 || code == libc::EPERM, "{}", io::Error::from_raw_os_error(code));
    }

    /// Who has it: the number of a thread of whatever process. A hint, unless it is this thread.
    ///
    /// # Safety
    ///
    /// As [`Raw`] says.
    pub(super) unsafe fn owner(self) -> Option<u32> {
        // SAFETY: within the mutex.
        let word = unsafe { self.0.byte_add(OWNER_AT) };
        // SAFETY: aligned, mapped during this call, and everybody else changes it by atomic operations.
        let word = unsafe { word.cast::<AtomicU32>().as_ref() }.load(Ordering::Relaxed);
        Some(word & THREAD).filter(|thread| *thread != 0)
    }

    /// Whether a thread of this process has it.
    ///
    /// # Safety
    ///
    /// As [`Raw`] says.
    pub(super) unsafe fn is_held_here(self) -> bool {
        // SAFETY: as the caller says.
        let Some(thread) = (unsafe { self.owner() }) else { return false };
        // Signal 0 is none: it only asks whether there is such a thread in such a process.
        let process = libc::c_long::from(std::process::id().cast_signed());
        // SAFETY: a call that takes numbers.
        unsafe { libc::syscall(libc::SYS_tgkill, process, libc::c_long::from(thread.cast_signed()), 0) == 0 }
    }
}

/// As `pthread_mutex_lock`, but the error is `ETIMEDOUT` when `deadline` is over.
///
/// # Safety
///
/// As [`Raw`] says.
unsafe fn lock_until(mutex: NonNull<libc::pthread_mutex_t>, deadline: Instant) -> i32 {
    #[cfg(target_env = "gnu")]
    {
        unsafe extern "C" {
            // The libc crate does not have it yet.
            fn pthread_mutex_clocklock(
                mutex: *mut libc::pthread_mutex_t,
                clock: libc::clockid_t,
                time: *const libc::timespec,
            ) -> i32;
        }
        let time = at(libc::CLOCK_MONOTONIC, deadline);
        // SAFETY: as the caller says; the time lives until the call returns.
        unsafe { pthread_mutex_clocklock(mutex.as_ptr(), libc::CLOCK_MONOTONIC, &raw const time) }
    }
    #[cfg(not(target_env = "gnu"))]
    loop {
        // It knows only the clock on the wall, which somebody may set: so it is asked again until our own agrees.
        let time = at(libc::CLOCK_REALTIME, deadline.min(Instant::now() + Duration::from_millis(100)));
        // SAFETY: as the caller says; the time lives until the call returns.
        let code = unsafe { libc::pthread_mutex_timedlock(mutex.as_ptr(), &raw const time) };
        if code != libc::ETIMEDOUT || Instant::now() >= deadline {
            return code;
        }
    }
}

/// When that is by one of the kernel's clocks; far away, if it cannot count so far.
fn at(clock: libc::clockid_t, deadline: Instant) -> libc::timespec {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time goes to a variable of ours.
    let code = unsafe { libc::clock_gettime(clock, &raw mut now) };
    debug_assert!(code == 0, "the clock is there");
    let left = deadline.saturating_duration_since(Instant::now());
    let then = Duration::new(now.tv_sec.cast_unsigned(), now.tv_nsec as u32).saturating_add(left);
    match libc::time_t::try_from(then.as_secs()) {
        Ok(seconds) => libc::timespec { tv_sec: seconds, tv_nsec: then.subsec_nanos().into() },
        Err(_) => libc::timespec { tv_sec: libc::time_t::MAX, tv_nsec: 0 },
    }
}

struct Attributes(libc::pthread_mutexattr_t);

impl Attributes {
    fn new() -> io::Result<Attributes> {
        // SAFETY: these are integers.
        let mut attributes = Attributes(unsafe { std::mem::zeroed() });
        // SAFETY: the attributes are a variable of ours. They hold nothing that would have to be given back.
        check(unsafe { libc::pthread_mutexattr_init(attributes.get()) })?;
        Ok(attributes)
    }

    fn get(&mut self) -> *mut libc::pthread_mutexattr_t {
        &raw mut self.0
    }
}

fn check(code: i32) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}
