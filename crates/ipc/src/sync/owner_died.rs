//! What is said of a lock whose holder has died, and of one that somebody else has.

use std::error::Error;
use std::fmt;

/// Whoever had the lock before has died with it. The lock is this thread's now, with the guard inside.
///
/// A process that is killed leaves what it was about to change as it was at that instant. Whoever gets this looks at it, makes
/// it right, and goes on; it is said once, to the next holder. (Should he die too, the one after him gets it.) To go on as if
/// nothing had happened is [`into_guard`](Self::into_guard).
///
/// ```
/// use concurrent_futures_ipc::{Lock, OwnerDied};
///
/// let lock = Lock::new()?;
/// std::thread::scope(|s| {
///     // A thread that ends without having unlocked it: to the lock the same as a process that is killed.
///     s.spawn(|| std::mem::forget(lock.lock()));
/// });
/// let guard = lock.lock().unwrap_or_else(|OwnerDied(guard)| {
///     println!("somebody was killed: let me see what is left");
///     guard
/// });
/// drop(guard);
/// assert!(lock.lock().is_ok());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct OwnerDied<G>(pub G);

impl<G> OwnerDied<G> {
    /// The lock, as if nothing had happened.
    ///
    /// ```
    /// # use concurrent_futures_ipc::{Lock, OwnerDied};
    /// let lock = Lock::new()?;
    /// let guard = lock.lock().unwrap_or_else(OwnerDied::into_guard);
    /// # drop(guard);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn into_guard(self) -> G {
        self.0
    }
}

impl<G> fmt::Debug for OwnerDied<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnerDied").finish_non_exhaustive()
    }
}

impl<G> fmt::Display for OwnerDied<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the lock is ours now, but whoever had it before has died with it: what it protects may be half done",
        )
    }
}

impl<G> Error for OwnerDied<G> {}

/// Why there is no lock, or not without a word.
///
/// ```
/// use concurrent_futures_ipc::{Lock, TryLockError};
/// use std::time::Duration;
///
/// let lock = Lock::new()?;
/// let guard = lock.lock().unwrap();
/// assert!(matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
/// assert!(matches!(lock.lock_timeout(Duration::from_millis(5)), Err(TryLockError::WouldBlock)));
/// # Ok::<(), std::io::Error>(())
/// ```
pub enum TryLockError<G> {
    /// Somebody else has it, and had it as long as was waited.
    WouldBlock,
    /// Whoever had it before has died with it. The lock is inside.
    OwnerDied(OwnerDied<G>),
}

impl<G> From<OwnerDied<G>> for TryLockError<G> {
    fn from(died: OwnerDied<G>) -> Self {
        TryLockError::OwnerDied(died)
    }
}

impl<G> fmt::Debug for TryLockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryLockError::WouldBlock => f.write_str("WouldBlock"),
            TryLockError::OwnerDied(died) => died.fmt(f),
        }
    }
}

impl<G> fmt::Display for TryLockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryLockError::WouldBlock => f.write_str("somebody else has the lock"),
            TryLockError::OwnerDied(died) => died.fmt(f),
        }
    }
}

impl<G> Error for TryLockError<G> {}
