//! Ending an attempt: it is asked, then its worker gets SIGTERM, then SIGKILL.

use super::{BUDGET, Supervisor};
use crate::launch::WorkerId;
use crate::pool::state::After;
use crate::wire::Ticket;
use concurrent_futures_core::KilledBy;
use concurrent_futures_core::task::{Grace, Stop};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// A worker that never stops sending must not keep the supervisor from its other work.
const ROUNDS: usize = 64;

/// For so long the answer of a task is waited for whose worker has begun with the next one.
const ANSWER: Duration = Duration::from_secs(1);

/// Where the ending of a worker's task stands.
#[derive(Debug)]
pub(super) struct Ladder {
    ticket: Ticket,
    why: Stop,
    grace: Grace,
    rung: Rung,
    /// When the next step is due; `None`: never.
    until: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rung {
    Asked,
    /// It has returned, by the worker's word.
    Returned,
    Terminated,
    Killed,
}

impl Ladder {
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }
}

impl Supervisor {
    /// Begins with what was asked for since the last look. What the workers have answered counts first.
    pub(super) fn begin_stops(&mut self) {
        if self.pool.stops.take_cancelled() {
            let mut after = After::default();
            self.pool.lock().forget_cancelled(&mut after);
            self.pool.finish(after);
        }
        for request in self.pool.stops.take() {
            self.receive_all(request.worker);
            let mut after = After::default();
            let grace = self.pool.lock().stop(request, &mut after);
            self.pool.finish(after);
            let (Some(grace), Some(post)) = (grace, self.posts.get_mut(&request.worker)) else { continue };
            // It is stopped already, for an earlier reason.
            if post.ladder.as_ref().is_some_and(|ladder| ladder.ticket == request.ticket) {
                continue;
            }
            post.page.ask_to_stop(request.ticket);
            let until = Instant::now().checked_add(grace.asking());
            post.ladder = Some(Ladder { ticket: request.ticket, why: request.why, grace, rung: Rung::Asked, until });
        }
    }

    /// Takes the next step where one is due. A worker that has answered meanwhile lives on; one that has had a signal leaves
    /// in any case.
    pub(super) fn climb(&mut self, now: Instant) {
        let due = |ladder: &Ladder| ladder.until.is_some_and(|until| until <= now);
        let ids: Vec<WorkerId> =
            self.posts.iter().filter(|(_, post)| post.ladder.as_ref().is_some_and(due)).map(|(id, _)| *id).collect();
        for id in ids {
            self.receive_all(id);
            let Some(post) = self.posts.get_mut(&id) else { continue };
            let Some(ladder) = &mut post.ladder else { continue };
            match ladder.rung {
                rung @ (Rung::Asked | Rung::Returned) => {
                    let mut state = self.pool.lock();
                    if !state.is_stopping(id, ladder.ticket) {
                        post.ladder = None;
                        continue;
                    }
                    // A signal would hit the next task. But the word is not taken for ever.
                    if rung == Rung::Asked && state.is_past(id, ladder.ticket) {
                        ladder.rung = Rung::Returned;
                        ladder.until = now.checked_add(ANSWER);
                        continue;
                    }
                    // From here on it gets nothing more, so whatever it still does is this attempt.
                    state.suspend(
                        id,
                        match ladder.why {
                            Stop::Timeout => KilledBy::Timeout,
                            Stop::Abort => KilledBy::Abort,
                        },
                    );
                    drop(state);
                    ladder.rung = Rung::Terminated;
                    ladder.until = now.checked_add(ladder.grace.terminating());
                    post.signal(Signal::TERM);
                }
                Rung::Terminated => {
                    ladder.rung = Rung::Killed;
                    ladder.until = None;
                    post.kill();
                }
                Rung::Killed => ladder.until = None,
            }
        }
    }

    /// Everything that the worker has sent so far, within reason.
    fn receive_all(&mut self, id: WorkerId) {
        for _ in 0..ROUNDS {
            if !self.receive(id, BUDGET) {
                return;
            }
        }
    }
}
