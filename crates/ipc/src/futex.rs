//! Sleeping until a word changes, also one that other processes have mapped.

use rustix::event::Timespec;
use rustix::io::Errno;
use rustix::thread::futex::{self, Flags};
use std::io;
use std::sync::atomic::AtomicU32;
use std::time::Instant;

/// Why a [`wait`] has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// Somebody has called [`wake`], or the word was another one, or for no reason: look at the word again.
    Woken,
    /// The deadline has passed.
    TimedOut,
}

/// Sleeps as long as `word` is `expected`, at most until `deadline`. Whoever changes the word calls [`wake`] afterwards.
///
/// ```
/// use concurrent_futures_ipc::futex::{self, Waited};
/// use std::sync::atomic::AtomicU32;
/// use std::time::{Duration, Instant};
///
/// let word = AtomicU32::new(7);
/// assert_eq!(futex::wait(&word, 8, None)?, Waited::Woken);
/// assert_eq!(futex::wait(&word, 7, Some(Instant::now() + Duration::from_millis(1)))?, Waited::TimedOut);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// Those of the kernel that are none of the above.
pub fn wait(word: &AtomicU32, expected: u32, deadline: Option<Instant>) -> io::Result<Waited> {
    let timeout = match deadline {
        None => None,
        Some(at) => match at.checked_duration_since(Instant::now()) {
            // What the kernel cannot count is no limit; the caller looks again anyway.
            Some(left) => Timespec::try_from(left).ok(),
            None => return Ok(Waited::TimedOut),
        },
    };
    // Not private: the other one may be in another process.
    match futex::wait(word, Flags::empty(), expected, timeout.as_ref()) {
        Ok(()) | Err(Errno::AGAIN | Errno::INTR) => Ok(Waited::Woken),
        Err(Errno::TIMEDOUT) => Ok(Waited::TimedOut),
        Err(error) => Err(error.into()),
    }
}

/// Wakes up to `count` of those who sleep on `word`, in whatever process, and says how many there were.
///
/// # Errors
///
/// Those of the kernel; there is none for a word that is mapped.
pub fn wake(word: &AtomicU32, count: u32) -> io::Result<usize> {
    // To the kernel it is a signed number, and of a negative one it wakes a single sleeper.
    Ok(futex::wake(word, Flags::empty(), count.min(i32::MAX.cast_unsigned()))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SharedMemory;
    use std::sync::atomic::Ordering;
    use std::sync::mpsc;
    use std::thread;

    fn word(memory: &SharedMemory) -> &AtomicU32 {
        // SAFETY: a mapping begins at the start of a page, has room for a word, lives as long as the borrow, and any bit
        // pattern is a valid atomic.
        unsafe { memory.start().cast().as_ref() }
    }

    #[test]
    fn one_mapping_wakes_the_other() {
        let ours = SharedMemory::create(4096).unwrap();
        let theirs = SharedMemory::open(ours.fd().try_clone_to_owned().unwrap(), 4096).unwrap();
        thread::scope(|s| {
            s.spawn(|| {
                while word(&theirs).load(Ordering::Acquire) == 0 {
                    wait(word(&theirs), 0, None).unwrap();
                }
            });
            word(&ours).store(1, Ordering::Release);
            wake(word(&ours), 1).unwrap();
        });
        assert_eq!(wake(word(&ours), u32::MAX).unwrap(), 0);
    }

    #[test]
    fn all_are_all() {
        const SLEEPERS: usize = 3;
        let memory = SharedMemory::create(4096).unwrap();
        let (here, sleeping) = mpsc::channel();
        thread::scope(|s| {
            for _ in 0..SLEEPERS {
                let (memory, here) = (&memory, here.clone());
                s.spawn(move || {
                    here.send(rustix::thread::gettid()).unwrap();
                    while word(memory).load(Ordering::Acquire) == 0 {
                        wait(word(memory), 0, None).unwrap();
                    }
                });
            }
            for thread in sleeping.iter().take(SLEEPERS) {
                let state = format!("/proc/self/task/{thread}/stat");
                while !std::fs::read_to_string(&state).unwrap().contains(") S ") {
                    thread::yield_now();
                }
            }
            word(&memory).store(1, Ordering::Release);
            // One call; the scope ends when all of them have.
            wake(word(&memory), u32::MAX).unwrap();
        });
    }
}
