//! The call that the fork server makes before it forks the first worker.

use std::io;

use concurrent_futures_core::codec::Message;
use concurrent_futures_core::task::{Entry, Status, WorkerEnv, serve};

use crate::image::{self, NotInImage};

/// Calls the function in this process. The inner error is the encoded one of the user's code.
pub(super) fn call(trampoline: u64, function: u64, input: &[u8]) -> io::Result<Result<(), Vec<u8>>> {
    let address = |offset| image::address_of(offset).map_err(|error: NotInImage| io::Error::other(error));
    let entry = Entry { trampoline: address(trampoline)?, function: address(function)? };
    let mut output = Message::default();
    // SAFETY: the offsets come from the pool, which runs this very program (the boot has checked who it is), took
    // them from a call that it made, and both lie in this image's code.
    let served = unsafe { serve(entry, &mut input.to_vec().into(), &mut Plain, &mut output) };
    Ok(match served.status {
        Status::Value => Ok(()),
        Status::Error => Err(output.stream),
    })
}

/// The preload has no context and no channel handles.
struct Plain;

impl WorkerEnv for Plain {}
