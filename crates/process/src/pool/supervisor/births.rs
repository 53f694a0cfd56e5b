//! Starting workers, and what to do when that does not work.

use super::printed::Printed;
use super::{Post, Supervisor, Token};
use crate::attachments::Tray;
use crate::boot;
use crate::launch::{Born, Ends, WorkerId};
use crate::link::{self, Pair, Wiring};
use crate::pool::intake::Intake;
use crate::pool::member::{Member, Process};
use crate::pool::seat::Seat;
use crate::pool::setup::SetupCall;
use crate::pool::state::After;
use crate::slots::Page;
use crate::sys::oom::OomCounters;
use crate::sys::poller::Interest;
use crate::sys::{message, pidfd, socket};
use crate::wire::{Boot, Down, Step};
use concurrent_futures_core::{KilledBy, Refusal};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The first pause after a worker could not be started, or died at once; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// With no worker left, what is queued fails after so many attempts in a row.
const ATTEMPTS: u32 = 6;

/// How well starting workers goes.
#[derive(Debug, Default)]
pub(super) struct Starts {
    /// The number of the next worker.
    next: u64,
    /// Attempts in a row that failed.
    failures: u32,
    retry_at: Option<Instant>,
    /// Workers in a row that died before they were ready.
    stillborn: u32,
    /// When workers have died that nobody had told to.
    deaths: VecDeque<Instant>,
}

impl Starts {
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// A worker is ready.
    pub(super) fn succeeded(&mut self) {
        self.stillborn = 0;
        self.failures = 0;
        self.retry_at = None;
    }

    /// A worker of a pool of so many died before it was ready. `true`: that was one too many.
    pub(super) fn stillborn(&mut self, workers: usize) -> bool {
        self.pause(self.stillborn);
        self.stillborn += 1;
        self.stillborn >= u32::try_from(workers).unwrap_or(u32::MAX).saturating_mul(2).max(4)
    }

    /// A worker died. `true`: there were more than `limit.0` such deaths within `limit.1`.
    pub(super) fn died(&mut self, now: Instant, limit: (usize, Duration)) -> bool {
        self.deaths.push_back(now);
        while self.deaths.front().is_some_and(|at| now.saturating_duration_since(*at) > limit.1) {
            self.deaths.pop_front();
        }
        self.deaths.len() > limit.0
    }

    /// A worker could not be started. `true`: it is not worth while to go on.
    fn failed(&mut self) -> bool {
        self.pause(self.failures);
        self.failures += 1;
        self.failures >= ATTEMPTS
    }

    /// No worker is started for a time that doubles with each failure.
    fn pause(&mut self, failures: u32) {
        let pause = PAUSE.saturating_mul(1 << failures.min(16)).min(PAUSE_MAX);
        self.retry_at = Some(Instant::now() + pause);
    }
}

impl Supervisor {
    /// Starts as many workers as there is work for.
    pub(super) fn start_workers(&mut self) {
        loop {
            if self.starts.retry_at.is_some_and(|at| Instant::now() < at) || self.pool.lock().wanted() == 0 {
                return;
            }
            let id = WorkerId(self.starts.next);
            self.starts.next += 1;
            if let Err(error) = self.start_worker(id) {
                self.start_failed(&error);
            }
        }
    }

    fn start_worker(&mut self, id: WorkerId) -> io::Result<()> {
        let name = format!("{}-{}", self.pool.settings.prefix, id.0);
        let (control, theirs) = socket::packet_pair()?;
        let page = Arc::new(Page::create()?);
        let wiring = Wiring { poller: self.poller.clone(), token: Token::Link(id).encode() };
        let path = self.pool.settings.data_path;
        let Pair { outbound, inbound, worker: data } = link::pair(path, wiring)?;
        let boot =
            Boot { depth: boot::depth() + 1, name: name.clone(), data: path, rules: self.pool.settings.rules.clone() };
        // What is sent later must not wait for a worker that does not read.
        socket::set_nonblocking(&control, true)?;
        let (tray, their_tray) = Tray::pair()?;
        let fds: Vec<BorrowedFd<'_>> =
            [page.fd(), their_tray.as_fd()].into_iter().chain(data.iter().map(AsFd::as_fd)).collect();
        message::send(&control, &boot.encode(), &fds)?;
        let capture = self.pool.settings.capture;
        let printed = capture.then(|| Printed::watched(&self.poller, Token::Output(id).encode())).transpose()?;
        let (printed, output) = printed.unzip();
        let intake = Arc::new(Intake::new(id, inbound, Arc::downgrade(&self.pool), capture));
        let seat = Seat::new(id, page.clone(), self.pool.stops.clone(), intake.clone());
        let member = Member::new(outbound.clone(), tray, page.clone(), seat).alone(capture);
        self.pool.lock().add(member);
        let post = Post {
            name: name.clone(),
            intake,
            outbound,
            page,
            control,
            printed,
            pidfd: None,
            deaf: None,
            ready_by: self.pool.settings.ready_within.and_then(|limit| Instant::now().checked_add(limit)),
            ladder: None,
            verdict: None,
        };
        self.posts.insert(id, post);
        self.launcher.start(id, &name, Ends { control: theirs, output });
        Ok(())
    }

    /// The process is there. Its death is watched for before anything is sent to it.
    pub(super) fn born(&mut self, id: WorkerId, pid: i32, pidfd: OwnedFd, born: Born) {
        let Some(post) = self.posts.get_mut(&id) else {
            // It has come too late.
            let _ = pidfd::kill(&pidfd);
            return;
        };
        let pidfd = Arc::new(pidfd);
        post.pidfd = Some(pidfd.clone());
        if let Err(error) = self.poller.add(&*pidfd, Token::Process(id).encode(), Interest::READ) {
            // Nobody would see it die: better no worker.
            let ended = pidfd::kill(&pidfd).and_then(|()| pidfd::wait_end(&pidfd, PAUSE_MAX));
            if ended.is_ok_and(|ended| ended) {
                self.launcher.reap(id, pidfd.as_fd());
            }
            self.not_born(id, &error);
            return;
        }
        let process = Process { pid: pid.unsigned_abs(), pidfd: pidfd.clone() };
        if let Some(signal) = self.pool.lock().started(id, process) {
            let _ = pidfd::signal(&pidfd, signal);
        }
        let settings = &self.pool.settings;
        // A forked worker has the preload from the fork server.
        let preload = settings.preload.as_ref().filter(|_| born == Born::Spawned);
        #[cfg(feature = "chaos")]
        let mishaps = self.pool.mishaps(id);
        let steps = [
            (Step::Preload, preload),
            (Step::Initializer, settings.initializer.as_ref()),
            #[cfg(feature = "chaos")]
            (Step::Initializer, mishaps.as_ref()),
        ];
        for (step, call) in steps {
            if let Some(SetupCall { call, input, attachments }) = call {
                if let Err(error) = self.pool.lock().attach(id, attachments) {
                    post.verdict = Some(format!("it could not be given the descriptors of its initializer: {error}"));
                    post.kill();
                    return;
                }
                post.outbound.post(Down::Setup { step, call: *call, len: input.len() as u64 }, Some(input));
            }
        }
        post.outbound.post(Down::Begin, None);
        post.outbound.flush();
        self.oom.get_or_insert_with(OomCounters::now);
    }

    /// The process could not be made.
    pub(super) fn not_born(&mut self, id: WorkerId, error: &io::Error) {
        if self.forget(id) {
            self.start_failed(error);
        }
    }

    /// A worker that has taken too long to be ready costs the pool.
    pub(super) fn end_the_unready(&mut self, now: Instant) {
        let late = |post: &Post| post.ready_by.is_some_and(|at| at <= now);
        let late: Vec<WorkerId> = self.posts.iter().filter(|(_, post)| late(post)).map(|(id, _)| *id).collect();
        for id in late {
            let Some(post) = self.posts.get_mut(&id) else { continue };
            post.ready_by = None;
            let limit = self.pool.settings.ready_within.unwrap_or_default();
            let why = format!(
                "its worker {} was not ready within {limit:?}: its initializer or preload takes too long, or hangs",
                post.name
            );
            self.pool.lock().suspend(id, KilledBy::Timeout);
            if post.pidfd.is_some() {
                post.kill();
            } else {
                // The fork server is still at its preload; it ends with the pool.
                self.forget(id);
            }
            self.pool.break_down(&why);
        }
    }

    /// There is no process for it. `false`: nobody waits for it.
    fn forget(&mut self, id: WorkerId) -> bool {
        let Some(post) = self.posts.remove(&id) else { return false };
        post.stop_listening(&self.poller);
        post.outbound.close();
        let mut after = After::default();
        let estate = self.pool.lock().bury(id, &mut after);
        debug_assert!(
            estate.is_none_or(|estate| estate.lost.is_empty()),
            "nothing is sent to a worker without a process"
        );
        self.pool.finish(after);
        true
    }

    /// Tries again later. When there is no worker at all, what is queued does not wait for ever; the pool stays usable, and
    /// the next task tries anew.
    fn start_failed(&mut self, error: &io::Error) {
        if !self.starts.failed() {
            return;
        }
        let mut after = After::default();
        let why = format!("no worker process could be started, in {} attempts: {error}", self.starts.failures);
        let items = {
            let mut state = self.pool.lock();
            state.gave_up(&why, &mut after);
            if state.has_workers() {
                drop(state);
                self.pool.finish(after);
                return;
            }
            state.take_queue(&mut after)
        };
        self.starts.failures = 0;
        // Workers that are kept without work are tried again, but not without a pause.
        self.starts.retry_at = self.starts.retry_at.filter(|_| self.pool.lock().wanted() > 0);
        self.pool.finish(after);
        self.pool.resolve(items, |task| task.fail(Refusal::NoWorker(why.as_str().into()).into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let mut starts = Starts::default();
        let mut last = Duration::ZERO;
        for attempt in 1..20 {
            let before = Instant::now();
            assert_eq!(starts.failed(), attempt >= ATTEMPTS);
            let pause = starts.retry_at.unwrap() - before;
            assert!(pause >= last.min(PAUSE_MAX) && pause < PAUSE_MAX * 2);
            last = pause / 2;
        }
        starts.succeeded();
        assert!(starts.retry_at().is_none() && !starts.failed());
    }

    #[test]
    fn too_many_deaths_in_a_time() {
        let mut starts = Starts::default();
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut died = |after: u32| starts.died(start + after * second, (2, 10 * second));
        assert!(!died(0) && !died(1) && died(2));
        assert!(!died(12), "the first two are too long ago");
        assert!(died(12) && !died(100));
    }

    #[test]
    fn too_many_stillborn_workers_in_a_row() {
        let mut starts = Starts::default();
        assert!(!(starts.stillborn(1) || starts.stillborn(1) || starts.stillborn(1)));
        starts.succeeded();
        assert!(!(starts.stillborn(1) || starts.stillborn(1) || starts.stillborn(1)));
        assert!(starts.stillborn(1));
        let mut starts = Starts::default();
        assert!((1..16).all(|_| !starts.stillborn(8)) && starts.stillborn(8));
    }
}
