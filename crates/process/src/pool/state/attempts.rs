//! Attempts that are to be ended, and those that follow.

use super::{After, State};
use crate::launch::WorkerId;
use crate::pool::item::Item;
use crate::pool::stops::{StopRequest, Stops};
use crate::wire::Ticket;
use concurrent_futures_core::task::Grace;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl State {
    /// Somebody wants an attempt to end. Gives the patience to have with it if its worker runs it: what waits behind it there
    /// goes to others at once.
    pub(in crate::pool) fn stop(&mut self, request: StopRequest, after: &mut After) -> Option<Grace> {
        let member = self.members.get_mut(&request.worker)?;
        match member.stop(request.ticket, request.attempt)? {
            Ok(grace) => {
                let waiting = member.give_up(usize::MAX);
                self.requeue(waiting);
                self.spread(after);
                Some(grace)
            }
            Err(item) => {
                self.release(item, after);
                None
            }
        }
    }

    /// Whether the worker has not answered yet since its task was to end.
    pub(in crate::pool) fn is_stopping(&self, id: WorkerId, ticket: Ticket) -> bool {
        self.members.get(&id).is_some_and(|member| member.stopping == Some(ticket))
    }

    /// Whether what it does now is another task, although that answer has not come.
    pub(in crate::pool) fn is_past(&self, id: WorkerId, ticket: Ticket) -> bool {
        self.members.get(&id).is_some_and(|member| member.is_past(ticket))
    }

    /// An attempt is over, and after the pause there is to be another one. Gives the task back if there is none: all that has not
    /// started is cancelled, or somebody has resolved it.
    pub(in crate::pool) fn try_again(
        &mut self,
        item: Item,
        pause: Duration,
        now: Instant,
        stops: &Arc<Stops>,
        after: &mut After,
    ) -> Option<Item> {
        if self.cancelling {
            return Some(item);
        }
        // Who resolves it from now on finds it pausing, and rings; who did before meant the attempt that is over.
        if !item.pause(stops) {
            return Some(item);
        }
        self.finished -= 1;
        if pause.is_zero() {
            item.task.clear_remote();
            self.requeue(vec![item]);
            self.spread(after);
            if self.wanted() > 0 {
                self.ring(after);
            }
        } else {
            // It sleeps for as long as nothing was to be done, and this may be another thread.
            self.ring(after);
            // What no clock can tell is as good as for ever.
            let at = now.checked_add(pause).unwrap_or(now + CENTURY);
            self.paused.insert((at, item.number), item);
        }
        None
    }

    /// When the next pause ends.
    pub(in crate::pool) fn next_attempt(&self) -> Option<Instant> {
        Some(self.paused.first_key_value()?.0.0)
    }

    /// Queues what has paused for long enough.
    pub(super) fn resume(&mut self, now: Instant, after: &mut After) {
        let mut due = Vec::new();
        while let Some(first) = self.paused.first_entry().filter(|first| first.key().0 <= now) {
            let item = first.remove();
            item.task.clear_remote();
            due.push(item);
        }
        if !due.is_empty() {
            self.requeue(due);
            self.spread(after);
        }
    }

    /// Lets go of what core has resolved between two attempts.
    pub(in crate::pool) fn forget_cancelled(&mut self, after: &mut After) {
        let cancelled = self.paused.extract_if(.., |_, item| item.task.is_done()).map(|(_, item)| item);
        let before = after.spent.len();
        // The future may stay for longer than the pool.
        after.spent.extend(cancelled.inspect(|item| item.task.clear_remote()));
        self.finished += (after.spent.len() - before) as u64;
        after.room |= after.spent.len() > before;
    }
}
