//! What becomes of a task when an attempt is over: its outcome, or another attempt.

use super::inner::Inner;
use super::item::Item;
use super::state::After;
use concurrent_futures_core::task::{Reply, Verdict};
use concurrent_futures_core::{KilledBy, TaskError, TaskErrorKind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How many tasks are over for the state and not yet settled, by whoever took in their answers. The pool does not end before.
#[derive(Debug, Default)]
pub(super) struct Settling(AtomicUsize);

impl Settling {
    /// With the pool's lock held, under which the supervisor looks whether all is over.
    pub(super) fn begin(&self, tasks: usize) {
        if tasks > 0 {
            self.0.fetch_add(tasks, Ordering::Relaxed);
        }
    }

    /// `true`: those were the last. The caller looks then whether the pool is closed: whoever closes it looks here after that.
    pub(super) fn end(&self, tasks: usize) -> bool {
        tasks > 0 && self.0.fetch_sub(tasks, Ordering::SeqCst) == tasks
    }

    /// Everything that is over has been settled; looked at with the pool's lock held.
    pub(super) fn is_over(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

impl Inner {
    /// A worker has answered.
    pub(super) fn settle_answer(&self, item: Item, outcome: Result<Reply, TaskError>) {
        let reply = match outcome {
            Ok(reply) => reply,
            Err(error) => return item.over().fail(error),
        };
        if !item.task.has_policy() {
            return item.over().complete(reply);
        }
        let stopped = item.task.attempt_stopped();
        let again = if item.can_be_sent_again() { item.task.judge(&reply) } else { None };
        let Some(item) = self.again(item, again) else { return };
        let task = item.over();
        match (stopped, task.timeout()) {
            // Too late, and there is no time for another attempt.
            (true, Some(limit)) => task.fail(TaskErrorKind::TimedOut(limit).into()),
            _ => task.complete(reply),
        }
    }

    /// Its worker has died. `cause` says with how many deaths, and becomes the task's outcome if there is no other attempt.
    pub(super) fn settle_death(&self, mut item: Item, by: KilledBy, cause: impl FnOnce(u32) -> TaskErrorKind) {
        let deaths = if is_accident(by) { item.died() } else { item.deaths() };
        let given_up = self.settings.deaths_per_task.is_some_and(|limit| deaths >= limit);
        let cause = cause(deaths.max(1));
        let stopped = item.task.attempt_stopped();
        let verdict = if matches!(cause, TaskErrorKind::Panicked(_)) { Verdict::Panicked } else { Verdict::Died };
        let again = item.task.retry_after(verdict).filter(|_| item.can_be_sent_again() && !given_up);
        let Some(task) = self.again(item, again).map(Item::over) else { return };
        let why = task.timeout().filter(|_| stopped).map_or(cause, TaskErrorKind::TimedOut);
        task.fail(why.into());
    }

    /// Puts the task back, if there is to be another attempt; else gives it back.
    fn again(&self, item: Item, pause: Option<Duration>) -> Option<Item> {
        let Some(pause) = pause else { return Some(item) };
        let mut after = After::default();
        let item = self.lock().try_again(item, pause, Instant::now(), &self.stops, &mut after);
        self.finish(after);
        item
    }
}

/// The pool has not ended the worker for reasons of its own.
pub(super) fn is_accident(by: KilledBy) -> bool {
    matches!(by, KilledBy::Nobody | KilledBy::Memory | KilledBy::CpuTime | KilledBy::Protocol | KilledBy::Chaos)
}
