//! What may be asked for a task beyond its function and argument, and what is decided by it.

use crate::error::TaskErrorKind;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::BitOr;
use std::time::Duration;

/// How a task is stopped that has run out of time or was aborted: by which steps, and how long each of them may take.
///
/// In a worker process: it is asked ([`Current::should_stop`](super::Current::should_stop) turns true), then the worker gets
/// SIGTERM, then SIGKILL. On threads nothing can be stopped from outside: a task is asked, and nothing more.
///
/// ```
/// use concurrent_futures_core::{ExecutorExt, Grace, SerialExecutor};
/// use std::time::Duration;
///
/// let grace = Grace::new().ask(Duration::from_secs(2)).terminate(Duration::from_millis(100));
/// let future = SerialExecutor::new().task(|x: u8| x, 1).timeout(Duration::from_secs(60)).grace(grace).submit();
/// assert_eq!(future.result().unwrap(), 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grace {
    ask: Duration,
    terminate: Duration,
}

impl Grace {
    /// The default: no time between asking and SIGTERM, one second between SIGTERM and SIGKILL.
    pub const fn new() -> Self {
        Grace { ask: Duration::ZERO, terminate: Duration::from_secs(1) }
    }

    /// How long a task that was asked has to return before its worker gets SIGTERM. A worker whose task returns in time lives
    /// on.
    #[must_use]
    pub const fn ask(mut self, time: Duration) -> Self {
        self.ask = time;
        self
    }

    /// How long a worker has between SIGTERM and SIGKILL.
    #[must_use]
    pub const fn terminate(mut self, time: Duration) -> Self {
        self.terminate = time;
        self
    }

    /// The time after asking.
    pub const fn asking(&self) -> Duration {
        self.ask
    }

    /// The time after SIGTERM.
    pub const fn terminating(&self) -> Duration {
        self.terminate
    }
}

impl Default for Grace {
    fn default() -> Self {
        Self::new()
    }
}

/// After which ends of an attempt a task is tried again; several are joined by `|`.
///
/// ```
/// use concurrent_futures_core::RetryOn;
///
/// let on = RetryOn::WORKER_DEATH | RetryOn::TIMEOUT;
/// assert!(on.contains(RetryOn::TIMEOUT) && !on.contains(RetryOn::PANIC));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RetryOn(u8);

impl RetryOn {
    /// The worker process died.
    pub const WORKER_DEATH: Self = RetryOn(1);
    /// The attempt ran into its `timeout`. (The `deadline` covers all attempts: after it there is none.)
    pub const TIMEOUT: Self = RetryOn(2);
    /// The task panicked.
    pub const PANIC: Self = RetryOn(4);
    /// A fallible task returned an error.
    pub const ERROR: Self = RetryOn(8);
    /// All of these.
    pub const ALL: Self = RetryOn(15);

    /// Whether all of `other` is in this.
    pub const fn contains(self, other: RetryOn) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for RetryOn {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        RetryOn(self.0 | other.0)
    }
}

impl fmt::Debug for RetryOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::WORKER_DEATH, "WORKER_DEATH"),
            (Self::TIMEOUT, "TIMEOUT"),
            (Self::PANIC, "PANIC"),
            (Self::ERROR, "ERROR"),
        ];
        let set: Vec<_> = names.iter().filter(|(one, _)| self.contains(*one)).map(|(_, name)| *name).collect();
        write!(f, "RetryOn({})", set.join(" | "))
    }
}

/// The pause before another attempt.
///
/// ```
/// use concurrent_futures_core::Backoff;
/// use std::time::Duration;
///
/// let backoff = Backoff::exponential(Duration::from_millis(10), Duration::from_secs(1)).jitter(0.0);
/// assert_eq!(backoff.pause(1), Duration::from_millis(10));
/// assert_eq!(backoff.pause(3), Duration::from_millis(40));
/// assert_eq!(backoff.pause(30), Duration::from_secs(1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    doubles: bool,
    jitter: f64,
}

impl Backoff {
    /// No pause: the default.
    pub const NONE: Self = Backoff { first: Duration::ZERO, max: Duration::ZERO, doubles: false, jitter: 0.0 };

    /// The same pause each time, with a jitter of one half.
    pub const fn fixed(pause: Duration) -> Self {
        Backoff { first: pause, max: pause, doubles: false, jitter: 0.5 }
    }

    /// `first`, then twice as long each time, at most `max`; with a jitter of one half.
    pub const fn exponential(first: Duration, max: Duration) -> Self {
        Backoff { first, max, doubles: true, jitter: 0.5 }
    }

    /// Which part of a pause is left to chance, from 0 (none) to 1 (all of it), so that tasks which failed together do not
    /// come back together. A pause is never longer than without jitter.
    ///
    /// # Panics
    /// When it is not between 0 and 1.
    #[must_use]
    pub const fn jitter(mut self, part: f64) -> Self {
        assert!(part >= 0.0 && part <= 1.0, "jitter is a part of the pause: from 0.0 to 1.0");
        self.jitter = part;
        self
    }

    /// The pause after so many attempts (1 and more); with jitter, another one each time.
    pub fn pause(&self, attempts: u32) -> Duration {
        let whole = if self.doubles {
            let factor = 1_u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
            self.first.checked_mul(factor).map_or(self.max, |pause| pause.min(self.max))
        } else {
            self.first
        };
        if whole.is_zero() || self.jitter == 0.0 {
            return whole;
        }
        // Rounding may make it a little longer, and even longer than a `Duration` can be.
        let shorter = Duration::try_from_secs_f64(whole.as_secs_f64() * (1.0 - self.jitter * chance()));
        shorter.map_or(whole, |shorter| shorter.min(whole))
    }
}

/// Something from 0 to 1, another one each time: good enough to spread pauses.
fn chance() -> f64 {
    // Each `RandomState` has other keys.
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

/// Whether, when and how often a task is tried again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retry {
    /// Attempts beyond the first.
    pub(crate) more: u32,
    pub(crate) on: RetryOn,
    pub(crate) backoff: Backoff,
}

impl Default for Retry {
    fn default() -> Self {
        Retry { more: 0, on: RetryOn::ALL, backoff: Backoff::NONE }
    }
}

/// How an attempt ended that may be worth another one; for authors of executors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The worker process died.
    Died,
    /// It ran into its timeout.
    TimedOut,
    /// It panicked.
    Panicked,
    /// A fallible task returned an error.
    Failed,
    /// `retry_if` was not content with the value.
    Unsatisfied,
}

impl Verdict {
    /// An outcome that another attempt may better; `None`: it is final, whatever was asked for.
    pub(crate) fn of(error: &TaskErrorKind) -> Option<Self> {
        match error {
            TaskErrorKind::WorkerDied(_) => Some(Verdict::Died),
            TaskErrorKind::TimedOut(_) => Some(Verdict::TimedOut),
            TaskErrorKind::Panicked(_) => Some(Verdict::Panicked),
            TaskErrorKind::Failed(_) => Some(Verdict::Failed),
            _ => None,
        }
    }
}

impl Retry {
    pub(crate) fn covers(&self, verdict: Verdict) -> bool {
        self.on.contains(match verdict {
            Verdict::Died => RetryOn::WORKER_DEATH,
            Verdict::TimedOut => RetryOn::TIMEOUT,
            Verdict::Panicked => RetryOn::PANIC,
            Verdict::Failed => RetryOn::ERROR,
            // The predicate is the wish.
            Verdict::Unsatisfied => return true,
        })
    }
}

/// Limits of one task; `None`: none of its own.
///
/// Only an executor whose workers are processes of their own can enforce them; the others refuse the task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// CPU time.
    pub cpu_time: Option<Duration>,
    /// Open file descriptors.
    pub open_files: Option<u64>,
}

impl Limits {
    /// Whether there are none.
    ///
    /// ```
    /// assert!(concurrent_futures_core::Limits::default().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Why a running attempt is to be ended; for authors of executors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It ran out of time.
    Timeout,
    /// It was aborted.
    Abort,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_only_shortens() {
        let backoff = Backoff::fixed(Duration::from_secs(1));
        for attempt in 1..100 {
            let pause = backoff.pause(attempt);
            assert!(pause >= Duration::from_millis(500) && pause <= Duration::from_secs(1), "{pause:?}");
        }
        let distinct: std::collections::HashSet<_> = (0..10).map(|_| backoff.pause(1)).collect();
        assert!(distinct.len() > 1);
    }

    #[test]
    fn a_long_series_does_not_overflow() {
        let backoff = Backoff::exponential(Duration::from_secs(3600), Duration::MAX).jitter(0.0);
        assert!(backoff.pause(u32::MAX) > backoff.pause(1));
    }

    #[test]
    fn a_pause_without_end_has_jitter_too() {
        for jitter in [f64::MIN_POSITIVE, 0.5, 1.0] {
            assert!(Backoff::fixed(Duration::MAX).jitter(jitter).pause(1) <= Duration::MAX);
        }
    }

    #[test]
    fn an_unsatisfying_value_needs_no_flag() {
        let retry = Retry { more: 1, on: RetryOn::PANIC, backoff: Backoff::NONE };
        assert!(retry.covers(Verdict::Unsatisfied) && retry.covers(Verdict::Panicked) && !retry.covers(Verdict::Died));
    }
}
