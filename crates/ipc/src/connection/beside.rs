//! The descriptors of a message, in packets over the socket, sent before the message that names them.

use crate::message::{self, MAX_FDS};
use concurrent_futures_core::attach::{self, Arrived, Attachment};
use rustix::net::{RecvFlags, SendFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// In a packet beside its descriptors: the number of the message, and how many descriptors it has, for the kernel drops
/// those for which the receiver has no room.
const HEAD: usize = 8;

/// Sends those from the place `from` on, as far as there is room, and says how far it has come.
pub(super) fn send(socket: BorrowedFd<'_>, number: u32, all: &[Attachment], mut from: usize) -> io::Result<usize> {
    for part in all[from..].chunks(MAX_FDS) {
        let descriptors: Vec<_> = part.iter().map(|attachment| attachment.as_fd()).collect();
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&number.to_le_bytes());
        head[4..].copy_from_slice(&(part.len() as u32).to_le_bytes());
        match message::send_with(socket, &head, &descriptors, SendFlags::DONTWAIT) {
            Ok(()) => from += part.len(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(from)
}

/// Takes the `count` of the message with this number. They are there: the message was sent after them. Those of a
/// message that was given up before are passed over.
pub(super) fn receive(socket: BorrowedFd<'_>, number: u32, count: usize) -> io::Result<Arrived> {
    let wrong = |what| Err(io::Error::new(io::ErrorKind::InvalidData, what));
    if count > attach::MAX {
        return wrong("a message with more descriptors than there can be");
    }
    let (mut arrived, mut seen) = (Vec::new(), 0);
    while seen < count {
        let mut bytes = [0; HEAD];
        let received = match message::receive_with(socket, &mut bytes, RecvFlags::DONTWAIT) {
            Ok(Some(received)) if received.len == HEAD => received,
            Ok(Some(_)) => return wrong("a packet that is none"),
            Ok(None) => return wrong("the descriptors of a message are missing"),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return wrong("the descriptors of a message are missing");
            }
            Err(error) => return Err(error),
        };
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let (of, sent) = (word(0), word(4) as usize);
        if of != number {
            continue;
        }
        if received.fds.len() > sent || sent == 0 || seen + sent > count {
            return wrong("other descriptors than the message has");
        }
        // From the first that is missing on, later ones would be in a wrong place.
        if arrived.len() == seen {
            arrived.extend(received.fds.into_iter().map(Attachment::new));
        }
        seen += sent;
    }
    Ok(Arrived::some(arrived, count))
}
