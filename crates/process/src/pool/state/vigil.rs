//! Workers that do nothing although they should: stopped by a signal, say. What they have not started must not wait for them;
//! nor must it wait behind a long task while there could be more workers.
//!
//! While tasks are at workers, or workers are to leave, the supervisor looks once a second. Nothing else of the pool's polls.

use super::{After, State};
use crate::launch::WorkerId;
use crate::pool::member::Stage;
use std::time::{Duration, Instant};

const LOOK: Duration = Duration::from_secs(1);
/// A worker with nothing to do has so long to start a task that was sent to it, and for each megabyte of its argument
/// [`SLOW`] more. It doubles each time that the task has been taken back, so that a machine with too much to do gets it done.
const PATIENCE: Duration = Duration::from_secs(2);
const SLOW: Duration = Duration::from_millis(100);
/// A worker that takes nothing, or is to leave, has so long to say something before it is killed. It costs no task.
const LAST: Duration = Duration::from_secs(10);

impl State {
    /// Tasks were sent, or a worker was told to leave: from now on somebody looks.
    pub(super) fn keep_vigil(&mut self, after: &mut After) {
        if self.next_look.is_none() {
            self.next_look = Some(Instant::now() + LOOK);
            self.ring(after);
        }
    }

    pub(in crate::pool) fn next_look(&self) -> Option<Instant> {
        self.next_look
    }

    /// Takes back what workers do not start. Gives the workers that are to be killed.
    pub(in crate::pool) fn look(&mut self, now: Instant, after: &mut After) -> Vec<WorkerId> {
        if self.next_look.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let (mut recalled, mut revoked, mut mute, mut more) = (Vec::new(), Vec::new(), Vec::new(), false);
        for member in self.members.values_mut().filter(|member| member.was_ready && member.stage != Stage::Starting) {
            let unstarted = member.next_unstarted().map(|(ticket, item)| {
                let megabytes = u32::try_from(item.input.len() >> 20).unwrap_or(u32::MAX);
                (ticket, PATIENCE.saturating_mul(1 << item.recalls.min(10)) + SLOW.saturating_mul(megabytes))
            });
            match (unstarted, member.suspicion) {
                (Some((ticket, patience)), Some((of, since))) if ticket == of => {
                    if since + patience <= now {
                        recalled.extend(member.recall_all());
                        revoked.extend(member.forget_revoked());
                    }
                }
                (unstarted, _) => member.suspicion = unstarted.map(|(ticket, _)| (ticket, now)),
            }
            let silent = member.live() == 0 && (member.takes_nothing || member.dismissed);
            member.silent_since = member.silent_since.filter(|_| silent).or(silent.then_some(now));
            if member.silent_since.is_some_and(|since| since + LAST <= now) {
                mute.push(member.id);
            }
            more |= silent || member.live() > 0;
        }
        self.next_look = more.then_some(now + LOOK);
        revoked.into_iter().for_each(|item| self.release(item, after));
        self.requeue(recalled);
        // A worker that was quick, and was given many tasks ahead, may have met one that is not.
        self.recall();
        self.spread(after);
        mute
    }
}
