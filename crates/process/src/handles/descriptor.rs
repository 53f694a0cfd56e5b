//! A channel of `ipc-channel` between two processes, without a name in the file system.
//!
//! `ipc-channel` connects processes by a socket in a temporary directory: a process that is killed at the wrong moment leaves it
//! behind, `connect` leaks a descriptor when nobody is there, and `accept` waits for ever. What it has no word for is a channel
//! whose receiver's descriptor travels by our own means. So we find out which descriptor a receiver has, by a message that only
//! it can have, and put another one into its place.

use super::parked::io_error;
use super::undisturbed::undisturbed;
use ipc_channel::ipc::{self, IpcReceiver, IpcSender};
use rustix::net::sockopt::{socket_domain, socket_type};
use rustix::net::{AddressFamily, RecvFlags, SocketType, recv};
use serde::{Deserialize, Serialize};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// So many random bytes make a message that no other socket of this process has.
const MARK: usize = 32;
type Mark = [u8; MARK];
/// A message of ours is longer than its mark by what `ipc-channel` adds to it.
const ROOM: usize = MARK + 64;

/// A channel, and a duplicate of its receiver's descriptor; the receiver itself is closed.
pub(super) fn channel_to_send<T>() -> io::Result<(IpcSender<T>, OwnedFd)>
where
    T: for<'de> Deserialize<'de> + Serialize,
{
    let (sender, receiver, number) = marked_channel()?;
    // SAFETY: it is the receiver's, which is open until the end of this function.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned()?;
    drop(receiver);
    Ok((sender.to_opaque().to(), descriptor))
}

/// The receiver of a channel whose descriptor has come from another process.
pub(super) fn receiver_of<T>(descriptor: OwnedFd) -> io::Result<IpcReceiver<T>>
where
    T: for<'de> Deserialize<'de> + Serialize,
{
    let (_, receiver, number) = marked_channel()?;
    loop {
        // SAFETY: the number is the receiver's, which is open, belongs to us alone and stays with its number; what it meant until
        // now is closed by the call, as by nobody else.
        let status = unsafe { libc::dup3(descriptor.as_raw_fd(), number, libc::O_CLOEXEC) };
        if status == number {
            return Ok(receiver.to_opaque().to());
        }
        let error = io::Error::last_os_error();
        // Busy: a thread is about to open this very number, which the kernel notices and has asked to be tried again.
        if !matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY)) {
            return Err(error);
        }
    }
}

/// An empty channel, and the number of its receiver's descriptor.
fn marked_channel() -> io::Result<(IpcSender<Mark>, IpcReceiver<Mark>, RawFd)> {
    let (sender, receiver) = ipc::channel::<Mark>()?;
    let mark = mark();
    undisturbed(|| sender.send(mark)).map_err(io_error)?;
    let number = find(&mark);
    // Taken out again, whether it was found or not.
    undisturbed(|| receiver.recv()).map_err(io_error)?;
    let number = number.ok_or_else(|| io::Error::other("a channel's descriptor was not found"))?;
    Ok((sender, receiver, number))
}

fn mark() -> Mark {
    let mut mark = [0; MARK];
    for (part, count) in mark.chunks_exact_mut(8).zip(0_u8..) {
        // Each has keys of its own, and the first ones are random.
        part.copy_from_slice(&RandomState::new().hash_one(count).to_ne_bytes());
    }
    mark
}

/// The descriptor at which a message with this mark is the next. Descriptors are given out from the lowest number, so the search
/// is as long as this process has open ones.
fn find(mark: &Mark) -> Option<RawFd> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let limit = limit.and_then(|limit| RawFd::try_from(limit).ok()).unwrap_or(RawFd::MAX);
    (0..limit).find(|number| {
        // SAFETY: it may belong to anybody, or to nobody, and may be closed meanwhile: it is asked what it is, which fails then,
        // and looked at without taking anything out of it.
        let socket = unsafe { BorrowedFd::borrow_raw(*number) };
        has(socket, mark)
    })
}

fn has(socket: BorrowedFd<'_>, mark: &Mark) -> bool {
    if socket_type(socket) != Ok(SocketType::SEQPACKET) || socket_domain(socket) != Ok(AddressFamily::UNIX) {
        return false;
    }
    let mut message = [0_u8; ROOM];
    match recv(socket, &mut message, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((len, _)) => message[..len].windows(MARK).any(|part| part == mark),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_by_its_descriptor() {
        let (sender, descriptor) = channel_to_send::<String>().unwrap();
        sender.send("early".to_owned()).unwrap();
        let receiver = receiver_of::<String>(descriptor).unwrap();
        sender.send("late".to_owned()).unwrap();
        assert_eq!(receiver.recv().unwrap(), "early");
        assert_eq!(receiver.recv().unwrap(), "late");
        drop(sender);
        assert!(receiver.recv().is_err(), "there is no other sender");
    }

    #[test]
    fn many_at_once_do_not_take_each_other() {
        std::thread::scope(|scope| {
            for thread in 0..4_u32 {
                scope.spawn(move || {
                    for number in 0..50 {
                        let (sender, descriptor) = channel_to_send::<(u32, u32)>().unwrap();
                        sender.send((thread, number)).unwrap();
                        let receiver = receiver_of::<(u32, u32)>(descriptor).unwrap();
                        assert_eq!(receiver.recv().unwrap(), (thread, number));
                    }
                });
            }
        });
    }
}
