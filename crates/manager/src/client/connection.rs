//! Requests, over one connection for each thread and server.

use super::address::Remote;
use super::raw::RawHandle;
use crate::error::ManagerError;
use crate::nesting::{Incoming, Outgoing};
use crate::server::{callers, is_calling};
use crate::wire::auth::{Purpose, ServerId};
use crate::wire::link::{hang_up, readable};
use crate::wire::{Frame, Link, Op, Status, WAIT};
use concurrent_futures_core::attach::{Arrived, Attachment};
use concurrent_futures_core::{Panic, worker};
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// How long a request may wait for what it asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    None,
    Until(Instant),
    Forever,
}

impl Patience {
    /// A time that the clock cannot hold is for ever.
    pub(crate) fn of(timeout: Duration) -> Self {
        Instant::now().checked_add(timeout).map_or(Patience::Forever, Patience::Until)
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Response {
    /// The connection over which it came: what was granted belongs to that.
    pub(crate) connection: u64,
    pub(crate) number: u64,
    pub(crate) value: Vec<u8>,
    pub(crate) handles: Vec<RawHandle>,
    pub(crate) arrived: Arrived,
}

impl Response {
    /// Decodes the value.
    pub(crate) fn open<T: serde::de::DeserializeOwned>(self) -> Result<T, ManagerError> {
        let Response { value, handles, arrived, .. } = self;
        Incoming { value: &value, handles, arrived }.open().map_err(ManagerError::Codec)
    }

    /// The new object.
    pub(crate) fn into_handle(mut self) -> Result<RawHandle, ManagerError> {
        self.handles.pop().ok_or_else(|| ManagerError::Codec("the manager has named no object".to_owned()))
    }
}

/// A request, without what it is about.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) op: Op,
    pub(crate) flags: u8,
    pub(crate) object: u64,
    pub(crate) number: u64,
    /// About what belongs to this connection: over another one it makes no sense.
    pub(crate) over: Option<u64>,
}

impl Asking {
    pub(crate) fn of(op: Op, object: u64) -> Self {
        Asking { op, flags: 0, object, number: 0, over: None }
    }

    pub(crate) fn number(mut self, number: u64) -> Self {
        self.number = number;
        self
    }
}

struct Connection {
    link: Link,
    /// No other one of this process has it.
    number: u64,
    /// After a fork it is somebody else's.
    pid: u32,
    server: Weak<Remote>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.pid == std::process::id() {
            // Closing is not enough: a fork of this process may have a copy, and what is held over it would stay held.
            hang_up(&self.link.socket());
        }
    }
}

thread_local! {
    static CONNECTIONS: RefCell<HashMap<(ServerId, bool), Connection>> = RefCell::default();
}

/// Asks, and waits for the answer. `None`: it was not possible now, or not in time.
pub(crate) fn ask(
    server: &Arc<Remote>,
    asking: Asking,
    outgoing: Outgoing,
    patience: Patience,
) -> Result<Option<Response>, ManagerError> {
    if matches!(asking.op, Op::Call) && is_calling(server.id(), asking.object) {
        return Err(ManagerError::Deadlock);
    }
    let may_wait = if matches!(patience, Patience::None) { 0 } else { WAIT };
    let frame = Frame {
        code: asking.op as u8,
        flags: asking.flags | may_wait,
        object: asking.object,
        number: asking.number,
        references: outgoing.handles.iter().map(RawHandle::object).collect(),
        callers: if matches!(asking.op, Op::Call | Op::Make) { callers() } else { Vec::new() },
        value: outgoing.value,
        ..Frame::default()
    };
    let descriptors: Vec<BorrowedFd<'_>> = outgoing.attachments.iter().map(|attachment| attachment.as_fd()).collect();
    if !server.is_local() && !descriptors.is_empty() {
        return Err(ManagerError::Codec("it has descriptors, which do not travel over TCP".to_owned()));
    }
    let exchange = || exchange(server, asking.over, &frame, &descriptors, patience);
    let (connection, reply) = match patience {
        Patience::None => exchange(),
        _ => worker::blocking(exchange),
    }?;
    response(server, connection, reply)
}

/// Sends the frame over this thread's connection, and gives the reply.
fn exchange(
    server: &Arc<Remote>,
    over: Option<u64>,
    frame: &Frame,
    descriptors: &[BorrowedFd<'_>],
    patience: Patience,
) -> Result<(u64, Frame), ManagerError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let key = (server.id(), server.is_local());
    let known = CONNECTIONS.try_with(|connections| connections.borrow_mut().remove(&key)).ok().flatten();
    let mut connection = match known.filter(|connection| connection.pid == std::process::id()) {
        Some(connection) => connection,
        // What it is about was lost with its connection.
        None if over.is_some() => return Err(ManagerError::NotOwner),
        None => Connection {
            link: server.connect(Purpose::Calls)?,
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            pid: std::process::id(),
            server: Arc::downgrade(server),
        },
    };
    let number = connection.number;
    let outcome = match over.is_none_or(|over| over == number) {
        true => exchange_over(&mut connection.link, frame, descriptors, patience),
        false => Err(ManagerError::NotOwner),
    };
    // After anything else the connection is not used again.
    if matches!(outcome, Ok(_) | Err(ManagerError::TooLarge | ManagerError::NotOwner)) {
        let _ = CONNECTIONS.try_with(|connections| {
            let mut connections = connections.borrow_mut();
            if !connections.contains_key(&key) {
                connections.retain(|_, other| other.server.strong_count() > 0);
            }
            connections.insert(key, connection);
        });
    }
    outcome.map(|reply| (number, reply))
}

fn exchange_over(
    link: &mut Link,
    frame: &Frame,
    descriptors: &[BorrowedFd<'_>],
    patience: Patience,
) -> Result<Frame, ManagerError> {
    link.send(frame, descriptors).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => ManagerError::TooLarge,
        _ => ManagerError::Gone(error),
    })?;
    if let Patience::Until(deadline) = patience
        && !readable(&*link, Some(deadline)).map_err(ManagerError::Io)?
    {
        link.send(&Frame { code: Op::Cancel as u8, ..Frame::default() }, &[]).map_err(ManagerError::Gone)?;
    }
    match link.receive() {
        Ok(Some(reply)) => Ok(reply),
        Ok(None) => Err(ManagerError::Gone(io::ErrorKind::UnexpectedEof.into())),
        Err(error) => Err(ManagerError::Gone(error)),
    }
}

fn response(server: &Arc<Remote>, connection: u64, reply: Frame) -> Result<Option<Response>, ManagerError> {
    let Frame { code, number, references, value, mut descriptors, announced, .. } = reply;
    let words = || String::from_utf8_lossy(&value).into_owned();
    let error = match Status::of(code) {
        Some(Status::Done) => {
            let tokens = if server.is_local() { references.len() } else { 0 };
            // Tokens are the last ones; what got lost was lost from the end.
            let attached = announced.saturating_sub(tokens);
            let its_tokens = descriptors.split_off(attached.min(descriptors.len()));
            let handles = adopt(server, &references, its_tokens)?;
            let arrived = Arrived::some(descriptors.into_iter().map(Attachment::new).collect(), attached);
            return Ok(Some(Response { connection, number, value, handles, arrived }));
        }
        Some(Status::NotNow) => return Ok(None),
        Some(Status::Panicked) => {
            let words = words();
            let (message, place) = words.split_once('\0').unwrap_or((&words, ""));
            ManagerError::Panicked(Panic::remote(message, Some(place).filter(|place| !place.is_empty()), ""))
        }
        Some(Status::Codec) => ManagerError::Codec(words()),
        Some(Status::NoSuchObject) => ManagerError::NoSuchObject,
        Some(Status::NoSuchName) => ManagerError::NoSuchName(String::new()),
        Some(Status::WrongType) => {
            ManagerError::WrongType { expected: "what the handle is for".to_owned(), found: words() }
        }
        Some(Status::NotOwner) => ManagerError::NotOwner,
        Some(Status::OverRelease) => ManagerError::OverRelease,
        Some(Status::Broken) => ManagerError::BrokenBarrier,
        Some(Status::Closed) => ManagerError::Closed,
        Some(Status::Deadlock) => ManagerError::Deadlock,
        Some(Status::Invalid) => ManagerError::Invalid(words()),
        Some(Status::Scarce) => ManagerError::Scarce(words()),
        Some(Status::TooLarge) => ManagerError::TooLarge,
        None => ManagerError::Codec(format!("the manager gives a status of which nothing is known: {code}")),
    };
    Err(error)
}

/// Handles of what a reply refers to, each with its token.
fn adopt(server: &Arc<Remote>, references: &[u64], tokens: Vec<OwnedFd>) -> Result<Vec<RawHandle>, ManagerError> {
    let mut tokens = tokens.into_iter();
    let adopt = |object: &u64| {
        RawHandle::with(server, *object, || match server.is_local() {
            true => tokens.next().map(Attachment::new).ok_or_else(|| {
                let words = "the object's descriptor did not arrive: this process may not have more (RLIMIT_NOFILE)";
                ManagerError::Io(io::Error::other(words))
            }),
            false => {
                let link = server.connect(Purpose::Token(*object))?;
                link.into_socket().map(Attachment::new).map_err(ManagerError::Io)
            }
        })
    };
    references.iter().map(adopt).collect()
}

/// A copy of this thread's connection, as a fork would have it.
#[cfg(test)]
pub(crate) fn copy_of_connection(server: &Remote) -> OwnedFd {
    let key = (server.id(), server.is_local());
    CONNECTIONS.with_borrow(|connections| connections[&key].link.as_fd().try_clone_to_owned().unwrap())
}
