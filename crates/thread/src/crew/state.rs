//! What a pool knows about its queue and its workers, all of it under one lock. The rules are explained in `README.md`.

use super::desk::Desk;
use super::job::Job;
use super::parker::Parker;
use super::queue::Queue;
use super::size::Size;
use super::threads::Hand;
use concurrent_futures_core::task::AsyncTask;
use concurrent_futures_core::{Refusal, TaskId};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Threads that a pool may have beyond `max_workers`, in place of workers that are asleep in a wait.
const SUBSTITUTES: usize = 256;

/// A worker that is one too many (a substitute whose wait has ended, or the pool has been made smaller) ends when nothing has
/// called it for this time.
const KEEP_SUBSTITUTE: Duration = Duration::from_millis(500);

// The order of the fields counts: what is looked at for each job comes first, to be on one cache line with the lock.
#[repr(C)]
pub(crate) struct State {
    /// Jobs are taken: neither shut down nor broken.
    is_open: bool,
    /// Somebody could be called for a job; follows from the counts.
    has_help: bool,
    /// More workers are awake than may be (a wait has ended, and its substitute is still there); follows from the counts.
    is_overstaffed: bool,
    /// Submitters that wait for room.
    pub(crate) waiting_for_room: u32,
    pub(crate) bound: usize,
    pub(crate) queue: Queue,
    pub(crate) finished: u64,

    max_workers: usize,
    /// As many are kept, once they are up; never more than `max_workers`.
    min_workers: usize,
    idle_timeout: Option<Duration>,
    /// Workers, from the decision to start one until it is done.
    threads: usize,
    /// Those of them that have not looked at the queue yet.
    starting: usize,
    /// Those of them that are asleep in a wait of a task's.
    blocked: usize,
    /// Those of them that look for work, or have been woken to do so and have not come yet. More than one only at the end.
    searching: usize,
    /// Those of them that are asleep for want of work; the one that went to sleep last at the end.
    parked: Vec<Arc<Parker>>,
    /// Async tasks that have begun and have not ended.
    waiting: HashMap<TaskId, AsyncTask>,
    /// By `shutdown`.
    is_closed: bool,
    /// Why no job is taken, if it is not for a shutdown.
    broken: Option<Box<str>>,
    /// Which numbers are given to workers.
    numbers: Vec<bool>,
    /// Of those workers that have come, by their numbers.
    desks: Vec<Option<Arc<Desk>>>,
    /// Of workers that nobody has joined yet.
    pub(crate) hands: Vec<Hand>,
    /// Threads that are being started: their handles are still to come.
    pub(crate) spawning: usize,
    /// Threads that are joining workers.
    pub(crate) joining: usize,
    /// Threads that wait until all workers that are being started have come.
    pub(crate) waiting_for_start: usize,
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

/// What a worker does next.
pub(crate) enum Next {
    Run(Job),
    /// Look for work without the lock; it has been counted as doing so.
    Search,
    /// Sleep until it is called.
    Park,
    End,
}

impl State {
    pub(crate) fn new(queue: Queue, size: &Size, bound: usize) -> Self {
        State {
            is_open: true,
            has_help: true,
            is_overstaffed: false,
            waiting_for_room: 0,
            bound,
            queue,
            finished: 0,
            max_workers: size.max_workers,
            min_workers: size.min_workers,
            idle_timeout: size.idle_timeout,
            threads: 0,
            starting: 0,
            blocked: 0,
            searching: 0,
            parked: Vec::new(),
            waiting: HashMap::new(),
            is_closed: false,
            broken: None,
            numbers: Vec::new(),
            desks: Vec::new(),
            hands: Vec::new(),
            spawning: 0,
            joining: 0,
            waiting_for_start: 0,
        }
    }

    // ---- who is to be called

    /// Who must be called for the jobs in the queue.
    pub(crate) fn help(&self) -> Help {
        if !self.has_help || self.queue.is_empty() {
            Help::None
        } else if !self.parked.is_empty() {
            Help::Wake
        } else if self.queue.len() > self.searching + self.starting {
            Help::Start
        } else {
            Help::None
        }
    }

    /// A worker is on a job and may be back at any moment.
    pub(crate) fn has_runner(&self) -> bool {
        self.active() > self.searching + self.starting
    }

    /// Workers that are neither parked nor asleep in a wait: each of them will look at the queue before it parks.
    fn active(&self) -> usize {
        self.threads - self.blocked - self.parked.len()
    }

    /// Has what follows from the counts follow them; after each change.
    fn recount(&mut self) {
        let active = self.active();
        self.is_overstaffed = active > self.max_workers;
        self.has_help = active < self.max_workers
            && if self.parked.is_empty() {
                self.threads < self.max_workers.saturating_add(SUBSTITUTES)
            } else {
                // Who comes and finds more than it takes calls the next.
                self.searching == 0
            };
    }

    // ---- how many there are to be

    pub(crate) fn max_workers(&self) -> usize {
        self.max_workers
    }

    /// Takes out all parked workers if there may be fewer now: they went to sleep for longer than they may.
    pub(crate) fn resize(&mut self, size: &Size) -> Vec<Arc<Parker>> {
        let shrinks = size.max_workers < self.max_workers;
        self.max_workers = size.max_workers;
        self.min_workers = size.min_workers;
        self.recount();
        if shrinks { self.wake_all() } else { Vec::new() }
    }

    /// How many are to be started so that there are `least`.
    pub(crate) fn missing(&self, least: usize) -> usize {
        if self.is_open { least.saturating_sub(self.threads) } else { 0 }
    }

    pub(crate) fn min_workers(&self) -> usize {
        self.min_workers
    }

    pub(crate) fn is_starting(&self) -> bool {
        self.starting > 0
    }

    /// How long a worker that parks may sleep before it looks whether it is to end. Those that sleep for ever are no more than
    /// are kept.
    pub(crate) fn patience(&self) -> Option<Duration> {
        if self.threads > self.max_workers {
            Some(self.idle_timeout.map_or(KEEP_SUBSTITUTE, |limit| limit.min(KEEP_SUBSTITUTE)))
        } else if self.threads > self.min_workers {
            self.idle_timeout
        } else {
            None
        }
    }

    /// A worker that nobody has called while it `slept` so long, and that is not parked any more, is to end.
    pub(crate) fn is_expendable(&self, slept: Duration) -> bool {
        let has_idled = self.idle_timeout.is_some_and(|limit| slept >= limit);
        let keep = if has_idled { self.min_workers } else { self.max_workers };
        self.threads > keep && (self.queue.is_empty() || self.is_overstaffed)
    }

    // ---- the life of a worker

    /// Counts a worker that is about to be started, and gives its number.
    pub(crate) fn reserve(&mut self) -> usize {
        self.threads += 1;
        self.starting += 1;
        self.spawning += 1;
        self.recount();
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

    /// The same if there are fewer than `least`.
    pub(crate) fn reserve_up_to(&mut self, least: usize) -> Option<usize> {
        (self.missing(least) > 0).then(|| self.reserve())
    }

    /// A worker that was started looks at the queue for the first time (or never will).
    pub(crate) fn arrive(&mut self) {
        self.starting -= 1;
        self.recount();
    }

    /// What a worker does that has nothing to do: this is all that it decides by.
    pub(crate) fn next(&mut self, has_searched: bool) -> Next {
        if !self.is_overstaffed
            && let Some(job) = self.queue.pop()
        {
            Next::Run(job)
        } else if self.is_over() && self.waiting.is_empty() {
            Next::End
        } else if !self.is_overstaffed && !has_searched && self.searching == 0 {
            self.searching = 1;
            self.recount();
            Next::Search
        } else {
            Next::Park
        }
    }

    /// The next job, if whoever takes it need look at nothing else and tell nobody.
    pub(crate) fn next_quietly(&mut self) -> Option<Job> {
        if self.is_overstaffed || self.has_help || self.waiting_for_room > 0 { None } else { self.queue.pop() }
    }

    /// Whether whoever puts a job in need look at nothing else and tell nobody.
    pub(crate) fn is_quiet(&self) -> bool {
        self.is_open && !self.has_help && self.bound == usize::MAX && !self.queue.is_sorted()
    }

    /// A worker that looked for work, or was woken, is at the queue.
    pub(crate) fn end_search(&mut self) {
        self.searching -= 1;
        self.recount();
    }

    pub(crate) fn park(&mut self, parker: &Arc<Parker>) {
        self.parked.push(Arc::clone(parker));
        self.recount();
    }

    /// A parked worker wakes by itself; false when somebody has taken it out to wake it.
    pub(crate) fn unpark(&mut self, parker: &Arc<Parker>) -> bool {
        let here = self.parked.iter().position(|other| Arc::ptr_eq(other, parker));
        if let Some(here) = here {
            self.parked.remove(here);
            self.recount();
        }
        here.is_some()
    }

    /// Takes out the worker that parked last, which is to look for work.
    pub(crate) fn wake_one(&mut self) -> Option<Arc<Parker>> {
        let parker = self.parked.pop()?;
        self.searching += 1;
        self.recount();
        Some(parker)
    }

    /// A task of a worker's goes to sleep in a wait.
    pub(crate) fn block(&mut self) {
        self.blocked += 1;
        self.recount();
    }

    pub(crate) fn unblock(&mut self) {
        self.blocked -= 1;
        self.recount();
    }

    /// Worker `number` is done, or was never started. Gives how many there still are.
    pub(crate) fn release(&mut self, number: usize) -> usize {
        self.threads -= 1;
        self.numbers[number] = false;
        if let Some(desk) = self.desks.get_mut(number) {
            *desk = None;
        }
        self.recount();
        self.threads
    }

    /// Where it is seen what worker `number` is on.
    pub(crate) fn set_desk(&mut self, number: usize, desk: Arc<Desk>) {
        if self.desks.len() <= number {
            self.desks.resize(number + 1, None);
        }
        self.desks[number] = Some(desk);
    }

    pub(crate) fn desks(&self) -> impl Iterator<Item = &Arc<Desk>> {
        self.desks.iter().flatten()
    }

    // ---- async tasks

    pub(crate) fn add_waiting(&mut self, task: AsyncTask) {
        self.waiting.insert(task.id(), task);
    }

    /// It has ended. Whether those who are parked are to be woken, since nothing comes any more.
    #[must_use]
    pub(crate) fn remove_waiting(&mut self, id: TaskId) -> (Option<AsyncTask>, bool) {
        let task = self.waiting.remove(&id);
        (task, self.is_over() && self.waiting.is_empty())
    }

    /// In the order in which they were submitted.
    pub(crate) fn waiting(&self) -> Vec<AsyncTask> {
        let mut tasks: Vec<_> = self.waiting.values().cloned().collect();
        tasks.sort_unstable_by_key(AsyncTask::id);
        tasks
    }

    /// There is work that is in nobody's hands and not in the queue.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    // ---- the end

    /// Why a job is not taken.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        if self.is_open {
            return None;
        }
        Some(self.broken.clone().map_or(Refusal::ShutDown, Refusal::Broken))
    }

    /// Nothing new comes any more: a worker that finds the queue empty is done, unless async tasks wait.
    pub(crate) fn is_over(&self) -> bool {
        !self.is_open
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    pub(crate) fn is_full(&self) -> bool {
        self.queue.len() >= self.bound
    }

    pub(crate) fn close(&mut self) {
        self.is_open = false;
        self.is_closed = true;
    }

    pub(crate) fn break_down(&mut self, why: &str) {
        self.is_open = false;
        self.broken.get_or_insert_with(|| why.into());
    }

    /// Takes out all parked workers: they are to look, and will find that it is over.
    pub(crate) fn wake_all(&mut self) -> Vec<Arc<Parker>> {
        self.searching += self.parked.len();
        let parked = std::mem::take(&mut self.parked);
        self.recount();
        parked
    }

    // ---- numbers for who asks

    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Workers that have nothing to do.
    pub(crate) fn idle(&self) -> usize {
        self.parked.len() + self.searching
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> [usize; 5] {
        [self.threads, self.starting, self.blocked, self.searching, self.max_workers]
    }

    #[cfg(test)]
    pub(super) fn parked(&self) -> &[Arc<Parker>] {
        &self.parked
    }
}
