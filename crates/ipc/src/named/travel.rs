//! How shared memory becomes part of a message, and comes out of it.

use super::name::Name;
use super::{SharedMemory, registry};
use concurrent_futures_core::attach;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

#[derive(Serialize, Deserialize)]
struct Message<'a> {
    /// The place of the descriptor.
    memory: u32,
    size: u64,
    #[serde(borrow)]
    name: Option<&'a str>,
}

impl Serialize for SharedMemory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let place = attach::put(self.memory.attachment());
        let memory = place.map_err(|error| ser::Error::custom(format_args!("a SharedMemory: {error}")))?;
        Message { memory, size: self.size() as u64, name: self.name() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SharedMemory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fail = |why: &dyn fmt::Display| de::Error::custom(format_args!("a SharedMemory: {why}"));
        let Message { memory, size, name } = Message::deserialize(deserializer)?;
        let fd = attach::take(memory).map_err(|error| fail(&error))?;
        let outcome =
            usize::try_from(size).map_err(|_| io::ErrorKind::OutOfMemory.into()).and_then(|size| match name {
                None => {
                    let memory = Arc::new(crate::SharedMemory::adopt(fd, size)?);
                    Ok(SharedMemory { memory, object: None })
                }
                Some(name) => {
                    let (fd, object, there) = registry::open_again(fd.as_fd(), Name::new(name)?)?;
                    match there == size {
                        true => SharedMemory::of(fd, object, size),
                        false => {
                            Err(io::Error::new(io::ErrorKind::InvalidData, "it has another size than it should have"))
                        }
                    }
                }
            });
        outcome.map_err(|error| fail(&error))
    }
}
