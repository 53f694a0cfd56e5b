//! How many items travel together when nobody chose.

use std::time::{Duration, Instant};

/// How many items travel together: few at first, so that the first results come soon; then more and more, but so that each
/// worker has several chunks; from when it is known how long the items take, no more than take [`TARGET`]; and fewer again
/// towards the end, if it is known where that is, so that the workers end together.
#[doc(hidden)]
#[derive(Debug)]
pub struct ChunkSizes {
    workers: usize,
    size: usize,
    largest: usize,
    /// How many chunks of this size are left before the size is doubled.
    left: usize,
    /// Items that have no chunk yet, if that is known.
    items: Option<usize>,
    /// At the end.
    smallest: usize,
    pace: Pace,
}

const CHUNKS_PER_WORKER: usize = 8;
/// Of what is left to be done, the part of a worker is cut into so many chunks.
const PARTS_AT_THE_END: usize = 4;
/// The last chunks are so much smaller than the largest.
const SMALLEST_PART: usize = 64;
/// As long as nobody knows how long an item takes.
const LARGEST_UNTIMED: usize = 1024;
/// However little time an item takes.
const LARGEST: usize = 1 << 16;
/// What a chunk is to take.
const TARGET: Duration = Duration::from_millis(2);

/// How long the items take, as far as it is known.
#[derive(Debug)]
enum Pace {
    /// Somebody chose the size.
    Given,
    NotStarted,
    Since(Instant),
}

impl ChunkSizes {
    pub fn new<I: Iterator>(chosen: Option<usize>, workers: usize, items: &I) -> Self {
        let workers = workers.max(1);
        let chunks = workers.saturating_mul(CHUNKS_PER_WORKER);
        let count = match items.size_hint() {
            (lower, Some(upper)) if lower == upper => Some(lower),
            _ => None,
        };
        if let Some(size) = chosen {
            let pace = Pace::Given;
            return ChunkSizes { workers, size, largest: size, left: 0, items: None, smallest: size, pace };
        }
        let largest = count.map_or(LARGEST, |count| count.div_ceil(chunks).clamp(1, LARGEST));
        let smallest = (largest / SMALLEST_PART).max(1);
        ChunkSizes { workers, size: 1, largest, left: workers, items: count, smallest, pace: Pace::NotStarted }
    }

    /// `done` says how many of the items are done.
    pub fn next_size(&mut self, done: impl FnOnce() -> usize) -> usize {
        let most = match self.pace {
            Pace::Given => return self.size,
            Pace::NotStarted => {
                self.pace = Pace::Since(Instant::now());
                LARGEST_UNTIMED
            }
            Pace::Since(start) => most_in_time(start.elapsed(), done(), self.workers),
        };
        let largest = self.largest.min(most);
        if self.left == 0 && self.size < largest {
            self.size *= 2;
            self.left = self.workers;
        }
        self.left = self.left.saturating_sub(1);
        // It was larger, when the items seemed to be cheaper.
        self.size = self.size.min(largest);
        let size = match self.items {
            Some(items) => self.size.min((items / self.workers.saturating_mul(PARTS_AT_THE_END)).max(self.smallest)),
            None => self.size,
        };
        self.items = self.items.map(|items| items.saturating_sub(size));
        size
    }
}

/// How many items are done in [`TARGET`] by one worker, when `done` of them were done in this `time` by all.
fn most_in_time(time: Duration, done: usize, workers: usize) -> usize {
    // Before that it is mostly the workers' waking up that is measured.
    const TOO_SOON: Duration = Duration::from_millis(1);
    if time < TOO_SOON || done == 0 {
        return LARGEST_UNTIMED;
    }
    let in_target = done as f64 * TARGET.as_secs_f64() / time.as_secs_f64() / workers as f64;
    (in_target as usize).clamp(1, LARGEST)
}

#[cfg(all(test, not(concurrent_futures_loom)))]
mod tests {
    use super::*;

    /// Nothing is done before all has been submitted.
    fn sizes<I: Iterator>(chosen: Option<usize>, workers: usize, items: I, count: usize) -> Vec<usize> {
        let mut sizes = ChunkSizes::new(chosen, workers, &items);
        (0..count).map(|_| sizes.next_size(|| 0)).collect()
    }

    #[test]
    fn chunks_leave_several_for_each_worker() {
        assert_eq!(sizes(None, 2, 0..10, 4), [1; 4]);
        assert_eq!(sizes(None, 1, 0..40, 5), [1, 2, 4, 5, 5]);
        assert_eq!(sizes(None, 2, 0..10_000_000, 1000).last(), Some(&LARGEST_UNTIMED));
        assert_eq!(sizes(Some(7), 2, 0..10, 2), [7, 7]);
    }

    #[test]
    fn chunks_of_unknown_input_grow() {
        assert_eq!(sizes(None, 2, (0..).filter(|x| x % 2 == 0), 6), [1, 1, 2, 2, 4, 4]);
    }

    #[test]
    fn the_last_chunks_are_small() {
        for (items, workers) in [(10_000, 2), (15_000, 2), (100_000, 16), (1000, 1)] {
            let mut sizes = ChunkSizes::new(None, workers, &(0..items));
            let (mut left, mut chunks, mut largest) = (items, Vec::new(), 0);
            while left > 0 {
                let size = sizes.next_size(|| 0).min(left);
                largest = largest.max(size);
                left -= size;
                chunks.push(size);
            }
            assert!(*chunks.last().unwrap() * 32 <= largest.max(32), "{items}: {chunks:?}");
            assert!(largest * workers * CHUNKS_PER_WORKER <= items + workers * CHUNKS_PER_WORKER);
        }
    }

    #[test]
    fn a_chunk_takes_some_milliseconds_at_most() {
        let second = Duration::from_secs(1);
        // A million items of a microsecond, by one worker and by two.
        assert_eq!(most_in_time(second, 1_000_000, 1), 2000);
        assert_eq!(most_in_time(second, 2_000_000, 2), 2000);
        // Items that take longer than that, and next to no time.
        assert_eq!(most_in_time(second, 10, 1), 1);
        assert_eq!(most_in_time(second, usize::MAX, 1), LARGEST);
        // Nothing is known.
        assert_eq!(most_in_time(second, 0, 1), LARGEST_UNTIMED);
        assert_eq!(most_in_time(Duration::ZERO, 1, 1), LARGEST_UNTIMED);
    }
}
