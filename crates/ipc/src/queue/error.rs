//! What can go wrong at a queue.

use super::waiting::{NotGot, NotPut};
use std::error::Error;
use std::fmt;
use std::io;

/// Why an item was not put into a queue. It gives the item back.
///
/// ```
/// use concurrent_futures_ipc::{PutError, Queue};
///
/// let queue = Queue::bounded(1)?;
/// queue.put("first".to_owned())?;
/// let error = queue.try_put("second".to_owned()).unwrap_err();
/// assert!(matches!(error, PutError::Full(_)));
/// assert_eq!(error.into_item(), "second");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
pub enum PutError<T> {
    /// There is no room now.
    Full(T),
    /// There was no room in time.
    TimedOut(T),
    /// The queue is closed.
    Closed(T),
    /// It could not be encoded, says its `Serialize`.
    Encode(T, String),
    /// It is larger than the whole queue: so many bytes, of at most so many.
    TooLarge {
        /// The item.
        item: T,
        /// Its bytes, encoded.
        len: usize,
        /// The bytes of the queue.
        limit: u64,
    },
    /// What the kernel has refused; or the memory of the queue has been spoilt.
    Io(T, io::Error),
}

impl<T> PutError<T> {
    pub(super) fn of(why: NotPut, item: T, len: usize) -> Self {
        match why {
            NotPut::Full => PutError::Full(item),
            NotPut::TimedOut => PutError::TimedOut(item),
            NotPut::Closed => PutError::Closed(item),
            NotPut::TooLarge { limit } => PutError::TooLarge { item, len, limit },
            NotPut::Io(error) => PutError::Io(item, error),
        }
    }

    /// The item.
    pub fn into_item(self) -> T {
        match self {
            PutError::Full(item)
            | PutError::TimedOut(item)
            | PutError::Closed(item)
            | PutError::Encode(item, _)
            | PutError::TooLarge { item, .. }
            | PutError::Io(item, _) => item,
        }
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PutError::Full(_) => f.write_str("the queue is full"),
            PutError::TimedOut(_) => f.write_str("the queue was full all the time"),
            PutError::Closed(_) => f.write_str("the queue is closed"),
            PutError::Encode(_, why) => write!(f, "the item could not be encoded: {why}"),
            PutError::TooLarge { len, limit, .. } => {
                write!(f, "the item has {len} bytes, and the whole queue has {limit}: put in parts of it")
            }
            PutError::Io(_, error) => write!(f, "the queue cannot be used: {error}"),
        }
    }
}

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PutError({self})")
    }
}

impl<T> Error for PutError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            PutError::Io(_, error) => Some(error),
            _ => None,
        }
    }
}

impl<T> From<PutError<T>> for io::Error {
    fn from(error: PutError<T>) -> Self {
        let kind = match error {
            PutError::Io(_, error) => return error,
            PutError::Full(_) => io::ErrorKind::WouldBlock,
            PutError::TimedOut(_) => io::ErrorKind::TimedOut,
            PutError::Closed(_) => io::ErrorKind::BrokenPipe,
            PutError::Encode(..) | PutError::TooLarge { .. } => io::ErrorKind::InvalidInput,
        };
        io::Error::new(kind, error.to_string())
    }
}

/// Why nothing was got from a queue.
///
/// ```
/// use concurrent_futures_ipc::{GetError, Queue};
///
/// let queue = Queue::<u32>::new()?;
/// assert!(matches!(queue.try_get(), Err(GetError::Empty)));
/// queue.close()?;
/// assert!(matches!(queue.get(), Err(GetError::Closed)));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum GetError {
    /// Nothing is there now.
    Empty,
    /// Nothing was there in time.
    TimedOut,
    /// The queue is closed, and empty.
    Closed,
    /// What was there is no value of the expected type, says its `Deserialize`. It is out of the queue.
    Decode(String),
    /// What the kernel has refused; or the memory of the queue has been spoilt.
    Io(io::Error),
}

impl From<NotGot> for GetError {
    fn from(why: NotGot) -> Self {
        match why {
            NotGot::Empty => GetError::Empty,
            NotGot::TimedOut => GetError::TimedOut,
            NotGot::Closed => GetError::Closed,
            NotGot::Io(error) => GetError::Io(error),
        }
    }
}

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GetError::Empty => f.write_str("the queue is empty"),
            GetError::TimedOut => f.write_str("the queue was empty all the time"),
            GetError::Closed => f.write_str("the queue is closed and empty"),
            GetError::Decode(why) => write!(f, "the item could not be decoded: {why}"),
            GetError::Io(error) => write!(f, "the queue cannot be used: {error}"),
        }
    }
}

impl Error for GetError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            GetError::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<GetError> for io::Error {
    fn from(error: GetError) -> Self {
        let kind = match error {
            GetError::Io(error) => return error,
            GetError::Empty => io::ErrorKind::WouldBlock,
            GetError::TimedOut => io::ErrorKind::TimedOut,
            GetError::Closed => io::ErrorKind::UnexpectedEof,
            GetError::Decode(_) => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, error)
    }
}

/// Why an item was not counted as done; see [`JoinableQueue::task_done`](super::JoinableQueue::task_done).
///
/// ```
/// use concurrent_futures_ipc::{DoneError, JoinableQueue};
///
/// let queue = JoinableQueue::<u32>::new()?;
/// assert!(matches!(queue.task_done(), Err(DoneError::TooMany)));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum DoneError {
    /// Nothing is unfinished: as many were done as were put in.
    TooMany,
    /// The memory of the queue has been spoilt, or the kernel has refused something.
    Io(io::Error),
}

impl fmt::Display for DoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DoneError::TooMany => f.write_str("task_done() was called more often than items were put in"),
            DoneError::Io(error) => write!(f, "the queue cannot be used: {error}"),
        }
    }
}

impl Error for DoneError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            DoneError::Io(error) => Some(error),
            DoneError::TooMany => None,
        }
    }
}
