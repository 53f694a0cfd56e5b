//! The bytes of an encoding: a few where the value itself is, more on the heap.

use std::fmt;
use std::ops::Deref;

/// So many bytes need no memory of their own.
const HERE: usize = 30;
/// So many are copied into memory of their own: a buffer without memory would grow from nothing, step by step, with the next value.
const COPIED: usize = 1024;

/// The bytes of an encoded value, as they lie in a message. Most arguments and results are a number or two: then no memory is
/// allocated for them.
///
/// ```
/// use concurrent_futures_core::codec::Stream;
///
/// let (short, long) = (Stream::copy_of(&[1, 2, 3]), Stream::from(vec![7; 1000]));
/// assert_eq!((&*short, long.len()), (&[1, 2, 3][..], 1000));
/// assert_eq!(long.into_vec(), [7; 1000]);
/// ```
#[derive(Clone)]
pub struct Stream(Bytes);

#[derive(Clone)]
enum Bytes {
    Here { len: u8, bytes: [u8; HERE] },
    Heap(Vec<u8>),
}

const _: () = assert!(size_of::<Stream>() == 32);

impl Stream {
    /// A copy of these bytes.
    pub fn copy_of(bytes: &[u8]) -> Self {
        Self::start_of(bytes, bytes.len())
    }

    /// A copy of the first `len` of these bytes: it costs least where more than those few can be read.
    ///
    /// # Panics
    /// There are not so many.
    #[inline]
    pub fn start_of(bytes: &[u8], len: usize) -> Self {
        let Some(first) = bytes.first_chunk::<HERE>().filter(|_| len <= HERE) else {
            return Self::copy_by_length(&bytes[..len]);
        };
        // A copy of a fixed length is two moves; what is behind `len` is never looked at.
        Stream(Bytes::Here { len: len as u8, bytes: *first })
    }

    fn copy_by_length(from: &[u8]) -> Self {
        if from.len() > HERE {
            return Stream(Bytes::Heap(from.to_vec()));
        }
        let mut bytes = [0; HERE];
        bytes[..from.len()].copy_from_slice(from);
        Stream(Bytes::Here { len: from.len() as u8, bytes })
    }

    /// What has been written to `buffer`, which is left for the next value: empty, and with its memory, unless the bytes are so many
    /// that they take it along.
    pub fn take_from(buffer: &mut Vec<u8>) -> Self {
        if buffer.len() > COPIED {
            return Stream(Bytes::Heap(std::mem::take(buffer)));
        }
        let stream = Self::copy_by_length(buffer);
        buffer.clear();
        stream
    }

    /// The bytes as a vector.
    pub fn into_vec(self) -> Vec<u8> {
        match self.0 {
            Bytes::Here { len, bytes } => bytes[..usize::from(len)].to_vec(),
            Bytes::Heap(bytes) => bytes,
        }
    }
}

impl Default for Stream {
    fn default() -> Self {
        Stream(Bytes::Here { len: 0, bytes: [0; HERE] })
    }
}

impl From<Vec<u8>> for Stream {
    fn from(bytes: Vec<u8>) -> Self {
        Stream(Bytes::Heap(bytes))
    }
}

impl Deref for Stream {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Here { len, bytes } => &bytes[..usize::from(*len)],
            Bytes::Heap(bytes) => bytes,
        }
    }
}

impl PartialEq for Stream {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Stream {}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_what_they_were_whatever_their_number() {
        let bytes: Vec<u8> = (0..100).collect();
        for len in 0..=64 {
            for end in len..=100 {
                assert_eq!(*Stream::start_of(&bytes[..end], len), bytes[..len]);
            }
            let mut buffer = bytes[..len].to_vec();
            let stream = Stream::take_from(&mut buffer);
            assert_eq!((&*stream, buffer.len()), (&bytes[..len], 0));
            assert_eq!(stream.clone(), Stream::from(bytes[..len].to_vec()));
            assert_eq!(stream.into_vec(), bytes[..len]);
        }
        assert_eq!(Stream::default().len(), 0);
    }
}
