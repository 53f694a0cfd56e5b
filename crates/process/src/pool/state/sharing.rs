//! Which worker gets which task, and when.

use super::{After, State};
use crate::launch::WorkerId;
use crate::pool::item::Item;
use crate::pool::member::{Member, Stage, Unsent};
use std::time::Instant;

/// So many tasks at least are sent together to workers that have something to do.
const TOGETHER: usize = 16;

impl State {
    /// The worker has answered; `done` tasks of it are done. Gives it more to do, or lets it go.
    pub(in crate::pool) fn employ(&mut self, id: WorkerId, done: usize, now: Instant, after: &mut After) {
        let Some(member) = self.members.get_mut(&id).filter(|member| member.stage == Stage::Ready) else { return };
        let idle = member.is_idle();
        if done > 0 {
            member.has_done(done, now);
        }
        if !self.queue.is_empty() {
            self.keep_order(id, idle, done == 0);
        }
        self.refill(id, after);
        let is_idle = |state: &State| state.members.get(&id).is_some_and(Member::is_idle);
        if is_idle(self) && self.limits.tasks.is_some_and(|limit| self.members[&id].served() >= limit) {
            self.dismiss(id, after);
        }
        if is_idle(self) {
            self.relieve(id, after);
        }
        if is_idle(self)
            && let Some(member) = self.members.get_mut(&id)
        {
            member.rests();
            if !self.idle.contains(&id) {
                self.idle.push(id);
                member.idle_since = self.limits.idle_timeout.map(|_| Instant::now());
            }
        }
    }

    /// Gives what is queued to workers that have nothing to do.
    pub(super) fn spread(&mut self, after: &mut After) {
        while let Some(item) = self.queue.front() {
            let (limit, members) = (self.limits.tasks, &self.members);
            let free = |id: &&WorkerId| members.get(id).is_some_and(|member| member.has_room_for(item, 1, limit));
            let Some(id) = self.idle.iter().rev().find(free).copied() else { return };
            self.send_next(id, after);
            self.deliver(id, after);
        }
    }

    /// Gives what is queued to a worker that is quick and does not have much: it is given more only when somebody takes its answers
    /// in, and that may be the very thread that is busy submitting. Several tasks at once, for each sending takes a cache line
    /// from it.
    pub(super) fn top_up(&mut self, after: &mut After) {
        if self.queue.len() < TOGETHER {
            return;
        }
        let coming = self.coming();
        while let Some(item) = self.queue.front().filter(|_| self.queue.len() > coming) {
            let has_room = |member: &Member| member.has_room_for(item, member.window() / 2, self.limits.tasks);
            let quick = self.members.values().filter(|member| member.is_quick() && has_room(member));
            let Some(member) = quick.min_by_key(|member| member.live()) else { break };
            self.send_next(member.id, after);
        }
        self.members.values_mut().for_each(|member| member.deliver(after));
    }

    /// Gives a worker its share of the queue.
    pub(super) fn refill(&mut self, id: WorkerId, after: &mut After) {
        if self.queue.is_empty() {
            return;
        }
        let coming = self.coming();
        let ready = self.members.values().filter(|member| member.stage == Stage::Ready).count().max(1);
        while let Some(item) = self.queue.front() {
            let Some(member) = self.members.get(&id) else { return };
            let share = (self.queue.len() + member.live()).div_ceil(ready);
            // What is about to be a worker finds a task, instead of all being buffered elsewhere. That holds for those, too,
            // that the supervisor has not heard of yet: it starts them for what is queued, and for nothing else.
            let spoken_for = member.live() > 0 && self.queue.len() <= coming;
            if spoken_for || !member.has_room_for(item, share, self.limits.tasks) {
                break;
            }
            self.send_next(id, after);
        }
        self.deliver(id, after);
    }

    /// Has what was sent to a worker on its way.
    fn deliver(&mut self, id: WorkerId, after: &mut After) {
        if let Some(member) = self.members.get_mut(&id) {
            member.deliver(after);
        }
    }

    /// Sends the head of the queue to a worker that has room for it.
    pub(super) fn send_next(&mut self, id: WorkerId, after: &mut After) {
        let Some(item) = self.queue.pop_front() else { return };
        after.room = true;
        let Some(member) = self.members.get_mut(&id) else {
            self.queue.push_front(item);
            return;
        };
        match member.send(item) {
            Ok(()) => {
                self.keep_vigil(after);
                self.idle.retain(|idle| *idle != id);
            }
            Err(Unsent::Resolved(item)) => self.release(*item, after),
            Err(Unsent::Failed(item, error)) => {
                self.finished += 1;
                after.failed.push((*item, error));
            }
        }
    }

    /// Before a worker takes from the queue: tasks that were submitted earlier, and wait at another worker behind the one that
    /// it runs, go back to the queue. Where tasks are so short that workers are given many at a time, that costs more than the
    /// order is worth: there they go back only when others have overtaken them by far, as then they wait behind one that is
    /// not short. A worker that has just come up looks everywhere.
    pub(super) fn keep_order(&mut self, id: WorkerId, idle: bool, everywhere: bool) {
        let Some(head) = self.queue.front().map(|item| item.number) else { return };
        let far = 2 * self.members.values().map(|member| member.window() as u64).sum::<u64>();
        let mut older = Vec::new();
        for member in self.members.values_mut().filter(|member| member.id != id) {
            let leeway = if everywhere || idle && !member.is_quick() { 0 } else { far };
            if member.oldest_waiting().is_some_and(|number| number + leeway < head) {
                older.extend(member.give_up(usize::MAX));
            }
        }
        self.requeue(older);
    }

    /// Fetches work for a worker that has nothing to do and finds the queue empty: tasks that wait at another worker behind
    /// the one that it runs.
    pub(super) fn relieve(&mut self, id: WorkerId, after: &mut After) {
        let mut busy: Vec<(usize, WorkerId)> =
            self.members.values().filter(|m| m.waiting() > 0 && m.id != id).map(|m| (m.waiting(), m.id)).collect();
        busy.sort_unstable_by(|a, b| b.cmp(a));
        for (waiting, other) in busy {
            let Some(member) = self.members.get_mut(&other) else { continue };
            let items = member.give_up(waiting.div_ceil(2));
            self.requeue(items);
            self.refill(id, after);
            if !self.members.get(&id).is_some_and(Member::is_idle) {
                return;
            }
        }
    }

    /// Back to their places in the queue: at its head, save for what has come back from elsewhere.
    pub(super) fn requeue(&mut self, items: Vec<Item>) {
        for item in items {
            let place = self.queue.partition_point(|queued| queued.number < item.number);
            self.queue.insert(place, item);
        }
    }
}
