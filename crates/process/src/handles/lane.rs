//! The connection on which parcels travel between a pool and one worker.

use super::parcel::{Enclosed, Parcel};
use super::parked::{Last, io_error};
use super::undisturbed::undisturbed;
use crate::wire::Ticket;
use ipc_channel::TryRecvError;
use ipc_channel::ipc::{self, IpcOneShotServer, IpcReceiver, IpcSender};
use rustix::fs::{Mode, OFlags, open};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

/// The longest path of a socket: one byte of the kernel's 108 is the end mark. `ipc-channel` would cut it off.
const MAX_PATH: usize = 107;

/// What `ipc-channel` adds to the temporary directory: `/.tmpXXXXXX/socket`.
const ADDED_PATH: usize = 18;

/// The pool's end of a worker's lane. Nothing here blocks.
#[derive(Debug, Default)]
pub(crate) struct ParentLane {
    ends: Option<Ends>,
    /// For the time before the worker has announced its server.
    waiting: Vec<Packet>,
}

impl ParentLane {
    /// Sends the handles of the task `ticket`, or keeps them until the lane is open. The task's frame must come after. To a
    /// worker that is dead they are as good as sent: its death decides what becomes of the task.
    pub(crate) fn send(&mut self, ticket: Ticket, parcel: Parcel) -> io::Result<()> {
        let packet = Packet::new(ticket, parcel)?;
        match &self.ends {
            Some(ends) => match ends.send(packet) {
                Err(error) if worker_is_gone(&error) => Ok(()),
                other => other,
            },
            None => {
                self.waiting.push(packet);
                Ok(())
            }
        }
    }

    /// Connects to the server that the worker has announced, and sends what waits.
    pub(crate) fn connect(&mut self, name: &str) -> io::Result<()> {
        if name.len() > MAX_PATH || name.contains('\0') || !Path::new(name).is_absolute() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "this is not the path of a socket"));
        }
        let to_worker = undisturbed(|| IpcSender::<Hello>::connect(name.to_owned()))?;
        let (to_parent, from_worker) = ipc::channel()?;
        undisturbed(|| to_worker.send(Hello { to_parent: Last(to_parent) })).map_err(io_error)?;
        // If there was a connection before, the worker could not accept it and tries again.
        let ends = self.ends.insert(Ends { to_peer: to_worker.to_opaque().to(), from_peer: from_worker });
        self.waiting.drain(..).try_for_each(|packet| ends.send(packet))
    }

    /// The handles of the result that a frame for `ticket` has announced; they were sent before the frame.
    pub(crate) fn receive(&mut self, ticket: Ticket) -> io::Result<Parcel> {
        let Some(ends) = &self.ends else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the worker has opened no lane"));
        };
        loop {
            let packet = match ends.from_peer.try_recv() {
                Ok(packet) => packet,
                Err(TryRecvError::IpcError(error)) => return Err(io_error(error)),
                Err(TryRecvError::Empty) => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "the worker has sent no handles"));
                }
            };
            if packet.is_for(ticket) {
                return Ok(packet.open());
            }
        }
    }
}

/// Whether an error of a lane means that nobody is at its other end any more: the worker has ended, or is about to.
pub(crate) fn worker_is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound};
    matches!(error.kind(), BrokenPipe | ConnectionRefused | ConnectionReset | NotFound)
}

/// A worker's end of its lane. All of it may block until the parent answers; without the parent, it fails.
#[derive(Debug, Default)]
pub(crate) struct WorkerLane {
    ends: Option<Ends>,
}

/// Writes the frame that tells the parent of the lane's server, and sees to it that it leaves at once.
type Announce<'a> = &'a mut dyn FnMut(&str) -> io::Result<()>;

impl WorkerLane {
    /// The handles of the task that a frame for `ticket` has announced.
    pub(crate) fn receive(&mut self, ticket: Ticket, announce: Announce<'_>) -> io::Result<Parcel> {
        let ends = self.open(announce)?;
        loop {
            let packet = undisturbed(|| ends.from_peer.recv()).map_err(io_error)?;
            // One that is not: its task's frame was answered without it, for want of a lane.
            if packet.is_for(ticket) {
                return Ok(packet.open());
            }
        }
    }

    /// Sends the handles of the result of `ticket`. All frames before must have left, and the result's must come after.
    pub(crate) fn send(&mut self, ticket: Ticket, parcel: Parcel, announce: Announce<'_>) -> io::Result<()> {
        let packet = Packet::new(ticket, parcel)?;
        self.open(announce)?.send(packet)
    }

    fn open(&mut self, announce: Announce<'_>) -> io::Result<&Ends> {
        let ends = match self.ends.take() {
            Some(ends) => ends,
            None => accept(announce)?,
        };
        Ok(self.ends.insert(ends))
    }
}

/// Opens a server, announces it and waits for the parent.
fn accept(announce: Announce<'_>) -> io::Result<Ends> {
    let directory = std::env::temp_dir();
    if directory.to_str().is_none_or(|path| path.len() + ADDED_PATH > MAX_PATH) {
        let why = format!("the temporary directory {} is no place for a socket", directory.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let (server, path) = IpcOneShotServer::<Hello>::new()?;
    let (name, _keep) = unlinked(Path::new(&path))?;
    announce(&name)?;
    let (from_parent, hello) = undisturbed(|| server.accept()).map_err(io_error)?;
    Ok(Ends { to_peer: hello.to_parent.0, from_peer: from_parent.to_opaque().to() })
}

/// Takes a server's socket out of the file system, so that nothing of it is left there when this process is killed while it
/// waits. It is found under the name that is given back as long as the descriptor is open.
fn unlinked(path: &Path) -> io::Result<(String, OwnedFd)> {
    let socket = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    std::fs::remove_file(path)?;
    if let Some(directory) = path.parent() {
        std::fs::remove_dir(directory)?;
    }
    Ok((format!("/proc/{}/fd/{}", std::process::id(), socket.as_raw_fd()), socket))
}

/// Both directions of an open lane.
#[derive(Debug)]
struct Ends {
    to_peer: IpcSender<Packet>,
    from_peer: IpcReceiver<Packet>,
}

impl Ends {
    fn send(&self, packet: Packet) -> io::Result<()> {
        undisturbed(|| self.to_peer.send(packet)).map_err(io_error)
    }
}

/// The first message on a lane, from the parent: where to send packets to. Its own channel carries packets from then on.
#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    to_parent: Last<IpcSender<Packet>>,
}

/// A parcel with its address.
#[derive(Debug, Serialize, Deserialize)]
struct Packet {
    slot: u16,
    seq: u32,
    inside: Last<IpcReceiver<Enclosed>>,
}

impl Packet {
    fn new(ticket: Ticket, parcel: Parcel) -> io::Result<Self> {
        let inside = parcel.into_inside().ok_or_else(|| io::Error::other("the parcel was unpacked before"))?;
        Ok(Packet { slot: ticket.slot, seq: ticket.seq, inside: Last(inside) })
    }

    fn is_for(&self, ticket: Ticket) -> bool {
        (self.slot, self.seq) == (ticket.slot, ticket.seq)
    }

    fn open(self) -> Parcel {
        Parcel::holding(self.inside.0)
    }
}
