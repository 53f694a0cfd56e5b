//! The end of a connection that receives.

use super::end::{End, Ways};
use super::error::RecvError;
use super::pollable::{Pollable, Watch};
use super::wait::wait;
use concurrent_futures_core::Portable;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

/// The end of a connection that receives; [`one_way`](super::one_way) makes it.
///
/// It can be sent to another process, as what it is part of; the other process has it from then on, and what was not
/// received yet. It is not `Clone`.
///
/// When it is dropped, sending to it is an error.
pub struct Receiver<T>(pub(super) End, pub(super) PhantomData<fn() -> T>);

impl<T: Portable> Receiver<T> {
    /// Receives the next message; blocks until it is there.
    ///
    /// ```
    /// use concurrent_futures_ipc::connection::one_way;
    ///
    /// let (sender, receiver) = one_way::<(u32, String)>()?;
    /// sender.send((1, "one".to_owned()))?;
    /// assert_eq!(receiver.recv()?, (1, "one".to_owned()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`RecvError`]: `Ended`, `Torn`, `Decode`, `Moved`, `Io`.
    pub fn recv(&self) -> Result<T, RecvError> {
        self.0.receive(usize::MAX, None)?.decode()
    }

    /// As [`recv`](Self::recv), not longer than `timeout`. What has come of a message until then is not lost.
    ///
    /// ```
    /// use concurrent_futures_ipc::connection::{RecvError, one_way};
    /// use std::time::Duration;
    ///
    /// let (sender, receiver) = one_way::<(u32, String)>()?;
    /// assert!(matches!(receiver.recv_timeout(Duration::from_millis(1)), Err(RecvError::TimedOut)));
    /// # drop(sender);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// `TimedOut`, else as of [`recv`](Self::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvError> {
        self.0.receive(usize::MAX, Instant::now().checked_add(timeout))?.decode()
    }

    /// The next message, if all of it is there.
    ///
    /// ```
    /// use concurrent_futures_ipc::connection::{RecvError, one_way};
    ///
    /// let (sender, receiver) = one_way::<(u32, String)>()?;
    /// assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)));
    /// drop(sender);
    /// assert!(matches!(receiver.try_recv(), Err(RecvError::Ended)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Empty`, else as of [`recv`](Self::recv).
    pub fn try_recv(&self) -> Result<T, RecvError> {
        self.0.try_receive(usize::MAX)?.decode()
    }

    /// As [`recv`](Self::recv), in async code on any runtime. Nothing is lost when the future is dropped.
    ///
    /// ```
    /// use concurrent_futures_ipc::connection::one_way;
    ///
    /// let (sender, receiver) = one_way::<(u32, String)>()?;
    /// sender.send((1, "one".to_owned()))?;
    /// assert_eq!(futures::executor::block_on(receiver.recv_async())?, (1, "one".to_owned()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As of [`recv`](Self::recv).
    pub async fn recv_async(&self) -> Result<T, RecvError> {
        self.0.receive_async(usize::MAX).await?.decode()
    }

    /// Waits until there is something to receive, at most `timeout`. Also `true` at the end of file, and when a message
    /// has begun to come.
    ///
    /// ```
    /// use concurrent_futures_ipc::connection::one_way;
    /// use std::time::Duration;
    ///
    /// let (sender, receiver) = one_way::<(u32, String)>()?;
    /// assert!(!receiver.poll(Duration::ZERO)?);
    /// drop(sender);
    /// assert!(receiver.poll(Duration::MAX)?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As of [`wait`](super::wait).
    pub fn poll(&self, timeout: Duration) -> io::Result<bool> {
        Ok(!wait(&[self], Some(timeout))?.is_empty())
    }

    /// Receives the next message as its bytes, if it has no more than `limit`; blocks until it is there.
    ///
    /// ```
    /// use concurrent_futures_ipc::connection::{RecvError, one_way};
    ///
    /// let (sender, receiver) = one_way::<()>()?;
    /// sender.send_bytes(&[7; 1000])?;
    /// assert!(matches!(receiver.recv_bytes(999), Err(RecvError::TooLong { len: 1000, limit: 999 })));
    /// assert_eq!(receiver.recv_bytes(1000)?, [7; 1000], "it is still there");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// `TooLong`, with the message left where it is; else as of [`recv`](Self::recv).
    pub fn recv_bytes(&self, limit: usize) -> Result<Vec<u8>, RecvError> {
        Ok(self.0.receive(limit, None)?.bytes)
    }

    /// Receives the next message to the beginning of `buffer`, and says how long it is.
    ///
    /// ```
    /// use concurrent_futures_ipc::connection::{RecvError, one_way};
    ///
    /// let (sender, receiver) = one_way::<()>()?;
    /// sender.send_bytes(b"some")?;
    /// sender.send_bytes(b"some more")?;
    /// let mut buffer = [0; 5];
    /// assert_eq!(receiver.recv_bytes_into(&mut buffer)?, 4);
    /// assert_eq!(&buffer, b"some\0");
    /// let Err(RecvError::TooShort { message }) = receiver.recv_bytes_into(&mut buffer) else { panic!("it fits") };
    /// assert_eq!(message, b"some more");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// `TooShort`, with the message; else as of [`recv`](Self::recv).
    pub fn recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, RecvError> {
        let message = self.0.receive(usize::MAX, None)?.bytes;
        let Some(place) = buffer.get_mut(..message.len()) else { return Err(RecvError::TooShort { message }) };
        place.copy_from_slice(&message);
        Ok(message.len())
    }

    /// All messages until the end of file; blocks between them. What goes wrong otherwise is an item, too, and after an
    /// error that leaves the connection unusable the last one.
    ///
    /// ```
    /// use concurrent_futures_ipc::connection::one_way;
    ///
    /// let (sender, receiver) = one_way::<(u32, String)>()?;
    /// for n in 1..=3 {
    ///     sender.send((n, n.to_string()))?;
    /// }
    /// drop(sender);
    /// assert_eq!(receiver.iter().map(|message| message.unwrap().0).sum::<u32>(), 6);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(&self.0)
    }
}

impl<T> Pollable for Receiver<T> {
    fn watch(&self) -> io::Result<Watch<'_>> {
        self.0.watch_incoming()
    }
}

/// The messages of a connection; see [`Receiver::iter`].
#[derive(Debug)]
pub struct Iter<'a, T>(Option<&'a End>, PhantomData<fn() -> T>);

impl<'a, T> Iter<'a, T> {
    pub(super) fn new(end: &'a End) -> Self {
        Iter(Some(end), PhantomData)
    }
}

impl<T: Portable> Iterator for Iter<'_, T> {
    type Item = Result<T, RecvError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.0?.receive(usize::MAX, None).and_then(|received| received.decode()) {
            Err(RecvError::Ended) => {
                self.0 = None;
                None
            }
            Err(error @ (RecvError::Torn | RecvError::Moved | RecvError::Io(_))) => {
                self.0 = None;
                Some(Err(error))
            }
            message => Some(message),
        }
    }
}

impl<'a, T: Portable> IntoIterator for &'a Receiver<T> {
    type Item = Result<T, RecvError>;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> Serialize for Receiver<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize("Receiver", serializer)
    }
}

impl<'de, T> Deserialize<'de> for Receiver<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Receiver(End::deserialize("Receiver", Ways::One, deserializer)?, PhantomData))
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}
