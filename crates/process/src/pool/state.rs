//! The pool's state, and every step that it takes. All of it happens under one lock, and nothing in it waits or runs code of
//! the user's: what is to be done without the lock is collected in [`After`].

#[cfg(test)]
mod tests;

use super::item::Item;
use super::member::{Member, Misfit, Process, Stage, Unsent};
use super::placement::Remains;
use crate::handles::Parcel;
use crate::launch::WorkerId;
use crate::link::Outbound;
use crate::wire::{Down, Ticket};
use concurrent_futures_core::{Refusal, Stats, TaskError};
use rustix::process::Signal;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;

/// What the state's steps go by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) workers: usize,
    /// Tasks in one worker's life.
    pub(super) tasks: Option<usize>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) limits: Limits,
    /// No task is taken any more.
    closing: bool,
    /// Why not, if not for a shutdown.
    broken: Option<Box<str>>,
    /// All workers are to be ended by this signal, also those that come up only now.
    pub(super) forced: Option<Signal>,
    queue: VecDeque<Item>,
    /// Tasks ever; gives their numbers.
    submitted: u64,
    /// Submitters that have been promised a place in the queue.
    pub(super) reserved: usize,
    members: HashMap<WorkerId, Member>,
    /// Workers that have nothing to do, the one that worked last at the end. While there is one, the queue is empty.
    idle: Vec<WorkerId>,
    /// Tasks that core has revoked and resolves at this moment: to be kept until it has.
    limbo: Vec<Item>,
    /// Threads that are resolving tasks which they have taken out.
    pub(super) resolving: usize,
    finished: u64,
    /// The supervisor has been rung for and has not come yet.
    rung: bool,
}

/// What is to be done when the lock is released.
#[derive(Debug, Default)]
#[must_use = "links stay silent and threads asleep until this is done"]
pub(super) struct After {
    /// Links with something new.
    flush: Vec<Arc<dyn Outbound>>,
    /// Tasks that are over, whose destructor may be the user's.
    spent: Vec<Item>,
    /// Tasks that could not be sent.
    failed: Vec<(Item, TaskError)>,
    /// The supervisor has something to do.
    pub(super) ring: bool,
    /// There is room in the queue.
    pub(super) room: bool,
}

impl After {
    pub(super) fn flush(&mut self, outbound: &Arc<dyn Outbound>) {
        if self.flush.last().is_none_or(|last| !Arc::ptr_eq(last, outbound)) {
            self.flush.push(outbound.clone());
        }
    }

    /// What needs no more than this: the rest is the caller's, who knows the bell and those who wait.
    pub(super) fn carry_out(self) {
        for outbound in self.flush {
            outbound.flush();
        }
        for (item, error) in self.failed {
            item.task.fail(error);
        }
        drop(self.spent);
    }
}

/// What a dead worker leaves.
#[derive(Debug)]
pub(super) struct Estate {
    pub(super) was_ready: bool,
    pub(super) process: Option<Process>,
    pub(super) by_pool: bool,
    /// The tasks that it had started; one, unless it lies.
    pub(super) lost: Vec<(Ticket, Item)>,
}

impl State {
    pub(super) fn new(limits: Limits) -> Self {
        State {
            limits,
            closing: false,
            broken: None,
            forced: None,
            queue: VecDeque::new(),
            submitted: 0,
            reserved: 0,
            members: HashMap::new(),
            idle: Vec::new(),
            limbo: Vec::new(),
            resolving: 0,
            finished: 0,
            rung: false,
        }
    }

    // ---- tasks in

    /// Whether tasks are taken, and why not.
    pub(super) fn open(&self) -> Result<(), Refusal> {
        match (&self.broken, self.closing) {
            (Some(why), _) => Err(Refusal::Broken(why.clone())),
            (None, true) => Err(Refusal::ShutDown),
            (None, false) => Ok(()),
        }
    }

    /// Whether another task may be queued. Cancelled ones make room.
    pub(super) fn has_room(&mut self, bound: usize, after: &mut After) -> bool {
        if self.queue.len() + self.reserved >= bound {
            self.drop_resolved(after);
        }
        self.queue.len() + self.reserved < bound
    }

    /// Gives the task to a worker that has nothing to do, or queues it.
    pub(super) fn submit(&mut self, mut item: Item, after: &mut After) {
        item.number = self.submitted;
        self.submitted += 1;
        self.queue.push_back(item);
        self.spread(after);
        if self.wanted() > 0 {
            self.ring(after);
        }
    }

    // ---- workers come and go

    /// How many more workers there should be. Each worker that is about to come up takes one task.
    pub(super) fn wanted(&self) -> usize {
        if self.queue.is_empty() {
            return 0;
        }
        let room = self.limits.workers.saturating_sub(self.members.len());
        self.queue.len().saturating_sub(self.starting()).min(room)
    }

    pub(super) fn add(&mut self, member: Member) {
        self.members.insert(member.id, member);
    }

    pub(super) fn has_workers(&self) -> bool {
        !self.members.is_empty()
    }

    /// The worker's process is known. Gives the signal that it is to get at once, if any.
    pub(super) fn started(&mut self, id: WorkerId, process: Process) -> Option<Signal> {
        let member = self.members.get_mut(&id)?;
        member.process = Some(process);
        if self.forced.is_some() {
            member.by_pool = true;
        }
        self.forced
    }

    /// The worker is ready for tasks. `false`: that is not what it can say now.
    pub(super) fn ready(&mut self, id: WorkerId, after: &mut After) -> bool {
        let Some(member) = self.members.get_mut(&id) else { return true };
        let first = !std::mem::replace(&mut member.was_ready, true);
        // Otherwise it was told to leave before it was ready.
        if first && member.stage == Stage::Starting {
            member.stage = Stage::Ready;
            self.employ(id, 0, after);
        }
        first
    }

    /// No more tasks for this worker; it is not told.
    pub(super) fn suspend(&mut self, id: WorkerId, by_pool: bool) {
        if let Some(member) = self.members.get_mut(&id) {
            member.stage = Stage::Leaving;
            member.by_pool |= by_pool;
            self.idle.retain(|idle| *idle != id);
        }
    }

    /// The worker is dead. What it had not started goes back to the head of the queue.
    pub(super) fn bury(&mut self, id: WorkerId, after: &mut After) -> Option<Estate> {
        let mut member = self.members.remove(&id)?;
        self.idle.retain(|idle| *idle != id);
        let mut estate = Estate {
            was_ready: member.was_ready,
            process: member.process.take(),
            by_pool: member.by_pool,
            lost: Vec::new(),
        };
        let mut unstarted = Vec::new();
        for (ticket, item) in member.take_flights() {
            match item.bury() {
                Remains::Unstarted => unstarted.push(item),
                Remains::Lost => estate.lost.push((ticket, item)),
                Remains::Revoked => self.release(item, after),
            }
        }
        self.finished += estate.lost.len() as u64;
        self.requeue(unstarted);
        self.spread(after);
        Some(estate)
    }

    // ---- answers

    /// The worker says that a task has started that was to be announced.
    pub(super) fn announced(&self, id: WorkerId, ticket: Ticket) -> Result<(), Misfit> {
        let Some(member) = self.members.get(&id) else { return Ok(()) };
        let item = member.current(ticket).ok_or(Misfit)?;
        item.task.begin_attempt();
        Ok(())
    }

    /// The worker says that a task is done. To free its argument may take long: not with the lock held.
    pub(super) fn finished(&mut self, id: WorkerId, ticket: Ticket) -> Result<Item, Misfit> {
        let item = self.members.get_mut(&id).ok_or(Misfit)?.finished(ticket)?;
        self.finished += 1;
        Ok(item)
    }

    /// The worker says that it has met a revoked task.
    pub(super) fn met_revoked(&mut self, id: WorkerId, ticket: Ticket, after: &mut After) -> Result<(), Misfit> {
        if let Some(item) = self.members.get_mut(&id).ok_or(Misfit)?.met_revoked(ticket)? {
            self.release(item, after);
        }
        Ok(())
    }

    /// The worker waits for the lane on which handles travel.
    pub(super) fn connect_lane(&mut self, id: WorkerId, name: &[u8]) -> io::Result<()> {
        self.members.get_mut(&id).map_or(Ok(()), |member| member.connect_lane(name))
    }

    /// The handles that belong to a result.
    pub(super) fn receive_handles(&mut self, id: WorkerId, ticket: Ticket) -> io::Result<Parcel> {
        let member = self.members.get_mut(&id).ok_or(io::ErrorKind::NotConnected)?;
        member.receive_handles(ticket)
    }

    /// The worker has answered; `done` tasks of it are done. Gives it more to do, or lets it go.
    pub(super) fn employ(&mut self, id: WorkerId, done: usize, after: &mut After) {
        if !self.queue.is_empty()
            && let Some(member) = self.members.get_mut(&id)
        {
            let idle = member.is_idle();
            if idle {
                member.starved(done);
            }
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
        if is_idle(self) && !self.idle.contains(&id) {
            self.idle.push(id);
        }
    }

    // ---- the end

    /// No more tasks are taken. `cancel`: those that have not started are given to the caller, who resolves them without the
    /// lock and then calls [`resolved`](Self::resolved).
    pub(super) fn close(&mut self, cancel: bool, after: &mut After) -> Vec<Item> {
        self.closing = true;
        after.room = true;
        self.ring(after);
        if cancel { self.take_unstarted() } else { Vec::new() }
    }

    /// As `close`, for a reason that everybody who comes gets to know; the first one stays.
    pub(super) fn break_down(&mut self, why: &str, after: &mut After) -> Vec<Item> {
        self.broken.get_or_insert_with(|| why.into());
        self.close(true, after)
    }

    /// Everything in the queue, and nothing else: for when no worker can be started.
    pub(super) fn take_queue(&mut self, after: &mut After) -> Vec<Item> {
        after.room = true;
        self.resolving += 1;
        self.finished += self.queue.len() as u64;
        self.queue.drain(..).collect()
    }

    fn take_unstarted(&mut self) -> Vec<Item> {
        self.resolving += 1;
        let mut items: Vec<Item> = self.queue.drain(..).collect();
        for member in self.members.values_mut() {
            items.extend(member.revoke_all());
        }
        self.finished += items.len() as u64;
        items
    }

    /// Everything, also what runs: for when nobody is left who could hear of it.
    pub(super) fn wreck(&mut self) -> Vec<Item> {
        let mut items = self.take_unstarted();
        for (_, mut member) in self.members.drain() {
            items.extend(member.take_flights().into_iter().map(|(_, item)| item));
        }
        self.idle.clear();
        items.append(&mut self.limbo);
        items
    }

    /// What was taken out is resolved.
    pub(super) fn resolved(&mut self, after: &mut After) {
        self.resolving -= 1;
        self.ring(after);
    }

    /// The supervisor's look at the whole. `true`: the pool is over.
    pub(super) fn tend(&mut self, after: &mut After) -> bool {
        self.rung = false;
        self.drop_limbo(after);
        if !self.closing {
            return false;
        }
        if self.queue.is_empty() && self.members.values().all(|member| member.live() == 0) {
            let leaving: Vec<_> = self.members.values().filter(|m| m.stage != Stage::Leaving).map(|m| m.id).collect();
            for id in leaving {
                self.dismiss(id, after);
            }
        }
        self.queue.is_empty() && self.members.is_empty() && self.limbo.is_empty() && self.resolving == 0
    }

    /// Tasks wait for core to resolve them.
    pub(super) fn in_limbo(&self) -> bool {
        !self.limbo.is_empty()
    }

    /// The processes of the workers; they are marked as ended by the pool.
    pub(super) fn doom(&mut self) -> Vec<Process> {
        let mut processes = Vec::new();
        for member in self.members.values_mut() {
            member.by_pool = true;
            processes.extend(member.process.clone());
        }
        processes
    }

    // ---- looking

    pub(super) fn pids(&self) -> Vec<u32> {
        let mut pids: Vec<u32> =
            self.members.values().filter_map(|member| Some(member.process.as_ref()?.pid)).collect();
        pids.sort_unstable();
        pids
    }

    pub(super) fn stats(&self) -> Stats {
        let waiting: usize = self.members.values().map(Member::waiting).sum();
        let idle = self.members.values().filter(|member| member.is_idle()).count();
        Stats::new(self.members.len(), idle, self.queue.len() + waiting, self.finished)
    }

    // ---- steps

    /// Gives what is queued to workers that have nothing to do.
    fn spread(&mut self, after: &mut After) {
        while let Some(item) = self.queue.front() {
            let (limit, members) = (self.limits.tasks, &self.members);
            let free = |id: &&WorkerId| members.get(id).is_some_and(|member| member.has_room_for(item, 1, limit));
            let Some(id) = self.idle.iter().rev().find(free).copied() else { return };
            self.send_next(id, after);
        }
    }

    /// Gives a worker its share of the queue.
    fn refill(&mut self, id: WorkerId, after: &mut After) {
        let starting = self.starting();
        let ready = self.members.values().filter(|member| member.stage == Stage::Ready).count().max(1);
        while let Some(item) = self.queue.front() {
            let Some(member) = self.members.get(&id) else { return };
            let share = (self.queue.len() + member.live()).div_ceil(ready);
            // What is about to be a worker finds a task, instead of all being buffered elsewhere.
            let spoken_for = member.live() > 0 && self.queue.len() <= starting;
            if spoken_for || !member.has_room_for(item, share, self.limits.tasks) {
                return;
            }
            self.send_next(id, after);
        }
    }

    /// Sends the head of the queue to a worker that has room for it.
    fn send_next(&mut self, id: WorkerId, after: &mut After) {
        let Some(item) = self.queue.pop_front() else { return };
        after.room = true;
        let Some(member) = self.members.get_mut(&id) else {
            self.queue.push_front(item);
            return;
        };
        match member.send(item) {
            Ok(()) => {
                after.flush(&member.outbound);
                self.idle.retain(|idle| *idle != id);
            }
            Err(Unsent::Resolved(item)) => self.release(item, after),
            Err(Unsent::Failed(item, error)) => {
                self.finished += 1;
                after.failed.push((item, error));
            }
        }
    }

    /// Before a worker takes from the queue: tasks that were submitted earlier, and wait at another worker behind the one that
    /// it runs, go back to the queue. Where tasks are so short that workers are given many at a time, that costs more than the
    /// order is worth: there they go back only when others have overtaken them by far, as then they wait behind one that is
    /// not short. A worker that has just come up looks everywhere.
    fn keep_order(&mut self, id: WorkerId, idle: bool, everywhere: bool) {
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
    fn relieve(&mut self, id: WorkerId, after: &mut After) {
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

    /// Tells a worker to leave when it is done with what it has.
    fn dismiss(&mut self, id: WorkerId, after: &mut After) {
        if let Some(member) = self.members.get_mut(&id) {
            member.stage = Stage::Leaving;
            member.outbound.post(Down::End, None);
            after.flush(&member.outbound);
            self.idle.retain(|idle| *idle != id);
        }
    }

    /// Back to their places in the queue: at its head, save for what has come back from elsewhere.
    fn requeue(&mut self, items: Vec<Item>) {
        for item in items {
            let place = self.queue.partition_point(|queued| queued.number < item.number);
            self.queue.insert(place, item);
        }
    }

    fn drop_resolved(&mut self, after: &mut After) {
        let (done, waiting) = self.queue.drain(..).partition::<Vec<_>, _>(|item| item.task.is_done());
        self.queue = waiting.into();
        self.finished += done.len() as u64;
        after.spent.extend(done);
    }

    /// Lets go of a task that core has resolved, or is about to resolve.
    fn release(&mut self, item: Item, after: &mut After) {
        self.finished += 1;
        if item.task.is_done() {
            after.spent.push(item);
        } else {
            self.limbo.push(item);
            self.ring(after);
        }
    }

    fn drop_limbo(&mut self, after: &mut After) {
        if !self.limbo.is_empty() {
            let (done, waiting) = self.limbo.drain(..).partition(|item| item.task.is_done());
            self.limbo = waiting;
            after.spent.append(&mut { done });
        }
    }

    fn starting(&self) -> usize {
        self.members.values().filter(|member| member.stage == Stage::Starting).count()
    }

    fn ring(&mut self, after: &mut After) {
        after.ring |= !std::mem::replace(&mut self.rung, true);
    }
}
