//! The worker's side of a pool. `README.md` beside this file has its life.

mod last_words;
mod limits;
mod running;
mod serving;
pub(crate) mod watchdog;

use crate::attachments::Tray;
use crate::blocks;
use crate::boot;
use crate::handles::WorkerLane;
use crate::launch::Born;
use crate::link;
use crate::process::current;
use crate::slots::Page;
use crate::sys::message::{self, Received};
use crate::sys::{overflow, stdio, title, wait};
use crate::wire::{Boot, Step, Up};
use limits::Fences;
use serving::{Leave, Server};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// The exit code of a worker that could not begin, or whose pool does not keep to the protocol.
const CANNOT_WORK: i32 = 126;

/// Works for the pool at the other end of `control`, and does not return.
pub(crate) fn main(control: OwnedFd, born: Born) -> ! {
    let outcome = begin(control, born).and_then(|server| server.map_or(Ok(Leave::Gone), Server::run));
    match outcome {
        Ok(Leave::Told) => stdio::flush_and_exit(0),
        Ok(Leave::Gone) => end_with_the_pool(),
        // It ended while it was told something, or while it said something.
        Err(error) if is_end(error.kind()) => end_with_the_pool(),
        Err(error) => {
            eprintln!("concurrent-futures: a worker of a process pool cannot go on: {error}");
            stdio::flush_and_exit(CANNOT_WORK)
        }
    }
}

/// Nobody is there any more who would want an answer or an error message; what the tasks have started must not stay.
fn end_with_the_pool() -> ! {
    stdio::flush();
    watchdog::end_all()
}

fn is_end(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(kind, BrokenPipe | ConnectionReset | UnexpectedEof)
}

/// `None`: the pool has gone before this worker began, or has been told why it cannot.
fn begin(control: OwnedFd, born: Born) -> io::Result<Option<Server>> {
    let mut buffer = [0; Boot::MAX];
    let Some(Received { len, fds }) = message::receive(&control, &mut buffer)? else { return Ok(None) };
    let boot = Boot::decode(&buffer[..len]).map_err(io::Error::other)?;
    let mut fds = fds.into_iter();
    let (Some(page), Some(tray)) = (fds.next(), fds.next()) else {
        return Err(io::Error::other("the pool's first message came without its descriptors"));
    };
    boot::set_depth(boot.depth);
    current::become_worker(&boot.name);
    // The name is for people; a worker without one works as well.
    let _ = title::set_thread_name(&boot.name);
    let page = Arc::new(Page::open(page)?);
    // A fork starts from nothing.
    page.begin_with_peak(if born == Born::Forked { 1 } else { wait::own_peak().unwrap_or(0) });
    last_words::arrange(page.clone());
    overflow::note(Some(&page))?;
    let lane = WorkerLane::new(watchdog::start(control)?);
    // After the watchdog, which is to be as quick as ever.
    // What is kept counts against a limit, and is not the task's.
    blocks::in_worker(boot.rules.limits.memory.is_none() && boot.rules.max_memory.is_none());
    let fences = Fences::of_worker(&boot.rules, &page);
    let mut link = link::open(boot.data, fds.collect())?;
    match fences {
        Ok(fences) => Ok(Some(Server::new(link, page, lane, Tray::of(tray), fences, boot.rules.max_memory))),
        Err(words) => {
            link.send(Up::SetupFailed { step: Step::Limits, len: words.len() as u64 }, words.as_bytes())?;
            link.flush()?;
            Ok(None)
        }
    }
}
