//! The death of a worker.

use super::{Post, Supervisor};
use crate::launch::{Exit, WorkerId};
use crate::pool::item::Item;
use crate::pool::settling::is_accident;
use crate::pool::state::{After, Estate};
use crate::slots::Page;
use crate::wire::Ticket;
use concurrent_futures_core::{Death, KilledBy, Panic, TaskErrorKind, TaskOutput};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

/// A dead worker until its status is known.
#[derive(Debug)]
pub(super) struct Wake {
    pub(super) pid: u32,
    pub(super) killed_by: KilledBy,
    verdict: Option<String>,
    /// It died before it was ready.
    stillborn: bool,
    /// It had been told to leave.
    dismissed: bool,
    name: String,
    pub(super) page: Arc<Page>,
    pub(super) lost: Vec<(Ticket, Item)>,
    /// The last that it has printed, where that is captured.
    pub(super) output: Option<TaskOutput>,
    /// Its status is waited for until then.
    until: Instant,
}

impl Wake {
    pub(super) fn until(&self) -> Instant {
        self.until
    }
}

impl Supervisor {
    /// A worker's process has ended. Its complete answers count; then its tasks are judged by their slots, and what had not
    /// started goes to others at once.
    pub(super) fn bury(&mut self, id: WorkerId) {
        while self.receive(id, usize::MAX) {}
        let Some(mut post) = self.posts.remove(&id) else { return };
        let output = post.printed.as_mut().map(|printed| printed.take(&self.poller));
        let Post { name, page, pidfd, verdict, outbound, deaf, .. } = &post;
        if deaf.is_none() {
            post.stop_listening(&self.poller);
        }
        outbound.close();
        let mut after = After::default();
        let estate = self.pool.lock().bury(id, &mut after);
        self.pool.finish(after);
        let Some(Estate { was_ready, dismissed, process: Some(process), killed_by, lost }) = estate else { return };
        // Not watched at all when the poller had refused it.
        let _ = self.poller.remove(&*process.pidfd);
        let exit = self.launcher.reap(id, pidfd.as_ref().unwrap_or(&process.pidfd).as_fd());
        let wake = Wake {
            pid: process.pid,
            killed_by,
            verdict: verdict.clone(),
            stillborn: !was_ready && !dismissed,
            dismissed,
            name: name.clone(),
            page: page.clone(),
            lost,
            output,
            until: Instant::now() + self.launcher.patience(id),
        };
        self.wakes.insert(id, wake);
        if let Some(exit) = exit {
            self.ended(id, exit);
        }
    }

    /// It is known how a worker ended.
    pub(super) fn ended(&mut self, id: WorkerId, exit: Exit) {
        let Some(wake) = self.wakes.remove(&id) else { return };
        let mut death = self.autopsy(&wake, exit);
        if wake.killed_by != KilledBy::Nobody {
            death = death.caused_by(wake.killed_by);
        }
        if wake.stillborn
            && matches!(wake.killed_by, KilledBy::Nobody | KilledBy::Protocol)
            && self.starts.stillborn(self.pool.num_workers())
        {
            let words = format!("its workers die before they are ready; the last one, {}, {death}", wake.name);
            self.pool.break_down(&words);
        }
        // Those that the pool has ended itself are as many as it wanted.
        let unasked = is_accident(death.killed_by());
        if let Some(limit) = self.pool.settings.restarts.filter(|_| unasked && !wake.dismissed)
            && self.starts.died(Instant::now(), limit)
        {
            let (n, per) = limit;
            let words =
                format!("more than {n} of its workers died within {per:?}; the last one, {}, {death}", wake.name);
            self.pool.break_down(&words);
        }
        for (ticket, item) in wake.lost {
            if let Some(output) = &wake.output {
                item.task.attach_output(output.clone());
            }
            let words = wake.page.last_words(ticket);
            #[cfg(feature = "chaos")]
            if words.as_deref() == Some(crate::chaos::TORN) {
                death = death.caused_by(KilledBy::Chaos);
            }
            self.pool.settle_death(item, death.killed_by(), |deaths| {
                cause(death.clone().with_deaths(deaths), words.as_deref(), wake.verdict.as_deref())
            });
        }
    }

    /// Status or not: nobody waits for ever.
    pub(super) fn hurry_wakes(&mut self, now: Instant) {
        let due: Vec<WorkerId> = self.wakes.iter().filter(|(_, wake)| wake.until() <= now).map(|(id, _)| *id).collect();
        for id in due {
            let exit = self.launcher.give_up(id);
            self.ended(id, exit);
        }
    }
}

/// What has become of a task whose worker died. A worker that aborts on panic has left the panic's words.
fn cause(death: Death, words: Option<&str>, verdict: Option<&str>) -> TaskErrorKind {
    match (words.and_then(|words| words.split_once('\n')), verdict) {
        (Some((location, message)), _) => {
            TaskErrorKind::Panicked(Panic::remote(message, (!location.is_empty()).then_some(location), ""))
        }
        (None, Some(verdict)) => TaskErrorKind::WorkerDied(death.with_last_words(verdict)),
        (None, None) => TaskErrorKind::WorkerDied(death),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use concurrent_futures_core::Ending;

    #[test]
    fn a_panic_that_aborted_the_worker_is_a_panic() {
        let death = Death::new(7, Ending::Signal { number: 6, core_dumped: false });
        let TaskErrorKind::Panicked(panic) = cause(death.clone(), Some("src/a.rs:1:2\nno\nway"), None) else {
            panic!("not a panic")
        };
        assert_eq!((panic.location(), panic.message()), (Some("src/a.rs:1:2"), "no\nway"));
        let TaskErrorKind::WorkerDied(death) = cause(death, None, Some("it sent garbage")) else {
            panic!("not a death")
        };
        assert_eq!(death.last_words(), Some("it sent garbage"));
    }
}
