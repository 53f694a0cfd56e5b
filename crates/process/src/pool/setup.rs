//! What runs in a worker before its first task: initializer and preload.

use super::item::offsets;
use crate::handles::forget_parked;
use crate::image;
use crate::launch::PreloadCall;
use crate::link::Bytes;
use crate::wire::Offsets;
use concurrent_futures_core::attach::{self, Attachment};
use concurrent_futures_core::task::Call;
use concurrent_futures_core::{
    Executor, ExecutorExt, Handle, InitResult, Portable, Refusal, Shutdown, Task, TaskError, init_outcome,
};
use parking_lot::Mutex;
use std::error::Error;
use std::sync::Arc;

/// A call that is made before the first task.
#[derive(Clone, Debug)]
pub(super) struct SetupCall {
    pub(super) call: Offsets,
    pub(super) input: Bytes,
    /// What each worker gets beside it.
    pub(super) attachments: Arc<[Attachment]>,
}

impl SetupCall {
    /// Encodes the call, once for all workers.
    pub(super) fn new<A: Portable, R: InitResult>(f: fn(A) -> R, args: A) -> Result<Self, TaskError> {
        let function = image::offset_of(f as usize).map_err(|e| Refusal::Unsupported(e.to_string().into()))?;
        let capture = Capture::default();
        // Nobody looks at the future: each worker has an outcome of its own.
        drop(capture.submit_fallible(call::<A, R>, (function, args)));
        let task = capture.0.into_inner().ok_or(Refusal::ShutDown)?;
        let mut attachments = Vec::new();
        let encoded = attach::collect(&mut attachments, || task.encode());
        let Call { entry, input, handles, .. } = encoded.inspect_err(|_| forget_parked())?;
        if handles {
            forget_parked();
            let what = "channel handles in the argument of an initializer or a preload: each worker would need its own";
            return Err(Refusal::Unsupported(what.into()).into());
        }
        Ok(SetupCall {
            call: offsets(entry)?,
            input: Bytes::Slice(input.into_vec().into()),
            attachments: attachments.into(),
        })
    }

    /// As [`new`](Self::new), for what runs in a fork server, to which nothing but bytes can be sent.
    pub(super) fn preload<A: Portable, R: InitResult>(f: fn(A) -> R, args: A) -> Result<Self, TaskError> {
        let call = SetupCall::new(f, args)?;
        if call.attachments.is_empty() {
            return Ok(call);
        }
        let what =
            "shared memory, or whatever else has descriptors, in the argument of a preload: give it to the initializer";
        Err(Refusal::Unsupported(what.into()).into())
    }

    pub(super) fn for_launcher(&self) -> PreloadCall {
        let Offsets { trampoline, function } = self.call;
        PreloadCall { trampoline, function, input: (*self.input).into() }
    }
}

/// The task that makes the call: a function with one kind of result, whatever `R` is.
fn call<A: Portable, R: InitResult>((function, args): (u64, A)) -> Result<(), Box<dyn Error + Send + Sync>> {
    let address = image::address_of(function)? as *const ();
    // SAFETY: `SetupCall::new` took the offset from a function of this very type, and sent it along with this instance of
    // `call`; both processes run the same program.
    let f = unsafe { std::mem::transmute::<*const (), fn(A) -> R>(address) };
    init_outcome(f(args))
}

/// An executor that keeps the one task that it is given.
#[derive(Debug, Default)]
struct Capture(Mutex<Option<Task>>);

impl Executor for Capture {
    fn submit_task(&self, task: Task) {
        *self.0.lock() = Some(task);
    }

    fn try_submit_task(&self, task: Task) -> Result<(), (Task, Refusal)> {
        self.submit_task(task);
        Ok(())
    }

    fn num_workers(&self) -> usize {
        1
    }

    fn shutdown(&self, _how: Shutdown) {}

    fn handle(&self) -> Handle {
        Handle::new(Capture::default())
    }
}
