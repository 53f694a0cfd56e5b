//! A call on many items with more to say about it.

use super::{AsyncResult, Imap, ImapUnordered, Pool};
use crate::{ExecutorExt, Portable, TaskError};
use std::fmt;

/// A function and its items, before they are given to the pool; made by [`Pool::tasks`].
#[must_use = "nothing is done before `.map()`, `.map_async()`, `.imap()` or `.imap_unordered()`"]
pub struct PoolTasks<'a, I: Iterator, R> {
    pool: &'a Pool,
    f: fn(I::Item) -> R,
    items: I,
    chunksize: Option<usize>,
    buffersize: Option<usize>,
}

impl<'a, I: Iterator, R: Portable> PoolTasks<'a, I, R>
where
    I::Item: Portable,
{
    /// As [`Pool::map`].
    ///
    /// # Errors
    /// As for [`Pool::map`].
    pub fn map(self) -> Result<Vec<R>, TaskError> {
        self.map_async().get()
    }

    /// As [`Pool::map_async`].
    pub fn map_async(self) -> AsyncResult<Vec<R>> {
        let PoolTasks { pool, f, items, chunksize, .. } = self;
        pool.start(|executor| {
            let tasks = executor.tasks(f, items);
            match chunksize {
                Some(n) => tasks.chunksize(n).map().gather(),
                None => tasks.map().gather(),
            }
        })
    }

    /// As [`Pool::imap`].
    pub fn imap(self) -> Imap<I, R> {
        Imap::new(self.pool.clone(), self.f, self.items, self.chunksize.unwrap_or(1), self.buffersize)
    }

    /// As [`Pool::imap_unordered`].
    pub fn imap_unordered(self) -> ImapUnordered<I, R> {
        ImapUnordered::new(self.pool.clone(), self.f, self.items, self.chunksize.unwrap_or(1), self.buffersize)
    }
}

impl<'a, I: Iterator, R> PoolTasks<'a, I, R> {
    pub(super) fn new(pool: &'a Pool, f: fn(I::Item) -> R, items: I) -> Self {
        PoolTasks { pool, f, items, chunksize: None, buffersize: None }
    }

    /// How many items travel together. Without it, `map` chooses a number itself, and `imap` sends items one by one.
    ///
    /// # Panics
    /// When `n` is zero.
    pub fn chunksize(mut self, n: usize) -> Self {
        assert!(n > 0, "chunksize must be at least 1: with 0 items in a chunk no item would ever be sent");
        self.chunksize = Some(n);
        self
    }

    /// How many chunks of an `imap` are on their way at once, beyond the one whose results are being taken; see [`Imap`]. It
    /// means nothing to `map`, which takes all items at once.
    ///
    /// # Panics
    /// When `n` is zero.
    pub fn buffersize(mut self, n: usize) -> Self {
        assert!(n > 0, "buffersize must be at least 1: with nothing in flight no result would ever come");
        self.buffersize = Some(n);
        self
    }
}

impl<I: Iterator, R> fmt::Debug for PoolTasks<'_, I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolTasks")
            .field("chunksize", &self.chunksize)
            .field("buffersize", &self.buffersize)
            .finish_non_exhaustive()
    }
}
