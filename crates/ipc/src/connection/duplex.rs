//! A connection of two directions.

use super::end::{self, End, Ways};
use super::error::{RecvError, SendError};
use super::outgoing::Sending;
use super::pollable::{Pollable, Watch};
use super::receiver::Iter;
use super::sender::{transfer, transfer_async};
use super::wait::wait;
use concurrent_futures_core::Portable;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

/// Makes a connection of two directions. The first end sends what the second one receives, and the other way round.
///
/// ```
/// use concurrent_futures_ipc::connection::pipe;
///
/// let (ours, theirs) = pipe::<u32, String>()?;
/// ours.send(7)?;
/// assert_eq!(theirs.recv()?, 7);
/// theirs.send("seven".to_owned())?;
/// assert_eq!(ours.recv()?, "seven");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// There are no descriptors left (five are needed, and one more by each end that sleeps), or no memory.
pub fn pipe<S: Portable, R: Portable>() -> io::Result<(Connection<S, R>, Connection<R, S>)> {
    let (first, second) = end::pair(Ways::Both)?;
    Ok((Connection(first, PhantomData), Connection(second, PhantomData)))
}

/// One end of a connection: sends `S`, receives `R`; [`pipe`] makes it.
///
/// It can be sent to another process, as what it is part of; the other process has it from then on, and what was not
/// received yet. It is not `Clone`. Threads may share it: one may send while another one receives.
///
/// Dropping it is the end of file for the other end, when that has received all that was sent, and sending to it is an
/// error from then on.
pub struct Connection<S, R = S>(End, PhantomData<fn(S) -> R>);

impl<S: Portable, R: Portable> Connection<S, R> {
    /// Sends `value`. Returns when all of it is in the ring, which has room for 256 KiB: blocks only while there is
    /// none, which is until the other end receives, or is gone.
    ///
    /// Values of any size can be sent, and values with handles in them, connections among them. Several threads may
    /// send; messages are not mixed.
    ///
    /// ```
    /// use concurrent_futures_ipc::connection::pipe;
    ///
    /// let (sender, receiver) = pipe::<(u32, String), (u32, String)>()?;
    /// sender.send((1, "one".to_owned()))?;
    /// assert_eq!(receiver.recv()?, (1, "one".to_owned()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`SendError`], which gives the value back. That the other end has gone is noticed at once if it was dropped,
    /// else within a millisecond.
    pub fn send(&self, value: S) -> Result<(), SendError<S>> {
        transfer(&self.0, value)
    }

    /// As [`send`](Self::send), in async code on any runtime.
    ///
    /// A message that takes up to 128 KiB is sent as a whole or not at all, also when the future is dropped. If a
    /// larger one is given up after its first part was sent, the connection can send nothing more.
    ///
    /// ```
    /// use concurrent_futures_ipc::connection::pipe;
    ///
    /// futures::executor::block_on(async {
    ///     let (sender, receiver) = pipe::<(u32, String), (u32, String)>()?;
    ///     sender.send_async((1, "one".to_owned())).await?;
    ///     assert_eq!(receiver.recv_async().await?, (1, "one".to_owned()));
    ///     Ok::<(), std::io::Error>(())
    /// })
    /// # .unwrap();
    /// ```
    ///
    /// # Errors
    /// As of [`send`](Self::send).
    pub async fn send_async(&self, value: S) -> Result<(), SendError<S>> {
        transfer_async(&self.0, value).await
    }

    /// Sends bytes as they are, which are received by [`recv_bytes`](Self::recv_bytes).
    ///
    /// ```
    /// use concurrent_futures_ipc::connection::pipe;
    ///
    /// let (sender, receiver) = pipe::<(), ()>()?;
    /// sender.send_bytes(b"")?;
    /// sender.send_bytes(b"some")?;
    /// assert_eq!(receiver.recv_bytes(100)?, b"");
    /// assert_eq!(receiver.recv_bytes(100)?, b"some");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As of [`send`](Self::send).
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<(), SendError<()>> {
        Sending::new(&self.0, bytes, &[]).send().map_err(|unsent| unsent.of(()))
    }

    /// Receives the next message; blocks until it is there.
    ///
    /// ```
    /// use concurrent_futures_ipc::connection::pipe;
    ///
    /// let (sender, receiver) = pipe::<(u32, String), (u32, String)>()?;
    /// sender.send((1, "one".to_owned()))?;
    /// assert_eq!(receiver.recv()?, (1, "one".to_owned()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`RecvError`]: `Ended`, `Torn`, `Decode`, `Moved`, `Io`.
    pub fn recv(&self) -> Result<R, RecvError> {
        self.0.receive(usize::MAX, None)?.decode()
    }

    /// As [`recv`](Self::recv), not longer than `timeout`. What has come of a message until then is not lost.
    ///
    /// ```
    /// use concurrent_futures_ipc::connection::{RecvError, pipe};
    /// use std::time::Duration;
    ///
    /// let (sender, receiver) = pipe::<(u32, String), (u32, String)>()?;
    /// assert!(matches!(receiver.recv_timeout(Duration::from_millis(1)), Err(RecvError::TimedOut)));
    /// # drop(sender);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// `TimedOut`, else as of [`recv`](Self::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<R, RecvError> {
        self.0.receive(usize::MAX, Instant::now().checked_add(timeout))?.decode()
    }

    /// The next message, if all of it is there.
    ///
    /// ```
    /// use concurrent_futures_ipc::connection::{RecvError, pipe};
    ///
    /// let (sender, receiver) = pipe::<(u32, String), (u32, String)>()?;
    /// assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)));
    /// drop(sender);
    /// assert!(matches!(receiver.try_recv(), Err(RecvError::Ended)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Empty`, else as of [`recv`](Self::recv).
    pub fn try_recv(&self) -> Result<R, RecvError> {
        self.0.try_receive(usize::MAX)?.decode()
    }

    /// As [`recv`](Self::recv), in async code on any runtime. Nothing is lost when the future is dropped.
    ///
    /// ```
    /// use concurrent_futures_ipc::connection::pipe;
    ///
    /// let (sender, receiver) = pipe::<(u32, String), (u32, String)>()?;
    /// sender.send((1, "one".to_owned()))?;
    /// assert_eq!(futures::executor::block_on(receiver.recv_async())?, (1, "one".to_owned()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As of [`recv`](Self::recv).
    pub async fn recv_async(&self) -> Result<R, RecvError> {
        self.0.receive_async(usize::MAX).await?.decode()
    }

    /// Waits until there is something to receive, at most `timeout`. Also `true` at the end of file, and when a message
    /// has begun to come.
    ///
    /// ```
    /// use concurrent_futures_ipc::connection::pipe;
    /// use std::time::Duration;
    ///
    /// let (sender, receiver) = pipe::<(u32, String), (u32, String)>()?;
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
    /// use concurrent_futures_ipc::connection::{RecvError, pipe};
    ///
    /// let (sender, receiver) = pipe::<(), ()>()?;
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
    /// use concurrent_futures_ipc::connection::{RecvError, pipe};
    ///
    /// let (sender, receiver) = pipe::<(), ()>()?;
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
    /// use concurrent_futures_ipc::connection::pipe;
    ///
    /// let (sender, receiver) = pipe::<(u32, String), (u32, String)>()?;
    /// for n in 1..=3 {
    ///     sender.send((n, n.to_string()))?;
    /// }
    /// drop(sender);
    /// assert_eq!(receiver.iter().map(|message| message.unwrap().0).sum::<u32>(), 6);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn iter(&self) -> Iter<'_, R> {
        Iter::new(&self.0)
    }
}

impl<S, R> Pollable for Connection<S, R> {
    fn watch(&self) -> io::Result<Watch<'_>> {
        self.0.watch_incoming()
    }
}

impl<'a, S: Portable, R: Portable> IntoIterator for &'a Connection<S, R> {
    type Item = Result<R, RecvError>;
    type IntoIter = Iter<'a, R>;

    fn into_iter(self) -> Iter<'a, R> {
        self.iter()
    }
}

impl<S, R> Serialize for Connection<S, R> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        self.0.serialize("Connection", serializer)
    }
}

impl<'de, S, R> Deserialize<'de> for Connection<S, R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Connection(End::deserialize("Connection", Ways::Both, deserializer)?, PhantomData))
    }
}

impl<S, R> fmt::Debug for Connection<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}
