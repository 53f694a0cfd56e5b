//! How what lies in shared memory becomes part of a message, and comes out of it.

use crate::SharedMemory;
use concurrent_futures_core::attach;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use std::any::type_name;
use std::io;
use std::sync::Arc;

/// What travels as bytes; the memory itself travels as a descriptor.
#[derive(Serialize, Deserialize)]
struct Ticket {
    memory: u32,
    len: u64,
}

/// As `Serialize` of a `T` that lies in `memory`.
pub(crate) fn serialize<T, S: Serializer>(memory: &SharedMemory, serializer: S) -> Result<S::Ok, S::Error> {
    let place = attach::put(memory.attachment())
        .map_err(|error| ser::Error::custom(format_args!("a {}: {error}", type_name::<T>())))?;
    Ticket { memory: place, len: memory.len() as u64 }.serialize(serializer)
}

/// As `Deserialize` of a `T`, which `open` makes of its memory: as large as it was when it was sent, and that for ever.
pub(crate) fn deserialize<'de, T, D: Deserializer<'de>>(
    deserializer: D,
    open: impl FnOnce(Arc<SharedMemory>) -> io::Result<T>,
) -> Result<T, D::Error> {
    let fail = |why: &dyn std::fmt::Display| de::Error::custom(format_args!("a {}: {why}", type_name::<T>()));
    let Ticket { memory, len } = Ticket::deserialize(deserializer)?;
    let fd = attach::take(memory).map_err(|error| fail(&error))?;
    let len = usize::try_from(len).map_err(|error| fail(&error))?;
    let opened = SharedMemory::adopt(fd, len).and_then(|memory| open(Arc::new(memory)));
    opened.map_err(|error| fail(&format_args!("its memory cannot be used: {error}")))
}

/// `Serialize` and `Deserialize` of a type with `fn memory(&self) -> &SharedMemory` and
/// `fn open(Arc<SharedMemory>) -> io::Result<Self>`.
macro_rules! travels {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::sync::travel::serialize::<Self, S>(self.memory(), serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::sync::travel::deserialize(deserializer, Self::open)
            }
        }
    };
}
pub(crate) use travels;
