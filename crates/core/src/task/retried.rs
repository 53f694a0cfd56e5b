//! A call that may be made several times.

use super::body::One;
use super::context::ContextHandle;
use super::function::Function;
use super::serve::Reply;
use super::{Call, Meta, Task, Verdict, pair};
use crate::cell::{Ref, Until, Work};
use crate::codec::Memory;
use crate::error::TaskErrorKind;
use crate::future::Future;
use crate::panics;
use std::time::{Duration, Instant};

/// Makes another argument.
pub(crate) type Cloner<A> = fn(&A) -> A;

/// What is needed to make a call again: another argument, and somebody to say whether a value is good enough.
pub(crate) struct Again<A, Raw> {
    pub(crate) clone: Cloner<A>,
    pub(crate) judge: Option<fn(&Raw) -> bool>,
}

impl<A, Raw> Clone for Again<A, Raw> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A, Raw> Copy for Again<A, Raw> {}

/// One call of a function, which is made again when the policy of the task says so.
pub(crate) struct Retried<F: Function> {
    pub(crate) one: One<F>,
    again: Again<F::Args, F::Raw>,
}

/// A task of one call, and its future. It is made again only with an `again`.
pub(crate) fn call<F: Function>(
    one: One<F>,
    again: Option<Again<F::Args, F::Raw>>,
    meta: Meta,
) -> (Task, Future<F::Out>) {
    match again {
        Some(again) if meta.retry.more > 0 => pair(Retried { one, again }, meta.boxed()),
        _ => pair(one, meta.boxed()),
    }
}

impl<F: Function> Work for Retried<F> {
    type Out = F::Out;

    /// All attempts, in this thread. The pauses between them are waits like any other: the pool puts a substitute in place.
    fn run(self, cell: &Ref) -> Result<F::Out, TaskErrorKind> {
        let One { function, context, args } = self.one;
        loop {
            let attempt = || {
                let raw = function.call_raw(context.value(), (self.again.clone)(&args));
                let again = self.again.judge.is_some_and(|judge| judge(&raw));
                Ok((again, F::refine(raw)))
            };
            let (again, outcome) = panics::catch(attempt).unwrap_or_else(|panic| (false, Err(panic)));
            let Some(next) = next_attempt(cell, again, outcome.as_ref().err()) else { return outcome };
            // Its destructor is the user's.
            let _ = panics::contain(|| drop(outcome));
            let pause = next?;
            let resolved = pause.is_zero() && cell.is_done()
                || !pause.is_zero() && cell.wait_until(Until::Done, Instant::now().checked_add(pause));
            if resolved {
                // Aborted, or out of time as a whole: nobody looks at this.
                return Err(TaskErrorKind::Aborted);
            }
            if let Some(meta) = cell.meta() {
                meta.begin_attempt();
                crate::timer::watch(cell);
            }
        }
    }

    fn encode(&self) -> Result<Call, TaskErrorKind> {
        let judge = self.again.judge.map(|judge| judge as *const () as usize);
        Ok(Call { judge, ..self.one.encode()? })
    }

    fn send(self, memory: Option<Memory>) -> Result<Call, TaskErrorKind> {
        let judge = self.again.judge.map(|judge| judge as *const () as usize);
        Ok(Call { judge, ..self.one.send(memory)? })
    }

    fn sends_numbers() -> bool {
        One::<F>::sends_numbers()
    }

    fn returns_a_number() -> bool {
        One::<F>::returns_a_number()
    }

    fn decode(reply: Reply) -> Result<F::Out, TaskErrorKind> {
        One::<F>::decode(reply)
    }
}

/// What follows an attempt that ended like this: another one after a pause, or the task's error, because it was too late and
/// there is no time for another; `None`: its outcome is the task's.
pub(super) fn next_attempt(
    cell: &Ref,
    again: bool,
    error: Option<&TaskErrorKind>,
) -> Option<Result<Duration, TaskErrorKind>> {
    let meta = cell.meta()?;
    let stopped = meta.is_stopped();
    let verdict = if again { Some(Verdict::Unsatisfied) } else { error.and_then(Verdict::of) };
    match meta.end_attempt(verdict.or(stopped.then_some(Verdict::TimedOut))?) {
        Some(pause) => Some(Ok(pause)),
        None => Some(Err(TaskErrorKind::TimedOut(meta.timeout.filter(|_| stopped)?))),
    }
}
