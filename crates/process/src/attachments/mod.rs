//! Descriptors that travel beside the bytes of a task or a result. The protocol is in `README.md` beside this file; what the
//! types do that own them is in [`concurrent_futures_core::attach`].

#[cfg(test)]
mod tests;

use crate::handles::Parcel;
use crate::sys::message::{self, MAX_FDS};
use crate::sys::socket;
use concurrent_futures_core::attach::{self, Arrived, Attachment};
use concurrent_futures_core::task::DecodeScope;
use rustix::net::RecvFlags;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// What stands in a packet beside its descriptors: the number of the message that it belongs to, and how many it has.
const HEAD: usize = 8;
/// Packets that nobody has read and that may lie in a socket: fewer than it has room for, some 270.
pub(crate) const PACKETS_MAX: usize = 200;
/// So many packets of messages that were given up may lie before the one that is looked for.
const PASSED_OVER_MAX: usize = 2 * PACKETS_MAX;

/// One end of the socket on which descriptors travel between a pool and one worker, in both directions.
#[derive(Debug)]
pub(crate) struct Tray {
    socket: OwnedFd,
    /// The number of the message that was sent last.
    number: u32,
}

/// What a frame says of the descriptors that were sent before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attached {
    /// The number of the message.
    pub(crate) number: u32,
    /// 1 to [`attach::MAX`].
    pub(crate) count: u32,
}

impl Tray {
    /// The pool's end, which never blocks, and the worker's.
    pub(crate) fn pair() -> io::Result<(Tray, OwnedFd)> {
        let (ours, theirs) = socket::packet_pair()?;
        socket::set_nonblocking(&ours, true)?;
        Ok((Tray::of(ours), theirs))
    }

    /// The worker's end, which waits for room when it sends.
    pub(crate) fn of(socket: OwnedFd) -> Tray {
        Tray { socket, number: 0 }
    }

    /// Sends all of them, before the frame that announces them.
    ///
    /// # Errors
    /// Some may have been sent; the receiver passes over them.
    pub(crate) fn send(&mut self, attachments: &[Attachment]) -> io::Result<Attached> {
        self.number = self.number.wrapping_add(1);
        for part in attachments.chunks(MAX_FDS) {
            let descriptors: Vec<_> = part.iter().map(|attachment| attachment.as_fd()).collect();
            message::send(&self.socket, &head(self.number, part.len()), &descriptors)?;
        }
        Ok(Attached { number: self.number, count: attachments.len() as u32 })
    }

    /// Takes what a frame has announced. Never blocks.
    ///
    /// # Errors
    /// It was not sent. That there are no descriptors left to receive it is none: see [`Arrived`].
    pub(crate) fn receive(&self, attached: Attached) -> io::Result<Arrived> {
        let count = attached.count as usize;
        let (mut arrived, mut seen) = (Vec::new(), 0);
        let mut passed_over = 0;
        while seen < count {
            let mut bytes = [0; HEAD];
            let received = match message::receive_with(&self.socket, &mut bytes, RecvFlags::DONTWAIT) {
                Ok(Some(received)) => received,
                Ok(None) => return Err(wrong("closed the socket of descriptors")),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(wrong("announced descriptors and did not send them"));
                }
                Err(error) => return Err(error),
            };
            let (number, sent) =
                read_head(&bytes[..received.len]).ok_or_else(|| wrong("sent a packet that is none"))?;
            if number != attached.number {
                passed_over += 1;
                if passed_over > PASSED_OVER_MAX {
                    return Err(wrong("announced descriptors and sent others"));
                }
                continue;
            }
            if received.fds.len() > sent || seen + sent > count {
                return Err(wrong("sent more descriptors than announced"));
            }
            // The kernel drops them from the end when there is no room; later ones would be in the wrong place.
            if arrived.len() == seen {
                arrived.extend(received.fds.into_iter().map(Attachment::new));
            }
            seen += sent;
        }
        Ok(Arrived::some(arrived, count))
    }
}

/// How many packets these take.
pub(crate) fn packets(attachments: &[Attachment]) -> usize {
    attachments.len().div_ceil(MAX_FDS)
}

fn head(number: u32, count: usize) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&number.to_le_bytes());
    head[4..].copy_from_slice(&(count as u32).to_le_bytes());
    head
}

fn read_head(bytes: &[u8]) -> Option<(u32, usize)> {
    let (number, count) = bytes.split_first_chunk::<4>()?;
    let count = u32::from_le_bytes(count.try_into().ok()?) as usize;
    (1..=MAX_FDS).contains(&count).then_some((u32::from_le_bytes(*number), count))
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// What came beside a result, for whoever decodes it.
#[derive(Debug)]
pub(crate) struct Beside {
    pub(crate) handles: Option<Parcel>,
    pub(crate) arrived: Arrived,
}

impl DecodeScope for Beside {
    fn enter(&mut self, decode: &mut dyn FnMut()) {
        let arrived = std::mem::take(&mut self.arrived);
        attach::provide(arrived, || match &mut self.handles {
            Some(parcel) => parcel.enter(decode),
            None => decode(),
        });
    }
}
