//! Pipes: connections of two processes that send each other values. And waiting for several things at once.
//!
//! [`pipe`] makes a connection of two directions, [`one_way`] one of one. Each end can be sent to another process of
//! this program, as or inside the argument of a task or of a process, or over another connection: it moves there, for
//! there is one owner of an end at any time. When it is dropped, or its process ends in whatever way, the other end
//! knows.
//!
//! ```
//! use concurrent_futures_ipc::connection::pipe;
//!
//! let (ours, theirs) = pipe::<u32, String>()?;
//! ours.send(7)?;
//! theirs.send(format!("{} it is", theirs.recv()?))?;
//! assert_eq!(ours.recv()?, "7 it is");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `README.md` beside this file has the protocol.

mod beside;
mod duplex;
pub(crate) mod ear;
mod end;
mod error;
mod frame;
mod incoming;
mod outgoing;
mod poll;
mod pollable;
mod receiver;
mod sender;
#[cfg(test)]
mod tests;
mod travel;
mod wait;

pub use duplex::{Connection, pipe};
pub use error::{RecvError, SendError};
pub use pollable::{Armed, Pollable, Watch, ready};
pub use receiver::{Iter, Receiver};
pub use sender::{Sender, one_way};
pub use wait::wait;

/// How often one who waits looks before it sleeps, each time with a `sched_yield`: about twenty microseconds, which is
/// what it takes to be woken.
const LOOKS: u32 = 48;
