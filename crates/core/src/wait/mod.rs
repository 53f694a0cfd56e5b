//! Waiting for several futures.

mod as_completed;
mod set;

pub use as_completed::{AsCompleted, AsCompletedStream, AsCompletedTimeout, Unfinished, as_completed};

pub(crate) use set::CompletionSet;

use crate::cell::Ref;
use crate::future::{CancelOnDrop, Future, SharedFuture, deadline};
use std::time::Duration;

/// What [`wait`] and [`as_completed`] take, and give back whole: a [`Future`], a [`SharedFuture`], a reference or a box, or
/// a pair of a key and one of these, so that a map of futures, or a list of pairs, says which task it was.
///
/// Sealed.
pub trait Waitable: Sealed {
    #[doc(hidden)]
    fn slot(&self) -> Slot<'_>;
}

#[doc(hidden)]
pub trait Sealed {}

#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Slot<'a>(&'a Ref);

impl std::fmt::Debug for Slot<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        crate::future::debug(self.0, "Slot", f)
    }
}

impl<'a> Slot<'a> {
    pub(crate) fn cell(self) -> &'a Ref {
        self.0
    }
}

impl<T> Waitable for Future<T> {
    fn slot(&self) -> Slot<'_> {
        Slot(self.cell())
    }
}
impl<T> Sealed for Future<T> {}

impl<T> Waitable for SharedFuture<T> {
    fn slot(&self) -> Slot<'_> {
        Slot(self.cell())
    }
}
impl<T> Sealed for SharedFuture<T> {}

impl<T> Waitable for CancelOnDrop<T> {
    fn slot(&self) -> Slot<'_> {
        Slot(self.cell())
    }
}
impl<T> Sealed for CancelOnDrop<T> {}

impl<F: Waitable + ?Sized> Waitable for &F {
    fn slot(&self) -> Slot<'_> {
        (**self).slot()
    }
}
impl<F: Waitable + ?Sized> Sealed for &F {}

impl<F: Waitable + ?Sized> Waitable for Box<F> {
    fn slot(&self) -> Slot<'_> {
        (**self).slot()
    }
}
impl<F: Waitable + ?Sized> Sealed for Box<F> {}

impl<K, F: Waitable> Waitable for (K, F) {
    fn slot(&self) -> Slot<'_> {
        self.1.slot()
    }
}
impl<K, F: Waitable> Sealed for (K, F) {}

/// When [`wait`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReturnWhen {
    /// One of them is done.
    FirstCompleted,
    /// One of them has failed (a cancellation does not count), or all are done.
    FirstException,
    /// All of them are done.
    AllCompleted,
}

/// Waits for futures, which may come from different executors; gives those that are done and those that are not, each in
/// the order in which they were given.
///
/// Returns at once when the condition holds already, also for no futures at all. Running out of time is no error. A
/// cancelled future is done. Every item that is given comes back, also if two of them belong to one task.
///
/// ```
/// use concurrent_futures_core::{Promise, ReturnWhen, wait};
/// use std::time::Duration;
///
/// let (promise, a) = Promise::<u8>::pair();
/// let (_keep, b) = Promise::<u8>::pair();
/// promise.set_result(1).unwrap();
/// let (done, not_done) = wait([("a", a), ("b", b)], Duration::from_secs(5), ReturnWhen::FirstCompleted);
/// assert_eq!((done[0].0, not_done[0].0), ("a", "b"));
/// ```
pub fn wait<F: Waitable>(
    futures: impl IntoIterator<Item = F>,
    timeout: impl Into<Option<Duration>>,
    return_when: ReturnWhen,
) -> (Vec<F>, Vec<F>) {
    let until = timeout.into().and_then(deadline);
    let items: Vec<F> = futures.into_iter().collect();
    let set = CompletionSet::new();
    // Those that are done already are not told again.
    let mut pending = items.iter().enumerate().filter(|(i, item)| !item.slot().cell().join_set(&set, *i)).count();
    let enough = |cell: &Ref| match return_when {
        ReturnWhen::FirstCompleted => true,
        ReturnWhen::FirstException => cell.has_failed(),
        ReturnWhen::AllCompleted => false,
    };
    let mut satisfied = items.iter().any(|item| item.slot().cell().is_done() && enough(item.slot().cell()));
    while pending > 0 && !satisfied {
        let Some(next) = set.next(until) else { break };
        pending -= 1;
        satisfied = enough(items[next].slot().cell());
    }
    if pending > 0 {
        for (i, item) in items.iter().enumerate() {
            item.slot().cell().leave_set(&set, i);
        }
    }
    items.into_iter().partition(|item| item.slot().cell().is_done())
}
