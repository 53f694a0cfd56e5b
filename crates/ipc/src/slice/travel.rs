//! How a slice becomes part of a message, and comes out of it.

use super::block::{Block, Ticket};
use super::{SharedBytes, SharedSlice};
use bytemuck::Pod;
use concurrent_futures_core::attach::{self, AttachError};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use std::any::type_name;
use std::fmt;

/// What is not larger travels as bytes: cheaper than a descriptor that is sent and memory that is mapped.
const INLINE: usize = 16 << 10;

#[derive(Serialize, Deserialize)]
pub(super) enum Message<'a> {
    Inline(#[serde(borrow)] Raw<'a>),
    Shared { block: Ticket, offset: u64, len: u64 },
}

/// Bytes as a block of bytes.
pub(super) struct Raw<'a>(pub(super) &'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&[u8]>::deserialize(deserializer).map(Raw)
    }
}

impl<T: Pod> Serialize for SharedSlice<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fail = |why: &dyn fmt::Display| ser::Error::custom(format_args!("a {}: {why}", type_name::<Self>()));
        // Also of what is small: whether it can be sent must not depend on its length.
        if !attach::is_collecting() {
            return Err(fail(&AttachError::NotSending));
        }
        let bytes = bytemuck::cast_slice::<T, u8>(self);
        if bytes.len() <= INLINE {
            return Message::Inline(Raw(bytes)).serialize(serializer);
        }
        let (block, offset) = self.share().map_err(|error| fail(&error))?;
        let ticket = block.put().map_err(|error| fail(&error))?;
        Message::Shared { block: ticket, offset: offset as u64, len: self.len() as u64 }.serialize(serializer)
    }
}

impl<'de, T: Pod> Deserialize<'de> for SharedSlice<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fail = |why: &dyn fmt::Display| de::Error::custom(format_args!("a {}: {why}", type_name::<Self>()));
        match Message::deserialize(deserializer)? {
            Message::Inline(Raw(bytes)) if bytes.len().is_multiple_of(size_of::<T>()) => {
                Ok(bytemuck::pod_collect_to_vec::<u8, T>(bytes).into())
            }
            Message::Inline(_) => Err(fail(&"its bytes are no whole number of elements")),
            Message::Shared { block, offset, len } => {
                let block = Block::take(block).map_err(|error| fail(&error))?;
                let (offset, len) =
                    part::<T>(&block, offset, len).ok_or_else(|| fail(&"it is not within its memory"))?;
                block.populate(offset, len * size_of::<T>());
                Ok(SharedSlice::of_block(block, offset, len))
            }
        }
    }
}

/// The part of a block, if there is such a one.
fn part<T>(block: &Block, offset: u64, len: u64) -> Option<(usize, usize)> {
    let (offset, len) = (usize::try_from(offset).ok()?, usize::try_from(len).ok()?);
    let end = len.checked_mul(size_of::<T>())?.checked_add(offset)?;
    (end <= block.len() && offset.is_multiple_of(align_of::<T>())).then_some((offset, len))
}

impl Serialize for SharedBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SharedBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        SharedSlice::deserialize(deserializer).map(SharedBytes)
    }
}
