//! How many workers there should be: growth by demand, a floor that is kept, dismissal of those that are idle for long, and
//! other numbers on a live pool.

use super::{After, State};
use crate::launch::WorkerId;
use crate::pool::member::Stage;
use concurrent_futures_core::Refusal;
use std::time::Instant;

impl State {
    /// How many more workers there should be. Each worker that is about to come up takes one task.
    pub(in crate::pool) fn wanted(&self) -> usize {
        let room = self.room();
        if room == 0 {
            return 0;
        }
        let demand = if self.queue.is_empty() { 0 } else { self.queue.len().saturating_sub(self.starting()) };
        let floor = self.floor();
        let missing = if floor == 0 { 0 } else { floor.saturating_sub(self.staying()) };
        demand.max(missing).min(room)
    }

    /// Workers that come up, or will when there are tasks for them.
    pub(super) fn coming(&self) -> usize {
        self.starting() + self.room()
    }

    /// So many workers more may there be.
    fn room(&self) -> usize {
        self.limits.workers.saturating_sub(self.members.len())
    }

    /// So many workers are kept, whether there is work or not.
    fn floor(&self) -> usize {
        match (self.closing, self.warming) {
            (true, _) => 0,
            (false, 0) => self.limits.min_workers.min(self.limits.workers),
            (false, _) => self.limits.workers,
        }
    }

    /// Workers that are not about to leave.
    fn staying(&self) -> usize {
        self.members.values().filter(|member| member.stage != Stage::Leaving).count()
    }

    /// Tells those to leave that have had nothing to do for too long, as far as they are more than are kept: the oldest
    /// first, for the one that worked last gets the next task.
    pub(in crate::pool) fn expire_idle(&mut self, now: Instant, after: &mut After) {
        while self.next_expiry().is_some_and(|at| at <= now) {
            self.dismiss(self.idle[0], after);
        }
    }

    /// When the next worker will have been idle for too long.
    pub(in crate::pool) fn next_expiry(&self) -> Option<Instant> {
        let timeout = self.limits.idle_timeout?;
        let since = self.members.get(self.idle.first()?)?.idle_since?;
        if self.staying() <= self.floor() {
            return None;
        }
        since.checked_add(timeout)
    }

    /// Allows so many workers. If there are more, they leave: first those that have nothing to do, then those that are not
    /// up yet, then the others when the task that they run is done.
    pub(in crate::pool) fn resize(&mut self, workers: usize, after: &mut After) {
        self.limits.workers = workers;
        let surplus = self.staying().saturating_sub(workers);
        let mut others: Vec<(bool, usize, WorkerId)> = self
            .members
            .values()
            .filter(|member| member.stage != Stage::Leaving && !self.idle.contains(&member.id))
            .map(|member| (member.stage != Stage::Starting, member.live(), member.id))
            .collect();
        others.sort_unstable();
        let others = others.into_iter().map(|(.., id)| id);
        let leaving: Vec<WorkerId> = self.idle.iter().copied().chain(others).take(surplus).collect();
        for id in leaving {
            // What has been given to it to do next is for others.
            let waiting = self.members.get_mut(&id).map(|member| member.give_up(usize::MAX));
            self.requeue(waiting.unwrap_or_default());
            self.dismiss(id, after);
        }
        self.recall();
        self.spread(after);
        self.ring(after);
        after.crew = true;
    }

    /// Where there is room for more workers, tasks that wait behind a running one are demand for them.
    pub(super) fn recall(&mut self) {
        let room = self.room();
        if room == 0 {
            return;
        }
        let mut short = (room + self.starting()).saturating_sub(self.queue.len());
        let mut recalled = Vec::new();
        for member in self.members.values_mut().filter(|member| member.waiting() > 0) {
            let items = member.give_up(short);
            short -= items.len();
            recalled.extend(items);
        }
        self.requeue(recalled);
    }

    // ---- those who wait for workers

    /// Until [`warmed_up`](Self::warmed_up) as many workers are wanted as may run. Gives what
    /// [`is_warm`](Self::is_warm) needs to know.
    pub(in crate::pool) fn warm_up(&mut self, after: &mut After) -> u64 {
        self.warming += 1;
        self.ring(after);
        self.given_up.0
    }

    pub(in crate::pool) fn warmed_up(&mut self) {
        self.warming -= 1;
    }

    /// Whether as many workers are ready as may run; `Err` says why that will not come.
    pub(in crate::pool) fn is_warm(&self, since: u64) -> Result<bool, Refusal> {
        self.open()?;
        let (times, why) = &self.given_up;
        if *times != since {
            return Err(Refusal::NoWorker(why.clone()));
        }
        let ready = self.members.values().filter(|member| member.stage == Stage::Ready).count();
        Ok(ready >= self.limits.workers)
    }

    /// Too many attempts in a row to start a worker have failed.
    pub(in crate::pool) fn gave_up(&mut self, why: &str, after: &mut After) {
        self.given_up = (self.given_up.0 + 1, why.into());
        after.crew = true;
    }
}
