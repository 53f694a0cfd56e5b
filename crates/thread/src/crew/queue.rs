//! The jobs that wait: first in, first out, or the highest priority first.

use super::job::Job;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

pub(crate) enum Queue {
    Fifo(Segments),
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

/// First in, first out. In pieces, so that a long queue is never copied to a larger place and gives its memory back as it
/// shrinks, and so that one can be put behind another.
#[derive(Default)]
pub(crate) struct Segments {
    first: VecDeque<Job>,
    /// None of them is empty.
    more: VecDeque<VecDeque<Job>>,
    len: usize,
}

/// Jobs in a piece.
const SEGMENT: usize = 512;

impl Segments {
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn push(&mut self, job: Job) {
        self.len += 1;
        let last = self.more.back_mut().unwrap_or(&mut self.first);
        if last.len() < SEGMENT {
            last.push_back(job);
        } else {
            let mut last = VecDeque::with_capacity(SEGMENT);
            last.push_back(job);
            self.more.push_back(last);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Job> {
        if self.first.is_empty() {
            self.first = self.more.pop_front()?;
        }
        self.len -= 1;
        self.first.pop_front()
    }

    /// Puts the others behind, and leaves nothing there.
    pub(crate) fn append(&mut self, others: &mut Segments) {
        if self.is_empty() {
            // With their memory, which so goes to and fro.
            std::mem::swap(self, others);
            return;
        }
        self.len += std::mem::take(&mut others.len);
        if !others.first.is_empty() {
            self.more.push_back(std::mem::take(&mut others.first));
        }
        self.more.append(&mut others.more);
    }

    fn iter(&self) -> impl Iterator<Item = &Job> {
        self.first.iter().chain(self.more.iter().flatten())
    }
}

impl Queue {
    pub(crate) fn new(sorted: bool) -> Self {
        if sorted { Queue::Sorted(Sorted::default()) } else { Queue::Fifo(Segments::default()) }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Queue::Fifo(jobs) => jobs.len,
            Queue::Sorted(sorted) => sorted.heap.len(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn push(&mut self, job: Job) {
        match self {
            Queue::Fifo(jobs) => jobs.push(job),
            Queue::Sorted(sorted) => {
                let rank = (job.priority(), Reverse(sorted.arrivals));
                sorted.arrivals += 1;
                sorted.heap.push(Ranked { rank, job });
            }
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Job> {
        match self {
            Queue::Fifo(jobs) => jobs.pop(),
            Queue::Sorted(sorted) => sorted.heap.pop().map(|ranked| ranked.job),
        }
    }

    pub(crate) fn is_sorted(&self) -> bool {
        matches!(self, Queue::Sorted(_))
    }

    /// Puts jobs behind those that are here.
    pub(crate) fn append(&mut self, jobs: &mut Segments) {
        match self {
            Queue::Fifo(here) => here.append(jobs),
            Queue::Sorted(_) => std::iter::from_fn(|| jobs.pop()).for_each(|job| self.push(job)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use concurrent_futures_core::TaskId;
    use concurrent_futures_core::task::closure;

    fn put(jobs: &mut Segments, order: &mut Vec<TaskId>, count: usize) {
        for _ in 0..count {
            let (task, _) = closure(|| ());
            order.push(task.id());
            jobs.push(Job::Task(task));
        }
    }

    fn id(job: &Job) -> TaskId {
        match job {
            Job::Task(task) => task.id(),
            Job::Scoped(_) | Job::Poll(_) => unreachable!("there are none here"),
        }
    }

    #[test]
    fn the_order_is_kept_whatever_the_pieces() {
        let sizes = [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 3 * SEGMENT];
        for (here, there) in sizes.iter().flat_map(|here| sizes.map(|there| (*here, there))) {
            let (mut jobs, mut others, mut order) = (Segments::default(), Segments::default(), Vec::new());
            put(&mut jobs, &mut order, here + 1);
            // It begins in the middle of a piece.
            assert_eq!(jobs.pop().map(|job| id(&job)), Some(order.remove(0)));
            put(&mut others, &mut order, there);
            jobs.append(&mut others);
            assert!(others.is_empty() && others.pop().is_none());
            put(&mut jobs, &mut order, 2);
            assert!(jobs.iter().map(id).eq(order.iter().copied()));
            assert_eq!(jobs.len, order.len());
            assert!(std::iter::from_fn(|| jobs.pop()).map(|job| id(&job)).eq(order));
            assert!(jobs.is_empty());
        }
    }
}
