//! The jobs that wait: first in, first out, or the highest priority first.

use super::job::Job;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

pub(crate) enum Queue {
    Fifo(VecDeque<Job>),
    Sorted(Sorted),
}

/// A heap that keeps the order of arrival among equals.
#[derive(Default)]
pub(crate) struct Sorted {
    heap: BinaryHeap<Ranked>,
    arrivals: u64,
}

struct Ranked {
    rank: (i32, Reverse<u64>),
    job: Job,
}

/// An empty queue that has room for more than this gives its memory back.
const KEEP: usize = 1 << 16;

impl Queue {
    pub(crate) fn new(sorted: bool) -> Self {
        if sorted { Queue::Sorted(Sorted::default()) } else { Queue::Fifo(VecDeque::new()) }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Queue::Fifo(jobs) => jobs.len(),
            Queue::Sorted(sorted) => sorted.heap.len(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn push(&mut self, job: Job) {
        match self {
            Queue::Fifo(jobs) => jobs.push_back(job),
            Queue::Sorted(sorted) => {
                let rank = (job.priority(), Reverse(sorted.arrivals));
                sorted.arrivals += 1;
                sorted.heap.push(Ranked { rank, job });
            }
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Job> {
        match self {
            Queue::Fifo(jobs) => {
                let job = jobs.pop_front();
                if jobs.is_empty() && jobs.capacity() > KEEP {
                    *jobs = VecDeque::new();
                }
                job
            }
            Queue::Sorted(sorted) => sorted.heap.pop().map(|ranked| ranked.job),
        }
    }

    /// What waits, in order.
    pub(crate) fn jobs(&self) -> Vec<&Job> {
        match self {
            Queue::Fifo(jobs) => jobs.iter().collect(),
            Queue::Sorted(sorted) => {
                let mut jobs: Vec<_> = sorted.heap.iter().collect();
                jobs.sort_by(|a, b| b.cmp(a));
                jobs.into_iter().map(|ranked| &ranked.job).collect()
            }
        }
    }

    /// Takes everything out, in order.
    pub(crate) fn drain(&mut self) -> Vec<Job> {
        std::iter::from_fn(|| self.pop()).collect()
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank.cmp(&other.rank)
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.rank == other.rank
    }
}

impl Eq for Ranked {}
