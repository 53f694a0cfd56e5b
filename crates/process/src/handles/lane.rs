//! The connection on which parcels travel between a pool and one worker.

use super::descriptor::{channel_to_send, receiver_of};
use super::parcel::{Enclosed, Parcel};
use super::parked::{Last, io_error};
use super::undisturbed::undisturbed;
use crate::sys::message;
use crate::wire::Ticket;
use ipc_channel::TryRecvError;
use ipc_channel::ipc::{self, IpcReceiver, IpcSender};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc;

/// The pool's end of a worker's lane. Nothing here blocks.
#[derive(Debug, Default)]
pub(crate) struct ParentLane {
    ends: Option<Ends>,
    /// For the time before the worker has asked for its lane.
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

    /// The worker wants its lane: sends it over its control socket, and then what waits.
    pub(crate) fn open(&mut self, control: BorrowedFd<'_>) -> io::Result<()> {
        let made = channel_to_send::<Hello>().and_then(|to_worker| Ok((to_worker, ipc::channel()?)));
        let Ok(((to_worker, its_end), (to_parent, from_worker))) = made else {
            // For want of descriptors: its task fails in words, and it may ask again.
            return message::send(control, b"none", &[]);
        };
        message::send(control, b"lane", &[its_end.as_fd()])?;
        undisturbed(|| to_worker.send(Hello { to_parent: Last(to_parent) })).map_err(io_error)?;
        // If there was a lane before, its descriptor did not arrive, and the worker tries again.
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
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// A worker's end of its lane. All of it may block until the parent answers; without the parent, it fails.
#[derive(Debug)]
pub(crate) struct WorkerLane {
    /// What comes over the control socket; `None` for a descriptor that did not arrive.
    coming: mpsc::Receiver<Option<OwnedFd>>,
    ends: Option<Ends>,
}

/// Writes the frame that asks the parent for the lane, and sees to it that it leaves at once.
type Ask<'a> = &'a mut dyn FnMut() -> io::Result<()>;

impl WorkerLane {
    /// Not open yet. What the parent sends over the control socket is to be put into the other end of `coming`.
    pub(crate) fn new(coming: mpsc::Receiver<Option<OwnedFd>>) -> Self {
        WorkerLane { coming, ends: None }
    }

    /// The handles of the task that a frame for `ticket` has announced.
    pub(crate) fn receive(&mut self, ticket: Ticket, ask: Ask<'_>) -> io::Result<Parcel> {
        let ends = self.open(ask)?;
        loop {
            let packet = undisturbed(|| ends.from_peer.recv()).map_err(io_error)?;
            // One that is not: its task's frame was answered without it, for want of a lane.
            if packet.is_for(ticket) {
                return Ok(packet.open());
            }
        }
    }

    /// Sends the handles of the result of `ticket`. All frames before must have left, and the result's must come after.
    pub(crate) fn send(&mut self, ticket: Ticket, parcel: Parcel, ask: Ask<'_>) -> io::Result<()> {
        let packet = Packet::new(ticket, parcel)?;
        self.open(ask)?.send(packet)
    }

    fn open(&mut self, ask: Ask<'_>) -> io::Result<&Ends> {
        let ends = match self.ends.take() {
            Some(ends) => ends,
            None => self.wait_for(ask)?,
        };
        Ok(self.ends.insert(ends))
    }

    fn wait_for(&self, ask: Ask<'_>) -> io::Result<Ends> {
        ask()?;
        let descriptor = self.coming.recv().map_err(|_| io::Error::from(io::ErrorKind::ConnectionReset))?;
        let descriptor = descriptor.ok_or_else(|| io::Error::other("no descriptor is left for the lane"))?;
        let from_parent = receiver_of::<Hello>(descriptor)?;
        let hello = undisturbed(|| from_parent.recv()).map_err(io_error)?;
        Ok(Ends { to_peer: hello.to_parent.0, from_peer: from_parent.to_opaque().to() })
    }
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
