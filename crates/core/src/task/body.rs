//! What a cell runs: one call, or a closure. (A chunk of calls is in `chunk.rs`.)

use super::context::ContextHandle;
use super::function::Function;
use super::serve::{Entry, Reply, Served, Status, Trampoline, serve_one};
use super::{Call, Task, pair};
use crate::cell::{Ref, Work};
use crate::codec::{Buffer, Memory, Message, Parts, Stream};
use crate::error::{CodecError, CodecStep, Panic, TaskErrorKind};
use crate::future::Future;
use crate::{codec, panics};
use std::cell::Cell;

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
        let input = input.into();
        Ok(Call { entry, input, parts: None, context, handles: encoded.handles, judge: None })
    }

    fn send(self, memory: Option<Memory>) -> Result<Call, TaskErrorKind> {
        let One { function, context, args } = self;
        let encoded_context = context.encode();
        // The last one that uses it may drop it here; its destructor is the user's.
        panics::contain_drop(context);
        // Taken out, for what the user's `Serialize` does may be to submit another task.
        let mut draft = DRAFT.try_with(Cell::take).unwrap_or_default();
        let (encoded, parts) = if codec::is_number::<F::Args>() {
            // It has no blocks.
            (codec::encode(&args, &mut draft), None)
        } else {
            let mut message = Message { stream: draft, parts: Parts::new(memory) };
            let encoded = codec::encode_whole(args, &mut message, 0);
            draft = message.stream;
            (encoded, Some(message.parts).filter(|parts| !parts.is_empty()).map(Box::new))
        };
        let input = Stream::take_from(&mut draft);
        if draft.capacity() <= DRAFT_MAX {
            // A thread that ends has no use for it any more.
            let _ = DRAFT.try_with(|kept| kept.set(draft));
        }
        let encoded = encoded.map_err(|f| argument_error::<F>(f.message()))?;
        let entry = entry(serve_one::<F>, function);
        Ok(Call { entry, input, parts, context: encoded_context?, handles: encoded.handles, judge: None })
    }

    fn sends_numbers() -> bool {
        codec::is_number::<F::Args>() && !F::Context::IS_SENT
    }

    fn returns_a_number() -> bool {
        codec::is_number::<F::Out>()
    }

    fn decode(reply: Reply) -> Result<F::Out, TaskErrorKind> {
        reply.open(decode_result::<F>)
    }
}

/// A larger one is not kept.
const DRAFT_MAX: usize = 4096;

thread_local! {
    /// Where this thread encodes arguments: most are a few bytes, which are copied from here.
    static DRAFT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
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

pub(super) fn entry<F: Function>(trampoline: Trampoline, function: F) -> Entry {
    Entry { trampoline: trampoline as *const () as usize, function: function.address() }
}

pub(super) fn decode_result<F: Function>(bytes: &[u8], parts: &mut [Buffer]) -> Result<F::Out, TaskErrorKind> {
    codec::decode_content(bytes, parts).map_err(|failure| {
        TaskErrorKind::Codec(CodecError::new(
            CodecStep::DecodeResult,
            std::any::type_name::<F::Out>(),
            failure.message(),
        ))
    })
}

pub(super) fn argument_error<F: Function>(message: &str) -> TaskErrorKind {
    TaskErrorKind::Codec(CodecError::new(CodecStep::EncodeArgument, std::any::type_name::<F::Args>(), message))
}

const FRAME_HEADER: usize = 8;
/// The header: from the lowest bit, the status, the number of parts, the length.
const PARTS_AT: u32 = 1;
const LENGTH_AT: u32 = 17;
const _: () = assert!(codec::PARTS_MAX < 1 << (LENGTH_AT - PARTS_AT));

/// Appends what `write` writes, behind its length, number of parts and status, so that one bad item does not hide where the
/// next begins.
pub(super) fn frame(out: &mut Message, write: impl FnOnce(&mut Message) -> Served) -> Served {
    let start = out.stream.len();
    let parts = out.parts.len();
    out.stream.extend_from_slice(&[0; FRAME_HEADER]);
    let served = write(out);
    let length = (out.stream.len() - start - FRAME_HEADER) as u64;
    let parts = (out.parts.len() - parts) as u64;
    let header = length << LENGTH_AT | parts << PARTS_AT | u64::from(served.status as u8);
    out.stream[start..start + FRAME_HEADER].copy_from_slice(&header.to_le_bytes());
    served
}

/// An item of a chunk.
pub(super) type Item<'a> = (Status, &'a [u8], &'a mut [Buffer]);

/// How many frames there are.
pub(super) fn count(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while let Some((header, rest)) = bytes.split_first_chunk::<FRAME_HEADER>() {
        let length = usize::try_from(u64::from_le_bytes(*header) >> LENGTH_AT);
        let Some((_, rest)) = length.ok().and_then(|length| rest.split_at_checked(length)) else { break };
        bytes = rest;
        count += 1;
    }
    count
}

/// Reads what [`frame`] wrote; ends early when the bytes or the parts do.
pub(super) fn frames<'a>(mut bytes: &'a [u8], mut parts: &'a mut [Buffer]) -> impl Iterator<Item = Item<'a>> {
    std::iter::from_fn(move || {
        let (header, rest) = bytes.split_first_chunk::<FRAME_HEADER>()?;
        let header = u64::from_le_bytes(*header);
        let length = usize::try_from(header >> LENGTH_AT).ok()?;
        let (item, rest) = rest.split_at_checked(length)?;
        bytes = rest;
        let count = (header >> PARTS_AT) as usize & ((1 << (LENGTH_AT - PARTS_AT)) - 1);
        let its_parts = parts.split_off_mut(..count)?;
        Some((if header & 1 == 0 { Status::Value } else { Status::Error }, item, its_parts))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_were_written() {
        let mut out = Message::default();
        let large = vec![7_u8; codec::PART_MIN];
        for (status, bytes) in [(Status::Value, &b"one"[..]), (Status::Error, b""), (Status::Value, b"three")] {
            frame(&mut out, |out| {
                out.stream.extend_from_slice(bytes);
                if !bytes.is_empty() {
                    let _ = codec::encode_whole(large.clone(), out, 0).expect("plain bytes");
                }
                Served { status, handles: false, again: false }
            });
        }
        let received = || out.parts.iter().map(|_| Buffer::new(1).unwrap()).collect::<Vec<_>>();
        let mut parts = received();
        assert_eq!(parts.len(), 2);
        let back: Vec<_> =
            frames(&out.stream, &mut parts).map(|(status, item, parts)| (status, item, parts.len())).collect();
        assert_eq!(back.len(), 3);
        assert!(back[0].0 == Status::Value && back[0].1.starts_with(b"one") && back[0].2 == 1);
        assert_eq!(back[1], (Status::Error, &b""[..], 0));
        assert!(back[2].0 == Status::Value && back[2].1.starts_with(b"three") && back[2].2 == 1);
        assert_eq!(frames(&out.stream[..out.stream.len() - 1], &mut received()).count(), 2);
        assert_eq!(frames(&out.stream, &mut received()[1..]).count(), 2);
    }
}
