//! What a task finds out about itself by `task::current()`.

use crate::notes::Notes;
use crate::slots::Page;
use crate::sys::clock;
use crate::wire::Ticket;
use concurrent_futures_core::task::RunningTask;
use std::time::{Duration, Instant};

/// The task that runs.
pub(super) struct Running<'a> {
    notes: &'a Notes,
    page: &'a Page,
    ticket: Ticket,
    /// If it has a timeout. The pool's clock starts when it hears of the start, a moment later.
    since: Option<Instant>,
}

impl<'a> Running<'a> {
    /// It starts now.
    pub(super) fn new(notes: &'a Notes, page: &'a Page, ticket: Ticket) -> Self {
        Running { notes, page, ticket, since: notes.timeout.map(|_| Instant::now()) }
    }
}

impl RunningTask for Running<'_> {
    fn name(&self) -> Option<&str> {
        self.notes.name.as_deref()
    }

    fn attempt(&self) -> u32 {
        self.notes.attempt
    }

    fn remaining(&self) -> Option<Duration> {
        let attempt =
            self.notes.timeout.zip(self.since).map(|(timeout, since)| timeout.saturating_sub(since.elapsed()));
        let all = self.notes.deadline.map(clock::until);
        attempt.into_iter().chain(all).min()
    }

    fn should_stop(&self) -> bool {
        self.page.is_asked_to_stop(self.ticket)
    }
}
