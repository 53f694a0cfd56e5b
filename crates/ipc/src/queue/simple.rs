//! The least of a queue.

use super::{GetError, PutError, Queue};
use crate::connection::{Pollable, Watch};
use concurrent_futures_core::Portable;
use serde::{Deserialize, Serialize};
use std::io;

/// A queue of few words: put, get, empty, close. Python's `multiprocessing.SimpleQueue`; what is said of [`Queue`]
/// holds for it, too.
///
/// ```
/// use concurrent_futures_ipc::SimpleQueue;
///
/// let queue = SimpleQueue::new()?;
/// queue.put(7)?;
/// assert!(!queue.is_empty());
/// assert_eq!(queue.get()?, 7);
/// queue.close()?;
/// queue.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct SimpleQueue<T>(Queue<T>);

impl<T: Portable> SimpleQueue<T> {
    /// An empty queue, for any number of items.
    ///
    /// ```
    /// assert!(concurrent_futures_ipc::SimpleQueue::<u32>::new()?.is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As of [`Queue::new`].
    pub fn new() -> io::Result<Self> {
        Queue::new().map(SimpleQueue)
    }

    /// Puts an item in.
    ///
    /// ```
    /// concurrent_futures_ipc::SimpleQueue::new()?.put(1)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As of [`Queue::put`].
    pub fn put(&self, item: T) -> Result<(), PutError<T>> {
        self.0.put(item)
    }

    /// Takes the first item out; blocks until there is one.
    ///
    /// ```
    /// # let queue = concurrent_futures_ipc::SimpleQueue::new()?;
    /// queue.put(1)?;
    /// assert_eq!(queue.get()?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As of [`Queue::get`].
    pub fn get(&self) -> Result<T, GetError> {
        self.0.get()
    }
}

impl<T> SimpleQueue<T> {
    /// Whether nothing is in it, at this moment.
    ///
    /// ```
    /// assert!(concurrent_futures_ipc::SimpleQueue::<u32>::new()?.is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Closes it, for all; see [`Queue::close`].
    ///
    /// ```
    /// let queue = concurrent_futures_ipc::SimpleQueue::new()?;
    /// queue.close()?;
    /// assert!(queue.put(1).is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As of [`Queue::close`].
    pub fn close(&self) -> io::Result<()> {
        self.0.close()
    }
}

impl<T> Clone for SimpleQueue<T> {
    fn clone(&self) -> Self {
        SimpleQueue(self.0.clone())
    }
}

impl<T> Pollable for SimpleQueue<T> {
    fn watch(&self) -> io::Result<Watch<'_>> {
        self.0.watch()
    }
}
