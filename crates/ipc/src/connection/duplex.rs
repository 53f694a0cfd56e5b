//! A connection of two directions.

use super::end::{self, End, Ways};
use super::error::{RecvError, SendError};
use super::outgoing::Sending;
use super::pollable::{Pollable, Watch};
use super::receiver::{Iter, Receiver};
use super::sender::{transfer, transfer_async};
use concurrent_futures_core::Portable;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;

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
    Ok((Connection::of(first), Connection::of(second)))
}

/// One end of a connection: sends `S`, receives `R`; [`pipe`] makes it. It has all the methods of a [`Receiver`].
///
/// It can be sent to another process, as what it is part of; the other process has it from then on, and what was not
/// received yet. It is not `Clone`. Threads may share it: one may send while another one receives.
///
/// Dropping it is the end of file for the other end, when that has received all that was sent, and sending to it is an
/// error from then on.
pub struct Connection<S, R = S>(Receiver<R>, PhantomData<fn(S)>);

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
        transfer(self.end(), value)
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
        transfer_async(self.end(), value).await
    }

    /// Sends bytes as they are, which are received by [`recv_bytes`](Receiver::recv_bytes).
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
        Sending::new(self.end(), bytes, &[]).send().map_err(|unsent| unsent.of(()))
    }
}

impl<S, R> Connection<S, R> {
    fn of(end: End) -> Self {
        Connection(Receiver(end, PhantomData), PhantomData)
    }

    fn end(&self) -> &End {
        &self.0.0
    }
}

impl<S, R> Deref for Connection<S, R> {
    type Target = Receiver<R>;

    fn deref(&self) -> &Receiver<R> {
        &self.0
    }
}

impl<S, R> Pollable for Connection<S, R> {
    fn watch(&self) -> io::Result<Watch<'_>> {
        self.0.watch()
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
        self.end().serialize("Connection", serializer)
    }
}

impl<'de, S, R> Deserialize<'de> for Connection<S, R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Connection::of(End::deserialize("Connection", Ways::Both, deserializer)?))
    }
}

impl<S, R> fmt::Debug for Connection<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}
