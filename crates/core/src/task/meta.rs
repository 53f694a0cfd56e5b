//! What was asked for one task beyond its function and argument, and how far its attempts have come.

use super::policy::{Grace, Limits, Retry, Verdict};
use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// An instant, and how long that was when it was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    pub(crate) limit: Duration,
}

impl Deadline {
    pub(crate) fn new(at: Instant) -> Self {
        Deadline { at, limit: at.saturating_duration_since(Instant::now()) }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Meta {
    pub(crate) name: Option<Box<str>>,
    /// For one attempt, from its start.
    pub(crate) timeout: Option<Duration>,
    /// From outside: whatever happens, it is resolved by then.
    pub(crate) deadline: Option<Deadline>,
    pub(crate) priority: i32,
    pub(crate) grace: Grace,
    pub(crate) retry: Retry,
    pub(crate) limits: Limits,
    pub(crate) progress: Mutex<Progress>,
}

/// Where the attempts are, and the timer with them.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Attempts that have begun, and that have ended.
    begun: u32,
    ended: u32,
    /// When the time of the current attempt is up.
    pub(crate) attempt_end: Option<Instant>,
    /// The timer has ended the current attempt; there will be another.
    stopped: bool,
    /// When the timer will look at it.
    pub(crate) due: Option<Instant>,
}

/// What has run out of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    /// This attempt; there will be another.
    Attempt(u32),
    /// The task.
    Task {
        limit: Duration,
        attempt: u32,
    },
}

impl Meta {
    /// `None` when nothing was asked for: most tasks need no box.
    pub(crate) fn boxed(self) -> Option<Box<Meta>> {
        let plain = self.name.is_none()
            && self.timeout.is_none()
            && self.deadline.is_none()
            && self.priority == 0
            && self.retry.more == 0
            && self.limits.is_empty()
            && self.grace == Grace::default();
        (!plain).then(|| Box::new(self))
    }

    pub(crate) fn has_timer(&self) -> bool {
        self.timeout.is_some() || self.deadline.is_some()
    }

    /// An attempt begins.
    pub(crate) fn begin_attempt(&self) {
        let mut progress = self.progress.lock();
        progress.begun += 1;
        progress.stopped = false;
        progress.attempt_end = self.timeout.and_then(|limit| Instant::now().checked_add(limit));
    }

    /// Attempts that have begun.
    pub(crate) fn attempts(&self) -> u32 {
        self.progress.lock().begun
    }

    /// What is due now. An attempt whose time is up is over with this call.
    pub(crate) fn look(&self, now: Instant) -> Due {
        let mut progress = self.progress.lock();
        if let Some(deadline) = self.deadline.filter(|deadline| deadline.at <= now) {
            return Due::Task { limit: deadline.limit, attempt: progress.begun };
        }
        if progress.attempt_end.is_none_or(|end| end > now) {
            return Due::Nothing;
        }
        progress.attempt_end = None;
        progress.stopped = progress.ended < self.retry.more && self.retry.covers(Verdict::TimedOut);
        if progress.stopped {
            return Due::Attempt(progress.begun);
        }
        Due::Task { limit: self.timeout.unwrap_or_default(), attempt: progress.begun }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.progress.lock().stopped
    }

    /// An attempt has ended. After which pause there is another one; `None`: it was the last.
    pub(crate) fn end_attempt(&self, verdict: Verdict) -> Option<Duration> {
        let mut progress = self.progress.lock();
        progress.ended += 1;
        // An executor may hear of an attempt's start and of its end together.
        progress.begun = progress.begun.max(progress.ended);
        progress.attempt_end = None;
        let verdict = if std::mem::take(&mut progress.stopped) { Verdict::TimedOut } else { verdict };
        if progress.ended > self.retry.more || !self.retry.covers(verdict) {
            return None;
        }
        let pause = self.retry.backoff.pause(progress.ended);
        let in_time = |deadline: Deadline| deadline.at.saturating_duration_since(Instant::now()) > pause;
        self.deadline.is_none_or(in_time).then_some(pause)
    }

    /// How long it may still take, by the first of its limits.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        let attempt_end = self.progress.lock().attempt_end;
        let end = attempt_end.into_iter().chain(self.deadline.map(|deadline| deadline.at)).min()?;
        Some(end.saturating_duration_since(Instant::now()))
    }
}

impl Clone for Meta {
    /// The same wishes, for another task.
    fn clone(&self) -> Self {
        Meta {
            name: self.name.clone(),
            timeout: self.timeout,
            deadline: self.deadline,
            priority: self.priority,
            grace: self.grace,
            retry: self.retry,
            limits: self.limits,
            progress: Mutex::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::policy::{Backoff, RetryOn};

    fn meta(more: u32, on: RetryOn) -> Meta {
        Meta { retry: Retry { more, on, backoff: Backoff::NONE }, ..Meta::default() }
    }

    #[test]
    fn attempts_are_counted_also_when_their_start_was_not_seen() {
        let meta = meta(2, RetryOn::ALL);
        assert_eq!(meta.end_attempt(Verdict::Died), Some(Duration::ZERO));
        meta.begin_attempt();
        assert_eq!(meta.end_attempt(Verdict::Panicked), Some(Duration::ZERO));
        assert_eq!(meta.attempts(), 2);
        assert_eq!(meta.end_attempt(Verdict::Failed), None);
        assert_eq!(meta.attempts(), 3);
    }

    #[test]
    fn an_attempt_that_the_timer_ended_has_timed_out_however_it_ends() {
        let meta = Meta { timeout: Some(Duration::ZERO), ..meta(1, RetryOn::TIMEOUT) };
        meta.begin_attempt();
        assert_eq!(meta.look(Instant::now()), Due::Attempt(1));
        assert_eq!(meta.look(Instant::now()), Due::Nothing, "it is over only once");
        assert_eq!(meta.end_attempt(Verdict::Died), Some(Duration::ZERO));
        meta.begin_attempt();
        assert_eq!(meta.look(Instant::now()), Due::Task { limit: Duration::ZERO, attempt: 2 }, "none is left");
        assert_eq!(meta.end_attempt(Verdict::Died), None);
    }

    #[test]
    fn no_attempt_begins_after_the_deadline() {
        let deadline = Some(Deadline::new(Instant::now()));
        let meta = Meta { deadline, ..meta(5, RetryOn::ALL) };
        assert_eq!(meta.end_attempt(Verdict::Died), None);
    }
}
