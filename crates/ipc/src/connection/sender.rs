//! The end of a connection that sends.

use super::end::{self, End, Ways};
use super::error::SendError;
use super::outgoing::{Encoded, Sending};
use super::receiver::Receiver;
use concurrent_futures_core::Portable;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::io;
use std::marker::PhantomData;

/// Makes a connection of one direction. Python's `Pipe(duplex=False)`, with the two ends in the order in which messages
/// go.
///
/// ```
/// use concurrent_futures_ipc::connection::one_way;
///
/// let (sender, receiver) = one_way::<u32>()?;
/// sender.send(7)?;
/// assert_eq!(receiver.recv()?, 7);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// That one end sends and the other one receives is known to the compiler:
///
/// ```compile_fail,E0599
/// # use concurrent_futures_ipc::connection::one_way;
/// let (sender, _receiver) = one_way::<u32>().unwrap();
/// sender.recv();
/// ```
///
/// # Errors
/// There are no descriptors left (five are needed, and one more by each end that sleeps), or no memory.
pub fn one_way<T: Portable>() -> io::Result<(Sender<T>, Receiver<T>)> {
    let (first, second) = end::pair(Ways::One)?;
    Ok((Sender(first, PhantomData), Receiver(second, PhantomData)))
}

/// The end of a connection that sends; [`one_way`] makes it.
///
/// It can be sent to another process, as what it is part of; the other process has it from then on. It is not `Clone`.
///
/// Dropping it is the end of file for the receiver, when that has received all that was sent.
pub struct Sender<T>(pub(super) End, PhantomData<fn(T)>);

impl<T: Portable> Sender<T> {
    /// Sends `value`. Returns when all of it is in the ring, which has room for 256 KiB: blocks only while there is
    /// none, which is until the other end receives, or is gone.
    ///
    /// Values of any size can be sent, and values with handles in them, connections among them. Several threads may
    /// send; messages are not mixed.
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
    /// [`SendError`], which gives the value back. That the other end has gone is noticed at once if it was dropped,
    /// else within a millisecond.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        transfer(&self.0, value)
    }

    /// As [`send`](Self::send), in async code on any runtime.
    ///
    /// A message that takes up to 128 KiB is sent as a whole or not at all, also when the future is dropped. If a
    /// larger one is given up after its first part was sent, the connection can send nothing more.
    ///
    /// ```
    /// use concurrent_futures_ipc::connection::one_way;
    ///
    /// futures::executor::block_on(async {
    ///     let (sender, receiver) = one_way::<(u32, String)>()?;
    ///     sender.send_async((1, "one".to_owned())).await?;
    ///     assert_eq!(receiver.recv_async().await?, (1, "one".to_owned()));
    ///     Ok::<(), std::io::Error>(())
    /// })
    /// # .unwrap();
    /// ```
    ///
    /// # Errors
    /// As of [`send`](Self::send).
    pub async fn send_async(&self, value: T) -> Result<(), SendError<T>> {
        transfer_async(&self.0, value).await
    }

    /// Sends bytes as they are, which are received by [`recv_bytes`](super::Receiver::recv_bytes).
    ///
    /// ```
    /// use concurrent_futures_ipc::connection::one_way;
    ///
    /// let (sender, receiver) = one_way::<()>()?;
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
}

/// Encodes, and sends.
pub(super) fn transfer<T: Portable>(end: &End, value: T) -> Result<(), SendError<T>> {
    match Encoded::new(&value) {
        Ok(message) => {
            Sending::new(end, &message.bytes, &message.attachments).send().map_err(|unsent| unsent.of(value))
        }
        Err(why) => Err(SendError::Encode(value, why)),
    }
}

pub(super) async fn transfer_async<T: Portable>(end: &End, value: T) -> Result<(), SendError<T>> {
    match Encoded::new(&value) {
        Ok(message) => {
            let sending = Sending::new(end, &message.bytes, &message.attachments);
            sending.send_async().await.map_err(|unsent| unsent.of(value))
        }
        Err(why) => Err(SendError::Encode(value, why)),
    }
}

impl<T> Serialize for Sender<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize("Sender", serializer)
    }
}

impl<'de, T> Deserialize<'de> for Sender<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Sender(End::deserialize("Sender", Ways::One, deserializer)?, PhantomData))
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}
