//! Futures in the order in which they are done.

use super::{CompletionSet, Waitable};
use crate::future::deadline;
use futures_core::Stream;
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::iter::FusedIterator;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// Gives the futures back in the order in which they are done: those that are done already first, in the order given.
///
/// Takes anything that is [`Waitable`], from different executors if need be, and gives back whole items: a
/// `HashMap<Url, Future<_>>` goes straight in. Each completion costs the same, however many are waited for. Items that were
/// given back are not kept. Dropping it cancels nothing.
///
/// ```
/// use concurrent_futures_core::{ExecutorExt, SerialExecutor, as_completed};
/// use std::collections::HashMap;
///
/// let ex = SerialExecutor::new();
/// let lengths: HashMap<&str, _> = ["a", "bcd"].into_iter().map(|s| (s, ex.submit(|s: String| s.len(), s.into()))).collect();
/// for (word, length) in as_completed(lengths) {
///     assert_eq!(length.result().unwrap(), word.len());
/// }
/// ```
pub fn as_completed<F: Waitable>(futures: impl IntoIterator<Item = F>) -> AsCompleted<F> {
    let mut completed = AsCompleted { items: HashMap::new(), next_key: 0, set: CompletionSet::new() };
    completed.extend(futures);
    completed
}

/// An iterator over futures as they are done; made by [`as_completed`].
///
/// More can be added while it runs ([`push`](Self::push)). For async code there is [`into_stream`](Self::into_stream).
#[must_use = "iterate over it"]
pub struct AsCompleted<F: Waitable> {
    items: HashMap<usize, F>,
    next_key: usize,
    set: Arc<CompletionSet>,
}

impl<F: Waitable> AsCompleted<F> {
    /// One more to wait for.
    ///
    /// ```
    /// use concurrent_futures_core::{ExecutorExt, SerialExecutor, as_completed};
    ///
    /// let ex = SerialExecutor::new();
    /// let mut pages = as_completed([ex.submit(|n: u32| n, 3)]);
    /// let mut seen = vec![];
    /// while let Some(page) = pages.next() {
    ///     let n = page.result().unwrap();
    ///     seen.push(n);
    ///     if n > 0 {
    ///         pages.push(ex.submit(|n: u32| n, n - 1)); // a crawler finds more pages
    ///     }
    /// }
    /// assert_eq!(seen, [3, 2, 1, 0]);
    /// ```
    pub fn push(&mut self, future: F) {
        let key = self.next_key;
        self.next_key += 1;
        if future.slot().cell().join_set(&self.set, key) {
            self.set.completed(key);
        }
        self.items.insert(key, future);
    }

    /// How many are left.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Gives up after `timeout` from now: what is done in time comes as `Ok`, then once the rest as `Err`.
    ///
    /// ```
    /// use concurrent_futures_core::{Promise, as_completed};
    /// use std::time::Duration;
    ///
    /// let (_promise, never) = Promise::<u8>::pair();
    /// let mut items = as_completed([never]).timeout(Duration::ZERO);
    /// let rest = items.next().unwrap().unwrap_err();
    /// assert_eq!(rest.to_string(), "1 (of 1) futures unfinished");
    /// assert!(items.next().is_none());
    /// ```
    pub fn timeout(self, timeout: Duration) -> AsCompletedTimeout<F> {
        let of = self.len();
        AsCompletedTimeout { inner: self, until: deadline(timeout), of }
    }

    /// The same as a [`Stream`], for async code.
    pub fn into_stream(self) -> AsCompletedStream<F> {
        AsCompletedStream(self)
    }

    /// The next, if one is done before `at`.
    fn next_until(&mut self, at: Instant) -> Option<F> {
        while !self.items.is_empty() {
            let key = self.set.next(Some(at))?;
            if let Some(item) = self.items.remove(&key) {
                return Some(item);
            }
        }
        None
    }

    /// What is left, done or not.
    pub(crate) fn take_rest(&mut self) -> Vec<F> {
        let rest = std::mem::take(&mut self.items).into_iter();
        rest.inspect(|(key, item)| item.slot().cell().leave_set(&self.set, *key)).map(|(_, item)| item).collect()
    }
}

impl<F: Waitable> Extend<F> for AsCompleted<F> {
    fn extend<I: IntoIterator<Item = F>>(&mut self, futures: I) {
        for future in futures {
            self.push(future);
        }
    }
}

impl<F: Waitable> Iterator for AsCompleted<F> {
    type Item = F;

    fn next(&mut self) -> Option<F> {
        while !self.items.is_empty() {
            let key = self.set.next(None)?;
            // A key without an item belongs to one that was taken out before it was done.
            if let Some(item) = self.items.remove(&key) {
                return Some(item);
            }
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.items.len(), Some(self.items.len()))
    }
}

impl<F: Waitable> ExactSizeIterator for AsCompleted<F> {}
impl<F: Waitable> FusedIterator for AsCompleted<F> {}

impl<F: Waitable> Drop for AsCompleted<F> {
    fn drop(&mut self) {
        // The futures may live on elsewhere (references, shared handles): they must not keep the set.
        for (key, item) in &self.items {
            item.slot().cell().leave_set(&self.set, *key);
        }
    }
}

impl<F: Waitable> fmt::Debug for AsCompleted<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("left", &self.items.len()).finish_non_exhaustive()
    }
}

/// [`as_completed`] with a limit; made by [`AsCompleted::timeout`].
#[must_use = "iterate over it"]
#[derive(Debug)]
pub struct AsCompletedTimeout<F: Waitable> {
    inner: AsCompleted<F>,
    until: Option<Instant>,
    of: usize,
}

impl<F: Waitable> AsCompletedTimeout<F> {
    /// One more to wait for, until the same end.
    pub fn push(&mut self, future: F) {
        self.of += 1;
        self.inner.push(future);
    }
}

impl<F: Waitable> Iterator for AsCompletedTimeout<F> {
    type Item = Result<F, Unfinished<F>>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some(until) = self.until else { return self.inner.next().map(Ok) };
        if let Some(item) = self.inner.next_until(until) {
            return Some(Ok(item));
        }
        let rest = self.inner.take_rest();
        (!rest.is_empty()).then(|| Err(Unfinished { futures: rest, of: self.of }))
    }
}

/// Time ran out before all futures were done; those that were not are inside.
pub struct Unfinished<F> {
    /// The futures that were not done in time, in no particular order.
    pub futures: Vec<F>,
    /// How many there were in all.
    pub of: usize,
}

impl<F> fmt::Debug for Unfinished<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unfinished").field("futures", &self.futures.len()).field("of", &self.of).finish()
    }
}

impl<F> fmt::Display for Unfinished<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (of {}) futures unfinished", self.futures.len(), self.of)
    }
}

impl<F> Error for Unfinished<F> {}

/// [`as_completed`] as a [`Stream`]; made by [`AsCompleted::into_stream`].
#[must_use = "streams do nothing unless polled"]
#[derive(Debug)]
pub struct AsCompletedStream<F: Waitable>(AsCompleted<F>);

impl<F: Waitable> AsCompletedStream<F> {
    /// One more to wait for.
    pub fn push(&mut self, future: F) {
        self.0.push(future);
    }
}

impl<F: Waitable> Unpin for AsCompletedStream<F> {}

impl<F: Waitable> Stream for AsCompletedStream<F> {
    type Item = F;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F>> {
        loop {
            if self.0.items.is_empty() {
                return Poll::Ready(None);
            }
            let key = ready!(self.0.set.poll_next(cx));
            if let Some(item) = self.0.items.remove(&key) {
                return Poll::Ready(Some(item));
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}
