//! Workers come and go.

use super::{After, Estate, State};
use crate::launch::WorkerId;
use crate::pool::member::{Member, Process, Stage};
use crate::pool::seat::Remains;
use crate::wire::Down;
use concurrent_futures_core::KilledBy;
use rustix::process::Signal;
use std::time::Instant;

impl State {
    pub(in crate::pool) fn add(&mut self, member: Member) {
        self.members.insert(member.id, member);
    }

    pub(in crate::pool) fn has_workers(&self) -> bool {
        !self.members.is_empty()
    }

    /// The worker's process is known. Gives the signal that it is to get at once, if any.
    pub(in crate::pool) fn started(&mut self, id: WorkerId, process: Process) -> Option<Signal> {
        let member = self.members.get_mut(&id)?;
        member.process = Some(process);
        if self.forced.is_some() {
            member.blame(KilledBy::Shutdown);
        }
        self.forced
    }

    /// The worker is ready for tasks. `false`: that is not what it can say now.
    pub(in crate::pool) fn ready(&mut self, id: WorkerId, after: &mut After) -> bool {
        let Some(member) = self.members.get_mut(&id) else { return true };
        let first = !std::mem::replace(&mut member.was_ready, true);
        // Otherwise it was told to leave before it was ready.
        if first && member.stage == Stage::Starting {
            member.stage = Stage::Ready;
            self.employ(id, 0, Instant::now(), after);
            after.crew |= self.warming > 0;
        }
        first
    }

    /// No more tasks for this worker; it is not told. `why` we are about to kill it, if we are.
    pub(in crate::pool) fn suspend(&mut self, id: WorkerId, why: KilledBy) {
        if let Some(member) = self.members.get_mut(&id) {
            member.stage = Stage::Leaving;
            member.blame(why);
            self.idle.retain(|idle| *idle != id);
        }
    }

    /// The worker says that it leaves.
    pub(in crate::pool) fn retire(&mut self, id: WorkerId) {
        self.suspend(id, KilledBy::Nobody);
        if let Some(member) = self.members.get_mut(&id) {
            member.dismissed = true;
        }
    }

    /// The worker is dead. What it had not started goes back to the head of the queue.
    pub(in crate::pool) fn bury(&mut self, id: WorkerId, after: &mut After) -> Option<Estate> {
        let mut member = self.members.remove(&id)?;
        self.idle.retain(|idle| *idle != id);
        let mut estate = Estate {
            was_ready: member.was_ready,
            dismissed: member.dismissed,
            process: member.process.take(),
            killed_by: member.killed_by,
            lost: Vec::new(),
        };
        let mut unstarted = Vec::new();
        for (ticket, item) in member.take_flights() {
            match item.bury(&member.seat, ticket) {
                Remains::Unstarted => unstarted.push(item),
                Remains::Lost => estate.lost.push((ticket, item)),
                Remains::Revoked => self.release(item, after),
            }
        }
        member.seat.close();
        self.finished += estate.lost.len() as u64;
        self.requeue(unstarted);
        self.recall();
        self.spread(after);
        Some(estate)
    }

    /// Tells a worker to leave when it is done with what it has.
    pub(super) fn dismiss(&mut self, id: WorkerId, after: &mut After) {
        if let Some(member) = self.members.get_mut(&id) {
            member.stage = Stage::Leaving;
            member.dismissed = true;
            member.say(Down::End, after);
            self.idle.retain(|idle| *idle != id);
            self.keep_vigil(after);
        }
    }

    /// The processes of the workers that are ready, in their order. One that is killed before would count against the pool: it
    /// breaks when its workers do not come up.
    #[cfg(feature = "chaos")]
    pub(in crate::pool) fn ready_processes(&self) -> Vec<crate::chaos::Victim> {
        let mut ready: Vec<_> = self.members.values().filter(|member| member.was_ready).collect();
        ready.sort_unstable_by_key(|member| member.id.0);
        ready.into_iter().filter_map(|member| Some((member.id, member.process.as_ref()?.pidfd.clone()))).collect()
    }

    /// The worker is about to be killed, for this reason.
    #[cfg(feature = "chaos")]
    pub(in crate::pool) fn blame(&mut self, id: WorkerId, why: KilledBy) {
        if let Some(member) = self.members.get_mut(&id) {
            member.blame(why);
        }
    }

    pub(super) fn starting(&self) -> usize {
        self.members.values().filter(|member| member.stage == Stage::Starting).count()
    }
}
