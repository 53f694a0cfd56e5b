//! How an end becomes part of a message, and comes out of it.

use super::end::{self, End, Parts, Side, Ways};
use super::error::MOVED;
use crate::ring::{Consumer, Producer};
use crate::{Doorbell, SharedMemory};
use concurrent_futures_core::attach::{self, AttachError};
use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use std::fmt;
use std::io;
use std::sync::Arc;

/// What travels as bytes.
#[derive(Serialize, Deserialize)]
struct Message {
    /// The places of the descriptors.
    memory: u32,
    socket: u32,
    bell: u32,
    other_bell: u32,
    is_first: bool,
    /// By which the receiver has the end.
    turn: u32,
    /// The number of the last message with descriptors: packets of one that was given up may still be in the socket.
    number: u32,
    /// What has been taken out of the ring and not been received.
    stock: Vec<u8>,
}

impl End {
    /// # Errors
    /// Nobody encodes for another process; somebody uses the end; it was sent before.
    pub(super) fn serialize<S: Serializer>(&self, name: &str, serializer: S) -> Result<S::Ok, S::Error> {
        let fail = |why: &dyn fmt::Display| ser::Error::custom(format_args!("a {name}: {why}"));
        if !attach::is_collecting() {
            return Err(fail(&AttachError::NotSending));
        }
        let in_use =
            || fail(&"it is being used while it is sent: a thread or a task waits for it, or has given up a message");
        // Whoever uses it has one of these locks for a moment, or is counted as asleep. They are kept until it is lent: who comes
        // then finds that, and takes it back.
        let (outgoing, incoming) =
            (self.outgoing.as_ref().map(Mutex::try_lock), self.incoming.as_ref().map(Mutex::try_lock));
        let stock = match (&outgoing, &incoming) {
            (Some(None), _) | (_, Some(None)) => return Err(in_use()),
            (Some(Some(outgoing)), _) if !outgoing.is_at_rest() => return Err(in_use()),
            _ if self.is_listened_to() => return Err(in_use()),
            (_, Some(Some(incoming))) => incoming.stock(),
            _ => Vec::new(),
        };
        let number = outgoing.as_ref().and_then(Option::as_ref).map_or(0, |outgoing| outgoing.number());
        let put = |attachment| attach::put(attachment).map_err(|error| fail(&error));
        let message = Message {
            memory: put(self.parts.memory.attachment())?,
            socket: put(&self.parts.socket)?,
            bell: put(self.parts.bell.attachment())?,
            other_bell: put(self.parts.other_bell.attachment())?,
            is_first: self.side == Side::First,
            turn: self.lend().ok_or_else(|| fail(&MOVED))?,
            number,
            stock,
        };
        message.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        name: &str,
        ways: Ways,
        deserializer: D,
    ) -> Result<End, D::Error> {
        let message = Message::deserialize(deserializer)?;
        End::open(ways, message).map_err(|error| de::Error::custom(format_args!("a {name}: {error}")))
    }

    fn open(ways: Ways, message: Message) -> io::Result<End> {
        let take = |place| attach::take(place).map_err(io::Error::other);
        let memory = Arc::new(SharedMemory::adopt(take(message.memory)?, end::size(ways))?);
        let side = if message.is_first { Side::First } else { Side::Second };
        let bell = |place| take(place).map(|bell| Arc::new(Doorbell::from(bell)));
        let parts = Parts {
            socket: take(message.socket)?,
            bell: bell(message.bell)?,
            other_bell: bell(message.other_bell)?,
            memory: memory.clone(),
        };
        let turn = end::take(end::owner(&memory, side), message.turn).ok_or_else(|| {
            io::Error::other("it has been received already, or used where it was sent: it can be in one process only")
        })?;
        let producer = |place| Ok(Producer::taking_over(place)?);
        let consumer = |place| Ok(Consumer::taking_over(place)?);
        let mut end = End::new(parts, ways, side, turn, producer, consumer)?;
        if let Some(outgoing) = &mut end.outgoing {
            outgoing.get_mut().go_on_from(message.number);
        }
        if let Some(incoming) = &mut end.incoming {
            incoming.get_mut().put_back(message.stock);
        }
        Ok(end)
    }
}
