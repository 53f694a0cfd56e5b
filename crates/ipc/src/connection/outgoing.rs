//! The side that sends.

use super::LOOKS;
use super::beside;
use super::end::{CAPACITY, End, Listening};
use super::error::SendError;
use super::frame::{Head, Written};
use super::poll::sleep_until;
use crate::reactor;
use crate::ring::{Producer, Wake};
use crate::spare::Spare;
use concurrent_futures_core::attach::{self, Attachment};
use concurrent_futures_core::codec;
use rustix::event::{PollFd, PollFlags};
use serde::Serialize;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// A message of this size is sent as a whole, or not at all.
const WHOLE: usize = CAPACITY / 2;

/// After such a time the next message is preceded by a look at whether the other end is still there.
const LOOK_AFTER: Duration = Duration::from_millis(1);

/// What the senders of this process share.
#[derive(Debug)]
pub(super) struct Outgoing {
    producer: Producer,
    /// Somebody is in the middle of a message. Others wait for their turn.
    taken: bool,
    /// A message was given up in its middle.
    torn: bool,
    /// The number of the last message with descriptors.
    number: u32,
    looked: Option<Instant>,
}

impl Outgoing {
    /// The number of the last message with descriptors.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Where another owner of the end has left off.
    pub(super) fn go_on_from(&mut self, number: u32) {
        self.number = number;
    }

    pub(super) fn new(producer: Producer) -> Self {
        Outgoing { producer, taken: false, torn: false, number: 0, looked: None }
    }

    /// Nobody is at it, and what was begun was ended.
    pub(super) fn is_at_rest(&self) -> bool {
        !self.taken && !self.torn
    }
}

/// Why a message has not been sent; the value is the caller's to add.
#[derive(Debug)]
pub(super) enum Unsent {
    Closed,
    Moved,
    Torn,
    Io(io::Error),
}

impl Unsent {
    pub(super) fn of<T>(self, value: T) -> SendError<T> {
        match self {
            Unsent::Closed => SendError::Closed(value),
            Unsent::Moved => SendError::Moved(value),
            Unsent::Torn => SendError::Torn(value),
            Unsent::Io(error) => SendError::Io(value, error),
        }
    }
}

impl From<io::Error> for Unsent {
    fn from(error: io::Error) -> Self {
        // The kernel says so at the socket.
        if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) {
            return Unsent::Closed;
        }
        Unsent::Io(error)
    }
}

/// What a message is made of.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) bytes: Spare,
    pub(super) attachments: Vec<Attachment>,
}

impl Encoded {
    pub(super) fn new<T: Serialize>(value: &T) -> Result<Self, String> {
        let mut encoded = Encoded { bytes: Spare::new(), attachments: Vec::new() };
        let Encoded { bytes, attachments } = &mut encoded;
        // No channel of `ipc-channel` fits: they need a lane of their own, which tasks have.
        let outcome = attach::collect(attachments, || codec::encode_beside(value, bytes, codec::MAX_HANDLES));
        match outcome {
            Ok(_) => Ok(encoded),
            Err(failure) => Err(failure.into_message()),
        }
    }
}

/// A message on its way into the ring.
#[derive(Debug)]
pub(super) struct Sending<'a> {
    end: &'a End,
    outgoing: &'a parking_lot::Mutex<Outgoing>,
    body: &'a [u8],
    attachments: &'a [Attachment],
    head: Option<Written>,
    number: u32,
    /// So many of the attachments, and of the bytes with the head, have been sent.
    attached: usize,
    written: usize,
    /// It is our turn, which others wait for.
    has_turn: bool,
}

/// How far a step has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Sent,
    /// Another sender is in the middle of a message, or the ring is full: the bell rings.
    Wait,
    /// The socket is full of descriptors.
    WaitForSocket,
}

impl<'a> Sending<'a> {
    pub(super) fn new(end: &'a End, body: &'a [u8], attachments: &'a [Attachment]) -> Self {
        let outgoing = end.outgoing.as_ref().expect("the type says that this end sends");
        Sending { end, outgoing, body, attachments, head: None, number: 0, attached: 0, written: 0, has_turn: false }
    }

    /// Sends it; blocks while there is no room.
    pub(super) fn send(mut self) -> Result<(), Unsent> {
        for _ in 0..LOOKS {
            match self.step(false)? {
                Step::Sent => return Ok(()),
                Step::Wait => thread::yield_now(),
                Step::WaitForSocket => self.wait_for_socket()?,
            }
        }
        let listening = self.listen()?;
        loop {
            match self.step(true)? {
                Step::Sent => return Ok(()),
                Step::Wait => drop(listening.sleep(None)?),
                Step::WaitForSocket => self.wait_for_socket()?,
            }
        }
    }

    /// The same without blocking a thread.
    pub(super) async fn send_async(mut self) -> Result<(), Unsent> {
        if self.step(false)? == Step::Sent {
            return Ok(());
        }
        let listening = self.listen()?;
        loop {
            match self.step(true)? {
                Step::Sent => return Ok(()),
                Step::Wait => {
                    reactor::readable(listening.ear())?.await?;
                    listening.ear().forget()?;
                }
                Step::WaitForSocket => reactor::writable(self.end.socket())?.await?,
            }
        }
    }

    fn listen(&self) -> io::Result<Listening<'a>> {
        self.end.listen(&self.end.senders_asleep)
    }

    fn wait_for_socket(&self) -> io::Result<()> {
        sleep_until(&mut [PollFd::new(&self.end.socket(), PollFlags::OUT)], None).map(drop)
    }

    /// Sends what can be sent now. `wake`: the caller listens, and whoever makes it possible to send more is to ring.
    pub(super) fn step(&mut self, wake: bool) -> Result<Step, Unsent> {
        let mut guard = self.outgoing.lock();
        let outgoing = &mut *guard;
        if !self.has_turn {
            if outgoing.torn {
                return Err(Unsent::Torn);
            }
            if outgoing.taken {
                return Ok(Step::Wait);
            }
            if !self.end.is_ours() {
                return Err(Unsent::Moved);
            }
        }
        let head = match self.head {
            Some(head) => head,
            None => {
                if !self.attachments.is_empty() {
                    outgoing.number = outgoing.number.wrapping_add(1);
                    self.number = outgoing.number;
                }
                let head = Head { len: self.body.len(), descriptors: self.attachments.len(), number: self.number };
                *self.head.insert(head.write().ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?)
            }
        };
        if self.end.other_is_closed() {
            return Err(Unsent::Closed);
        }
        let now = Instant::now();
        if wake || outgoing.looked.is_none_or(|looked| now.duration_since(looked) >= LOOK_AFTER) {
            outgoing.looked = Some(now);
            if self.end.has_hung_up()? {
                return Err(Unsent::Closed);
            }
        }
        let step = self.write(outgoing, head.as_ref(), wake)?;
        outgoing.taken = step != Step::Sent;
        self.has_turn = outgoing.taken;
        drop(guard);
        if let Some(ringer) = &self.end.ringer {
            ringer.ring()?;
        }
        if step == Step::Sent {
            self.end.rouse(&self.end.senders_asleep, wake)?;
        }
        Ok(step)
    }

    fn write(&mut self, outgoing: &mut Outgoing, head: &[u8], wake: bool) -> Result<Step, Unsent> {
        let producer = &mut outgoing.producer;
        let total = head.len() + self.body.len();
        loop {
            if self.written > 0 || producer.has_room(total.min(WHOLE)).map_err(io::Error::from)? {
                // Not before there is room: what is given up until then has left nothing in the socket, which nobody would
                // take out.
                if self.attached < self.attachments.len() {
                    self.attached = beside::send(self.end.socket(), self.number, self.attachments, self.attached)?;
                    if self.attached < self.attachments.len() {
                        return Ok(Step::WaitForSocket);
                    }
                }
                let mut skip = self.written;
                for part in [head, self.body] {
                    let rest = &part[skip.min(part.len())..];
                    skip -= part.len() - rest.len();
                    let written = producer.write(rest).map_err(io::Error::from)?;
                    self.written += written;
                    if written < rest.len() {
                        break;
                    }
                }
                producer.publish();
                if self.written == total {
                    return Ok(Step::Sent);
                }
            }
            if !wake || !producer.want_room(Wake::ByDoorbell).map_err(io::Error::from)? {
                return Ok(Step::Wait);
            }
        }
    }
}

impl Drop for Sending<'_> {
    /// Given up while it waited: an async sender that was dropped, or the end of the connection.
    fn drop(&mut self) {
        if !self.has_turn {
            return;
        }
        let mut outgoing = self.outgoing.lock();
        outgoing.taken = false;
        outgoing.torn = self.written > 0;
        drop(outgoing);
        // As in `Listening`.
        let _ = self.end.rouse(&self.end.senders_asleep, false);
    }
}
