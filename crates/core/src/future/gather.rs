//! One future of many.

use super::chain::on_arrival;
use super::{Future, Promise};
use crate::cell::{Place, Ref};
use crate::error::TaskError;
use crate::panics;
use crate::task::Remote;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A future of the values of all `futures`, in their order. The first error, whosever it is, is the error of the whole at once,
/// and those that have not started are cancelled then. See [`gather_results`] for all outcomes.
///
/// Cancelling it cancels each of them that has not started; what runs goes on, and nobody hears of it.
/// [`abort`](Future::abort) aborts them all. Dropping it does neither. No futures at all give an empty vector.
///
/// After Python's `asyncio.gather`.
///
/// ```
/// use concurrent_futures_core::{ExecutorExt, SerialExecutor, gather};
///
/// let ex = SerialExecutor::new();
/// let whole = gather([ex.submit(|x: u32| x + 1, 1), ex.submit(|x: u32| x * 10, 1)]);
/// assert_eq!(whole.result()?, [2, 10]);
///
/// let failed = gather([ex.submit(|x: u32| 100 / x, 0), ex.submit(|x: u32| 100 / x, 1)]);
/// assert!(failed.result().unwrap_err().is_panic());
/// # Ok::<(), concurrent_futures_core::TaskError>(())
/// ```
pub fn gather<T: Send + 'static>(futures: impl IntoIterator<Item = Future<T>>) -> Future<Vec<T>> {
    let futures: Vec<_> = futures.into_iter().collect();
    let (gathering, whole) = Gathering::begin(cells(&futures), Ok);
    for (place, future) in futures.into_iter().enumerate() {
        let gathering = gathering.clone();
        on_arrival(future, move |outcome| match outcome {
            Ok(value) => gathering.put(place, value),
            Err(error) => gathering.fail(error),
        });
    }
    whole
}

/// A future of the outcomes of all `futures`, in their order, each a `Result` of its own: it waits for all, and fails only when
/// it is cancelled or aborted itself.
///
/// Cancelling, aborting and dropping it are as for [`gather`].
///
/// ```
/// use concurrent_futures_core::{ExecutorExt, SerialExecutor, gather_results};
///
/// let ex = SerialExecutor::new();
/// let whole = gather_results([0, 5].map(|x| ex.submit(|x: u32| 100 / x, x)));
/// let outcomes = whole.result()?;
/// assert!(outcomes[0].as_ref().unwrap_err().is_panic());
/// assert_eq!(*outcomes[1].as_ref().unwrap(), 20);
/// # Ok::<(), concurrent_futures_core::TaskError>(())
/// ```
pub fn gather_results<T: Send + 'static>(
    futures: impl IntoIterator<Item = Future<T>>,
) -> Future<Vec<Result<T, TaskError>>> {
    let futures: Vec<_> = futures.into_iter().collect();
    let (gathering, whole) = Gathering::begin(cells(&futures), Ok);
    for (place, future) in futures.into_iter().enumerate() {
        let gathering = gathering.clone();
        on_arrival(future, move |outcome| gathering.put(place, outcome));
    }
    whole
}

fn cells<T>(futures: &[Future<T>]) -> Vec<Ref> {
    futures.iter().map(|future| future.cell().clone()).collect()
}

/// What has arrived of many, and the promise of the whole, whose cell has this as its link until it is resolved: there it is
/// cancelled and aborted.
pub(crate) struct Gathering<X, U> {
    state: Mutex<State<X, U>>,
    parts: Vec<Ref>,
    /// The whole is being cancelled: the ends of the parts must not become its outcome meanwhile.
    given_up: AtomicBool,
    promise: Promise<U>,
}

struct State<X, U> {
    arrived: Vec<Option<X>>,
    missing: usize,
    finish: Option<Finish<X, U>>,
}

type Finish<X, U> = Box<dyn FnOnce(Vec<X>) -> Result<U, TaskError> + Send>;

impl<X: Send + 'static, U: Send + 'static> Gathering<X, U> {
    /// A future of `finish` of all that will be [put](Self::put), one for each of `parts`.
    pub(crate) fn begin(
        parts: Vec<Ref>,
        finish: impl FnOnce(Vec<X>) -> Result<U, TaskError> + Send + 'static,
    ) -> (Arc<Self>, Future<U>) {
        let (promise, whole) = Promise::pair();
        let count = parts.len();
        let mut arrived = Vec::with_capacity(count);
        arrived.resize_with(count, || None);
        let state = Mutex::new(State { arrived, missing: count, finish: Some(Box::new(finish)) });
        let gathering = Arc::new(Gathering { state, parts, given_up: AtomicBool::new(false), promise });
        if count == 0 {
            gathering.finish();
        } else {
            gathering.promise.cell().set_source(gathering.clone());
        }
        (gathering, whole)
    }

    /// The part in this place is there.
    pub(crate) fn put(&self, place: usize, part: X) {
        if self.promise.cell().is_done() {
            // Nobody will look at it: it goes now, not with the last of the others.
            return panics::contain_drop(part);
        }
        let mut state = self.state.lock();
        state.arrived[place] = Some(part);
        state.missing -= 1;
        let is_last = state.missing == 0;
        drop(state);
        if is_last {
            self.finish();
        }
    }

    /// The whole fails, and those that have not started are cancelled.
    fn fail(&self, error: TaskError) {
        // The first error stays.
        if !self.given_up.load(Ordering::Acquire) && self.promise.set(Err(error)).is_ok() {
            self.cancel_parts();
        }
    }

    fn finish(&self) {
        if self.given_up.load(Ordering::Acquire) {
            return;
        }
        let (arrived, finish) = {
            let mut state = self.state.lock();
            (std::mem::take(&mut state.arrived), state.finish.take())
        };
        let Some(finish) = finish else { return };
        let outcome = panics::catch(|| Ok(finish(arrived.into_iter().flatten().collect())));
        // It can have been aborted, no more.
        let _ = self.promise.set(outcome.map_err(TaskError::new).and_then(|outcome| outcome));
    }
}

impl<X, U> Gathering<X, U> {
    /// From the back: what would start next is cancelled last.
    fn cancel_parts(&self) {
        for part in self.parts.iter().rev() {
            part.cancel(Place::Here);
        }
    }
}

impl<X: Send, U: Send> Remote for Gathering<X, U> {
    /// The whole has no start of its own: until its end it can be given up.
    fn try_revoke(&self, _mark: u64) -> bool {
        self.given_up.store(true, Ordering::Release);
        self.cancel_parts();
        true
    }

    fn started(&self, _mark: u64) -> bool {
        self.parts.iter().any(|part| part.is_running() || part.is_done())
    }

    fn abort_parts(&self) {
        self.given_up.store(true, Ordering::Release);
        for part in self.parts.iter().rev() {
            part.abort(Place::Here);
        }
    }
}
