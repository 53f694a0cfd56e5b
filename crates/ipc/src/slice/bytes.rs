//! Bytes that are shared.

use super::{SharedSlice, show};
use std::borrow::Borrow;
use std::fmt;
use std::io;
use std::ops::{Deref, RangeBounds};

/// Bytes that travel to worker processes, and back, without a copy: a [`SharedSlice`] of `u8`, as the type `Bytes` of the crate
/// of that name is a slice of a program's own memory.
///
/// ```
/// use concurrent_futures_ipc::SharedBytes;
///
/// let line = SharedBytes::from(b"GET / HTTP/1.1".to_vec());
/// let (method, path) = (line.slice(..3), line.slice(4..5));
/// assert_eq!((&method[..], &path[..]), (&b"GET"[..], &b"/"[..]));
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SharedBytes(pub(super) SharedSlice<u8>);

impl SharedBytes {
    /// The same bytes, in shared memory.
    ///
    /// ```
    /// use concurrent_futures_ipc::SharedBytes;
    ///
    /// assert_eq!(SharedBytes::copy_of(b"abc")?[..], *b"abc");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// No descriptor is left, or no memory.
    pub fn copy_of(bytes: &[u8]) -> io::Result<Self> {
        SharedSlice::copy_of(bytes).map(SharedBytes)
    }

    /// A part of it, which keeps the whole alive. Costs nothing.
    ///
    /// ```
    /// use concurrent_futures_ipc::SharedBytes;
    ///
    /// assert_eq!(SharedBytes::from(vec![1, 2, 3]).slice(1..)[..], [2, 3]);
    /// ```
    ///
    /// # Panics
    /// The range is not within the bytes.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        SharedBytes(self.0.slice(range))
    }
}

impl Deref for SharedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for SharedBytes {
    /// Without a copy now; it is copied when it is sent for the first time.
    fn from(bytes: Vec<u8>) -> Self {
        SharedBytes(bytes.into())
    }
}

impl From<String> for SharedBytes {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<SharedSlice<u8>> for SharedBytes {
    fn from(slice: SharedSlice<u8>) -> Self {
        SharedBytes(slice)
    }
}

impl From<SharedBytes> for SharedSlice<u8> {
    fn from(bytes: SharedBytes) -> Self {
        bytes.0
    }
}

impl FromIterator<u8> for SharedBytes {
    fn from_iter<I: IntoIterator<Item = u8>>(bytes: I) -> Self {
        Vec::from_iter(bytes).into()
    }
}

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Borrow<[u8]> for SharedBytes {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl<'a> IntoIterator for &'a SharedBytes {
    type Item = &'a u8;
    type IntoIter = std::slice::Iter<'a, u8>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self, f)
    }
}
