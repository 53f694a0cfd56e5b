//! The side that receives.

use super::LOOKS;
use super::beside;
use super::ear::Heard;
use super::end::{End, Listening};
use super::error::RecvError;
use super::frame::Head;
use super::pollable::{Armed, Watch};
use crate::reactor;
use crate::ring::{Consumer, Wake};
use concurrent_futures_core::Portable;
use concurrent_futures_core::attach::{self, Arrived};
use concurrent_futures_core::codec;
use parking_lot::Mutex;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;
use std::time::Instant;

/// As much is taken out of the ring at once. The rest of a longer message goes where it belongs.
const STOCK: usize = 16 << 10;

/// Whoever says how long a message is need not be believed: so much memory is taken for it before its bytes have come.
const GROW_MIN: usize = 1 << 20;

/// What the receivers of this process share.
#[derive(Debug)]
pub(super) struct Incoming {
    consumer: Consumer,
    /// Taken out of the ring; the first `used` bytes have been received.
    stock: Vec<u8>,
    used: usize,
    /// The message whose head has been taken.
    begun: Option<Begun>,
    /// Which was too long for whoever wanted it.
    is_refused: bool,
}

#[derive(Debug)]
struct Begun {
    head: Head,
    bytes: Vec<u8>,
}

/// A message, still encoded.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    pub(super) arrived: Arrived,
}

impl Received {
    pub(super) fn decode<T: Portable>(self) -> Result<T, RecvError> {
        let decoded = if self.arrived.is_empty() {
            codec::decode(&self.bytes)
        } else {
            attach::provide(self.arrived, || codec::decode(&self.bytes))
        };
        decoded.map_err(|failure| RecvError::Decode(failure.into_message()))
    }
}

impl Incoming {
    pub(super) fn new(consumer: Consumer) -> Self {
        Incoming { consumer, stock: Vec::new(), used: 0, begun: None, is_refused: false }
    }

    /// What was taken out of the ring where the end was before.
    pub(super) fn put_back(&mut self, stock: Vec<u8>) {
        self.stock = stock;
    }

    /// What has been taken out of the ring and not been received.
    pub(super) fn stock(&self) -> Vec<u8> {
        let mut stock = Vec::new();
        if let Some(Begun { head, bytes }) = &self.begun {
            let head = head.write().expect("it was read");
            stock.extend_from_slice(head.as_ref());
            stock.extend_from_slice(bytes);
        }
        stock.extend_from_slice(&self.stock[self.used..]);
        stock
    }

    /// The next message, if all of it is there.
    fn take(&mut self, socket: BorrowedFd<'_>, limit: usize) -> Result<Option<Received>, RecvError> {
        let begun = loop {
            if let Some(begun) = &mut self.begun {
                break begun;
            }
            if let Some((head, size)) = Head::read(&self.stock[self.used..]) {
                self.used += size;
                self.begun = Some(Begun { head, bytes: Vec::new() });
            } else if !self.refill()? {
                return Ok(None);
            }
        };
        let len = begun.head.len;
        self.is_refused = len > limit;
        if self.is_refused {
            return Err(RecvError::TooLong { len, limit });
        }
        let missing = len - begun.bytes.len();
        let stock = &self.stock[self.used..];
        let stock = &stock[..stock.len().min(missing)];
        reserve(&mut begun.bytes, missing.min(GROW_MIN))?;
        begun.bytes.extend_from_slice(stock);
        self.used += stock.len();
        while begun.bytes.len() < len {
            let missing = len - begun.bytes.len();
            if begun.bytes.len() == begun.bytes.capacity() {
                let more = missing.min(begun.bytes.len().max(GROW_MIN));
                reserve(&mut begun.bytes, more)?;
            }
            if self.consumer.read(&mut begun.bytes, missing)? == 0 {
                return Ok(None);
            }
        }
        let Some(Begun { head, bytes }) = self.begun.take() else { return Ok(None) };
        let arrived = match head.descriptors {
            0 => Arrived::default(),
            count => beside::receive(socket, head.number, count)?,
        };
        Ok(Some(Received { bytes, arrived }))
    }

    /// Whether there was anything in the ring.
    fn refill(&mut self) -> io::Result<bool> {
        self.stock.drain(..self.used);
        self.used = 0;
        self.stock.reserve(STOCK);
        Ok(self.consumer.read(&mut self.stock, STOCK)? > 0)
    }

    /// Whether there is something to be taken. If not, the other side is to ring when there is.
    fn arm(&mut self) -> io::Result<bool> {
        let in_stock = || match Head::read(&self.stock[self.used..]) {
            Some((head, size)) => self.stock.len() - self.used - size >= head.len,
            None => false,
        };
        if self.is_refused || self.begun.is_none() && in_stock() {
            return Ok(true);
        }
        self.consumer.arm(Wake::ByDoorbell)
    }

    /// Nothing has been taken of the next message.
    fn is_between_messages(&self) -> bool {
        self.begun.is_none() && self.used == self.stock.len()
    }
}

fn reserve(bytes: &mut Vec<u8>, more: usize) -> Result<(), RecvError> {
    bytes.try_reserve(more).map_err(|_| RecvError::Io(io::ErrorKind::OutOfMemory.into()))
}

impl End {
    fn incoming(&self) -> &Mutex<Incoming> {
        self.incoming.as_ref().expect("the type says that this end receives")
    }

    /// What is there now. `joined`: by one who listens.
    fn look(&self, limit: usize, joined: bool) -> Result<Option<Received>, RecvError> {
        let mut incoming = self.incoming().lock();
        if !self.is_ours() {
            return Err(RecvError::Moved);
        }
        let received = incoming.take(self.socket(), limit)?;
        drop(incoming);
        if received.is_some() {
            self.rouse(&self.receivers_asleep, joined)?;
        }
        Ok(received)
    }

    /// The same; an error if nothing will come.
    fn look_to_the_end(&self, limit: usize, joined: bool) -> Result<Option<Received>, RecvError> {
        if let Some(received) = self.look(limit, joined)? {
            return Ok(Some(received));
        }
        if !self.other_is_gone()? {
            return Ok(None);
        }
        // What it had sent before it went.
        if let Some(received) = self.look(limit, joined)? {
            return Ok(Some(received));
        }
        if self.incoming().lock().is_between_messages() { Err(RecvError::Ended) } else { Err(RecvError::Torn) }
    }

    pub(super) fn try_receive(&self, limit: usize) -> Result<Received, RecvError> {
        self.look_to_the_end(limit, false)?.ok_or(RecvError::Empty)
    }

    pub(super) fn receive(&self, limit: usize, deadline: Option<Instant>) -> Result<Received, RecvError> {
        for _ in 0..LOOKS {
            if let Some(received) = self.look(limit, false)? {
                return Ok(received);
            }
            thread::yield_now();
        }
        let mut listener = self.listener()?;
        loop {
            if let Some(received) = listener.turn(limit, deadline)? {
                return Ok(received);
            }
        }
    }

    pub(super) async fn receive_async(&self, limit: usize) -> Result<Received, RecvError> {
        if let Some(received) = self.look(limit, false)? {
            return Ok(received);
        }
        let mut listener = self.listener()?;
        loop {
            if listener.is_ready()? {
                match self.look_to_the_end(limit, true)? {
                    Some(received) => return Ok(received),
                    // It was a part of a message.
                    None => continue,
                }
            }
            reactor::readable(listener.descriptor())?.await?;
        }
    }

    pub(super) fn watch_incoming(&self) -> io::Result<Watch<'_>> {
        Ok(Watch::armed(self.listener()?))
    }

    pub(super) fn listener(&self) -> io::Result<Listener<'_>> {
        Ok(Listener { end: self, listening: self.listen(&self.receivers_asleep)? })
    }
}

/// Listens for something to receive.
pub(super) struct Listener<'a> {
    end: &'a End,
    listening: Listening<'a>,
}

impl Listener<'_> {
    /// The next message, if all of it is there; else sleeps until there is something. `None`: there may be by now.
    pub(super) fn turn(&mut self, limit: usize, deadline: Option<Instant>) -> Result<Option<Received>, RecvError> {
        if self.arm()? || self.end.other_is_closed() {
            return match self.end.look_to_the_end(limit, true)? {
                // It was a part of a message, and the others may keep coming for longer than that.
                None if deadline.is_some_and(|deadline| deadline <= Instant::now()) => Err(RecvError::TimedOut),
                received => Ok(received),
            };
        }
        match self.listening.sleep(deadline)? {
            Heard::Bell => Ok(None),
            Heard::End => self.end.look_to_the_end(limit, true),
            Heard::TimedOut => self.end.look_to_the_end(limit, true)?.ok_or(RecvError::TimedOut).map(Some),
        }
    }
}

impl Listener<'_> {
    /// Whether there is something to be taken. If not, the bell rings when there is.
    fn arm(&self) -> io::Result<bool> {
        let mut incoming = self.end.incoming().lock();
        if !self.end.is_ours() {
            return Err(RecvError::Moved.into());
        }
        incoming.arm()
    }
}

impl Armed for Listener<'_> {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.listening.ear().as_fd()
    }

    fn is_ready(&mut self) -> io::Result<bool> {
        self.listening.ear().forget()?;
        Ok(self.arm()? || self.end.other_is_gone()?)
    }
}
