//! Queues.

use super::handle;
use crate::client::{Patience, RawHandle, Response};
use crate::entry::encode_for;
use crate::error::{ManagerError, NotPut};
use crate::wire::{Kind, Op};
use concurrent_futures_core::Portable;
use std::marker::PhantomData;
use std::time::Duration;

/// A handle of a queue in a manager, for any number of producers and consumers; made by
/// [`ManagerClient::queue`](crate::ManagerClient::queue) and [`bounded_queue`](crate::ManagerClient::bounded_queue).
///
/// A process that dies loses no item but the one that it has just got. Items may be or have handles.
///
/// ```
/// use concurrent_futures_manager::{ManagedQueue, Manager};
/// use concurrent_futures_process::Process;
///
/// fn consume(queue: ManagedQueue<u32>) {
///     for item in queue.iter() {
///         assert!(item.expect("the manager is there") < 50);
///         queue.task_done().expect("the manager is there");
///     }
/// }
///
/// let manager = Manager::new()?;
/// let queue = manager.bounded_queue(10)?;
/// let consumer = Process::start(consume, queue.clone())?;
/// for number in 0..50_u32 {
///     queue.put(number)?;
/// }
/// queue.join()?; // until all are done
/// queue.close()?;
/// assert!(consumer.join()?.success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ManagedQueue<T> {
    raw: RawHandle,
    item: PhantomData<fn(T) -> T>,
}

handle!(ManagedQueue<T>, Kind::Queue);

impl<T: Portable> ManagedQueue<T> {
    /// Puts an item in, and waits for room.
    ///
    /// # Errors
    /// The queue is closed; the item cannot be sent; the server is gone.
    pub fn put(&self, item: T) -> Result<(), NotPut<T>> {
        self.put_with(item, Patience::Forever, ManagerError::TimedOut)
    }

    /// Puts an item in, if there is room now.
    ///
    /// # Errors
    /// There is none: [`ManagerError::Full`]; as of [`put`](Self::put).
    pub fn try_put(&self, item: T) -> Result<(), NotPut<T>> {
        self.put_with(item, Patience::None, ManagerError::Full)
    }

    /// Puts an item in, and waits for room, but not longer than that.
    ///
    /// # Errors
    /// There was none: [`ManagerError::TimedOut`]; as of [`put`](Self::put).
    pub fn put_timeout(&self, item: T, timeout: Duration) -> Result<(), NotPut<T>> {
        self.put_with(item, Patience::of(timeout), ManagerError::TimedOut)
    }

    fn put_with(&self, item: T, patience: Patience, otherwise: ManagerError) -> Result<(), NotPut<T>> {
        let outgoing = encode_for(self.raw.server().id(), &item).map_err(ManagerError::Codec);
        match outgoing.and_then(|outgoing| self.raw.ask_with(Op::Put, 0, outgoing, patience)) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(NotPut { item, error: otherwise }),
            Err(error) => Err(NotPut { item, error }),
        }
    }

    /// Takes the next item out, and waits for one.
    ///
    /// # Errors
    /// The queue is closed and nothing is left in it: [`ManagerError::Closed`]; the item cannot be decoded; the server is gone.
    pub fn get(&self) -> Result<T, ManagerError> {
        self.get_with(Patience::Forever, ManagerError::TimedOut)
    }

    /// Takes the next item out, if there is one now.
    ///
    /// # Errors
    /// There is none: [`ManagerError::Empty`]; as of [`get`](Self::get).
    pub fn try_get(&self) -> Result<T, ManagerError> {
        self.get_with(Patience::None, ManagerError::Empty)
    }

    /// Takes the next item out, and waits for one, but not longer than that.
    ///
    /// # Errors
    /// There was none: [`ManagerError::TimedOut`]; as of [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, ManagerError> {
        self.get_with(Patience::of(timeout), ManagerError::TimedOut)
    }

    fn get_with(&self, patience: Patience, otherwise: ManagerError) -> Result<T, ManagerError> {
        self.raw.ask_for(Op::Get, 0, patience)?.ok_or(otherwise)?.open()
    }

    /// The items, until the queue is closed and empty. An error is the last one, unless an item was taken that cannot be decoded
    /// ([`ManagerError::Codec`]): the next may be another matter.
    ///
    /// ```
    /// use concurrent_futures_manager::Manager;
    ///
    /// let manager = Manager::new()?;
    /// let queue = manager.queue()?;
    /// for number in 1..=10 {
    ///     queue.put(number)?;
    /// }
    /// queue.close()?;
    /// assert_eq!(queue.iter().sum::<Result<u32, _>>()?, 55);
    /// # Ok::<(), concurrent_futures_manager::ManagerError>(())
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = Result<T, ManagerError>> + '_ {
        let mut ended = false;
        std::iter::from_fn(move || {
            let taken = (!ended).then(|| self.raw.ask_for(Op::Get, 0, Patience::Forever))?;
            // What was not taken is still the next one: to ask again would not end.
            ended = !matches!(taken, Ok(Some(_)));
            match taken {
                Ok(item) => Some(item.ok_or(ManagerError::TimedOut).and_then(Response::open)),
                Err(ManagerError::Closed) => None,
                Err(error) => Some(Err(error)),
            }
        })
    }

    /// How many items there are. When this has returned it may be another number.
    ///
    /// # Errors
    /// The server is gone.
    pub fn len(&self) -> Result<usize, ManagerError> {
        self.raw.ask(Op::State).map(|state| state.map_or(0, |state| state.number as usize))
    }

    /// Whether there are none.
    ///
    /// # Errors
    /// The server is gone.
    pub fn is_empty(&self) -> Result<bool, ManagerError> {
        self.len().map(|len| len == 0)
    }

    /// Takes no more items; those that are in it can be got.
    ///
    /// # Errors
    /// The server is gone.
    pub fn close(&self) -> Result<(), ManagerError> {
        self.raw.ask(Op::Close).map(drop)
    }

    /// Says that an item that was got is done with. [`join`](Self::join) waits for as many as there were items.
    ///
    /// # Errors
    /// There were not so many: [`ManagerError::OverRelease`]; the server is gone.
    pub fn task_done(&self) -> Result<(), ManagerError> {
        self.raw.ask(Op::TaskDone).map(drop)
    }

    /// Waits until all items that were put are done.
    ///
    /// # Errors
    /// The server is gone.
    pub fn join(&self) -> Result<(), ManagerError> {
        self.raw.ask_for(Op::Join, 0, Patience::Forever).map(drop)
    }

    /// As [`join`](Self::join), but not longer than that. Whether they are.
    ///
    /// # Errors
    /// The server is gone.
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool, ManagerError> {
        self.raw.ask_for(Op::Join, 0, Patience::of(timeout)).map(|done| done.is_some())
    }
}
