//! Descriptors that travel beside a value.
//!
//! A lock, a pipe or a piece of shared memory cannot be bytes: what it is lies in the kernel, and a descriptor names it. A type
//! of that kind writes itself as a number, the place of its descriptor among those of the message: its `Serialize` calls
//! [`put`], its `Deserialize` calls [`take`]. Both work only while somebody encodes for another process ([`collect`]), or
//! decodes what came from there ([`provide`]), and says so with an error anywhere else.
//!
//! The descriptors stay open in this process, so a task that has some can be sent again: it is retried, and outlives the worker
//! that had it, as any other.
//!
//! ```
//! # #[cfg(unix)] {
//! use concurrent_futures_core::attach::{self, Arrived, Attachment};
//! use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
//!
//! struct Shared(Attachment);
//!
//! impl Serialize for Shared {
//!     fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
//!         attach::put(&self.0).map_err(ser::Error::custom)?.serialize(serializer)
//!     }
//! }
//!
//! impl<'de> Deserialize<'de> for Shared {
//!     fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
//!         attach::take(u32::deserialize(deserializer)?).map(Shared).map_err(de::Error::custom)
//!     }
//! }
//!
//! // What an executor over processes does, on both sides; here they are one.
//! let (reader, _writer) = std::io::pipe()?;
//! let mut descriptors = Vec::new();
//! let bytes = attach::collect(&mut descriptors, || postcard::to_allocvec(&Shared(Attachment::new(reader.into()))))?;
//! let arrived = Arrived::all(descriptors);
//! let back: Shared = attach::provide(arrived, || postcard::from_bytes(&bytes))?;
//!
//! let error = postcard::to_allocvec(&back);
//! assert!(error.is_err(), "nobody is there who would send the descriptor");
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// So many descriptors may travel with one task, with one result, or with one context.
pub const MAX: usize = 4096;

#[cfg(unix)]
#[derive(Debug)]
struct Resource {
    fd: OwnedFd,
    /// Behind the descriptor, so that it is closed first.
    after: Option<After>,
}
/// Nothing that could be attached is known on this system.
#[cfg(not(unix))]
#[derive(Debug)]
enum Resource {}

/// An open descriptor that can travel with any number of messages; cloning it opens nothing.
#[derive(Clone, Debug)]
pub struct Attachment(Arc<Resource>);

/// What is called when it is dropped.
#[cfg(unix)]
struct After(Option<Box<dyn FnOnce() + Send + Sync>>);

#[cfg(unix)]
impl Drop for After {
    fn drop(&mut self) {
        if let Some(call) = self.0.take() {
            call();
        }
    }
}

#[cfg(unix)]
impl fmt::Debug for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a function")
    }
}

#[cfg(unix)]
impl Attachment {
    /// To be closed when the last clone, and the last message that it goes with, is gone.
    ///
    /// ```
    /// use concurrent_futures_core::attach::Attachment;
    /// use std::os::fd::AsFd;
    ///
    /// let (reader, _writer) = std::io::pipe()?;
    /// let attachment = Attachment::new(reader.into());
    /// assert!(attachment.clone().into_fd()?.as_fd().try_clone_to_owned().is_ok());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new(descriptor: OwnedFd) -> Self {
        Attachment(Arc::new(Resource { fd: descriptor, after: None }))
    }

    /// The same; `after` is called when the descriptor is closed, in the thread that has dropped the last clone or the last
    /// message. It must be quick, must not wait for anybody, and must not panic.
    ///
    /// ```
    /// use concurrent_futures_core::attach::Attachment;
    /// use std::sync::mpsc;
    ///
    /// let (reader, _writer) = std::io::pipe()?;
    /// let (closed, is_closed) = mpsc::sync_channel(1);
    /// let attachment = Attachment::with_end(reader.into(), move || closed.send(()).expect("there is room"));
    /// assert!(is_closed.try_recv().is_err());
    /// drop(attachment);
    /// is_closed.try_recv()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_end(descriptor: OwnedFd, after: impl FnOnce() + Send + Sync + 'static) -> Self {
        Attachment(Arc::new(Resource { fd: descriptor, after: Some(After(Some(Box::new(after)))) }))
    }

    /// The descriptor itself, or a duplicate where somebody else still has a clone, or is called at its end.
    ///
    /// # Errors
    /// A duplicate was needed, and none could be made.
    pub fn into_fd(self) -> std::io::Result<OwnedFd> {
        match Arc::try_unwrap(self.0) {
            Ok(Resource { fd, after: None }) => Ok(fd),
            Ok(Resource { fd, after: Some(_) }) => fd.try_clone(),
            Err(shared) => shared.fd.try_clone(),
        }
    }
}

#[cfg(unix)]
impl AsFd for Attachment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

/// What came with a message.
#[derive(Clone, Debug, Default)]
pub struct Arrived {
    attachments: Vec<Attachment>,
    sent: usize,
}

impl Arrived {
    /// Everything that was sent.
    pub fn all(attachments: Vec<Attachment>) -> Self {
        Arrived { sent: attachments.len(), attachments }
    }

    /// The first of `sent`; for the others this process had no descriptor left.
    pub fn some(attachments: Vec<Attachment>, sent: usize) -> Self {
        Arrived { sent: sent.max(attachments.len()), attachments }
    }

    /// There was nothing.
    pub fn is_empty(&self) -> bool {
        self.sent == 0
    }
}

/// Why something cannot be attached, or is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttachError {
    /// It was serialized, and not in order to be sent to another process of this program.
    NotSending,
    /// It was deserialized, and not from what another process of this program has sent.
    NotReceiving,
    /// It would be one more than [`MAX`].
    TooMany,
    /// So many came, and this is none of them.
    Unknown(usize),
    /// This process had no descriptor left when it came.
    Lost,
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttachError::NotSending => f.write_str(
                "it can only travel to another process of this program, as (part of) what a task, a process or a connection takes there, for its \
                 descriptor must travel with it",
            ),
            AttachError::NotReceiving => f.write_str(
                "it can only come from another process of this program, as (part of) what a task, a process or a connection brings, for its \
                 descriptor must come with it",
            ),
            AttachError::TooMany => write!(f, "more than {MAX} descriptors in one message"),
            AttachError::Unknown(sent) => write!(f, "another descriptor than one of the {sent} that came with the message"),
            AttachError::Lost => f.write_str("its descriptor did not arrive: this process may not have more (RLIMIT_NOFILE)"),
        }
    }
}

impl std::error::Error for AttachError {}

thread_local! {
    /// What is being encoded in this thread takes these along.
    static OUT: RefCell<Option<Vec<Attachment>>> = const { RefCell::new(None) };
    /// What is being decoded in this thread came with these.
    static IN: RefCell<Option<Arrived>> = const { RefCell::new(None) };
}

/// Adds what will travel beside the value that is being encoded, once, and gives its place.
///
/// # Errors
/// Nobody encodes for another process, or there are too many.
pub fn put(attachment: &Attachment) -> Result<u32, AttachError> {
    OUT.with_borrow_mut(|out| {
        let out = out.as_mut().ok_or(AttachError::NotSending)?;
        if let Some(place) = out.iter().rposition(|other| Arc::ptr_eq(&other.0, &attachment.0)) {
            return Ok(place as u32);
        }
        if out.len() == MAX {
            return Err(AttachError::TooMany);
        }
        out.push(attachment.clone());
        Ok(out.len() as u32 - 1)
    })
}

/// Gives what was [`put`] at this place. It may be asked for more than once.
///
/// # Errors
/// Nobody decodes what came from another process, or it did not come.
pub fn take(place: u32) -> Result<Attachment, AttachError> {
    IN.with_borrow(|arrived| {
        let arrived = arrived.as_ref().ok_or(AttachError::NotReceiving)?;
        let place = place as usize;
        arrived.attachments.get(place).cloned().ok_or(if place < arrived.sent {
            AttachError::Lost
        } else {
            AttachError::Unknown(arrived.sent)
        })
    })
}

/// Whether [`put`] would find somebody who sends.
pub fn is_collecting() -> bool {
    OUT.with_borrow(Option::is_some)
}

/// Runs `encode`; what is put in this thread meanwhile is added to `attachments`.
///
/// For authors of executors over processes: around [`Task::encode`](crate::Task::encode), and around what
/// [`WorkerEnv::encode`](crate::task::WorkerEnv::encode) is given.
pub fn collect<R>(attachments: &mut Vec<Attachment>, encode: impl FnOnce() -> R) -> R {
    struct Scope<'a>(&'a mut Vec<Attachment>, Option<Vec<Attachment>>);
    impl Drop for Scope<'_> {
        fn drop(&mut self) {
            *self.0 = OUT.replace(self.1.take()).unwrap_or_default();
        }
    }
    let outer = OUT.replace(Some(std::mem::take(attachments)));
    let _scope = Scope(attachments, outer);
    encode()
}

/// Runs `decode`, which can take what has arrived.
///
/// For authors of executors over processes: around what [`WorkerEnv::decode`](crate::task::WorkerEnv::decode) and
/// [`DecodeScope::enter`](crate::task::DecodeScope::enter) are given.
pub fn provide<R>(arrived: Arrived, decode: impl FnOnce() -> R) -> R {
    struct Scope(Option<Arrived>);
    impl Drop for Scope {
        fn drop(&mut self) {
            // Dropped when the thread-local is not borrowed any more.
            let _used = IN.replace(self.0.take());
        }
    }
    let _scope = Scope(IN.replace(Some(arrived)));
    decode()
}

#[cfg(all(test, unix, not(concurrent_futures_loom)))]
mod tests {
    use super::*;

    fn attachment() -> Attachment {
        Attachment::new(std::io::pipe().expect("a pipe").0.into())
    }

    #[test]
    fn what_is_put_twice_travels_once() {
        let (a, b) = (attachment(), attachment());
        let mut out = Vec::new();
        let places = collect(&mut out, || [&a, &b, &a.clone(), &b].map(|one| put(one).unwrap()));
        assert_eq!((places, out.len()), ([0, 1, 0, 1], 2));
        assert_eq!(collect(&mut out, || put(&attachment())), Ok(2), "the next value of the message goes on");
        provide(Arrived::all(out), || {
            assert!(take(0).is_ok() && take(0).is_ok() && take(2).is_ok());
            assert_eq!(take(3).unwrap_err(), AttachError::Unknown(3));
        });
    }

    #[test]
    fn scopes_nest_and_end_also_by_a_panic() {
        assert_eq!(put(&attachment()), Err(AttachError::NotSending));
        assert_eq!(take(0).unwrap_err(), AttachError::NotReceiving);
        let (mut outer, mut inner) = (Vec::new(), Vec::new());
        collect(&mut outer, || {
            put(&attachment()).unwrap();
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                collect(&mut inner, || {
                    assert_eq!(put(&attachment()), Ok(0));
                    std::panic::resume_unwind(Box::new(()))
                })
            }));
            assert!(panicked.is_err() && is_collecting());
            assert_eq!(put(&attachment()), Ok(1));
        });
        assert_eq!((outer.len(), inner.len(), is_collecting()), (2, 1, false));
        provide(Arrived::some(outer, 3), || {
            provide(Arrived::all(inner), || assert_eq!(take(1).unwrap_err(), AttachError::Unknown(1)));
            assert!(take(1).is_ok());
            assert_eq!(take(2).unwrap_err(), AttachError::Lost);
        });
        assert_eq!(take(0).unwrap_err(), AttachError::NotReceiving);
    }

    #[test]
    fn there_is_a_limit() {
        let one = attachment().into_fd().unwrap();
        let many: Vec<_> = (0..=MAX).map(|_| Attachment::new(one.try_clone().unwrap())).collect();
        let outcome = collect(&mut Vec::new(), || many.iter().try_for_each(|one| put(one).map(drop)));
        assert_eq!(outcome, Err(AttachError::TooMany));
    }
}
