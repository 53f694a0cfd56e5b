//! What is possible: prototypes that carry a `fn(u64) -> u64` and nothing else. No pool: no priorities, no cancelling, no
//! panics, no callbacks, no growing, one type.

use crate::pools::Carrier;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

/// Where the cells of the tasks come from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cells {
    /// Each submitter makes its cells once and uses them again and again.
    Slab,
    /// Each task allocates its own.
    Malloc,
}

/// A mutexed queue, workers that look for a short time and then sleep, waiters that look with `sched_yield`.
pub struct Limit {
    cells: Cells,
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Cell {
    function: fn(u64) -> u64,
    /// The argument, then the result.
    value: AtomicU64,
    is_done: AtomicBool,
}

/// A cell in the queue. Its submitter keeps it until it is done.
struct Queued(NonNull<Cell>);

// SAFETY: a `Cell` is `Sync`, and whoever submits it keeps it until the worker is done with it.
unsafe impl Send for Queued {}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    called: Condvar,
    /// The queue has jobs: for those who look without the lock.
    work: AtomicBool,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Queued>,
    is_over: bool,
    searching: bool,
    asleep: usize,
}

const LOOKS: u32 = 48;

impl Limit {
    pub fn new(cells: Cells, workers: usize) -> Limit {
        let shared = Arc::<Shared>::default();
        let work = || {
            let shared = shared.clone();
            thread::spawn(move || shared.serve())
        };
        Limit { cells, workers: (0..workers).map(|_| work()).collect(), shared }
    }

    fn cell(x: u64) -> Cell {
        Cell { function: crate::nothing, value: AtomicU64::new(x), is_done: AtomicBool::new(false) }
    }
}

impl Shared {
    fn submit(&self, cell: NonNull<Cell>) {
        let mut queue = self.queue.lock();
        queue.jobs.push_back(Queued(cell));
        if queue.jobs.len() == 1 {
            self.work.store(true, Ordering::Relaxed);
        }
        let call = !queue.searching && queue.asleep > 0;
        drop(queue);
        if call {
            self.called.notify_one();
        }
    }

    fn serve(&self) {
        let mut queue = self.queue.lock();
        let mut has_searched = false;
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                if queue.jobs.is_empty() {
                    self.work.store(false, Ordering::Relaxed);
                }
                drop(queue);
                // SAFETY: its submitter keeps it until it is done.
                let cell = unsafe { job.0.as_ref() };
                let result = (cell.function)(cell.value.load(Ordering::Relaxed));
                cell.value.store(result, Ordering::Relaxed);
                cell.is_done.store(true, Ordering::Release);
                has_searched = false;
                queue = self.queue.lock();
            } else if queue.is_over {
                return;
            } else if !has_searched && !queue.searching {
                queue.searching = true;
                drop(queue);
                let is_there = |_| {
                    self.work.load(Ordering::Relaxed) || {
                        thread::yield_now();
                        false
                    }
                };
                let _ = (0..LOOKS).any(is_there);
                has_searched = true;
                queue = self.queue.lock();
                queue.searching = false;
            } else {
                queue.asleep += 1;
                self.called.wait(&mut queue);
                queue.asleep -= 1;
                has_searched = false;
            }
        }
    }
}

fn take(cell: &Cell) -> u64 {
    while !cell.is_done.load(Ordering::Acquire) {
        thread::yield_now();
    }
    cell.value.load(Ordering::Relaxed)
}

impl Carrier for Limit {
    fn windows(&self, tasks: usize, window: usize) {
        let slab: Vec<Cell> = match self.cells {
            Cells::Slab => (0..window as u64).map(Self::cell).collect(),
            Cells::Malloc => Vec::new(),
        };
        let mut handles = Vec::with_capacity(window);
        for _ in 0..tasks / window {
            match self.cells {
                Cells::Slab => slab.iter().zip(0..).for_each(|(cell, x)| {
                    cell.value.store(x, Ordering::Relaxed);
                    cell.is_done.store(false, Ordering::Relaxed);
                    self.shared.submit(NonNull::from(cell));
                }),
                Cells::Malloc => (0..window as u64).for_each(|x| {
                    let cell = NonNull::from(Box::leak(Box::new(Self::cell(x))));
                    handles.push(cell);
                    self.shared.submit(cell);
                }),
            }
            let mut sum: u64 = slab.iter().map(take).sum();
            for cell in handles.drain(..) {
                // SAFETY: it lives until it is given back.
                sum += take(unsafe { cell.as_ref() });
                // SAFETY: it was made by `Box::new` above and is given back once; it is done, and in no queue any more.
                drop(unsafe { Box::from_raw(cell.as_ptr()) });
            }
            assert_eq!(sum, (0..window as u64).sum());
        }
    }

    fn one(&self) {
        let cell = Self::cell(7);
        self.shared.submit(NonNull::from(&cell));
        assert_eq!(take(&cell), 7);
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        self.shared.queue.lock().is_over = true;
        self.shared.work.store(true, Ordering::Relaxed);
        self.shared.called.notify_all();
        self.workers.drain(..).for_each(|worker| worker.join().expect("a worker ends well"));
    }
}
