//! What a new process is told: all of it lies in its control socket before the process exists.

use super::call::Call;
use crate::sys::message::{self, MAX_FDS};
use crate::sys::socket;
use concurrent_futures_core::attach::{Arrived, Attachment};
use concurrent_futures_core::codec;
use concurrent_futures_ipc::file_size;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::RecvFlags;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The part that is words and numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Orders {
    pub(super) name: String,
    /// Its number among its parent's children, behind its parent's own.
    pub(super) identity: Vec<u32>,
    pub(super) daemon: bool,
    /// Its end is not tied to its parent's.
    pub(super) outlives: bool,
    pub(super) parent: ParentIs,
    /// How many pools lie above it.
    pub(super) depth: u32,
    /// The process group to join.
    pub(super) group: Option<i32>,
    /// All of it, if it cannot come with an exec.
    pub(super) environment: Option<Vec<(Vec<u8>, Vec<u8>)>>,
    pub(super) trampoline: u64,
    pub(super) function: u64,
}

/// Who has started it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ParentIs {
    pub(super) pid: u32,
    pub(super) name: String,
}

/// The descriptors that go with the orders, besides those of the argument.
#[derive(Debug)]
pub(super) struct Kit<T> {
    /// Of the parent.
    pub(super) parent: Option<T>,
    /// The working directory.
    pub(super) directory: Option<T>,
    /// Standard input, output and error.
    pub(super) stdio: [Option<T>; 3],
    /// The handles of `ipc-channel` in the argument.
    pub(super) handles: Option<T>,
}

/// How many places a kit has.
const PLACES: usize = 6;

impl<T> Kit<T> {
    fn places(self) -> [Option<T>; PLACES] {
        let [stdin, stdout, stderr] = self.stdio;
        [self.parent, self.directory, stdin, stdout, stderr, self.handles]
    }

    fn of(places: [Option<T>; PLACES]) -> Self {
        let [parent, directory, stdin, stdout, stderr, handles] = places;
        Kit { parent, directory, stdio: [stdin, stdout, stderr], handles }
    }
}

/// What a process has found in its control socket.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) orders: Orders,
    pub(super) kit: Kit<OwnedFd>,
    pub(super) arrived: Arrived,
    /// Of the call, encoded.
    pub(super) argument: Vec<u8>,
}

/// The first packet: which places of the kit are filled, and how many descriptors the argument has.
const HEAD: usize = 5;

/// Puts everything into `control`, from whose other end the process will take it. Never blocks.
///
/// # Errors
/// Too much is under way already, or there is no memory.
pub(super) fn send(
    control: impl AsFd,
    orders: &Orders,
    kit: Kit<BorrowedFd<'_>>,
    argument: &[u8],
    attachments: &[Attachment],
) -> io::Result<()> {
    let paper = write_paper(orders, argument)?;
    let mut head = [0; HEAD];
    head[1..].copy_from_slice(&(attachments.len() as u32).to_le_bytes());
    let mut descriptors = vec![paper.as_fd()];
    for (place, descriptor) in kit.places().into_iter().enumerate() {
        if let Some(descriptor) = descriptor {
            head[0] |= 1 << place;
            descriptors.push(descriptor);
        }
    }
    socket::set_nonblocking(&control, true)?;
    message::send(&control, &head, &descriptors)?;
    for part in attachments.chunks(MAX_FDS) {
        let descriptors: Vec<_> = part.iter().map(|attachment| attachment.as_fd()).collect();
        message::send(&control, &[part.len() as u8], &descriptors)?;
    }
    Ok(())
}

/// Takes what [`send`] has put there. `None`: the parent has ended before.
///
/// # Errors
/// It is not what was agreed on, or this process has no room for the descriptors. That there was no room for some of the
/// argument is said by [`Arrived`].
pub(super) fn receive(control: impl AsFd) -> io::Result<Option<Received>> {
    let mut head = [0; HEAD];
    let Some(first) = message::receive(&control, &mut head)? else { return Ok(None) };
    let (flags, count) = match head.split_first() {
        Some((&flags, count)) if first.len == HEAD => (flags, count),
        _ => return Err(garbled()),
    };
    let count = u32::from_le_bytes(count.try_into().map_err(|_| garbled())?) as usize;
    let mut descriptors = first.fds.into_iter();
    let no_room = || io::Error::other("it may not have more descriptors (RLIMIT_NOFILE)");
    let paper = descriptors.next().ok_or_else(no_room)?;
    let mut places = [const { None }; PLACES];
    for (place, filled) in places.iter_mut().enumerate() {
        if flags & 1 << place != 0 {
            *filled = Some(descriptors.next().ok_or_else(no_room)?);
        }
    }
    let (orders, argument) = read_paper(paper)?;
    let arrived = receive_attachments(control, count)?;
    Ok(Some(Received { orders, kit: Kit::of(places), arrived, argument }))
}

fn receive_attachments(control: impl AsFd, count: usize) -> io::Result<Arrived> {
    let (mut attachments, mut seen) = (Vec::new(), 0);
    while seen < count {
        let mut sent = [0];
        // They were sent before this process was started.
        let part = message::receive_with(&control, &mut sent, RecvFlags::DONTWAIT)?.ok_or_else(garbled)?;
        // The kernel drops them from the end when there is no room; later ones would be in the wrong place.
        if attachments.len() == seen {
            attachments.extend(part.fds.into_iter().map(Attachment::new));
        }
        seen += usize::from(sent[0]).max(1);
    }
    Ok(Arrived::some(attachments, count))
}

/// Orders and argument, of any length, as a file without a name: how long the orders are, the orders, the argument.
fn write_paper(orders: &Orders, argument: &[u8]) -> io::Result<OwnedFd> {
    let mut bytes = Vec::new();
    // There are no handles in it.
    let _ = codec::encode(orders, &mut bytes).map_err(io::Error::other)?;
    let orders = bytes;
    file_size::check((size_of::<u64>() + orders.len() + argument.len()) as u64)?;
    let mut file = File::from(memfd_create("concurrent-futures", MemfdFlags::CLOEXEC)?);
    file.write_all(&(orders.len() as u64).to_le_bytes())?;
    file.write_all(&orders)?;
    file.write_all(argument)?;
    file.rewind()?;
    Ok(file.into())
}

fn read_paper(paper: OwnedFd) -> io::Result<(Orders, Vec<u8>)> {
    let mut file = File::from(paper);
    let mut len = [0; 8];
    file.read_exact(&mut len)?;
    let mut orders = Vec::new();
    (&file).take(u64::from_le_bytes(len)).read_to_end(&mut orders)?;
    let orders = codec::decode(&orders).map_err(|_| garbled())?;
    let mut argument = Vec::new();
    file.read_to_end(&mut argument)?;
    Ok((orders, argument))
}

fn garbled() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "its orders are not such as this program gives")
}

impl Orders {
    /// For `call`, in a process of this name and standing.
    pub(super) fn new(name: String, identity: Vec<u32>, parent: ParentIs, call: &Call) -> Self {
        let Call { trampoline, function, .. } = *call;
        let (daemon, outlives, depth, group, environment) = (false, false, 0, None, None);
        Orders { name, identity, daemon, outlives, parent, depth, group, environment, trampoline, function }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders() -> Orders {
        let parent = ParentIs { pid: 7, name: "MainProcess".into() };
        let (trampoline, function) = (1, u64::MAX);
        Orders {
            name: "Process-1".into(),
            identity: vec![1, 2],
            daemon: true,
            outlives: false,
            parent,
            depth: 3,
            group: Some(12),
            environment: Some(vec![(b"a".to_vec(), vec![0xff; 1 << 20])]),
            trampoline,
            function,
        }
    }

    #[test]
    fn everything_arrives_in_its_place() {
        let (ours, theirs) = socket::packet_pair().unwrap();
        let (reader, writer) = io::pipe().unwrap();
        let attachments: Vec<_> =
            (0..600).map(|_| Attachment::new(reader.as_fd().try_clone_to_owned().unwrap())).collect();
        let kit = Kit { parent: None, directory: None, stdio: [None, Some(writer.as_fd()), None], handles: None };
        let argument = vec![3; 2 << 20];
        send(&ours, &orders(), kit, &argument, &attachments).unwrap();
        drop((writer, ours));
        let received = receive(&theirs).unwrap().unwrap();
        assert_eq!((received.orders, received.argument), (orders(), argument));
        assert!(!received.arrived.is_empty());
        let Kit { parent: None, directory: None, stdio: [None, Some(stdout), None], handles: None } = received.kit
        else {
            panic!("one descriptor, in its place");
        };
        rustix::io::write(&stdout, b"x").unwrap();
        assert_eq!(rustix::io::read(&reader, &mut [0; 2]), Ok(1));
        assert!(receive(&theirs).unwrap().is_none());
    }

    #[test]
    fn what_was_not_agreed_on_is_an_error() {
        let (ours, theirs) = socket::packet_pair().unwrap();
        message::send(&ours, b"hi", &[]).unwrap();
        assert!(receive(&theirs).is_err());
        message::send(&ours, &[0; HEAD], &[]).unwrap();
        assert!(receive(&theirs).is_err());
    }
}
