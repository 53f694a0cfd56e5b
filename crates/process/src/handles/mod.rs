//! Channels and shared memory of `ipc-channel` as task arguments and results. The protocol is in `README.md` beside this file.
//!
//! A handle cannot be bytes: encoding one parks it in a thread-local of `ipc-channel` and writes a number. Right after
//! such an encoding, what was parked goes into a [`Parcel`], and the parcel travels over a *lane*, an ipc-channel
//! connection between the pool and one worker ([`ParentLane`], [`WorkerLane`]), while the bytes go over the data path
//! as ever. Who decodes the bytes does it inside [`Parcel::unpack`].

mod descriptor;
mod lane;
mod parcel;
mod parked;
#[cfg(test)]
mod tests;
mod undisturbed;

pub(crate) use lane::{ParentLane, WorkerLane, worker_is_gone};
pub(crate) use parcel::{Parcel, forget_parked};
