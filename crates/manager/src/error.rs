//! What can go wrong with an object that another process has.

use concurrent_futures_core::Panic;
use std::error::Error;
use std::fmt;
use std::io;

/// Why an object of a manager did not do what was asked.
///
/// ```
/// use concurrent_futures_manager::{Manager, ManagerError};
///
/// let manager = Manager::new()?;
/// let list = manager.list([1, 2, 3])?;
/// let error = list.object().call(|list, at: usize| list[at], 7).unwrap_err();
/// assert!(matches!(&error, ManagerError::Panicked(panic) if panic.message().contains("index")));
///
/// manager.shutdown()?;
/// assert!(matches!(list.len(), Err(ManagerError::Gone(_))));
/// # Ok::<(), ManagerError>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ManagerError {
    /// The server has ended, or the connection to it has. Whether the last request was carried out is not known.
    Gone(io::Error),
    /// The server could not be started, or its initializer has failed.
    NotStarted(String),
    /// One side does not have the other's key, or belongs to another user, or is no manager.
    Refused(String),
    /// The server runs another build of this program. Functions are called by their place in it.
    OtherBuild,
    /// There is no such object in the server (any more).
    NoSuchObject,
    /// Nothing was published under that name.
    NoSuchName(String),
    /// The object is of another type than the handle.
    WrongType {
        /// What the handle is for.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The function panicked in the server. The object stays as the function has left it.
    Panicked(Panic),
    /// An argument, an item or a result could not be sent.
    Codec(String),
    /// It takes more than one message can have: a gibibyte, 65535 handles, 4096 descriptors. On its way from the server a handle has a
    /// descriptor, so a queue takes no item with more than 4096 of both.
    TooLarge,
    /// There is no such place.
    OutOfRange {
        /// The place that was asked for.
        index: usize,
        /// How many there are.
        len: usize,
    },
    /// This thread does not hold the lock.
    NotOwner,
    /// More permits than the semaphore may have; or `task_done` more often than there were items.
    OverRelease,
    /// Somebody who waited at the barrier has given up or died, or it was aborted.
    BrokenBarrier,
    /// The queue was closed, and nothing is left in it.
    Closed,
    /// The queue has no room now.
    Full,
    /// The queue has nothing now.
    Empty,
    /// The time is over.
    TimedOut,
    /// This thread, or a function that waits for this one, already has what it would wait for, so it would wait for ever.
    Deadlock,
    /// The request makes no sense; why.
    Invalid(String),
    /// The server could not have a descriptor or a thread that it needed.
    Scarce(String),
    /// This process could not have a descriptor that it needed.
    Io(io::Error),
}

impl fmt::Display for ManagerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ManagerError::Gone(error) => write!(f, "the manager is gone, or the connection to it: {error}"),
            ManagerError::NotStarted(why) => write!(f, "the manager did not start: {why}"),
            ManagerError::Refused(why) => write!(f, "the manager was not to be reached: {why}"),
            ManagerError::OtherBuild => f.write_str(
                "the manager runs another build of this program, where functions are elsewhere; start the same file on both sides",
            ),
            ManagerError::NoSuchObject => f.write_str("the manager has no such object any more"),
            ManagerError::NoSuchName(name) => write!(f, "nothing was published as {name:?}"),
            ManagerError::WrongType { expected, found } => write!(f, "the object is {found}, not {expected}"),
            ManagerError::Panicked(panic) => write!(f, "in the manager the function {panic}"),
            ManagerError::Codec(words) => write!(f, "it could not be sent: {words}"),
            ManagerError::TooLarge => f.write_str("it is too large for one message: a gibibyte, 65535 handles, 4096 descriptors (or handles from the server)"),
            ManagerError::OutOfRange { index, len } => write!(f, "there is no place {index} among {len}"),
            ManagerError::NotOwner => f.write_str("this thread does not hold it"),
            ManagerError::OverRelease => f.write_str("released more often than taken"),
            ManagerError::BrokenBarrier => f.write_str("the barrier is broken: somebody gave up, died, or aborted it"),
            ManagerError::Closed => f.write_str("the queue is closed"),
            ManagerError::Full => f.write_str("the queue is full"),
            ManagerError::Empty => f.write_str("the queue is empty"),
            ManagerError::TimedOut => f.write_str("not in the time that was given"),
            ManagerError::Deadlock => f.write_str("this thread would wait for itself for ever"),
            ManagerError::Invalid(why) => write!(f, "the manager cannot do that: {why}"),
            ManagerError::Scarce(what) => write!(f, "the manager is short of something: {what}"),
            ManagerError::Io(error) => write!(f, "this process is short of something: {error}"),
        }
    }
}

impl Error for ManagerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ManagerError::Gone(error) | ManagerError::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// A lock could not be taken, or it could, and its owner before has died.
///
/// ```
/// use concurrent_futures_manager::{LockError, Manager};
///
/// let manager = Manager::new()?;
/// let lock = manager.lock()?;
/// let guard = match lock.lock() {
///     Ok(guard) => guard,
///     Err(LockError::OwnerDied(guard)) => guard, // repair here what the lock guards
///     Err(LockError::Failed(error)) => return Err(error.into()),
/// };
/// # drop(guard);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub enum LockError<G> {
    /// It is held now, and who held it before has died with it: what it guards may be half done. Said once.
    OwnerDied(G),
    /// It is not held.
    Failed(ManagerError),
}

impl<G> LockError<G> {
    /// The guard, where it does not matter that the owner before has died: `lock.lock().or_else(LockError::recover)?`.
    ///
    /// # Errors
    /// The lock is not held.
    pub fn recover(self) -> Result<G, ManagerError> {
        match self {
            LockError::OwnerDied(guard) => Ok(guard),
            LockError::Failed(error) => Err(error),
        }
    }
}

impl<G> From<ManagerError> for LockError<G> {
    fn from(error: ManagerError) -> Self {
        LockError::Failed(error)
    }
}

impl<G> fmt::Debug for LockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::OwnerDied(_) => f.write_str("OwnerDied(..)"),
            LockError::Failed(error) => f.debug_tuple("Failed").field(error).finish(),
        }
    }
}

impl<G> fmt::Display for LockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::OwnerDied(_) => f.write_str("who held the lock before has died with it"),
            LockError::Failed(error) => error.fmt(f),
        }
    }
}

impl<G> Error for LockError<G> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            LockError::OwnerDied(_) => None,
            LockError::Failed(error) => error.source(),
        }
    }
}

/// What a queue did not take, and why.
///
/// ```
/// use concurrent_futures_manager::{Manager, ManagerError};
///
/// let manager = Manager::new()?;
/// let queue = manager.bounded_queue(1)?;
/// queue.put("one".to_owned())?;
/// let not_put = queue.try_put("two".to_owned()).unwrap_err();
/// assert!(matches!(not_put.error, ManagerError::Full));
/// assert_eq!(not_put.item, "two");
/// # Ok::<(), ManagerError>(())
/// ```
pub struct NotPut<T> {
    /// The item.
    pub item: T,
    /// Why it is not in the queue. After [`ManagerError::Gone`] it may have been.
    pub error: ManagerError,
}

impl<T> From<NotPut<T>> for ManagerError {
    fn from(not_put: NotPut<T>) -> Self {
        not_put.error
    }
}

impl<T> fmt::Debug for NotPut<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotPut").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for NotPut<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> Error for NotPut<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}
