//! What `ipc-channel` keeps in its thread-locals between serde and the kernel.
//!
//! While something is encoded, each channel in it goes into one vector of the thread and each memory region into
//! another; the bytes hold their places. The next `send` of the thread takes both vectors along, whatever it sends.
//! While a message is decoded, two vectors of the receiving thread hold what came with it. A channel that nobody takes
//! out of there is leaked (and a debug build of `ipc-channel` panics), so every message of ours ends with a channel of
//! ours: its place tells how many came before it.

use ipc_channel::IpcError;
use ipc_channel::ipc::{IpcSharedMemory, OpaqueIpcReceiver};
use serde::de::value::{Error as PlaceError, UsizeDeserializer};
use serde::de::{DeserializeOwned, Error, IntoDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// As many channels as `ipc-channel` sends with one message.
const MAX_CHANNELS: usize = 64;

/// Parks `handle`, and tells how many of its kind were parked in this thread before.
pub(super) fn park<H: Serialize>(handle: &H) -> io::Result<usize> {
    let place = postcard::to_stdvec(handle).and_then(|bytes| postcard::from_bytes(&bytes));
    place.map_err(io::Error::other)
}

/// Whether memory regions are parked in this thread. One more is, then.
pub(super) fn has_regions() -> io::Result<bool> {
    // Making, duplicating and mapping the region panics where there is no memory or no descriptor left.
    let parked = catch_unwind(|| park(&IpcSharedMemory::from_byte(0, 1)));
    parked.map_err(|_| io::Error::other("no shared memory can be made"))?.map(|before| before > 0)
}

/// Takes our channel, the last one, out of the message that this thread is decoding; `place` channels came before it.
///
/// Where the kernel has no descriptor left for us, channels are lost from the end: if ours is there, all are.
pub(super) fn take_last<H: DeserializeOwned, E: Error>(place: usize) -> Result<H, E> {
    take(place).map_err(|error| {
        close(place);
        E::custom(error)
    })
}

/// Closes those of the first `count` channels of the message that nobody has taken.
pub(super) fn close(count: usize) {
    for place in 0..count {
        // A receiver or a sender, it does not matter here; one that was taken is closed by whoever has it.
        if take::<OpaqueIpcReceiver>(place).is_err() {
            return;
        }
    }
}

/// Reads the place of the last channel of a message.
pub(super) fn read_place<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let place = usize::deserialize(deserializer)?;
    if place < MAX_CHANNELS {
        Ok(place)
    } else {
        Err(D::Error::custom(format_args!("no channel has the place {place}")))
    }
}

/// A handle that is the last one in its message.
///
/// Others before it were left parked in the sending thread by code of the user's; the receiver closes them.
#[derive(Debug)]
pub(super) struct Last<H>(pub(super) H);

impl<H: Serialize> Serialize for Last<H> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, H: DeserializeOwned> Deserialize<'de> for Last<H> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let place = read_place(deserializer)?;
        let handle = take_last(place)?;
        close(place);
        Ok(Last(handle))
    }
}

/// The error of a failed `send` or `recv`.
pub(super) fn io_error(error: IpcError) -> io::Error {
    match error {
        IpcError::Io(error) => error,
        IpcError::Disconnected => io::Error::new(io::ErrorKind::ConnectionReset, "the other side of the lane is gone"),
        other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
    }
}

fn take<H: DeserializeOwned>(place: usize) -> Result<H, PlaceError> {
    let place: UsizeDeserializer<PlaceError> = place.into_deserializer();
    // A place where nothing is is a panic in `ipc-channel`.
    catch_unwind(AssertUnwindSafe(|| H::deserialize(place)))
        .unwrap_or_else(|_| Err(PlaceError::custom("a channel did not arrive: no descriptors left?")))
}
