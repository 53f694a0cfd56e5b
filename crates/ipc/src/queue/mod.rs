//! Queues: from many processes to many. `README.md` beside this file says what lies in shared memory, who changes it in
//! which order, and what the death of a process at each point does.

mod error;
mod joinable;
mod simple;
mod store;
#[cfg(test)]
mod tests;
mod waiting;

pub use error::{DoneError, GetError, PutError};
pub use joinable::JoinableQueue;
pub use simple::SimpleQueue;

use crate::SharedMemory;
use crate::connection::{Pollable, Watch};
use crate::doorbell::Doorbell;
use crate::spare::Spare;
use concurrent_futures_core::Portable;
use concurrent_futures_core::attach;
use concurrent_futures_core::codec;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;
use store::{Shape, Store};
use waiting::Patience;

/// A queue between processes: any of them puts items in, any takes them out, each item once, in the order in which they
/// were put in.
///
/// A clone is the same queue. It travels: as or inside the argument, the result or the context of a task, the argument
/// of a process, or over a connection. Python's `multiprocessing.Queue`, but:
///
/// - There is no thread behind it: an item is in the queue when [`put`](Self::put) returns, and stays there when the
///   process ends.
/// - A process that is killed, at whatever instant of whatever it does, takes no more with it than the item that it was
///   about to put or had just got, and blocks nobody.
/// - [`close`](Self::close) is for all: nothing can be put in afterwards, and who has got all that was left is told
///   that nothing will come.
///
/// ```
/// use concurrent_futures_ipc::{GetError, Queue};
///
/// let queue = Queue::new()?;
/// queue.put("one".to_owned())?;
/// queue.clone().put("two".to_owned())?;
/// queue.close()?;
/// assert_eq!(queue.get()?, "one");
/// assert_eq!(queue.get()?, "two");
/// assert!(matches!(queue.get(), Err(GetError::Closed)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Sizes
///
/// A queue that is not bounded by a number of items is bounded by 64 GiB of them (of what they take as bytes, and 8 to
/// 15 more each). Memory is taken for what is in it, and given back but for some MiB. Items are what can be bytes: handles
/// (locks, connections, queues, shared slices) cannot be put in, for their descriptors travel from one process to one
/// other, not to whoever comes first; [`put`](Self::put) refuses them in words. Send them over a
/// [`Connection`](crate::connection::Connection), or with a task.
///
/// # What is left to its users
///
/// A bounded queue whose consumers have all been killed is full, and stays so: who puts waits for new consumers, or
/// uses [`put_timeout`](Self::put_timeout). Somebody gets nothing from a queue as long as nobody puts: who waits for a
/// producer that may die should also watch the producer ([`wait`](crate::connection::wait) takes both).
///
/// # Drop
///
/// The queue and what is in it go with the last clone of the last process. Dropping a clone closes nothing.
pub struct Queue<T>(Arc<Store>, PhantomData<fn(T) -> T>);

impl<T: Portable> Queue<T> {
    /// An empty queue, for any number of items.
    ///
    /// ```
    /// use concurrent_futures_ipc::Queue;
    ///
    /// let queue = Queue::<f64>::new()?;
    /// assert!(queue.is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// No descriptor is left (two are needed), or no address space.
    pub fn new() -> io::Result<Self> {
        Ok(Queue(Arc::new(Store::create(u32::MAX, false)?), PhantomData))
    }

    /// An empty queue, for `limit` items: who puts one more waits until one is taken out.
    ///
    /// ```
    /// use concurrent_futures_ipc::{PutError, Queue};
    ///
    /// let queue = Queue::bounded(2)?;
    /// queue.put(1)?;
    /// queue.put(2)?;
    /// assert!(matches!(queue.try_put(3), Err(PutError::Full(3))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput`, if `limit` is 0. Else as of [`new`](Self::new).
    pub fn bounded(limit: usize) -> io::Result<Self> {
        Ok(Queue(Arc::new(Store::create(items(limit)?, false)?), PhantomData))
    }

    /// Puts an item in; blocks while there is no room.
    ///
    /// ```
    /// use concurrent_futures_ipc::Queue;
    ///
    /// let queue = Queue::new()?;
    /// queue.put(vec![1.5, 2.5])?;
    /// assert_eq!(queue.qsize(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `Closed`, `Encode`, `TooLarge`, `Io`; each gives the item back.
    pub fn put(&self, item: T) -> Result<(), PutError<T>> {
        self.put_with(item, Patience::Endless)
    }

    /// The same; blocks at most for `timeout`.
    ///
    /// ```
    /// use concurrent_futures_ipc::{PutError, Queue};
    /// use std::time::Duration;
    ///
    /// let queue = Queue::bounded(1)?;
    /// queue.put(1)?;
    /// assert!(matches!(queue.put_timeout(2, Duration::from_millis(1)), Err(PutError::TimedOut(2))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `TimedOut`, and those of [`put`](Self::put).
    pub fn put_timeout(&self, item: T, timeout: Duration) -> Result<(), PutError<T>> {
        self.put_with(item, Patience::of(timeout))
    }

    /// The same; does not wait for room.
    ///
    /// ```
    /// use concurrent_futures_ipc::Queue;
    ///
    /// Queue::new()?.try_put(1)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `Full`, and those of [`put`](Self::put).
    pub fn try_put(&self, item: T) -> Result<(), PutError<T>> {
        self.put_with(item, Patience::None)
    }

    /// As [`put`](Self::put), in async code on any runtime. Nothing is put in when the future is dropped before it is
    /// ready.
    ///
    /// ```
    /// use concurrent_futures_ipc::Queue;
    ///
    /// let queue = Queue::bounded(1)?;
    /// futures::executor::block_on(queue.put_async(1))?;
    /// assert_eq!(futures::executor::block_on(queue.get_async())?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As of [`put`](Self::put).
    pub async fn put_async(&self, item: T) -> Result<(), PutError<T>> {
        match encoded(&item) {
            Ok(bytes) => self.0.put_async(&bytes).await.map_err(|why| PutError::of(why, item, bytes.len())),
            Err(why) => Err(PutError::Encode(item, why)),
        }
    }

    /// Takes the first item out; blocks until there is one.
    ///
    /// ```
    /// use concurrent_futures_ipc::Queue;
    ///
    /// let queue = Queue::new()?;
    /// queue.put(7)?;
    /// assert_eq!(queue.get()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `Closed`, when the queue is also empty; `Decode`, with the item gone; `Io`.
    pub fn get(&self) -> Result<T, GetError> {
        self.get_with(Patience::Endless)
    }

    /// The same; blocks at most for `timeout`.
    ///
    /// ```
    /// use concurrent_futures_ipc::{GetError, Queue};
    /// use std::time::Duration;
    ///
    /// let queue = Queue::<u32>::new()?;
    /// assert!(matches!(queue.get_timeout(Duration::from_millis(1)), Err(GetError::TimedOut)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// `TimedOut`, and those of [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        self.get_with(Patience::of(timeout))
    }

    /// The same; does not wait for an item.
    ///
    /// ```
    /// use concurrent_futures_ipc::{GetError, Queue};
    ///
    /// assert!(matches!(Queue::<u32>::new()?.try_get(), Err(GetError::Empty)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Empty`, and those of [`get`](Self::get).
    pub fn try_get(&self) -> Result<T, GetError> {
        self.get_with(Patience::None)
    }

    /// As [`get`](Self::get), in async code on any runtime. No item is lost when the future is dropped.
    ///
    /// ```
    /// use concurrent_futures_ipc::Queue;
    ///
    /// let queue = Queue::new()?;
    /// queue.put(7)?;
    /// assert_eq!(futures::executor::block_on(queue.get_async())?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As of [`get`](Self::get).
    pub async fn get_async(&self) -> Result<T, GetError> {
        // Not the spare one of a thread, for the task may go on in another.
        let mut bytes = Vec::new();
        self.0.get_async(&mut bytes).await?;
        decoded(&bytes)
    }

    /// Takes items out, and blocks between them, until the queue is closed and empty. What goes wrong otherwise is an
    /// item, too.
    ///
    /// ```
    /// use concurrent_futures_ipc::Queue;
    ///
    /// let queue = Queue::new()?;
    /// for n in 1..=10 {
    ///     queue.put(n)?;
    /// }
    /// queue.close()?;
    /// assert_eq!(queue.iter().sum::<Result<u32, _>>()?, 55);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> QueueIter<'_, T> {
        QueueIter { queue: self, ended: false }
    }

    fn put_with(&self, item: T, patience: Patience) -> Result<(), PutError<T>> {
        match encoded(&item) {
            Ok(bytes) => self.0.put(&bytes, patience).map_err(|why| PutError::of(why, item, bytes.len())),
            Err(why) => Err(PutError::Encode(item, why)),
        }
    }

    fn get_with(&self, patience: Patience) -> Result<T, GetError> {
        let mut bytes = Spare::new();
        self.0.get(&mut bytes, patience)?;
        decoded(&bytes)
    }
}

impl<T> Queue<T> {
    /// How many items are in it: at this moment, which is over when this returns.
    ///
    /// ```
    /// use concurrent_futures_ipc::Queue;
    ///
    /// let queue = Queue::new()?;
    /// queue.put(1)?;
    /// assert_eq!(queue.qsize(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn qsize(&self) -> usize {
        self.0.peek().items as usize
    }

    /// Whether nothing is in it, at this moment. What was put in before by this thread is there.
    ///
    /// ```
    /// use concurrent_futures_ipc::Queue;
    ///
    /// assert!(Queue::<u32>::new()?.is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.qsize() == 0
    }

    /// Whether one more item would have to wait, at this moment, for the number of those that are in it.
    ///
    /// ```
    /// use concurrent_futures_ipc::Queue;
    ///
    /// let queue = Queue::bounded(1)?;
    /// queue.put(1)?;
    /// assert!(queue.is_full());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_full(&self) -> bool {
        self.0.peek().items >= self.0.shape.limit
    }

    /// Closes it, for all: what is in it can be taken out, and nothing be put in. Wakes all who wait. To close it once
    /// more does nothing.
    ///
    /// ```
    /// use concurrent_futures_ipc::{PutError, Queue};
    ///
    /// let queue = Queue::new()?;
    /// queue.put(1)?;
    /// queue.close()?;
    /// assert!(matches!(queue.put(2), Err(PutError::Closed(2))));
    /// assert_eq!(queue.get()?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The memory of the queue has been spoilt, or the kernel has refused something.
    pub fn close(&self) -> io::Result<()> {
        self.0.locked()?.close()
    }

    /// Whether it is closed.
    ///
    /// ```
    /// use concurrent_futures_ipc::Queue;
    ///
    /// let queue = Queue::<u32>::new()?;
    /// queue.close()?;
    /// assert!(queue.is_closed());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn is_closed(&self) -> bool {
        self.0.peek().closed
    }
}

/// How many items that is, for the store.
fn items(limit: usize) -> io::Result<u32> {
    if limit == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a queue for no items"));
    }
    Ok(u32::try_from(limit).unwrap_or(u32::MAX))
}

fn encoded<T: Serialize>(item: &T) -> Result<Spare, String> {
    let mut bytes = Spare::new();
    // What would travel beside it is refused, by itself, or, if it is one of `ipc-channel`'s, here.
    match codec::encode_beside(item, &mut bytes, codec::MAX_HANDLES) {
        Ok(_) => Ok(bytes),
        Err(failure) => Err(failure.into_message()),
    }
}

fn decoded<T: Portable>(bytes: &[u8]) -> Result<T, GetError> {
    codec::decode(bytes).map_err(|failure| GetError::Decode(failure.into_message()))
}

/// Ready when there is something to get, and when the queue is closed.
impl<T> Pollable for Queue<T> {
    fn watch(&self) -> io::Result<Watch<'_>> {
        self.0.watch()
    }
}

/// The items of a queue; see [`Queue::iter`].
#[derive(Debug)]
pub struct QueueIter<'a, T> {
    queue: &'a Queue<T>,
    ended: bool,
}

impl<T: Portable> Iterator for QueueIter<'_, T> {
    type Item = Result<T, GetError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let got = self.queue.get();
        self.ended = matches!(got, Err(GetError::Closed | GetError::Io(_)));
        match got {
            Err(GetError::Closed) => None,
            got => Some(got),
        }
    }
}

impl<'a, T: Portable> IntoIterator for &'a Queue<T> {
    type Item = Result<T, GetError>;
    type IntoIter = QueueIter<'a, T>;

    fn into_iter(self) -> QueueIter<'a, T> {
        self.iter()
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Queue(self.0.clone(), PhantomData)
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.peek();
        f.debug_struct("Queue").field("items", &state.items).field("closed", &state.closed).finish_non_exhaustive()
    }
}

/// What travels as bytes.
#[derive(Serialize, Deserialize)]
struct Ticket {
    /// The places of the descriptors.
    memory: u32,
    bell: u32,
    shape: Shape,
}

impl<T> Serialize for Queue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let put =
            |attachment| attach::put(attachment).map_err(|error| ser::Error::custom(format_args!("a Queue: {error}")));
        let (memory, bell) = (put(self.0.memory.attachment())?, put(self.0.bell.attachment())?);
        Ticket { memory, bell, shape: self.0.shape }.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Queue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Ticket { memory, bell, shape } = Ticket::deserialize(deserializer)?;
        let opened = || {
            let take = |place| attach::take(place).map_err(io::Error::other);
            let size = shape.size().ok_or(io::ErrorKind::InvalidData)?;
            let memory = SharedMemory::adopt(take(memory)?, size)?;
            Store::open(Arc::new(memory), Doorbell::from(take(bell)?), shape)
        };
        match opened() {
            Ok(store) => Ok(Queue(Arc::new(store), PhantomData)),
            Err(error) => Err(de::Error::custom(format_args!("a Queue: {error}"))),
        }
    }
}
