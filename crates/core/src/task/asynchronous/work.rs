//! What a cell of an async task runs.

use super::function::AsyncFunction;
use super::{block_on, suspended};
use crate::cell::{Ref, Work};
use crate::codec::Memory;
use crate::error::TaskErrorKind;
use crate::future::{CancelOnDrop, Future};
use crate::task::retried::next_attempt;
use crate::task::{self, Again, Meta, One, Reply, Task, pair};
use crate::{panics, timer};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// One call of an async function, which is made again when the policy of the task says so.
pub(crate) struct Call<F: AsyncFunction> {
    pub(crate) one: One<F>,
    pub(crate) again: Option<Again<F::Args, F::Raw>>,
}

impl<F: AsyncFunction> Work for Call<F> {
    type Out = F::Out;
    const SUSPENDS: bool = true;

    fn run(self, cell: &Ref) -> Result<F::Out, TaskErrorKind> {
        self.one.run(cell)
    }

    unsafe fn suspend(self, cell: Ref) {
        let Call { one: One { function, args, .. }, again } = self;
        match again {
            None => {
                let call = async move { F::refine(function.begin(args).await) };
                // SAFETY: the caller vouches for the cell, and the call gives its outcome.
                unsafe { suspended::start(cell, call) }
            }
            Some(again) => {
                let calls = attempts(cell.clone(), function, args, again);
                // SAFETY: as above.
                unsafe { suspended::start(cell, calls) }
            }
        }
    }

    fn encode(&self) -> Result<task::Call, TaskErrorKind> {
        self.one.encode()
    }

    fn send(self, memory: Option<Memory>) -> Result<task::Call, TaskErrorKind> {
        self.one.send(memory)
    }

    fn decode(reply: Reply) -> Result<F::Out, TaskErrorKind> {
        One::<F>::decode(reply)
    }
}

/// All attempts, one after the other. Pauses are waits like any other.
async fn attempts<F: AsyncFunction>(
    cell: Ref,
    function: F,
    args: F::Args,
    again: Again<F::Args, F::Raw>,
) -> Result<F::Out, TaskErrorKind> {
    loop {
        let args = (again.clone)(&args);
        let future = Box::pin(async move { function.begin(args).await });
        let outcome = Attempt { cell: &cell, future }.await.and_then(F::refine);
        let Some(next) = next_attempt(&cell, false, outcome.as_ref().err()) else { return outcome };
        panics::contain_drop(outcome);
        let after = next?;
        if !after.is_zero() {
            // It is an error when it is over: the deadline has passed.
            let _ = pause(after).await;
        }
        if let Some(meta) = cell.meta() {
            meta.begin_attempt();
            timer::watch(&cell);
        }
    }
}

/// A future that ends with a panic of its own, or when its time is up.
struct Attempt<'a, F> {
    cell: &'a Ref,
    future: Pin<Box<F>>,
}

impl<F: std::future::Future> std::future::Future for Attempt<'_, F> {
    type Output = Result<F::Output, TaskErrorKind>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(meta) = self.cell.meta()
            && meta.is_stopped()
        {
            return Poll::Ready(Err(TaskErrorKind::TimedOut(meta.timeout.unwrap_or_default())));
        }
        let poll = || match self.future.as_mut().poll(cx) {
            Poll::Ready(value) => Ok(Some(value)),
            Poll::Pending => Ok(None),
        };
        match panics::catch(poll) {
            Ok(None) => Poll::Pending,
            Ok(Some(value)) => Poll::Ready(Ok(value)),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

/// A future that is done after this time: nobody else completes it.
fn pause(limit: Duration) -> CancelOnDrop<()> {
    let deadline = Instant::now().checked_add(limit).map(task::Deadline::new);
    Future::unfulfilled(Meta { deadline, ..Meta::default() }).cancel_on_drop()
}

/// A future as it came.
struct Spawned<F>(F);

/// A task that is a future, and the handle of its outcome; for authors of executors that do not leave this process.
///
/// ```
/// let (task, future) = concurrent_futures_core::task::spawned(async { 6 * 7 });
/// task.run();
/// assert_eq!(future.result().unwrap(), 42);
/// ```
pub fn spawned<F>(future: F) -> (Task, Future<F::Output>)
where
    F: std::future::Future + Send + 'static,
    F::Output: Send + 'static,
{
    pair(Spawned(future), None)
}

impl<F> Work for Spawned<F>
where
    F: std::future::Future + Send + 'static,
    F::Output: Send + 'static,
{
    type Out = F::Output;
    const SUSPENDS: bool = true;

    fn run(self, _cell: &Ref) -> Result<F::Output, TaskErrorKind> {
        Ok(block_on(self.0))
    }

    unsafe fn suspend(self, cell: Ref) {
        // SAFETY: the caller vouches for the cell.
        unsafe { suspended::start(cell, Value(self.0)) }
    }
}

/// A future whose value is no error. (An async block that awaits it would be twice as large.)
struct Value<F>(F);

impl<F: std::future::Future> std::future::Future for Value<F> {
    type Output = Result<F::Output, TaskErrorKind>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: the field is pinned whenever the whole is, and nothing moves out of it.
        let future = unsafe { self.map_unchecked_mut(|value| &mut value.0) };
        future.poll(cx).map(Ok)
    }
}
