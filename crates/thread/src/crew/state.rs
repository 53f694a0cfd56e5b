//! What a pool knows about its queue and its workers, all of it under one lock. The rules are explained in `README.md`.

use super::parker::Parker;
use super::queue::Queue;
use concurrent_futures_core::Refusal;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Threads that a pool may have beyond `max_workers`, in place of workers that are asleep in a wait.
pub(crate) const SUBSTITUTES: usize = 256;

pub(crate) struct State {
    pub(crate) queue: Queue,
    pub(crate) max_workers: usize,
    pub(crate) bound: usize,
    /// No job is taken any more, by `shutdown`.
    pub(crate) closed: bool,
    /// No job is taken any more, for this reason.
    pub(crate) broken: Option<Box<str>>,
    /// Workers, from the decision to start one until it is done.
    pub(crate) threads: usize,
    /// Those of them that have not looked at the queue yet.
    pub(crate) starting: usize,
    /// Those of them that are asleep in a wait of a task's.
    pub(crate) blocked: usize,
    /// Those of them that are asleep for want of work; the one that went to sleep last at the end.
    pub(crate) parked: Vec<Arc<Parker>>,
    /// Those of them that look for work, or have been woken to do so and have not come yet. More than one only at the end.
    pub(crate) searching: usize,
    /// Submitters that wait for room.
    pub(crate) waiting_for_room: usize,
    pub(crate) finished: u64,
    /// Which numbers are given to workers.
    pub(crate) numbers: Vec<bool>,
    /// Of workers that nobody has joined yet.
    pub(crate) handles: Vec<JoinHandle<()>>,
    /// Threads that are being started: their handles are still to come.
    pub(crate) spawning: usize,
    /// Threads that are joining workers.
    pub(crate) joining: usize,
}

/// What somebody who put a job into the queue, took one of several, or goes to sleep in a wait must do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Help {
    None,
    /// Wake a parked worker.
    Wake,
    /// Start another worker.
    Start,
}

impl State {
    pub(crate) fn new(queue: Queue, max_workers: usize, bound: usize) -> Self {
        State {
            queue,
            max_workers,
            bound,
            closed: false,
            broken: None,
            threads: 0,
            starting: 0,
            blocked: 0,
            parked: Vec::new(),
            searching: 0,
            waiting_for_room: 0,
            finished: 0,
            numbers: Vec::new(),
            handles: Vec::new(),
            spawning: 0,
            joining: 0,
        }
    }

    /// Workers that are neither parked nor asleep in a wait: each of them will look at the queue before it sleeps.
    pub(crate) fn active(&self) -> usize {
        self.threads - self.blocked - self.parked.len()
    }

    /// More workers are awake than may be: a wait has ended, and its substitute is still there.
    pub(crate) fn is_overstaffed(&self) -> bool {
        self.active() > self.max_workers
    }

    /// Who must be called for the jobs in the queue.
    pub(crate) fn help(&self) -> Help {
        if self.active() >= self.max_workers || self.queue.is_empty() {
            Help::None
        } else if !self.parked.is_empty() {
            // Who comes and finds more than it takes calls the next.
            if self.searching > 0 { Help::None } else { Help::Wake }
        } else if self.queue.len() <= self.searching + self.starting || self.threads >= self.limit() {
            Help::None
        } else {
            Help::Start
        }
    }

    fn limit(&self) -> usize {
        self.max_workers.saturating_add(SUBSTITUTES)
    }

    /// A worker is on a job and may be back at any moment.
    pub(crate) fn has_runner(&self) -> bool {
        self.active() > self.searching + self.starting
    }

    /// Why a job is not taken.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match &self.broken {
            Some(why) => Some(Refusal::Broken(why.clone())),
            None => self.closed.then_some(Refusal::ShutDown),
        }
    }

    /// Nothing comes any more: a worker that finds the queue empty is done.
    pub(crate) fn is_over(&self) -> bool {
        self.closed || self.broken.is_some()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.queue.len() >= self.bound
    }

    /// Counts a worker that is about to be started, and gives its number.
    pub(crate) fn reserve(&mut self) -> usize {
        self.threads += 1;
        self.starting += 1;
        self.spawning += 1;
        match self.numbers.iter().position(|taken| !taken) {
            Some(free) => {
                self.numbers[free] = true;
                free
            }
            None => {
                self.numbers.push(true);
                self.numbers.len() - 1
            }
        }
    }

    /// Worker `number` is done, or was never started.
    pub(crate) fn release(&mut self, number: usize) {
        self.threads -= 1;
        self.numbers[number] = false;
    }

    /// Takes out the worker that went to sleep last, which is to look for work.
    pub(crate) fn wake_one(&mut self) -> Option<Arc<Parker>> {
        let parker = self.parked.pop()?;
        self.searching += 1;
        Some(parker)
    }

    /// Takes out all parked workers: they are to look, and will find that it is over.
    pub(crate) fn wake_all(&mut self) -> Vec<Arc<Parker>> {
        self.searching += self.parked.len();
        std::mem::take(&mut self.parked)
    }
}
