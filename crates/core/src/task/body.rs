//! What a cell runs: one call, a chunk of calls, or a closure.

use super::context::ContextHandle;
use super::function::Function;
use super::serve::{Entry, Reply, Served, Status, Trampoline, encode_error, serve_chunk, serve_one};
use super::{Call, Task, pair};
use crate::cell::{Ref, Work};
use crate::error::{CodecError, CodecStep, Panic, TaskError, TaskErrorKind};
use crate::future::Future;
use crate::{codec, panics};

/// One call of a function.
pub(crate) struct One<F: Function> {
    pub(crate) function: F,
    pub(crate) context: F::Context,
    pub(crate) args: F::Args,
}

impl<F: Function> Work for One<F> {
    type Out = F::Out;

    fn run(self, _cell: &Ref) -> Result<F::Out, TaskErrorKind> {
        self.function.call(self.context.value(), self.args)
    }

    fn encode(&self) -> Result<Call, TaskErrorKind> {
        let mut input = Vec::new();
        let context = self.context.encode()?;
        let encoded = codec::encode(&self.args, &mut input).map_err(|f| argument_error::<F>(f.message()))?;
        let entry = entry(serve_one::<F>, self.function);
        Ok(Call { entry, input, context, handles: encoded.handles, judge: None })
    }

    fn decode(reply: Reply) -> Result<F::Out, TaskErrorKind> {
        reply.open(decode_result::<F>)
    }
}

/// Calls that travel together; each has an outcome of its own.
pub(crate) struct Chunk<F: Function> {
    pub(crate) function: F,
    pub(crate) context: F::Context,
    pub(crate) items: Vec<F::Args>,
}

impl<F: Function> Work for Chunk<F> {
    type Out = Vec<Result<F::Out, TaskError>>;

    fn run(self, _cell: &Ref) -> Result<Self::Out, TaskErrorKind> {
        let mut results = Vec::with_capacity(self.items.len());
        let mut items = self.items.into_iter();
        // One guard for as many items as do not panic: it costs more than a cheap call.
        while items.len() > 0 {
            let ran = panics::catch(|| {
                let call = |args| self.function.call(self.context.value(), args).map_err(TaskError::new);
                results.extend(items.by_ref().map(call));
                Ok(())
            });
            results.extend(ran.err().map(|panic| Err(TaskError::new(panic))));
        }
        Ok(results)
    }

    fn encode(&self) -> Result<Call, TaskErrorKind> {
        let mut input = Vec::new();
        let context = self.context.encode()?;
        let (mut handles, mut known) = (false, 0);
        for args in &self.items {
            handles |= frame(&mut input, |out| match codec::encode_beside(args, out, known) {
                Ok(encoded) => {
                    known += encoded.known;
                    Served { status: Status::Value, handles: encoded.handles, again: false }
                }
                Err(failure) => {
                    known += failure.known_handles();
                    // The item's own error goes along and comes back in its place.
                    encode_error(&argument_error::<F>(failure.message()), out);
                    Served { status: Status::Error, handles: failure.handles(), again: false }
                }
            })
            .handles;
        }
        Ok(Call { entry: entry(serve_chunk::<F>, self.function), input, context, handles, judge: None })
    }

    fn decode(reply: Reply) -> Result<Self::Out, TaskErrorKind> {
        reply.open(|bytes| {
            let item = |(status, bytes): (Status, &[u8])| match status {
                Status::Value => decode_result::<F>(bytes).map_err(TaskError::new),
                Status::Error => Err(super::decode_error(bytes)),
            };
            Ok(frames(bytes).map(item).collect())
        })
    }
}

/// A closure: for pools of threads, which can run what cannot travel.
struct Closure<F>(F);

impl<T, F: FnOnce() -> T> Work for Closure<F> {
    type Out = T;

    fn run(self, _cell: &Ref) -> Result<T, TaskErrorKind> {
        Ok((self.0)())
    }
}

/// A task that runs a closure; for authors of executors that do not leave this process.
///
/// ```
/// let text = String::from("captured");
/// let (task, future) = concurrent_futures_core::task::closure(move || text.len());
/// task.run();
/// assert_eq!(future.result().unwrap(), 8);
/// ```
pub fn closure<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> (Task, Future<T>) {
    pair(Closure(f), None)
}

/// As [`closure`], for closures and values that borrow. `on_panic` is told of a panic of `f` before the future has it.
///
/// # Safety
/// Before any lifetime in `F`, `N` or `T` ends, the task must have been consumed and every reference that the executor had to
/// it must be gone; and the future must not be used or dropped after it.
pub unsafe fn scoped_closure<T, F, N>(f: F, on_panic: N) -> (Task, Future<T>)
where
    T: Send,
    F: FnOnce() -> T + Send,
    N: FnOnce(&Panic) + Send,
{
    pair(Scoped { f, on_panic }, None)
}

/// A closure, and who is to hear of its panic.
struct Scoped<F, N> {
    f: F,
    on_panic: N,
}

impl<T, F: FnOnce() -> T, N: FnOnce(&Panic)> Work for Scoped<F, N> {
    type Out = T;

    fn run(self, _cell: &Ref) -> Result<T, TaskErrorKind> {
        let outcome = panics::catch(|| Ok((self.f)()));
        if let Err(TaskErrorKind::Panicked(panic)) = &outcome {
            (self.on_panic)(panic);
        }
        outcome
    }
}

fn entry<F: Function>(trampoline: Trampoline, function: F) -> Entry {
    Entry { trampoline: trampoline as *const () as usize, function: function.address() }
}

fn decode_result<F: Function>(bytes: &[u8]) -> Result<F::Out, TaskErrorKind> {
    codec::decode(bytes).map_err(|failure| {
        TaskErrorKind::Codec(CodecError::new(
            CodecStep::DecodeResult,
            std::any::type_name::<F::Out>(),
            failure.message(),
        ))
    })
}

fn argument_error<F: Function>(message: &str) -> TaskErrorKind {
    TaskErrorKind::Codec(CodecError::new(CodecStep::EncodeArgument, std::any::type_name::<F::Args>(), message))
}

const FRAME_HEADER: usize = 8;

/// Appends what `write` writes, behind its length and status, so that one bad item does not hide where the next begins.
pub(super) fn frame(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Served) -> Served {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_HEADER]);
    let served = write(out);
    let length = (out.len() - start - FRAME_HEADER) as u64;
    let header = length << 1 | u64::from(served.status as u8);
    out[start..start + FRAME_HEADER].copy_from_slice(&header.to_le_bytes());
    served
}

/// Reads what [`frame`] wrote; ends early when the bytes do.
pub(super) fn frames(mut bytes: &[u8]) -> impl Iterator<Item = (Status, &[u8])> {
    std::iter::from_fn(move || {
        let (header, rest) = bytes.split_first_chunk::<FRAME_HEADER>()?;
        let header = u64::from_le_bytes(*header);
        let length = usize::try_from(header >> 1).ok()?;
        let (item, rest) = rest.split_at_checked(length)?;
        bytes = rest;
        Some((if header & 1 == 0 { Status::Value } else { Status::Error }, item))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_were_written() {
        let mut out = Vec::new();
        for (status, bytes) in [(Status::Value, &b"one"[..]), (Status::Error, b""), (Status::Value, b"three")] {
            frame(&mut out, |out| {
                out.extend_from_slice(bytes);
                Served { status, handles: false, again: false }
            });
        }
        let back: Vec<_> = frames(&out).collect();
        assert_eq!(back, [(Status::Value, &b"one"[..]), (Status::Error, b""), (Status::Value, b"three")]);
        assert_eq!(frames(&out[..out.len() - 1]).count(), 2);
    }
}
