//! The data path between a parent and one worker: frames both ways, in order.
//!
//! Four small traits are the seam: [`Outbound`] and [`Inbound`] on the parent's side, [`WorkerEnd`] on the worker's. The
//! pool, the supervisor and the worker's loop know nothing else, so that another path (a pair of shared-memory rings)
//! can stand beside the socket: `post` fills the ring or an overflow list, `flush` rings the worker's doorbell if it
//! sleeps, `descriptor` is the pool's doorbell for the supervisor, `receive` empties the ring.
//!
//! # Why a socket carries the plain lane, and not ipc-channel
//!
//! The issue allows either. Measured bare, side by side, on the kind of machine this is developed on
//! (`u64` to `u64`, 64 in flight, one and two workers; then 64 MiB there, there and back):
//!
//! | | tasks/s | 64 MiB |
//! |---|---|---|
//! | unix stream socket, one write per task | 790 k, 540 k | 45 ms, 73 ms |
//! | ipc-channel, bytes | 487 k, 447 k | 61 ms, 102 ms |
//!
//! More than the figures, three properties decide. `IpcSender::send` blocks while the peer does not read, and no thread
//! of the parent may block on one worker: a worker that is stopped would take the pool along. A socket takes what fits
//! and says so. Every `IpcReceiver::recv` allocates a buffer of the socket's size (about 212 KB) and gives whole messages
//! only, so that many small replies cannot be taken with one call, and a big one cannot be read straight into the buffer
//! that it ends in. And ipc-channel splits big messages over a socket of their own whose descriptor travels in the first
//! part: a peer that dies half-way leaves the reader inside `recv`, where neither a pidfd nor a timer reaches it.
//! ipc-channel keeps the lane on which only it can work: handles in arguments and results (`handles/`).

mod inbox;
mod outbox;
mod socket;

#[cfg(any(test, fuzzing))]
pub(crate) use inbox::{Filled, Inbox, Source};
pub(crate) use socket::{Pair, SocketEnd, Wiring, pair};

use crate::wire::{Down, Up};
use std::fmt;
use std::io;
use std::ops::Deref;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// Up to this size bytes are copied beside their head: cheaper than to share them.
const SMALL: usize = 4096;

/// The body of a frame, kept by the pool until the task is done: a large one is shared with the data path, not copied.
#[derive(Clone)]
pub(crate) enum Bytes {
    Small(Vec<u8>),
    Large(Arc<Vec<u8>>),
    Slice(Arc<[u8]>),
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        if bytes.len() <= SMALL { Bytes::Small(bytes) } else { Bytes::Large(Arc::new(bytes)) }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Small(bytes) => bytes,
            Bytes::Large(bytes) => bytes,
            Bytes::Slice(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

/// A head and its body.
pub(crate) type Frame<H> = (H, Vec<u8>);

/// The parent's sending half. Any thread of the parent may use it.
pub(crate) trait Outbound: Send + Sync + fmt::Debug {
    /// Puts a frame behind those posted before. Never waits and makes no system call.
    fn post(&self, head: Down, body: Option<&Bytes>);
    /// Moves on what can be moved without waiting. Of several threads at it, one works for all.
    fn flush(&self);
    /// The supervisor, when the descriptor can be written again: moves on what was left.
    fn resume(&self);
    /// The worker is gone: drops what has not been sent, now and from now on.
    fn close(&self);
}

/// The parent's receiving half, the supervisor's alone.
pub(crate) trait Inbound: Send + fmt::Debug {
    /// Takes the frames that are there without waiting, stopping near `budget` bytes so that one worker's flood does
    /// not hold up the others. Frames before an error or the end count.
    fn receive(&mut self, budget: usize, frames: &mut Vec<Frame<Up>>) -> io::Result<Inflow>;
    /// Nobody of the parent looks from now on: the worker is to ring the supervisor for what comes. `true`: it is not, for
    /// something is there already, look again. A path whose descriptor tells by itself has nothing to do.
    fn arm(&mut self) -> bool;
    /// Somebody of the parent looks from now on, and arms when it stops: the worker need not ring.
    fn disarm(&mut self);
    /// Readable when there is something to receive, writable when [`Outbound::resume`] is due. `None`: the path has none
    /// of its own, and its worker rings the pool's bell for both.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;
}

/// What [`Inbound::receive`] left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inflow {
    /// Nothing, or something of which the descriptor will tell, or [`Inbound::arm`].
    Dry,
    /// The worker has closed its end, and everything that it sent has been received.
    End,
}

/// The worker's end.
pub(crate) trait WorkerEnd: fmt::Debug {
    /// The next frame; waits for it, and sends what is held back before it waits. `None`: no more will come.
    fn receive(&mut self) -> io::Result<Option<Frame<Down>>>;
    /// Sends a frame, or holds it back until the next `flush` or wait.
    fn send(&mut self, head: Up, body: &[u8]) -> io::Result<()>;
    /// Sends what is held back.
    fn flush(&mut self) -> io::Result<()>;
    /// Sends bytes that are no whole frame, at once.
    #[cfg(feature = "chaos")]
    fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()>;
}
