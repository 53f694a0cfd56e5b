//! What can be waited for together with other things.

use crate::reactor;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Something that is ready at some time, and that can be waited for with others of its kind: by [`wait`](super::wait),
/// or in async code by [`ready`](super::ready).
///
/// Connections are ready when there is something to receive, queues when there is something to get, and both when they
/// have come to their end. Whatever has a descriptor (sockets, pipes, listeners,
/// [pidfds](https://man7.org/linux/man-pages/man2/pidfd_open.2.html)) is ready when it is readable.
///
/// ```
/// use concurrent_futures_ipc::connection::Pollable;
/// use std::io::Write;
///
/// let (reader, mut writer) = std::io::pipe()?;
/// let mut watch = reader.watch()?;
/// assert!(!watch.is_ready()?);
/// writer.write_all(b"x")?;
/// assert!(watch.is_ready()?);
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Pollable {
    /// Begins to watch it.
    ///
    /// # Errors
    /// There is no descriptor left, or it has been moved away.
    fn watch(&self) -> io::Result<Watch<'_>>;
}

/// It is ready when its descriptor is readable.
impl<T: AsFd + ?Sized> Pollable for T {
    fn watch(&self) -> io::Result<Watch<'_>> {
        Ok(Watch(Kind::Plain(self.as_fd())))
    }
}

/// The watching of a [`Pollable`], until it is dropped. For those who write something like [`wait`](super::wait).
pub struct Watch<'a>(pub(super) Kind<'a>);

pub(super) enum Kind<'a> {
    /// The descriptor says all.
    Plain(BorrowedFd<'a>),
    Armed(Box<dyn Armed + Send + 'a>),
}

/// A watching of what is not only a descriptor, for those who implement [`Pollable`]. Dropping it ends the watching.
pub trait Armed {
    /// What becomes readable when it may be ready, after [`is_ready`](Self::is_ready) has said that it is not.
    fn descriptor(&self) -> BorrowedFd<'_>;

    /// Whether it is ready. If not, the descriptor is not readable any more, and will be as soon as it may be ready.
    ///
    /// # Errors
    /// As the type says.
    fn is_ready(&mut self) -> io::Result<bool>;
}

impl<'a> Watch<'a> {
    /// Of something that says by itself when it is ready.
    pub fn armed(armed: impl Armed + Send + 'a) -> Self {
        Watch(Kind::Armed(Box::new(armed)))
    }

    /// What becomes readable when it may be ready, after [`is_ready`](Self::is_ready) has said that it is not.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Kind::Plain(descriptor) => *descriptor,
            Kind::Armed(armed) => armed.descriptor(),
        }
    }

    /// Whether it is ready now. If not, [`descriptor`](Self::descriptor) becomes readable as soon as it may be.
    ///
    /// # Errors
    /// What calling the kernel can end with, and what the type that is watched says.
    pub fn is_ready(&mut self) -> io::Result<bool> {
        match &mut self.0 {
            Kind::Plain(descriptor) => super::poll::is_readable(*descriptor),
            Kind::Armed(armed) => armed.is_ready(),
        }
    }
}

impl fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watch").field(&self.descriptor()).finish()
    }
}

/// Completes when `what` is ready; on any runtime.
///
/// Ready means that it was at that moment: another thread, or another process, may have taken what was there.
///
/// ```
/// use concurrent_futures_ipc::connection;
/// use std::io::Write;
///
/// let (reader, mut writer) = std::io::pipe()?;
/// writer.write_all(b"x")?;
/// futures::executor::block_on(connection::ready(&reader))?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// As of [`Pollable::watch`] and [`reactor::readable`].
pub async fn ready<P: Pollable + ?Sized>(what: &P) -> io::Result<()> {
    let mut watch = what.watch()?;
    while !watch.is_ready()? {
        reactor::readable(watch.descriptor())?.await?;
    }
    Ok(())
}
