//! Calls that travel together; each has an outcome of its own.

use super::body::{argument_error, count, decode_result, entry, frame, frames};
use super::context::{Context, ContextHandle};
use super::function::Function;
use super::serve::{self, Reply, Served, Status, WorkerEnv, answer_in, decode_args, decode_record, encode_error};
use super::{Call, plain};
use crate::cell::{Ref, Work};
use crate::codec::{CodecFailure, Content, Encoded, Memory, Message, Parts};
use crate::error::{TaskError, TaskErrorKind};
use crate::map::{Batch, Room, Stretch};
use crate::{Portable, codec, panics};
use std::sync::Arc;
use std::vec;

/// Calls that travel together; each has an outcome of its own.
pub(crate) struct Chunk<F: Function> {
    pub(crate) function: F,
    pub(crate) context: F::Context,
    pub(crate) items: Stretch<F::Args>,
    pub(crate) results: Places,
}

/// Where the results of a chunk are written.
pub(crate) enum Places {
    /// In a room of their own.
    Own,
    /// In this room, in the places that have the numbers of the items' places. It may be the room of the items.
    In(Arc<Room>),
}

impl<F: Function> Work for Chunk<F> {
    type Out = Batch<F::Out>;

    fn run(self, _cell: &Ref) -> Result<Self::Out, TaskErrorKind> {
        let Chunk { function, context, mut items, results } = self;
        let mut batch = match results {
            Places::Own => Batch::with_places(items.len()),
            // SAFETY: whoever made the chunk gave these places to it alone; in the room of the items a result is written to
            // the place of its item, which has been taken out.
            Places::In(room) => unsafe { Batch::begin(room, items.at()) },
        };
        // One guard for as many items as do not panic: it costs more than a cheap call.
        while items.len() > 0 {
            let ran = panics::catch(|| {
                for args in items.by_ref() {
                    batch.push(function.call(context.value(), args).map_err(TaskError::new));
                }
                Ok(())
            });
            if let Err(panic) = ran {
                batch.push(Err(TaskError::new(panic)));
            }
        }
        Ok(batch)
    }

    fn encode(&self) -> Result<Call, TaskErrorKind> {
        let context = self.context.encode()?;
        let items = self.items.as_slice();
        if plain::is::<F::Args>() {
            return Ok(plain_call(self.function, context, items));
        }
        let write = |args: &F::Args, out: &mut Message, known| codec::encode_beside(args, &mut out.stream, known);
        Ok(encode_items::<F, _>(self.function, context, items, write, Parts::default()))
    }

    fn send(self, memory: Option<Memory>) -> Result<Call, TaskErrorKind> {
        let Chunk { function, context, items, .. } = self;
        let encoded_context = context.encode();
        // The last one that uses it may drop it here; its destructor is the user's.
        panics::contain_drop(context);
        if plain::is::<F::Args>() {
            return Ok(plain_call(function, encoded_context?, items.as_slice()));
        }
        Ok(encode_items::<F, _>(function, encoded_context?, items, codec::encode_whole, Parts::new(memory)))
    }

    fn decode(reply: Reply) -> Result<Self::Out, TaskErrorKind> {
        reply.open(|bytes, parts| {
            if plain::is::<F::Out>() {
                return Ok(plain::decode_answers(bytes));
            }
            let mut batch = Batch::with_places(count(bytes));
            for (status, bytes, parts) in frames(bytes, parts) {
                batch.push(match status {
                    Status::Value => decode_result::<F>(bytes, parts).map_err(TaskError::new),
                    Status::Error => Err(serve::decode_error(bytes)),
                });
            }
            Ok(batch)
        })
    }
}

fn plain_call<F: Function>(function: F, context: Option<Box<Context>>, items: &[F::Args]) -> Call {
    let mut input = Vec::new();
    plain::append(items, &mut input);
    let entry = entry(serve_chunk::<F>, function);
    Call { entry, input: input.into(), parts: None, context, handles: false, judge: None }
}

/// The call of a chunk. An item that cannot be written has its error in its place.
fn encode_items<F: Function, I: IntoIterator>(
    function: F,
    context: Option<Box<Context>>,
    items: I,
    mut write: impl FnMut(I::Item, &mut Message, usize) -> Result<Encoded, CodecFailure>,
    parts: Parts,
) -> Call {
    let mut out = Message { stream: Vec::new(), parts };
    let (mut handles, mut known) = (false, 0);
    for args in items {
        let served = frame(&mut out, |out| match write(args, out, known) {
            Ok(encoded) => {
                known += encoded.known;
                Served { status: Status::Value, handles: encoded.handles, again: false }
            }
            Err(failure) => {
                known += failure.known_handles();
                // The item's own error goes along and comes back in its place.
                encode_error(&argument_error::<F>(failure.message()), &mut out.stream);
                Served { status: Status::Error, handles: failure.handles(), again: false }
            }
        });
        handles |= served.handles;
    }
    let Message { stream: input, parts } = out;
    let parts = (!parts.is_empty()).then(|| Box::new(parts));
    Call { entry: entry(serve_chunk::<F>, function), input: input.into(), parts, context, handles, judge: None }
}

/// The arguments of a chunk, in a worker.
enum Arguments<'a, A> {
    Plain(plain::Values<'a, A>),
    Decoded(vec::IntoIter<Result<A, Box<TaskErrorKind>>>),
    /// Their handles did not arrive.
    None,
}

impl<'a, A: 'static> Arguments<'a, A> {
    fn read<F: Function<Args = A>>(input: &'a mut Content) -> Self {
        if plain::is::<A>() {
            return Arguments::Plain(plain::Values::new(&input.stream));
        }
        let items = frames(&input.stream, &mut input.parts).map(|(status, bytes, parts)| match status {
            Status::Value => decode_args::<F>(bytes, parts).map_err(Box::new),
            Status::Error => Err(Box::new(decode_record(bytes))),
        });
        Arguments::Decoded(items.collect::<Vec<_>>().into_iter())
    }
}

impl<A: 'static> Iterator for Arguments<'_, A> {
    type Item = Result<A, TaskErrorKind>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Arguments::Plain(values) => values.next().map(Ok),
            Arguments::Decoded(items) => Some(items.next()?.map_err(|error| *error)),
            Arguments::None => None,
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Arguments::Plain(values) => values.size_hint(),
            Arguments::Decoded(items) => items.size_hint(),
            Arguments::None => (0, Some(0)),
        }
    }
}

impl<A: 'static> ExactSizeIterator for Arguments<'_, A> {}

/// The answers of a chunk, in a worker.
enum Answers {
    Plain(plain::Answers),
    Framed { handles: bool, known: usize },
}

impl Answers {
    fn new<R: 'static>(out: &mut Vec<u8>, count: usize) -> Self {
        if plain::is::<R>() {
            return Answers::Plain(plain::Answers::begin::<R>(out, count));
        }
        Answers::Framed { handles: false, known: 0 }
    }

    #[inline]
    fn push<R: Portable>(&mut self, env: &mut dyn WorkerEnv, outcome: Result<R, TaskErrorKind>, out: &mut Message) {
        match self {
            Answers::Plain(answers) => answers.push(outcome, &mut out.stream),
            Answers::Framed { handles, known } => {
                *handles |= frame(out, |out| answer_in(env, outcome, out, known)).handles;
            }
        }
    }

    /// Whether handles are parked.
    fn end(self, out: &mut Vec<u8>) -> bool {
        match self {
            Answers::Plain(answers) => {
                answers.end(out);
                false
            }
            Answers::Framed { handles, .. } => handles,
        }
    }
}

/// The trampoline of a chunk of calls: each item has an outcome of its own.
///
/// # Safety
/// `function` is the address of an `F`.
unsafe fn serve_chunk<F: Function>(
    function: usize,
    input: &mut Content,
    env: &mut dyn WorkerEnv,
    out: &mut Message,
) -> Served {
    // SAFETY: the caller vouches for it.
    let function = unsafe { F::from_address(function) };
    let begun = panics::catch(|| {
        let context = F::Context::load(env)?;
        let mut items = Arguments::None;
        let mut input = Some(input);
        env.decode(&mut || items = input.take().map_or(Arguments::None, Arguments::read::<F>));
        Ok((context, items))
    });
    let (context, mut items) = match begun {
        Ok(begun) => begun,
        Err(error) => return answer_in::<F::Out>(env, Err(error), out, &mut 0),
    };
    let mut answers = Answers::new::<F::Out>(&mut out.stream, items.len());
    // One guard for as many items as do not panic: it costs more than a cheap call.
    while items.len() > 0 {
        let ran = panics::catch(|| {
            for item in items.by_ref() {
                answers.push(env, item.and_then(|args| function.call(context.value(), args)), out);
            }
            Ok(())
        });
        if let Err(panic) = ran {
            answers.push::<F::Out>(env, Err(panic), out);
        }
    }
    Served { status: Status::Value, handles: answers.end(&mut out.stream), again: false }
}
