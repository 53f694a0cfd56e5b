//! How values and arrays become part of a message, and come out of it.

use super::cells::Cells;
use super::ground::{ELEMENTS, Ground};
use super::{Array, RawArray, RawValue, Value};
use crate::SharedMemory;
use crate::sync::RLock;
use bytemuck::Pod;
use concurrent_futures_core::attach;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use std::any::type_name;
use std::fmt::{self, Display};
use std::sync::Arc;

/// What travels as bytes; the memory itself travels as a descriptor.
#[derive(Serialize, Deserialize)]
struct Message {
    memory: u32,
    bytes: u64,
    /// How large an element is, and how many there are.
    size: u32,
    len: u64,
    /// The lock, if it is not in the memory or there is none.
    lock: Option<RLock>,
}

fn send<V, T: Pod, S: Serializer>(
    memory: &SharedMemory,
    len: usize,
    lock: Option<&RLock>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let fail = |why: &dyn Display| ser::Error::custom(format_args!("a {}: {why}", type_name::<V>()));
    let place = attach::put(memory.attachment()).map_err(|error| fail(&error))?;
    let size = u32::try_from(size_of::<T>()).map_err(|_| fail(&"its elements are larger than four gigabytes"))?;
    let message = Message { memory: place, bytes: memory.len() as u64, size, len: len as u64, lock: lock.cloned() };
    message.serialize(serializer)
}

/// The memory, which has room for so many elements.
struct Received {
    memory: Arc<SharedMemory>,
    len: usize,
    lock: Option<RLock>,
}

fn receive<'de, V, T: Pod, D: Deserializer<'de>>(
    deserializer: D,
    room: impl FnOnce(usize) -> Option<usize>,
) -> Result<Received, D::Error> {
    let fail = |why: &dyn Display| de::Error::custom(format_args!("a {}: {why}", type_name::<V>()));
    let Message { memory, bytes, size, len, lock } = Message::deserialize(deserializer)?;
    if size as usize != size_of::<T>() {
        return Err(fail(&format_args!("its elements have {size} bytes, and not {}", size_of::<T>())));
    }
    let fd = attach::take(memory).map_err(|error| fail(&error))?;
    let (bytes, len) =
        usize::try_from(bytes).and_then(|bytes| Ok((bytes, usize::try_from(len)?))).map_err(|e| fail(&e))?;
    let fits = room(len).and_then(|room| room.checked_add(ELEMENTS)).is_some_and(|room| room <= bytes);
    if !fits {
        return Err(fail(&"its memory is too small for it"));
    }
    let memory = SharedMemory::adopt(fd, bytes);
    let memory = memory.map_err(|error| fail(&format_args!("its memory cannot be used: {error}")))?;
    Ok(Received { memory: Arc::new(memory), len, lock })
}

impl Received {
    fn ground<E: de::Error>(self) -> Result<Ground, E> {
        Ground::open(self.memory, self.lock).map_err(E::custom)
    }
}

impl<T: Pod> Serialize for Value<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        send::<Self, T, S>(self.ground().memory(), 1, self.ground().foreign_lock(), serializer)
    }
}

impl<'de, T: Pod> Deserialize<'de> for Value<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        receive::<Self, T, D>(deserializer, |_| Value::<T>::room())?.ground().map(Value::on)
    }
}

impl<T: Pod> Serialize for Array<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        send::<Self, T, S>(self.ground().memory(), self.len(), self.ground().foreign_lock(), serializer)
    }
}

impl<'de, T: Pod> Deserialize<'de> for Array<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let received = receive::<Self, T, D>(deserializer, Cells::<T>::size)?;
        let len = received.len;
        Ok(Array::on(received.ground()?, len))
    }
}

impl<T: Pod> Serialize for RawValue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        send::<Self, T, S>(self.0.memory(), 1, None, serializer)
    }
}

impl<'de, T: Pod> Deserialize<'de> for RawValue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let received = receive::<Self, T, D>(deserializer, |_| Cells::<T>::size(1))?;
        Ok(RawValue(received.cells(1)))
    }
}

impl<T: Pod> Serialize for RawArray<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        send::<Self, T, S>(self.0.memory(), self.len(), None, serializer)
    }
}

impl<'de, T: Pod> Deserialize<'de> for RawArray<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let received = receive::<Self, T, D>(deserializer, Cells::<T>::size)?;
        let len = received.len;
        Ok(RawArray(received.cells(len)))
    }
}

impl Received {
    fn cells<T: Pod>(self, len: usize) -> Cells<T> {
        // SAFETY: made by another process of this program for elements of this size, with nothing else behind the beginning.
        unsafe { Cells::new(self.memory, ELEMENTS, len) }
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received").field("memory", &self.memory).field("len", &self.len).finish_non_exhaustive()
    }
}
