//! The end, in all its forms.

use super::{After, State};
use crate::pool::item::Item;
use crate::pool::member::{Process, Stage};
use concurrent_futures_core::KilledBy;
use std::time::Instant;

impl State {
    /// No more tasks are taken. `cancel`: those that have not started are given to the caller, who resolves them without the
    /// lock and then calls [`resolved`](Self::resolved).
    pub(in crate::pool) fn close(&mut self, cancel: bool, after: &mut After) -> Vec<Item> {
        self.closing = true;
        self.cancelling |= cancel;
        after.room = true;
        after.crew = true;
        self.ring(after);
        if cancel { self.take_unstarted() } else { Vec::new() }
    }

    /// As `close`, for a reason that everybody who comes gets to know; the first one stays.
    pub(in crate::pool) fn break_down(&mut self, why: &str, after: &mut After) -> Vec<Item> {
        self.broken.get_or_insert_with(|| why.into());
        self.close(true, after)
    }

    /// Everything in the queue, and nothing else: for when no worker can be started.
    pub(in crate::pool) fn take_queue(&mut self, after: &mut After) -> Vec<Item> {
        after.room = true;
        self.resolving += 1;
        self.finished += self.queue.len() as u64;
        self.queue.drain(..).collect()
    }

    pub(super) fn take_unstarted(&mut self) -> Vec<Item> {
        self.resolving += 1;
        let mut items: Vec<Item> = self.queue.drain(..).collect();
        // The futures may stay for longer than the pool.
        items.extend(std::mem::take(&mut self.paused).into_values().inspect(|item| item.task.clear_remote()));
        for member in self.members.values_mut() {
            items.extend(member.revoke_all());
        }
        self.finished += items.len() as u64;
        items
    }

    /// Everything, also what runs: for when nobody is left who could hear of it.
    pub(in crate::pool) fn wreck(&mut self) -> Vec<Item> {
        let mut items = self.take_unstarted();
        for (_, mut member) in std::mem::take(&mut self.members) {
            items.extend(member.take_flights().into_iter().map(|(_, item)| item));
            member.seat.close();
        }
        self.idle.clear();
        items.append(&mut self.limbo);
        items
    }

    /// What was taken out is resolved.
    pub(in crate::pool) fn resolved(&mut self, after: &mut After) {
        self.resolving -= 1;
        self.ring(after);
    }

    /// The supervisor's look at the whole. `true`: the pool is over.
    pub(in crate::pool) fn tend(&mut self, now: Instant, after: &mut After) -> bool {
        self.rung = false;
        // Whoever gets something to do now is not idle for too long.
        self.resume(now, after);
        self.expire_idle(now, after);
        self.drop_limbo(after);
        if !self.closing {
            return false;
        }
        let nothing_waits = self.queue.is_empty() && self.paused.is_empty();
        if nothing_waits && self.members.values().all(|member| member.live() == 0) {
            let leaving: Vec<_> = self.members.values().filter(|m| m.stage != Stage::Leaving).map(|m| m.id).collect();
            for id in leaving {
                self.dismiss(id, after);
            }
        }
        nothing_waits && self.members.is_empty() && self.limbo.is_empty() && self.resolving == 0
    }

    /// Tasks wait for core to resolve them.
    pub(in crate::pool) fn in_limbo(&self) -> bool {
        !self.limbo.is_empty()
    }

    /// The processes of the workers; they are marked as ended by the pool.
    pub(in crate::pool) fn doom(&mut self) -> Vec<Process> {
        let mut processes = Vec::new();
        for member in self.members.values_mut() {
            member.blame(KilledBy::Shutdown);
            processes.extend(member.process.clone());
        }
        processes
    }
}
