//! Numbers, and pairs of one kind of numbers, as they are in memory: what chunks of them are made of on their way to a worker
//! and back. Both sides run the same program on the same machine, so their memory is alike.

use super::serve::encode_error;
use crate::error::{TaskError, TaskErrorKind};
use crate::map::Batch;
use std::any::TypeId;
use std::marker::PhantomData;

/// Whether the bytes of a `T` in memory say all of it: it has no padding, every pattern of them is a value, and nothing in it
/// points elsewhere. Constant for each `T`, once optimized.
#[inline]
pub(super) fn is<T: 'static>() -> bool {
    let id = TypeId::of::<T>();
    macro_rules! is_one_of {
        // A pair of equals has no padding: both are aligned, wherever they are.
        ($($type:ty)*) => { $(id == TypeId::of::<$type>() || id == TypeId::of::<($type, $type)>())||* };
    }
    is_one_of!(() u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64)
}

/// Bytes that a `T` takes: also nothing is written as something, so that the length says how many there are.
const fn width<T>() -> usize {
    if size_of::<T>() == 0 { 1 } else { size_of::<T>() }
}

/// Appends items, which must be plain.
pub(super) fn append<T: 'static>(items: &[T], out: &mut Vec<u8>) {
    assert!(is::<T>());
    if size_of::<T>() == 0 {
        out.resize(out.len() + items.len(), 0);
        return;
    }
    // SAFETY: plain values are initialized bytes without padding, borrowed for as long as the bytes are.
    let bytes = unsafe { std::slice::from_raw_parts(items.as_ptr().cast::<u8>(), size_of_val(items)) };
    out.extend_from_slice(bytes);
}

/// Reads what [`append`] has written.
pub(super) struct Values<'a, T> {
    bytes: &'a [u8],
    values: PhantomData<T>,
}

impl<'a, T: 'static> Values<'a, T> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        assert!(is::<T>());
        // Whole values only.
        let bytes = &bytes[..bytes.len() - bytes.len() % width::<T>()];
        Values { bytes, values: PhantomData }
    }

    fn to_vec(&self) -> Vec<T> {
        let len = self.len();
        let mut values = Vec::<T>::with_capacity(len);
        // SAFETY: so many bytes are there, and so much room was just made; bytes need no alignment.
        unsafe {
            std::ptr::copy_nonoverlapping(self.bytes.as_ptr(), values.as_mut_ptr().cast::<u8>(), len * size_of::<T>());
        }
        // SAFETY: they have just been written, and every pattern is a value.
        unsafe { values.set_len(len) };
        values
    }
}

impl<T: 'static> Iterator for Values<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        let (value, rest) = self.bytes.split_at_checked(width::<T>())?;
        self.bytes = rest;
        // SAFETY: there are as many bytes as a `T` has, and every pattern is a value.
        Some(unsafe { value.as_ptr().cast::<T>().read_unaligned() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.bytes.len() / width::<T>();
        (len, Some(len))
    }
}

impl<T: 'static> ExactSizeIterator for Values<'_, T> {}

/// The answers of a chunk of which the values are plain: how many there are, and how many of them are errors; then as many
/// values, with zeros where there is an error; then the errors, each with its number and its length in front.
pub(super) struct Answers {
    start: usize,
    count: u64,
    failed: u64,
    errors: Vec<u8>,
}

const HEADER: usize = 16;

impl Answers {
    pub(super) fn begin<T>(out: &mut Vec<u8>, count: usize) -> Self {
        let start = out.len();
        // However many there are said to be, they are not there yet.
        out.reserve(HEADER + count.saturating_mul(width::<T>()).min(1 << 20));
        out.extend_from_slice(&[0; HEADER]);
        Answers { start, count: 0, failed: 0, errors: Vec::new() }
    }

    #[inline]
    pub(super) fn push<T: 'static>(&mut self, outcome: Result<T, TaskErrorKind>, out: &mut Vec<u8>) {
        match outcome {
            Ok(value) => append(&[value], out),
            Err(error) => self.push_error(&error, width::<T>(), out),
        }
        self.count += 1;
    }

    #[cold]
    fn push_error(&mut self, error: &TaskErrorKind, width: usize, out: &mut Vec<u8>) {
        out.resize(out.len() + width, 0);
        self.errors.extend_from_slice(&self.count.to_le_bytes());
        let start = self.errors.len() + 8;
        self.errors.extend_from_slice(&[0; 8]);
        encode_error(error, &mut self.errors);
        let len = (self.errors.len() - start) as u64;
        self.errors[start - 8..start].copy_from_slice(&len.to_le_bytes());
        self.failed += 1;
    }

    pub(super) fn end(self, out: &mut Vec<u8>) {
        out[self.start..self.start + 8].copy_from_slice(&self.count.to_le_bytes());
        out[self.start + 8..self.start + HEADER].copy_from_slice(&self.failed.to_le_bytes());
        out.extend_from_slice(&self.errors);
    }
}

/// Reads what [`Answers`] has written; ends early when the bytes do.
pub(super) fn decode_answers<T: 'static>(bytes: &[u8]) -> Batch<T> {
    let mut rest = bytes;
    let count = number(&mut rest).and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    let failed = number(&mut rest).unwrap_or(0);
    let count = count.min(rest.len() / width::<T>());
    let (values, mut errors) = rest.split_at(count * width::<T>());
    let values = Values::<T>::new(values);
    if failed == 0 {
        return Batch::from(values.to_vec());
    }
    let mut batch = Batch::with_places(count);
    let mut next = next_error(&mut errors);
    for (place, value) in values.enumerate() {
        match next.take_if(|(failed, _)| *failed == place as u64) {
            Some((_, error)) => {
                batch.push(Err(error));
                next = next_error(&mut errors);
            }
            None => batch.push(Ok(value)),
        }
    }
    batch
}

fn next_error(bytes: &mut &[u8]) -> Option<(u64, TaskError)> {
    let place = number(bytes)?;
    let len = usize::try_from(number(bytes)?).ok()?;
    let (error, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some((place, super::decode_error(error)))
}

fn number(bytes: &mut &[u8]) -> Option<u64> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    *bytes = rest;
    Some(u64::from_le_bytes(*number))
}

#[cfg(all(test, not(concurrent_futures_loom)))]
mod tests {
    use super::*;
    use crate::{CodecError, CodecStep};

    fn there_and_back<T: Copy + PartialEq + std::fmt::Debug + 'static>(items: &[T]) {
        let mut bytes = Vec::new();
        append(items, &mut bytes);
        assert!(Values::<T>::new(&bytes).eq(items.iter().copied()));
        // Not aligned, and cut off.
        bytes.insert(0, 9);
        assert!(Values::<T>::new(&bytes[1..]).eq(items.iter().copied()));
        assert_eq!(Values::<T>::new(&bytes[1..bytes.len().max(2) - 1]).len(), items.len().saturating_sub(1));
    }

    #[test]
    fn items_come_back_as_they_were() {
        there_and_back(&[1_u64, 0, u64::MAX]);
        there_and_back(&[-1_i8, 127]);
        there_and_back(&[(1_u32, 2_u32), (3, u32::MAX)]);
        there_and_back(&[0.5_f32, f32::MIN]);
        there_and_back(&[(); 3]);
        there_and_back(&[u128::MAX]);
    }

    #[test]
    fn what_is_more_than_its_bytes_is_not_plain() {
        assert!(!is::<String>() && !is::<bool>() && !is::<char>() && !is::<(u64, u32)>() && !is::<&'static u8>());
    }

    fn error(words: &str) -> TaskErrorKind {
        TaskErrorKind::Codec(CodecError::new(CodecStep::EncodeResult, "u16", words))
    }

    #[test]
    fn answers_come_back_with_errors_in_their_places() {
        let mut out = vec![1, 2, 3];
        let mut answers = Answers::begin::<u16>(&mut out, 5);
        for outcome in [Err(error("first")), Ok(1), Ok(2), Err(error("fourth")), Ok(5)] {
            answers.push::<u16>(outcome, &mut out);
        }
        answers.end(&mut out);
        let words = |result: Result<u16, TaskError>| result.map_err(|e| e.codec().unwrap().message().to_owned());
        let back: Vec<_> = decode_answers::<u16>(&out[3..]).map(words).collect();
        assert_eq!(back, [Err("first".into()), Ok(1), Ok(2), Err("fourth".into()), Ok(5)]);
        for cut in 3..out.len() {
            // Whatever is missing, nothing else happens.
            assert!(decode_answers::<u16>(&out[3..cut]).count() <= 5);
        }
    }

    #[test]
    fn answers_without_errors_are_one_block() {
        for count in [0, 1, 1000] {
            let mut out = Vec::new();
            let mut answers = Answers::begin::<u64>(&mut out, count);
            (0..count as u64).for_each(|x| answers.push::<u64>(Ok(x), &mut out));
            answers.end(&mut out);
            assert!(decode_answers::<u64>(&out).map(Result::unwrap).eq(0..count as u64));
        }
    }
}
