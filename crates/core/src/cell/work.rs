//! What a cell runs.

use super::Ref;
use crate::codec::Memory;
use crate::error::TaskErrorKind;
use crate::panics;
use crate::task::{Call, Reply};

/// What a cell runs.
pub(crate) trait Work: Sized {
    type Out;

    /// Whether it is an async task: then [`suspend`](Self::suspend) is called instead of `run`.
    const SUSPENDS: bool = false;

    /// `cell` is the one that this work is of.
    fn run(self, cell: &Ref) -> Result<Self::Out, TaskErrorKind>;

    /// Begins to run an async task, and completes `cell`, which is running and has no work any more, then or later.
    ///
    /// # Safety
    /// `cell` is the one that this work was of.
    unsafe fn suspend(self, cell: Ref) {
        let _ = cell;
        unreachable!("it does not suspend")
    }

    /// The work as bytes, for a worker process.
    fn encode(&self) -> Result<Call, TaskErrorKind> {
        Err(TaskErrorKind::Refused(crate::Refusal::Unsupported(
            "a closure cannot be sent to a worker process; submit a function and its argument".into(),
        )))
    }

    /// As `encode`, and large blocks stand beside the bytes, in the memory where they are; nothing else is left of the work.
    fn send(self, _memory: Option<Memory>) -> Result<Call, TaskErrorKind> {
        let call = self.encode();
        panics::contain_drop(self);
        call
    }

    /// There is nothing that could travel beside the bytes.
    fn sends_numbers() -> bool {
        false
    }

    /// Decoding an outcome runs no code of the user's and takes no time: whoever brings the bytes does it.
    fn returns_a_number() -> bool {
        false
    }

    /// The outcome from a worker's bytes. Runs code of the user's; its panics are the caller's to catch.
    fn decode(_reply: Reply) -> Result<Self::Out, TaskErrorKind> {
        Err(TaskErrorKind::Abandoned)
    }
}

/// The work of a promise: none.
pub(crate) struct NoWork<T>(std::convert::Infallible, std::marker::PhantomData<T>);

impl<T> Work for NoWork<T> {
    type Out = T;

    fn run(self, _cell: &Ref) -> Result<T, TaskErrorKind> {
        match self.0 {}
    }
}
