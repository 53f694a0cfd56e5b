//! Numbers that name tasks and pools within this process.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Names a task for as long as this process lives; never used twice.
///
/// ```
/// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
///
/// let ex = SerialExecutor::new();
/// let (a, b) = (ex.submit(|x: u8| x, 1), ex.submit(|x: u8| x, 2));
/// assert_ne!(a.id(), b.id());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(u64);

impl TaskId {
    /// A thread takes numbers in blocks, so that submitters do not share a cache line.
    pub(crate) fn next() -> Self {
        const BLOCK: u64 = 1024;
        static BLOCKS: AtomicU64 = AtomicU64::new(0);
        thread_local!(static NEXT: Cell<u64> = const { Cell::new(0) });
        let take = |next: &Cell<u64>| {
            let mut id = next.get();
            if id.is_multiple_of(BLOCK) {
                id = BLOCKS.fetch_add(1, Ordering::Relaxed) * BLOCK;
            }
            next.set(id + 1);
            id
        };
        // While a thread's storage is being destroyed, a whole block goes for one number.
        TaskId(NEXT.try_with(take).unwrap_or_else(|_| BLOCKS.fetch_add(1, Ordering::Relaxed) * BLOCK))
    }

    /// The number itself.
    pub fn get(self) -> u64 {
        self.0
    }

    /// The task whose number [`get`](Self::get) gave; for authors of executors.
    pub fn from_raw(number: u64) -> Self {
        TaskId(number)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Names a pool for as long as this process lives; for authors of executors.
///
/// ```
/// use concurrent_futures_core::PoolId;
///
/// assert_ne!(PoolId::next(), PoolId::next());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolId(u32);

impl PoolId {
    /// A number that no other pool of this process has. Zero is never given out.
    #[allow(clippy::should_implement_trait, reason = "it is no iterator; the name says what it does")]
    pub fn next() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        PoolId(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn get(self) -> u32 {
        self.0
    }

    pub(crate) fn from_raw(raw: u32) -> Option<Self> {
        (raw != 0).then_some(PoolId(raw))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_unique_across_threads() {
        let threads: Vec<_> =
            (0..4).map(|_| std::thread::spawn(|| (0..3000).map(|_| TaskId::next()).collect::<Vec<_>>())).collect();
        let ids: Vec<_> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 12_000);
    }
}
