//! Values as bytes: [postcard](https://postcard.jamesmunns.com/wire-format), read and written by our own serde ends.
//!
//! The bytes are exactly postcard's. Values go through our `Encoder` and `Decoder`, which leave texts,
//! characters and the like to postcard, and do what it cannot:
//!
//! * **Channels are noticed.** The handles of `ipc-channel` park themselves in a thread-local of that crate while they
//!   are encoded and write only a number; whoever sends the bytes must fetch them from there at once. [`Encoded`] says
//!   so, and so does [`CodecFailure`]: handles parked before an error would otherwise travel with the next message.
//! * **Blocks of bytes stay blocks.** `Vec<u8>`, `&[u8]`, `Arc<[u8]>`, `Vec<f64>` and the like are copied in one go,
//!   wherever they are in the value.
//! * **Large blocks stand beside the stream**, if asked for ([`encode_whole`]): they are not copied at all where the value
//!   can lend them, and what arrives becomes the vector itself. The module `parts` has the marks.
//! * **Messages survive.** What the user's `Serialize` or `Deserialize` said, its panics included, is in the failure.
//! * **What cannot be read back is refused when it is written**: fields left out by `skip_serializing_if`, a sequence
//!   that is not as long as it said. Sequences and maps of unknown length do work.
//! * **Deep nesting is an error, not a stack overflow**, on both sides.

mod buffer;
mod bulk;
mod decode;
mod depth;
mod encode;
mod memory;
mod parts;
#[cfg(test)]
mod parts_tests;
mod stream;
#[cfg(test)]
mod tests;
mod varint;

pub use buffer::Buffer;
pub use memory::{BlockMemory, Memory};
pub use parts::{Content, Message, PART_MIN, PARTS_MAX, Parts};
pub use stream::Stream;

use crate::panics;
use decode::Decoder;
use encode::{Beside, Encoder};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::TypeId;
use std::fmt;

/// The largest number of channels and shared memory regions in one message.
///
/// `ipc-channel` sends at most 64 descriptors with a message and panics beyond; two are the process pool's own.
pub const MAX_HANDLES: usize = 62;

/// What the caller must know about bytes that were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "parked handles must be fetched from this thread before anything else is sent"]
pub struct Encoded {
    /// Handles of `ipc-channel` may be parked in this thread's thread-local: fetch them now. It may be a false alarm,
    /// see `encode::Leaf`.
    pub handles: bool,
    /// Those that are no false alarm: as many handles were known by their type.
    pub known: usize,
}

/// Why a value could not be written or read: the words of serde, of postcard, or of the panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodecFailure {
    message: String,
    encoded: Encoded,
}

impl CodecFailure {
    /// What went wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The words alone.
    pub fn into_message(self) -> String {
        self.message
    }

    /// As [`Encoded::handles`]: the thread-local may hold handles of the value that failed, and must be emptied.
    pub fn handles(&self) -> bool {
        self.encoded.handles
    }

    /// As [`Encoded::known`], up to the error.
    pub fn known_handles(&self) -> usize {
        self.encoded.known
    }
}

impl fmt::Display for CodecFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CodecFailure {}

/// Appends `value` to `out`.
///
/// On failure `out` is as long as before. A panic of the user's `Serialize` is a failure.
pub fn encode<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<Encoded, CodecFailure> {
    encode_beside(value, out, 0)
}

/// As `encode`, for one of several values of a message, of which those before had so many known handles.
pub fn encode_beside<T: Serialize + ?Sized>(
    value: &T,
    out: &mut Vec<u8>,
    known: usize,
) -> Result<Encoded, CodecFailure> {
    encode_to(value, out, None, known)
}

/// As `encode_beside`, with large blocks beside the stream: what [`decode_content`] reads. The value goes, unless it lends its
/// blocks to the message. On failure the message is as before.
pub fn encode_whole<T: Serialize + Send + 'static>(
    value: T,
    out: &mut Message,
    known: usize,
) -> Result<Encoded, CodecFailure> {
    if is_number::<T>() {
        // Nor does it have blocks.
        return encode_to(&value, &mut out.stream, None, known);
    }
    let before = out.parts.len();
    // SAFETY: the blocks of a type that can lend are on the heap. They are neither changed nor freed while the value is kept,
    // and below it is given to `parts`, or its blocks are taken off.
    let beside = unsafe { Beside::new(&mut out.parts, parts::can_lend::<T>) };
    let encoded = encode_to(&value, &mut out.stream, Some(beside), known);
    if encoded.is_err() {
        out.parts.truncate(before);
    }
    if out.parts.lent_since(before) {
        out.parts.keep(Box::new(value));
    } else {
        panics::contain_drop(value);
    }
    encoded
}

fn encode_to<T: Serialize + ?Sized>(
    value: &T,
    out: &mut Vec<u8>,
    beside: Option<Beside<'_>>,
    known: usize,
) -> Result<Encoded, CodecFailure> {
    let before = out.len();
    let mut encoder = Encoder::new(out, MAX_HANDLES.saturating_sub(known), beside);
    let outcome =
        if is_number::<T>() { Ok(encoder.value(value)) } else { panics::contain_quietly(|| encoder.value(value)) };
    let encoded = encoder.encoded();
    let message = match outcome {
        Ok(Ok(())) => return Ok(encoded),
        Ok(Err(error)) => error.into_message(),
        Err(panic) => panicked(&panic),
    };
    out.truncate(before);
    Err(CodecFailure { message, encoded })
}

/// Reads a value that fills `bytes` to the end.
///
/// Allocates no more than a small multiple of what the bytes can hold, whatever they say. A panic of the user's
/// `Deserialize` is a failure.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecFailure> {
    decode_content(bytes, &mut [])
}

/// Reads a value that fills `bytes` to the end and takes all of `parts`, whose memory becomes that of its vectors.
pub fn decode_content<T: DeserializeOwned>(bytes: &[u8], parts: &mut [Buffer]) -> Result<T, CodecFailure> {
    let mut decoder = Decoder::new(bytes, parts);
    let mut read = || {
        let value = T::deserialize(&mut decoder)?;
        decoder.finish()?;
        Ok::<T, Error>(value)
    };
    let outcome = if is_number::<T>() { Ok(read()) } else { panics::contain_quietly(read) };
    let message = match outcome {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.into_message(),
        Err(panic) => panicked(&panic),
    };
    Err(CodecFailure { message, encoded: Encoded { handles: false, known: 0 } })
}

/// Types that have no code of the user's in them, nor anything that travels beside the bytes, and are common enough to spare them
/// the catching: numbers.
#[inline]
pub(crate) fn is_number<T: ?Sized>() -> bool {
    let id = typeid::of::<T>();
    macro_rules! is_one_of {
        ($($type:ty)*) => { $(id == TypeId::of::<$type>())||* };
    }
    is_one_of!(() bool u8 u16 u32 u64 usize i8 i16 i32 i64 isize f32 f64)
}

fn panicked(message: &str) -> String {
    format!("panicked: {message}")
}

/// The error type of both serde ends: only words.
#[derive(Debug)]
struct Error(Box<str>);

impl Error {
    #[cold]
    fn new(message: impl fmt::Display) -> Self {
        Error(message.to_string().into_boxed_str())
    }

    fn into_message(self) -> String {
        self.0.into_string()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl serde::ser::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Error::new(message)
    }
}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Error::new(message)
    }
}

impl From<postcard::Error> for Error {
    #[cold]
    fn from(error: postcard::Error) -> Self {
        use postcard::Error::{
            DeserializeBadBool, DeserializeBadChar, DeserializeBadOption, DeserializeBadUtf8, DeserializeBadVarint,
            DeserializeUnexpectedEnd,
        };
        match error {
            DeserializeUnexpectedEnd => Error::new("the bytes end in the middle of the value"),
            DeserializeBadVarint => Error::new("a number in the bytes is too large for its type"),
            DeserializeBadBool => Error::new("a bool in the bytes is neither 0 nor 1"),
            DeserializeBadOption => Error::new("an Option in the bytes is neither None nor Some"),
            DeserializeBadChar => Error::new("a char in the bytes is no Unicode character"),
            DeserializeBadUtf8 => Error::new("a text in the bytes is not UTF-8"),
            other => Error::new(other),
        }
    }
}
