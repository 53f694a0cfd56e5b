//! The data path between a parent and one worker: frames both ways, in order.
//!
//! Three traits are the seam: [`Outbound`] and [`Inbound`] on the parent's side, [`WorkerEnd`] on the worker's. The
//! pool, the supervisor and the worker's loop know nothing else. Behind them is a pair of rings in shared memory (`ring`), or a
//! stream socket (`socket`); `README.md` beside this file has both.
//!
//! # Why rings and a socket, and not ipc-channel
//!
//! Measured bare, side by side, on the kind of machine this is developed on (`cargo bench -p concurrent-futures-benches --bench
//! link`; bodies of 8 bytes with 64 in flight, one there and back, then 64 MiB there and back):
//!
//! | | thousand/s | round trip hot, after pauses | 64 MiB |
//! |---|---|---|---|
//! | rings, a look with yield and then a futex | 8204 | 1.4 µs, 12 µs | 79 ms |
//! | unix stream socket, frames in batches | 1166 | 3.3 µs, 20 µs | 87 ms |
//! | unix stream socket, a write for each frame | 535 | 4.2 µs, 18 µs | 69 ms |
//! | ipc-channel, bytes | 647 | 3.3 µs, 19 µs | 73 ms |
//!
//! With both sides awake a ring makes no system call, and two cache lines move for a message. The socket stays, selectable: it is what
//! to compare with, and what to fall back to where shared memory is a trouble.
//!
//! Why not ipc-channel: `IpcSender::send` blocks while the peer does not read, and no thread
//! of the parent may block on one worker: a worker that is stopped would take the pool along. A ring or a socket takes what fits
//! and says so. Every `IpcReceiver::recv` allocates a buffer of the socket's size (about 212 KB) and gives whole messages
//! only, so that many small replies cannot be taken with one call, and a big one cannot be read straight into the buffer
//! that it ends in. And ipc-channel splits big messages over a socket of their own whose descriptor travels in the first
//! part: a peer that dies half-way leaves the reader inside `recv`, where neither a pidfd nor a timer reaches it.
//! ipc-channel keeps the lane on which only it can work: handles in arguments and results (`handles/`).

mod inbox;
mod outbox;
mod ring;
mod socket;
#[cfg(test)]
pub(crate) mod takeover;
#[cfg(test)]
mod tests;
mod together;

pub(crate) use together::{TOGETHER, Together};

#[cfg(any(test, fuzzing))]
pub(crate) use inbox::{Filled, Inbox, Source};
#[cfg(test)]
pub(crate) use ring::RingEnd;

use crate::sys::poller::Poller;
use crate::wire::{Down, Up};
use concurrent_futures_core::codec::{Content, Parts, Stream};
use concurrent_futures_ipc::ring::Bed;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::ops::Deref;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

/// What carries tasks and results between a pool and its workers.
///
/// Nothing that a program can see depends on it but the time that it takes. Channel handles in arguments and results travel
/// over ipc-channel in either case.
///
/// ```
/// use concurrent_futures_core::ExecutorExt;
/// use concurrent_futures_process::{DataPath, ProcessPoolExecutor};
///
/// let pool = ProcessPoolExecutor::builder().data_path(DataPath::Socket).build()?;
/// assert_eq!(pool.submit(|x: u64| x + 1, 1).result()?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum DataPath {
    /// Two rings of bytes in memory that the pool shares with each worker: no system call as long as both sides are awake.
    #[default]
    Ring,
    /// A stream socket for each worker.
    Socket,
}

/// How the parent's half reaches the supervisor: the supervisor waits with `poller`, and knows this link by `token`.
#[derive(Clone, Debug)]
pub(crate) struct Wiring {
    pub(crate) poller: Arc<Poller>,
    pub(crate) token: u64,
}

/// A new data path: the parent's two halves, and the descriptors for the worker.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) outbound: Arc<dyn Outbound>,
    pub(crate) inbound: Box<dyn Inbound>,
    pub(crate) worker: Vec<OwnedFd>,
}

/// Makes a data path, which the poller watches from now on.
pub(crate) fn pair(path: DataPath, wiring: Wiring) -> io::Result<Pair> {
    match path {
        DataPath::Ring => ring::pair(wiring),
        DataPath::Socket => socket::pair(wiring),
    }
}

/// The worker's end of what [`pair`] made, of the descriptors that it gave.
pub(crate) fn open(path: DataPath, descriptors: Vec<OwnedFd>) -> io::Result<Box<dyn WorkerEnd>> {
    let wrong = |fds: Vec<OwnedFd>| io::Error::other(format!("{} descriptors for a data path", fds.len()));
    match path {
        DataPath::Ring => Ok(Box::new(ring::open(descriptors.try_into().map_err(wrong)?)?)),
        DataPath::Socket => {
            let [socket] = descriptors.try_into().map_err(wrong)?;
            Ok(Box::new(socket::SocketEnd::new(socket)))
        }
    }
}

/// Up to this size bytes are copied beside their head: cheaper than to share them.
const SMALL: usize = 4096;

/// The body of a frame, kept by the pool until the task is done: a large one is shared with the data path, not copied.
#[derive(Clone)]
pub(crate) enum Bytes {
    Small(Stream),
    Large(Arc<Vec<u8>>),
    Slice(Arc<[u8]>),
}

impl From<Stream> for Bytes {
    fn from(bytes: Stream) -> Self {
        if bytes.len() <= SMALL { Bytes::Small(bytes) } else { Bytes::Large(Arc::new(bytes.into_vec())) }
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Stream::from(bytes).into()
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

/// A head, and its body with the parts that follow.
pub(crate) type Frame<H> = (H, Content);

/// The parent's sending half. Any thread of the parent may use it.
pub(crate) trait Outbound: Send + Sync + fmt::Debug {
    /// Puts a frame behind those posted before. Never waits and makes no system call.
    fn post_with_parts(&self, head: Down, body: Option<&Bytes>, parts: Option<&Arc<Parts>>);
    /// The same for one without parts.
    fn post(&self, head: Down, body: Option<&Bytes>) {
        self.post_with_parts(head, body, None);
    }
    /// The same for whole frames side by side, some hundred bytes of them.
    fn post_frames(&self, frames: &[u8]);
    /// Moves on what can be moved without sleeping; may look for room for a bounded time. Of several threads at it, one works
    /// for all.
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
    /// As `arm`, for a thread that is about to sleep in the [`bed`](Self::bed).
    fn arm_bed(&mut self) -> bool {
        true
    }
    /// Where a thread that waits for an answer can sleep until something comes, if there is such a place.
    fn bed(&self) -> Option<Bed> {
        None
    }
    /// Somebody of the parent looks from now on, and arms when it stops: the worker need not ring.
    fn disarm(&mut self);
    /// The descriptor does not tell of what comes, but the worker does, and only when it is [armed](Self::arm). A look costs
    /// next to nothing.
    fn is_quiet(&self) -> bool;
    /// What the poller watches for this path: readable when there is something to receive, writable when
    /// [`Outbound::resume`] is due; of a quiet one an event may mean either.
    fn descriptor(&self) -> BorrowedFd<'_>;
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
    fn send_with_parts(&mut self, head: Up, body: &[u8], parts: &Parts) -> io::Result<()>;
    /// The same for one without parts.
    fn send(&mut self, head: Up, body: &[u8]) -> io::Result<()> {
        self.send_with_parts(head, body, &Parts::default())
    }
    /// Sends what is held back.
    fn flush(&mut self) -> io::Result<()>;
    /// Sends bytes that are no whole frame, at once.
    #[cfg(any(test, feature = "chaos"))]
    fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()>;
}
