//! The pool's state, and every step that it takes. All of it happens under one lock, and nothing in it waits or runs code of
//! the user's: what is to be done without the lock is collected in [`After`].

mod attempts;
mod closing;
mod crew;
mod sharing;
mod sizing;
#[cfg(test)]
mod tests;
mod vigil;

use super::item::Item;
use super::member::{Member, Misfit, Process};
use crate::attachments::Attached;
use crate::handles::Parcel;
use crate::launch::WorkerId;
use crate::link::Outbound;
use crate::wire::Ticket;
use concurrent_futures_core::attach::{Arrived, Attachment};
use concurrent_futures_core::{KilledBy, Refusal, Stats, TaskError, UnfinishedTask};
use rustix::process::Signal;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the state's steps go by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) workers: usize,
    /// So many are kept also when there is nothing to do.
    pub(super) min_workers: usize,
    /// How long the others stay then; without it, for ever.
    pub(super) idle_timeout: Option<Duration>,
    /// Tasks in one worker's life.
    pub(super) tasks: Option<usize>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) limits: Limits,
    /// No task is taken any more.
    closing: bool,
    /// What has not started is cancelled.
    cancelling: bool,
    /// Why not, if not for a shutdown.
    broken: Option<Box<str>>,
    /// All workers are to be ended by this signal, also those that come up only now.
    pub(super) forced: Option<Signal>,
    queue: VecDeque<Item>,
    /// Tasks between two attempts, by the end of the pause and their number.
    paused: BTreeMap<(Instant, u64), Item>,
    /// Tasks ever; gives their numbers.
    submitted: u64,
    /// Submitters that have been promised a place in the queue.
    pub(super) reserved: usize,
    members: BTreeMap<WorkerId, Member>,
    /// Workers that have nothing to do, the one that worked last at the end. While there is one, the queue is empty.
    idle: Vec<WorkerId>,
    /// Threads that wait until all workers are up.
    warming: usize,
    /// When somebody looks for workers that do nothing.
    next_look: Option<Instant>,
    /// How often it was given up to start a worker, and why the last time.
    given_up: (u64, Box<str>),
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
    /// Links with something new; as a rule one.
    flush: Option<Arc<dyn Outbound>>,
    flush_too: Vec<Arc<dyn Outbound>>,
    /// Tasks that are over, whose destructor may be the user's.
    spent: Vec<Item>,
    /// Tasks that could not be sent.
    failed: Vec<(Item, TaskError)>,
    /// The supervisor has something to do.
    pub(super) ring: bool,
    /// There is room in the queue.
    pub(super) room: bool,
    /// Those who wait for workers have something to look at.
    pub(super) crew: bool,
}

impl After {
    pub(super) fn flush(&mut self, outbound: &Arc<dyn Outbound>) {
        let last = self.flush_too.last().or(self.flush.as_ref());
        match last {
            Some(last) if Arc::ptr_eq(last, outbound) => {}
            None => self.flush = Some(outbound.clone()),
            Some(_) => self.flush_too.push(outbound.clone()),
        }
    }

    /// How many tasks are still to be resolved.
    pub(super) fn unresolved(&self) -> usize {
        self.failed.len()
    }

    /// As a rule, when a task has only been queued.
    pub(super) fn is_nothing(&self) -> bool {
        // Where there is one more, there is one.
        self.flush.is_none()
            && !(self.ring || self.room || self.crew)
            && self.spent.is_empty()
            && self.failed.is_empty()
    }

    /// What needs no more than this: the rest is the caller's, who knows the bell and those who wait.
    pub(super) fn carry_out(self) {
        for outbound in self.flush.into_iter().chain(self.flush_too) {
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
    /// It was told to leave.
    pub(super) dismissed: bool,
    pub(super) process: Option<Process>,
    pub(super) killed_by: KilledBy,
    /// The tasks that it had started; one, unless it lies.
    pub(super) lost: Vec<(Ticket, Item)>,
}

impl State {
    pub(super) fn new(limits: Limits) -> Self {
        State {
            limits,
            closing: false,
            cancelling: false,
            broken: None,
            forced: None,
            queue: VecDeque::new(),
            paused: BTreeMap::new(),
            submitted: 0,
            reserved: 0,
            members: BTreeMap::new(),
            idle: Vec::new(),
            warming: 0,
            next_look: None,
            given_up: (0, "".into()),
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
        if self.queued() + self.reserved >= bound {
            self.drop_resolved(after);
        }
        self.queued() + self.reserved < bound
    }

    /// What waits here for a worker, or for its next attempt.
    fn queued(&self) -> usize {
        self.queue.len() + self.paused.len()
    }

    /// Gives the task to a worker that has nothing to do, or will soon have done what it has, or queues it.
    pub(super) fn submit(&mut self, mut item: Item, after: &mut After) {
        item.number = self.submitted;
        self.submitted += 1;
        self.queue.push_back(item);
        self.spread(after);
        self.top_up(after);
        if self.wanted() > 0 {
            self.ring(after);
        }
    }

    // ---- answers

    /// The worker says that a task has started that was to be announced.
    pub(super) fn announced(&self, id: WorkerId, ticket: Ticket) -> Result<(), Misfit> {
        let Some(member) = self.members.get(&id) else { return Ok(()) };
        let item = member.current(ticket).ok_or(Misfit)?;
        // Once, and not before its slot says so: it could not be stopped, or its time would begin anew.
        if !member.has_started(ticket) || item.task.attempts() + 1 != item.attempt {
            return Err(Misfit);
        }
        item.task.begin_attempt();
        Ok(())
    }

    /// The worker says that a task is done. To free its argument may take long: not with the lock held.
    /// With the descriptors that have come for its result.
    pub(super) fn finished(&mut self, id: WorkerId, ticket: Ticket) -> Result<(Item, Option<Arrived>), Misfit> {
        let member = self.members.get_mut(&id).ok_or(Misfit)?;
        let item = member.finished(ticket)?;
        self.finished += 1;
        Ok((item, member.take_descriptors()))
    }

    /// The worker says that it has met a revoked task.
    pub(super) fn met_revoked(&mut self, id: WorkerId, ticket: Ticket, after: &mut After) -> Result<(), Misfit> {
        if let Some(item) = self.members.get_mut(&id).ok_or(Misfit)?.met_revoked(ticket)? {
            self.release(item, after);
        }
        Ok(())
    }

    /// Whether the worker has said that its set-up is done.
    pub(super) fn was_ready(&self, id: WorkerId) -> bool {
        self.members.get(&id).is_some_and(|member| member.was_ready)
    }

    /// The worker waits for the lane on which handles travel.
    pub(super) fn open_lane(&mut self, id: WorkerId, control: BorrowedFd<'_>) -> io::Result<()> {
        self.members.get_mut(&id).map_or(Ok(()), |member| member.open_lane(control))
    }

    /// The handles that belong to a result.
    pub(super) fn receive_handles(&mut self, id: WorkerId, ticket: Ticket) -> io::Result<Parcel> {
        let member = self.members.get_mut(&id).ok_or(io::ErrorKind::NotConnected)?;
        member.receive_handles(ticket)
    }

    /// The descriptors that belong to the worker's next result have been announced.
    pub(super) fn announced_descriptors(&mut self, id: WorkerId, attached: Attached) -> io::Result<()> {
        self.members.get_mut(&id).map_or(Ok(()), |member| member.announced_descriptors(attached))
    }

    /// Sends descriptors for the frame that is posted to the worker next.
    pub(super) fn attach(&mut self, id: WorkerId, attachments: &[Attachment]) -> io::Result<()> {
        self.members.get_mut(&id).map_or(Ok(()), |member| member.attach(attachments))
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
        Stats::new(self.members.len(), idle, self.queued() + waiting, self.finished)
    }

    /// What is not done, in the order of submission.
    pub(super) fn unfinished(&self) -> Vec<UnfinishedTask> {
        let waiting = self.queue.iter().chain(self.paused.values()).map(|item| (item, false));
        let mut items: Vec<(&Item, bool)> = waiting.chain(self.members.values().flat_map(Member::items)).collect();
        items.sort_unstable_by_key(|(item, _)| item.number);
        items.retain(|(item, _)| !item.task.is_done());
        items
            .into_iter()
            .map(|(item, runs)| UnfinishedTask::new(item.task.id(), item.task.name().map(Into::into), runs))
            .collect()
    }

    // ---- steps

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
            // Whoever asks from now on need not ask the worker, which is done with it or dead.
            item.task.clear_remote();
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

    fn ring(&mut self, after: &mut After) {
        after.ring |= !std::mem::replace(&mut self.rung, true);
    }
}
