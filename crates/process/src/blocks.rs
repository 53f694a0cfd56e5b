//! Memory for large blocks, kept for a moment when it is not needed any more.
//!
//! New pages are the most of what a large block costs: the kernel has to clear them, one by one if they are small, and a virtual
//! machine may have to get them from its host. So what has been an argument in the parent, or a result in a worker, is used
//! again for the next block that arrives. In a worker the task frees its argument whenever it likes, and allocates what it
//! returns: there the allocator is asked to keep what is freed.
//!
//! Nothing is kept for longer than a second: a thread that is there as long as there is something gives it back.

use crate::sys::{allocator, huge_pages};
use concurrent_futures_core::codec::{BlockMemory, Buffer};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Smaller ones are kept by any allocator.
const MIN: usize = 1 << 20;
/// How long memory is kept.
const KEPT_FOR: Duration = Duration::from_secs(1);
/// Of more than so many blocks, or so many bytes, the thread gives back the oldest at once: to do so takes milliseconds, and here is
/// who waits for a result. Twice as much there never is.
const KEPT: usize = 16;
const KEPT_BYTES: usize = 128 << 20;
/// What the allocator of a worker keeps: the argument and the result of a task.
const KEPT_FREED: usize = 2 * KEPT_BYTES;

static STATE: Mutex<State> = Mutex::new(State { blocks: VecDeque::new(), bytes: 0, trim_at: None, has_warden: false });
static CHANGED: Condvar = Condvar::new();
/// A [`Habit`].
static HABIT: AtomicU8 = AtomicU8::new(Habit::Blocks as u8);

/// What this process keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Habit {
    Nothing,
    /// Blocks that were ours: a program that has pools.
    Blocks,
    /// What tasks free as well: a worker.
    Everything,
}

#[derive(Debug)]
struct State {
    /// The oldest first.
    blocks: VecDeque<Kept>,
    bytes: usize,
    /// The allocator keeps what is freed, until then.
    trim_at: Option<Instant>,
    /// There is a thread that gives back what is old.
    has_warden: bool,
}

#[derive(Debug)]
struct Kept {
    block: Buffer,
    since: Instant,
}

/// The memory for large blocks of this process.
#[derive(Debug)]
pub(crate) struct Blocks;

impl BlockMemory for Blocks {
    fn buffer(&self, unit: usize, len: usize) -> Option<Buffer> {
        if let Some(kept) = take(unit, len) {
            return Some(kept);
        }
        let mut buffer = Buffer::with_room(unit, len)?;
        huge_pages::advise(buffer.spare());
        Some(buffer)
    }

    fn retire(&self, mut block: Buffer) {
        let fits = (MIN..=KEPT_BYTES).contains(&block.capacity());
        if !fits || habit() == Habit::Nothing as u8 || keep_what_is_freed() {
            // The allocator keeps it, or nobody does.
            return;
        }
        block.clear();
        // What has to go is freed without the lock.
        let mut gone = Vec::new();
        let mut state = STATE.lock();
        state.bytes += block.capacity();
        state.blocks.push_back(Kept { block, since: Instant::now() });
        while state.blocks.len() > 2 * KEPT || state.bytes > 2 * KEPT_BYTES {
            gone.extend(state.remove(0));
        }
        if state.is_too_much() {
            CHANGED.notify_one();
        }
        if !state.is_watched() {
            gone.extend(state.remove_all());
        }
        drop(state);
    }
}

/// Memory for a block of `len` bytes that is about to arrive, if some is kept. Nobody has seen the block yet: who says that it
/// comes may lie.
pub(crate) fn for_arrival(unit: usize, len: usize) -> Option<Buffer> {
    if len < MIN {
        return None;
    }
    // Before the memory is taken that the task will free.
    let _ = keep_what_is_freed();
    take(unit, len)
}

/// A task that has been given such a block is done.
pub(crate) fn task_is_done(largest_block: usize) {
    if largest_block >= MIN {
        let _ = keep_what_is_freed();
    }
}

/// This process is a worker.
pub(crate) fn in_worker(keep: bool) {
    let habit = if keep { Habit::Everything } else { Habit::Nothing };
    HABIT.store(habit as u8, Ordering::Relaxed);
}

/// Gives back what is kept, now.
pub(crate) fn give_back() {
    let mut state = STATE.lock();
    let gone = state.remove_all();
    let trim = state.let_allocator_be();
    drop(state);
    drop(gone);
    if trim {
        allocator::trim();
    }
}

fn habit() -> u8 {
    HABIT.load(Ordering::Relaxed)
}

/// A kept block with so much room, and not much more: whoever gets it may keep it for ever.
fn take(unit: usize, len: usize) -> Option<Buffer> {
    if len < MIN {
        return None;
    }
    let mut state = STATE.lock();
    let fits = |kept: &Kept| kept.block.unit() == unit && (len..=len + len / 4).contains(&kept.block.capacity());
    // The one that was in use last: its pages are the warmest, and the others come of age.
    let at = state.blocks.iter().rposition(fits)?;
    state.remove(at)
}

/// In a worker: has the allocator keep what is freed from now on, for as long as blocks are kept. `false`: it does not.
fn keep_what_is_freed() -> bool {
    if habit() != Habit::Everything as u8 {
        return false;
    }
    let mut state = STATE.lock();
    if state.trim_at.is_none() && !allocator::keep_freed(KEPT_FREED) {
        return false;
    }
    state.trim_at = Some(Instant::now() + KEPT_FOR);
    let watched = state.is_watched();
    if !watched {
        state.let_allocator_be();
    }
    watched
}

impl State {
    fn remove(&mut self, at: usize) -> Option<Buffer> {
        let kept = self.blocks.remove(at)?;
        self.bytes -= kept.block.capacity();
        Some(kept.block)
    }

    fn remove_all(&mut self) -> Vec<Buffer> {
        self.bytes = 0;
        self.blocks.drain(..).map(|kept| kept.block).collect()
    }

    /// `true`: there may be something for it to give back.
    fn let_allocator_be(&mut self) -> bool {
        let kept = self.trim_at.take().is_some();
        if kept {
            allocator::keep_no_more();
        }
        kept
    }

    /// `false`: there is nobody who would give it back, and there cannot be.
    fn is_watched(&mut self) -> bool {
        if !self.has_warden {
            let thread = thread::Builder::new().name("cf-blocks".into()).stack_size(64 << 10);
            self.has_warden = thread.spawn(watch_over).is_ok();
        }
        self.has_warden
    }

    fn is_too_much(&self) -> bool {
        self.blocks.len() > KEPT || self.bytes > KEPT_BYTES
    }

    /// When there is something to do for the thread that watches.
    fn due(&self) -> Option<Instant> {
        let kept_for = if self.is_too_much() { Duration::ZERO } else { KEPT_FOR };
        let oldest = self.blocks.front().map(|kept| kept.since + kept_for);
        oldest.into_iter().chain(self.trim_at).min()
    }
}

/// The thread: gives back what is old, and ends when there is nothing.
fn watch_over() {
    let mut state = STATE.lock();
    loop {
        let Some(due) = state.due() else {
            state.has_warden = false;
            return;
        };
        let now = Instant::now();
        if now < due {
            CHANGED.wait_until(&mut state, due);
            continue;
        }
        if state.trim_at.is_some_and(|at| at <= now) {
            state.let_allocator_be();
            MutexGuard::unlocked(&mut state, allocator::trim);
        } else {
            let gone = state.remove(0);
            MutexGuard::unlocked(&mut state, || drop(gone));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nobody else in this program's tests has blocks of these sizes.
    fn block(len: usize) -> (Buffer, *const u8) {
        let block = Buffer::from(vec![1_u8; len]);
        let start = block.as_ptr();
        (block, start)
    }

    fn is_kept(start: *const u8) -> bool {
        STATE.lock().blocks.iter().any(|kept| kept.block.as_ptr() == start)
    }

    #[test]
    fn a_block_is_used_again_and_given_back_after_a_while() {
        let begin = Instant::now();
        let (again, start) = loop {
            let (first, start) = block(3 << 20);
            Blocks.retire(first);
            assert!(for_arrival(8, 3 << 20).is_none(), "vectors of other numbers are allocated otherwise");
            assert!(for_arrival(1, (3 << 20) + 1).is_none(), "it is too small");
            assert!(for_arrival(1, 2 << 20).is_none(), "whoever gets it may keep it for ever");
            // Perhaps so much time has passed that it is kept no more.
            if let Some(again) = for_arrival(1, (3 << 20) - 100) {
                break (again, start);
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "it is never kept");
        };
        assert_eq!((again.as_ptr(), again.len()), (start, 0));
        Blocks.retire(again);
        let begin = Instant::now();
        while is_kept(start) {
            assert!(begin.elapsed() < Duration::from_secs(60), "it was not given back");
            thread::yield_now();
        }
    }

    #[test]
    fn neither_small_nor_very_large_blocks_are_kept() {
        for len in [MIN - 1, KEPT_BYTES + 1] {
            let (block, start) = block(len);
            Blocks.retire(block);
            assert!(!is_kept(start));
        }
    }
}
