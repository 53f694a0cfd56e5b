//! Blocks that nobody in this process uses any more, kept for a moment: new pages are the most of what a block costs.

use super::block::{Identity, Parts, Watch};
use crate::forks;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};

/// How long one is kept.
const KEPT_FOR: Duration = Duration::from_secs(1);
/// So many, and so much, at most.
const KEPT: usize = 16;
const KEPT_BYTES: usize = 512 << 20;

static RETIRED: Mutex<List> = Mutex::new(List::of(0));
static CHANGED: Condvar = Condvar::new();

struct List {
    /// Of the process whose it is.
    generation: u32,
    /// The oldest first.
    blocks: VecDeque<Retired>,
    bytes: usize,
    /// A thread that gives back what has been kept for long enough.
    has_warden: bool,
}

#[derive(Debug)]
struct Retired {
    identity: Identity,
    parts: Parts,
    watch: Watch,
    since: Instant,
}

impl List {
    const fn of(generation: u32) -> List {
        List { generation, blocks: VecDeque::new(), bytes: 0, has_warden: false }
    }

    fn remove(&mut self, at: usize) -> Option<Retired> {
        let retired = self.blocks.remove(at)?;
        self.bytes -= retired.parts.len();
        Some(retired)
    }
}

fn list() -> MutexGuard<'static, List> {
    let mut list = RETIRED.lock();
    let generation = forks::generation();
    if list.generation != generation {
        // A copy: both would use the same memory again, and the thread has stayed with the parent.
        *list = List::of(generation);
    }
    list
}

/// Keeps a block that was made here and that others may still have.
pub(super) fn keep(identity: Identity, parts: Parts, watch: Watch) {
    if parts.len() > KEPT_BYTES {
        return;
    }
    // What has to go is unmapped without the lock.
    let mut gone = Vec::new();
    let mut list = list();
    list.bytes += parts.len();
    list.blocks.push_back(Retired { identity, parts, watch, since: Instant::now() });
    while list.blocks.len() > KEPT || list.bytes > KEPT_BYTES {
        gone.extend(list.remove(0));
    }
    if !list.has_warden {
        list.has_warden =
            thread::Builder::new().name("cf-memory".into()).stack_size(64 << 10).spawn(watch_over).is_ok();
        if !list.has_warden {
            // Nobody would give them back.
            list.bytes = 0;
            gone.extend(list.blocks.drain(..));
        }
    }
    drop(list);
}

/// Memory of at least `len` bytes, and not much more, of which the kernel says that nobody else has it.
pub(super) fn reuse(len: usize) -> Option<Parts> {
    let mut list = list();
    let fits =
        |retired: &Retired| (len..=len.saturating_mul(2)).contains(&retired.parts.len()) && retired.watch.is_over();
    // The one that was in use last: its pages are the warmest, and the others come of age.
    let at = list.blocks.iter().rposition(fits)?;
    list.remove(at).map(|retired| retired.parts)
}

/// The block of this name, which somebody else still has and has sent back.
pub(super) fn revive(identity: Identity) -> Option<(Parts, Watch)> {
    let mut list = list();
    let at = list.blocks.iter().position(|retired| retired.identity == identity)?;
    list.remove(at).map(|retired| (retired.parts, retired.watch))
}

/// The thread: gives back what is old, and ends when there is nothing.
fn watch_over() {
    let mut list = list();
    loop {
        let Some(oldest) = list.blocks.front() else {
            list.has_warden = false;
            return;
        };
        let until = oldest.since + KEPT_FOR;
        if Instant::now() < until {
            CHANGED.wait_until(&mut list, until);
            continue;
        }
        let gone = list.remove(0);
        MutexGuard::unlocked(&mut list, || drop(gone));
    }
}

/// Whether a block that begins there is kept.
#[cfg(test)]
pub(super) fn keeps(start: *const u8) -> bool {
    list().blocks.iter().any(|retired| retired.parts.starts_at(start))
}
