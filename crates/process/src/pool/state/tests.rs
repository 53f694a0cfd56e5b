//! The state with workers that exist only here: every interleaving of what users, workers and deaths can do, without a process.

mod attempts;
mod history;
mod links;
mod sharing;
mod sizing;

use super::*;
use crate::attachments::Tray;
use crate::link::Bytes;
use crate::pool::intake::Intake;
use crate::pool::member::Stage;
use crate::pool::seat::Seat;
use crate::pool::stops::Stops;
use crate::slots::Page;
use crate::sys::bell::Bell;
use crate::wire::{DOWN, Down, Head, Ticket};
use concurrent_futures_core::codec::Parts;
use concurrent_futures_core::task::{Reply, Status, Verdict};
use concurrent_futures_core::{
    Backoff, Executor, ExecutorExt, Future, Handle, Refusal, Shutdown, Task, TaskError, TaskErrorKind,
};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

/// Longer than a test takes: time passes when a test says so.
const IDLE: Duration = Duration::from_secs(3600);

fn number(n: u64) -> u64 {
    n
}

/// Takes tasks for the rig to submit.
#[derive(Debug, Default)]
struct Capture(Mutex<Vec<Task>>);

impl Executor for Capture {
    fn submit_task(&self, task: Task) {
        self.0.lock().push(task);
    }

    fn try_submit_task(&self, task: Task) -> Result<(), (Task, Refusal)> {
        self.submit_task(task);
        Ok(())
    }

    fn num_workers(&self) -> usize {
        1
    }

    fn shutdown(&self, _: Shutdown) {}

    fn handle(&self) -> Handle {
        Handle::new(Capture::default())
    }
}

/// A link that keeps what is posted. The worker gets it with the next flush.
#[derive(Debug, Default)]
struct Posted {
    unsent: Mutex<VecDeque<Down>>,
    sent: Mutex<VecDeque<Down>>,
}

impl Outbound for Posted {
    fn post_with_parts(&self, head: Down, _: Option<&Bytes>, _: Option<&Arc<Parts>>) {
        self.unsent.lock().push_back(head);
    }

    fn post_frames(&self, mut frames: &[u8]) {
        while let Some((head, rest)) = frames.split_first_chunk::<DOWN>() {
            let head = Down::decode(head).unwrap();
            frames = &rest[head.body() as usize..];
            self.unsent.lock().push_back(head);
        }
    }

    fn flush(&self) {
        self.sent.lock().append(&mut self.unsent.lock());
    }

    fn resume(&self) {}

    fn close(&self) {}
}

/// A worker that does what it is told, one step at a time.
struct Worker {
    posted: Arc<Posted>,
    page: Arc<Page>,
    running: Option<Ticket>,
    served: usize,
    leaving: bool,
}

struct Rig {
    state: State,
    stops: Arc<Stops>,
    workers: BTreeMap<u64, Worker>,
    born: u64,
    futures: Vec<Future<u64>>,
    /// Which task a ticket of a worker stood for, as the frames say.
    started: HashSet<(u64, Ticket)>,
    finished: usize,
    lost: usize,
    /// Attempts that were followed by another one.
    again: usize,
    /// When the last answer came.
    clock: Instant,
}

/// What is asked for a task.
#[derive(Clone, Copy, Debug, Default)]
struct Wish {
    retries: u32,
    /// Whether there is a pause between two attempts.
    pause: bool,
}

impl Rig {
    fn new(workers: usize, tasks: Option<usize>) -> Self {
        Self::with(Limits { workers, min_workers: 0, idle_timeout: Some(IDLE), tasks })
    }

    fn with(limits: Limits) -> Self {
        Rig {
            state: State::new(limits),
            stops: Arc::new(Stops::new(Arc::new(Bell::new().unwrap()))),
            workers: BTreeMap::new(),
            born: 0,
            clock: Instant::now(),
            futures: Vec::new(),
            started: HashSet::new(),
            finished: 0,
            lost: 0,
            again: 0,
        }
    }

    /// A step of the state, and what follows from it.
    fn step<T>(&mut self, step: impl FnOnce(&mut State, &mut After) -> T) -> T {
        let mut after = After::default();
        let outcome = step(&mut self.state, &mut after);
        after.carry_out();
        self.check();
        outcome
    }

    fn submit(&mut self) {
        self.submit_with(Wish::default());
    }

    fn submit_with(&mut self, wish: Wish) {
        let capture = Capture::default();
        let backoff = if wish.pause { Backoff::fixed(IDLE).jitter(0.0) } else { Backoff::NONE };
        let n = self.futures.len() as u64;
        self.futures.push(capture.task(number, n).retries(wish.retries).backoff(backoff).submit());
        let task = capture.0.lock().pop().unwrap();
        let item = Item::encode(task).unwrap();
        item.task.release_work();
        match self.state.open() {
            Ok(()) => self.step(|state, after| state.submit(item, after)),
            Err(refusal) => item.task.fail(refusal.into()),
        }
    }

    /// The supervisor starts what is wanted; the new workers are ready at once if `ready`.
    fn start(&mut self, ready: bool) {
        for _ in 0..self.state.wanted() {
            let id = self.born;
            self.born += 1;
            let (posted, page) = (Arc::new(Posted::default()), Arc::new(Page::create().unwrap()));
            let worker = WorkerId(id);
            let (stops, intake) = (self.stops.clone(), Intake::silent(worker));
            self.state.add(Member::new(
                posted.clone(),
                Tray::pair().unwrap().0,
                page.clone(),
                Seat::new(worker, page.clone(), stops, intake),
            ));
            self.workers.insert(id, Worker { posted, page, running: None, served: 0, leaving: false });
            if ready {
                self.ready(id);
            }
        }
    }

    fn ready(&mut self, id: u64) {
        assert!(self.step(|state, after| state.ready(WorkerId(id), after)));
    }

    fn all_ready(&mut self) {
        let starting: Vec<u64> =
            self.workers.keys().copied().filter(|id| !self.state.members[&WorkerId(*id)].was_ready).collect();
        starting.into_iter().for_each(|id| self.ready(id));
    }

    /// The worker takes its next frame, if it is free. `false`: there was nothing to do.
    fn take(&mut self, id: u64) -> bool {
        let Some(worker) = self.workers.get_mut(&id).filter(|worker| worker.running.is_none()) else { return false };
        let frame = worker.posted.sent.lock().pop_front();
        assert!(!worker.leaving || !matches!(frame, Some(Down::Task(_))), "a task for one that was told to leave");
        match frame {
            Some(Down::Task(task)) if worker.page.start(task.ticket) => {
                assert!(self.started.insert((id, task.ticket)), "a use of a slot has one task");
                worker.running = Some(task.ticket);
                worker.served += 1;
                assert!(self.state.limits.tasks.is_none_or(|limit| worker.served <= limit), "more than its share");
                assert_eq!(self.state.members[&WorkerId(id)].stopping, None, "more for one that is to stop");
                if task.announce {
                    self.step(|state, _| state.announced(WorkerId(id), task.ticket)).unwrap();
                }
            }
            Some(Down::Task(task)) => {
                self.step(|state, after| {
                    state.met_revoked(WorkerId(id), task.ticket, after).unwrap();
                    state.employ(WorkerId(id), 0, Instant::now(), after);
                });
            }
            Some(Down::End) => worker.leaving = true,
            Some(_) => {}
            None => return false,
        }
        true
    }

    /// The worker takes frames until it runs a task or there are no more.
    fn run_next(&mut self, id: u64) {
        while self.take(id) {}
    }

    /// The worker's task is done.
    fn finish(&mut self, id: u64) -> bool {
        self.finish_with(id, true)
    }

    /// The worker's task is done, and well if `good`.
    fn finish_with(&mut self, id: u64, good: bool) -> bool {
        let Some(ticket) = self.workers.get_mut(&id).and_then(|worker| worker.running.take()) else { return false };
        // No task is quick here.
        self.clock += Duration::from_millis(1);
        let now = self.clock;
        let item = self.step(|state, after| {
            let (item, _) = state.finished(WorkerId(id), ticket).unwrap();
            state.employ(WorkerId(id), 1, now, after);
            item
        });
        let reply = Reply { status: Status::Value, bytes: vec![7].into(), parts: vec![], again: !good, handles: None };
        let pause = item.task.judge(&reply);
        if let Some(item) = self.again(item, pause) {
            item.task.complete(reply);
            self.finished += 1;
        }
        true
    }

    /// As the supervisor does it.
    fn again(&mut self, item: Item, pause: Option<Duration>) -> Option<Item> {
        let Some(pause) = pause else { return Some(item) };
        let stops = self.stops.clone();
        let item = self.step(|state, after| state.try_again(item, pause, Instant::now(), &stops, after));
        self.again += usize::from(item.is_none());
        item
    }

    /// All who have not started something have had long enough.
    fn look(&mut self) {
        for now in [Instant::now() + IDLE, Instant::now() + 10 * IDLE] {
            for WorkerId(id) in self.step(|state, after| state.look(now, after)) {
                assert_eq!(self.workers[&id].running, None, "it costs no task");
                self.die(id);
            }
        }
    }

    /// What was asked for since the last time.
    fn stop(&mut self) {
        if self.stops.take_cancelled() {
            self.step(|state, after| state.forget_cancelled(after));
        }
        for request in self.stops.take() {
            let _ = self.step(|state, after| state.stop(request, after));
        }
    }

    fn die(&mut self, id: u64) {
        let Some(worker) = self.workers.remove(&id) else { return };
        let estate = self.step(|state, after| state.bury(WorkerId(id), after)).unwrap();
        assert_eq!(estate.lost.len(), usize::from(worker.running.is_some()), "it costs the task that it had started");
        for (ticket, item) in estate.lost {
            assert_eq!(Some(ticket), worker.running);
            let pause = item.task.retry_after(Verdict::Died);
            if let Some(item) = self.again(item, pause) {
                item.task.fail(TaskError::new(TaskErrorKind::Abandoned));
                self.lost += 1;
            }
        }
    }

    fn staying(&self) -> usize {
        self.state.members.values().filter(|member| member.stage != Stage::Leaving).count()
    }

    /// All who are idle have been so for long enough.
    fn expire(&mut self) {
        let kept = self.state.limits.min_workers.min(self.state.limits.workers).min(self.staying());
        self.step(|state, after| state.expire_idle(Instant::now() + IDLE, after));
        assert!(self.staying() >= kept || self.state.closing);
        assert!(self.state.next_expiry().is_none());
    }

    fn leaving(&self) -> Vec<u64> {
        let leaving = |id: &u64| self.state.members[&WorkerId(*id)].stage == Stage::Leaving;
        self.workers.keys().copied().filter(leaving).collect()
    }

    fn running(&self) -> Vec<usize> {
        (0..self.futures.len()).filter(|n| self.futures[*n].running()).collect()
    }

    fn check(&self) {
        let state = &self.state;
        let full = |id: &WorkerId| !state.members[id].has_room_for_another();
        assert!(state.queue.is_empty() || state.idle.iter().all(full), "somebody is idle and there is work");
        let idle: HashSet<_> = state.idle.iter().collect();
        assert_eq!(idle.len(), state.idle.len());
        assert!(idle.iter().all(|id| state.members[id].is_idle()));
        assert!(self.staying() <= state.limits.workers);
        assert!(state.queue.iter().zip(state.queue.iter().skip(1)).all(|(a, b)| a.number < b.number), "out of order");
    }

    /// Everything that can happen by itself happens.
    fn drain(&mut self) {
        // A worker that comes up moves nothing by itself: what it changes shows in the round after.
        let mut still = 0;
        while still < 2 {
            self.stop();
            let over = self.step(|state, after| state.tend(Instant::now() + 2 * IDLE, after));
            self.start(true);
            self.all_ready();
            let ids: Vec<u64> = self.workers.keys().copied().collect();
            let mut moved = false;
            for id in ids {
                moved |= self.take(id) | self.finish(id);
                if self.workers[&id].leaving {
                    self.die(id);
                    moved = true;
                }
            }
            still = if moved { 0 } else { still + 1 };
            if over {
                break;
            }
        }
    }
}
