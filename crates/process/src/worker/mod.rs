//! The worker's side of a pool. `README.md` beside this file has its life.

mod last_words;
mod serving;
mod watchdog;

use crate::boot;
use crate::launch::Born;
use crate::link::SocketEnd;
use crate::slots::Page;
use crate::sys::message::{self, Received};
use crate::sys::{stdio, title};
use crate::wire::Boot;
use serving::Server;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// The exit code of a worker that could not begin, or whose pool does not keep to the protocol.
const CANNOT_WORK: i32 = 126;

/// Works for the pool at the other end of `control`, and does not return.
pub(crate) fn main(control: OwnedFd, _born: Born) -> ! {
    let outcome = begin(control).and_then(|server| server.map_or(Ok(()), Server::run));
    match outcome {
        Ok(()) => stdio::flush_and_exit(0),
        Err(error) => {
            eprintln!("concurrent-futures: a worker of a process pool cannot go on: {error}");
            stdio::flush_and_exit(CANNOT_WORK)
        }
    }
}

/// `None`: the pool has gone before this worker began.
fn begin(control: OwnedFd) -> io::Result<Option<Server<SocketEnd>>> {
    let mut buffer = [0; Boot::MAX];
    let Some(Received { len, fds }) = message::receive(&control, &mut buffer)? else { return Ok(None) };
    let boot = Boot::decode(&buffer[..len]).map_err(io::Error::other)?;
    let Ok([data, page]) = <[OwnedFd; 2]>::try_from(fds) else {
        return Err(io::Error::other("the pool's first message came without its two descriptors"));
    };
    boot::set_depth(boot.depth);
    // The name is for people; a worker without one works as well.
    let _ = title::set_thread_name(&boot.name);
    let page = Arc::new(Page::open(page)?);
    last_words::arrange(page.clone());
    watchdog::start(control)?;
    Ok(Some(Server::new(SocketEnd::new(data), page)))
}
