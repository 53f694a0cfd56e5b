//! A queue that knows when all that was put in has been done.

use super::store::Store;
use super::waiting::Patience;
use super::{DoneError, Queue, items};
use crate::connection::{Pollable, Watch};
use concurrent_futures_core::Portable;
use serde::{Deserialize, Serialize};
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// A [`Queue`] that counts what has been put in and not been [done](Self::task_done), so that one can wait until all of
/// it is. It has all the methods of a `Queue`.
///
/// ```
/// use concurrent_futures_ipc::JoinableQueue;
///
/// let queue = JoinableQueue::new()?;
/// queue.put("work".to_owned())?;
/// let work = queue.get()?;
/// println!("{work} is done");
/// queue.task_done().unwrap();
/// queue.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # A worker that dies
///
/// What it had got and not said to be done is unfinished, and stays so: nobody has done it. Whoever sees to the workers
/// learns of the death ([`wait`](crate::connection::wait) takes a process, too), and puts the work in again, or says
/// that it is done in its place: `task_done` can be called by anybody. [`join_timeout`](Self::join_timeout) is for who
/// cannot rely on that.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct JoinableQueue<T>(Queue<T>);

impl<T: Portable> JoinableQueue<T> {
    /// An empty queue, for any number of items.
    ///
    /// ```
    /// concurrent_futures_ipc::JoinableQueue::<u32>::new()?.join()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As of [`Queue::new`].
    pub fn new() -> io::Result<Self> {
        Ok(JoinableQueue(Queue(Arc::new(Store::create(u32::MAX, true)?), PhantomData)))
    }

    /// An empty queue, for `limit` items.
    ///
    /// ```
    /// let queue = concurrent_futures_ipc::JoinableQueue::bounded(1)?;
    /// queue.put(1)?;
    /// assert!(queue.try_put(2).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As of [`Queue::bounded`].
    pub fn bounded(limit: usize) -> io::Result<Self> {
        Ok(JoinableQueue(Queue(Arc::new(Store::create(items(limit)?, true)?), PhantomData)))
    }
}

impl<T> JoinableQueue<T> {
    /// Says that an item which was got is done. To be called once for each, also for one that could not be decoded.
    ///
    /// ```
    /// # let queue = concurrent_futures_ipc::JoinableQueue::new()?;
    /// queue.put(1)?;
    /// queue.get()?;
    /// queue.task_done().unwrap();
    /// assert!(queue.task_done().is_err(), "there was one");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `TooMany`: as many were done as were put in.
    pub fn task_done(&self) -> Result<(), DoneError> {
        match self.0.0.locked().and_then(|locked| locked.done()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(DoneError::TooMany),
            Err(error) => Err(DoneError::Io(error)),
        }
    }

    /// How many have been put in and not been done.
    ///
    /// ```
    /// # let queue = concurrent_futures_ipc::JoinableQueue::new()?;
    /// queue.put(1)?;
    /// queue.get()?;
    /// assert_eq!((queue.qsize(), queue.unfinished()), (0, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unfinished(&self) -> usize {
        self.0.0.peek().unfinished as usize
    }

    /// Blocks until all that was put in has been done.
    ///
    /// ```
    /// # let queue = concurrent_futures_ipc::JoinableQueue::new()?;
    /// queue.put(1)?;
    /// queue.get()?;
    /// queue.task_done().unwrap();
    /// queue.join()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The memory of the queue has been spoilt, or the kernel has refused something.
    pub fn join(&self) -> io::Result<()> {
        self.0.0.join(Patience::Endless).map(drop)
    }

    /// The same, at most for `timeout`. `false`: some are unfinished.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let queue = concurrent_futures_ipc::JoinableQueue::new()?;
    /// queue.put(1)?;
    /// assert!(!queue.join_timeout(Duration::from_millis(1))?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As of [`join`](Self::join).
    pub fn join_timeout(&self, timeout: Duration) -> io::Result<bool> {
        self.0.0.join(Patience::of(timeout))
    }
}

impl<T> Deref for JoinableQueue<T> {
    type Target = Queue<T>;

    fn deref(&self) -> &Queue<T> {
        &self.0
    }
}

impl<T> Clone for JoinableQueue<T> {
    fn clone(&self) -> Self {
        JoinableQueue(self.0.clone())
    }
}

impl<T> Pollable for JoinableQueue<T> {
    fn watch(&self) -> io::Result<Watch<'_>> {
        self.0.watch()
    }
}
