//! The worker's side of a call, and the answer on its way back.

use super::context::ContextHandle;
use super::function::Function;
use super::{StoredContext, Verdict};
use crate::codec::{self, Buffer, Content, Message, Stream};
use crate::error::{CodecError, CodecStep, ErrorRecord, TaskError, TaskErrorKind};
use crate::{Portable, panics};
use std::fmt;

/// What to call, by addresses in this process: the function, and the trampoline that knows its types.
///
/// A worker that runs the same program finds both at the same offset in its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Decodes the argument, calls, encodes the result.
    pub trampoline: usize,
    /// The task's own function.
    pub function: usize,
}

/// What kind of bytes an answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// The encoded result.
    Value = 0,
    /// The encoded error.
    Error = 1,
}

impl TryFrom<u8> for Status {
    type Error = u8;

    fn try_from(byte: u8) -> Result<Self, u8> {
        match byte {
            0 => Ok(Status::Value),
            1 => Ok(Status::Error),
            other => Err(other),
        }
    }
}

/// What [`serve`] made of a call. The bytes are in its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// What the bytes are.
    pub status: Status,
    /// Channel handles are parked in a thread-local of `ipc-channel` and must be sent, from this thread, before anything
    /// else is.
    pub handles: bool,
    /// The task's `retry_if` is not content with what the function has returned.
    pub again: bool,
}

/// What a worker lends to the calls that it serves.
pub trait WorkerEnv {
    /// The context that the call names.
    fn context(&mut self) -> Option<&mut StoredContext> {
        None
    }

    /// The address of the predicate that the call was made with; see [`Call::judge`](super::Call::judge).
    fn judge(&self) -> Option<usize> {
        None
    }

    /// Runs `decode` where the handles that came with the call can be taken.
    fn decode(&mut self, decode: &mut dyn FnMut()) {
        decode();
    }

    /// Runs `encode` once, which encodes the outcome, or one of several: where its descriptors can be
    /// [collected](crate::attach::collect).
    fn encode(&mut self, encode: &mut dyn FnMut()) {
        encode();
    }
}

/// Runs decoding where channel handles can be taken.
pub trait DecodeScope: Send {
    /// Calls `decode` once.
    fn enter(&mut self, decode: &mut dyn FnMut());
}

/// A worker's answer.
pub struct Reply {
    /// What the bytes are.
    pub status: Status,
    /// The encoded result or error.
    pub bytes: Stream,
    /// The large blocks of a result.
    pub parts: Vec<Buffer>,
    /// The task's `retry_if` is not content with what the function has returned.
    pub again: bool,
    /// Where to decode them, when channel handles came along.
    pub handles: Option<Box<dyn DecodeScope>>,
}

impl Reply {
    pub(crate) fn is_error(&self) -> bool {
        self.status == Status::Error
    }

    /// An end of the attempt that another one may better.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        match self.status {
            // Also of an error: the predicate sees what a fallible function has returned.
            _ if self.again => Some(Verdict::Unsatisfied),
            Status::Value => None,
            Status::Error => Verdict::of(&decode_record(&self.bytes)),
        }
    }

    /// Turns the bytes into the outcome.
    pub(crate) fn open<T>(
        mut self,
        value: impl Fn(&[u8], &mut [Buffer]) -> Result<T, TaskErrorKind>,
    ) -> Result<T, TaskErrorKind> {
        if self.status == Status::Error {
            return Err(decode_record(&self.bytes));
        }
        let Some(scope) = &mut self.handles else { return value(&self.bytes, &mut self.parts) };
        let mut outcome = None;
        scope.enter(&mut || outcome = Some(value(&self.bytes, &mut self.parts)));
        outcome.unwrap_or_else(|| {
            Err(TaskErrorKind::Codec(CodecError::new(
                CodecStep::DecodeResult,
                std::any::type_name::<T>(),
                "the channel handles that belong to it did not arrive",
            )))
        })
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("status", &self.status).field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// The error that a worker sent with [`Status::Error`].
pub fn decode_error(bytes: &[u8]) -> TaskError {
    TaskError::new(decode_record(bytes))
}

/// Appends an error for [`Status::Error`]; [`decode_error`] reads it.
///
/// ```
/// use concurrent_futures_core::task::{decode_error, encode_error};
/// use concurrent_futures_core::{CodecError, CodecStep, TaskErrorKind};
///
/// let mut bytes = Vec::new();
/// encode_error(&TaskErrorKind::Codec(CodecError::new(CodecStep::EncodeResult, "Channel", "no descriptors")), &mut bytes);
/// assert_eq!(decode_error(&bytes).codec().unwrap().message(), "no descriptors");
/// ```
pub fn encode_error(error: &TaskErrorKind, out: &mut Vec<u8>) {
    let start = out.len();
    if codec::encode(&ErrorRecord::of(error), out).is_err() {
        // Plain words always encode; an empty error is decoded as an error still.
        out.truncate(start);
    }
}

pub(super) fn decode_record(bytes: &[u8]) -> TaskErrorKind {
    match codec::decode::<ErrorRecord>(bytes) {
        Ok(record) => record.into_kind(),
        Err(failure) => TaskErrorKind::Codec(CodecError::new(
            CodecStep::DecodeResult,
            std::any::type_name::<ErrorRecord>(),
            failure.message(),
        )),
    }
}

pub(crate) type Trampoline = unsafe fn(usize, &mut Content, &mut dyn WorkerEnv, &mut Message) -> Served;

/// Serves a call in a worker: decodes the argument, calls the function, appends the encoded outcome to `out`, in which a
/// result that has lent its large blocks lives on.
///
/// Never unwinds: a panic of the task's is an outcome.
///
/// # Safety
/// Both addresses of `entry`, and that of [`WorkerEnv::judge`] if there is one, are those of one [`Call`](super::Call) that
/// this very program made, moved to this process's image.
pub unsafe fn serve(entry: Entry, input: &mut Content, env: &mut dyn WorkerEnv, out: &mut Message) -> Served {
    let trampoline = entry.trampoline as *const ();
    // SAFETY: the caller vouches that this is the address of a trampoline; those are all of type `Trampoline`.
    let trampoline = unsafe { std::mem::transmute::<*const (), Trampoline>(trampoline) };
    // SAFETY: the caller vouches that the function belongs to the trampoline.
    unsafe { trampoline(entry.function, input, env, out) }
}

/// The trampoline of one call.
///
/// # Safety
/// `function` is the address of an `F`.
pub(super) unsafe fn serve_one<F: Function>(
    function: usize,
    input: &mut Content,
    env: &mut dyn WorkerEnv,
    out: &mut Message,
) -> Served {
    // SAFETY: the caller vouches for it.
    let function = unsafe { F::from_address(function) };
    let judge = env.judge().map(|address| {
        let address = address as *const ();
        // SAFETY: it is the address of the predicate that `Retried` was made with for this very function.
        unsafe { std::mem::transmute::<*const (), fn(&F::Raw) -> bool>(address) }
    });
    let mut again = false;
    let outcome = panics::catch(|| {
        let context = F::Context::load(env)?;
        let args = if codec::is_number::<F::Args>() {
            // There is nothing to be taken.
            decode_args::<F>(&input.stream, &mut input.parts)?
        } else {
            let mut args = None;
            env.decode(&mut || args = Some(decode_args::<F>(&input.stream, &mut input.parts)));
            args.ok_or_else(|| argument_error::<F>("the channel handles that belong to it did not arrive"))??
        };
        let raw = function.call_raw(context.value(), args);
        again = judge.is_some_and(|judge| judge(&raw));
        F::refine(raw)
    });
    Served { again, ..answer_in(env, outcome, out, &mut 0) }
}

pub(super) fn decode_args<F: Function>(bytes: &[u8], parts: &mut [Buffer]) -> Result<F::Args, TaskErrorKind> {
    codec::decode_content(bytes, parts).map_err(|failure| argument_error::<F>(failure.message()))
}

fn argument_error<F: Function>(message: &str) -> TaskErrorKind {
    TaskErrorKind::Codec(CodecError::new(CodecStep::DecodeArgument, std::any::type_name::<F::Args>(), message))
}

/// As [`answer`], where descriptors can be collected.
pub(super) fn answer_in<R: Portable>(
    env: &mut dyn WorkerEnv,
    outcome: Result<R, TaskErrorKind>,
    out: &mut Message,
    known: &mut usize,
) -> Served {
    if codec::is_number::<R>() {
        // There is nothing to be collected.
        return answer(outcome, out, known);
    }
    let mut outcome = Some(outcome);
    let mut served = None;
    env.encode(&mut || served = outcome.take().map(|outcome| answer(outcome, out, known)));
    served.expect("an environment encodes what it is given")
}

/// Appends an outcome in the form that [`Reply`] expects. `known` counts the handles of the message that it is part of.
fn answer<R: Portable>(outcome: Result<R, TaskErrorKind>, out: &mut Message, known: &mut usize) -> Served {
    let mut handles = false;
    let error = match outcome {
        Ok(value) => match codec::encode_whole(value, out, *known) {
            Ok(encoded) => {
                *known += encoded.known;
                return Served { status: Status::Value, handles: encoded.handles, again: false };
            }
            Err(failure) => {
                *known += failure.known_handles();
                handles = failure.handles();
                TaskErrorKind::Codec(CodecError::new(
                    CodecStep::EncodeResult,
                    std::any::type_name::<R>(),
                    failure.message(),
                ))
            }
        },
        Err(error) => error,
    };
    encode_error(&error, &mut out.stream);
    Served { status: Status::Error, handles, again: false }
}
