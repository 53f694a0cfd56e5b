//! A worker that dies after an exact number of bytes.
//!
//! A task puts a relay between its worker and the pool: it takes the place of the worker's link by one end of a new one,
//! and hands on what comes at the other end, in both directions. After so many bytes in one direction the worker is killed, by
//! SIGKILL, at the moment at which one more would have passed. So a death can be placed at every byte of a request or a reply.

use crate::rings;
use rustix::net::sockopt::{socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::thread;

/// From the pool to the worker, or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    Down,
    Up,
}

/// To be called in a task: from now on so many bytes pass this way, and none more.
pub fn install(way: Way, bytes: usize) {
    let [down, up] = [Way::Down, Way::Up].map(|this| if this == way { bytes } else { usize::MAX });
    match rings::of_this_worker() {
        Some(rings) => rings::install(rings, down, up),
        None => install_sockets(down, up),
    }
}

fn install_sockets(down: usize, up: usize) {
    let link = link();
    // SAFETY: it is open, as it was just found, and nobody closes it while the task runs, which is in the worker's only thread
    // that uses it.
    let borrowed = unsafe { BorrowedFd::borrow_raw(link) };
    let pool = UnixStream::from(borrowed.try_clone_to_owned().expect("a duplicate of the link"));
    let (ours, worker) = UnixStream::pair().expect("a pair of sockets");
    // SAFETY: both are open; the worker's link keeps its number, and is now the end of the relay.
    assert_eq!(unsafe { libc::dup3(worker.as_raw_fd(), link, libc::O_CLOEXEC) }, link);
    let (from_pool, to_worker) = (pool.try_clone().expect("a duplicate"), ours.try_clone().expect("a duplicate"));
    thread::spawn(move || hand_on(from_pool, to_worker, down));
    thread::spawn(move || hand_on(ours, pool, up));
}

/// The one stream socket that a worker has.
fn link() -> RawFd {
    let numbers = std::fs::read_dir("/proc/self/fd").expect("/proc is there").flatten();
    let numbers: Vec<RawFd> = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let is_link = |number: &RawFd| {
        // SAFETY: what is asked about it fails when it is not open, and nothing else is done with it.
        let fd = unsafe { BorrowedFd::borrow_raw(*number) };
        socket_type(fd) == Ok(SocketType::STREAM) && socket_domain(fd) == Ok(AddressFamily::UNIX)
    };
    let links: Vec<RawFd> = numbers.into_iter().filter(is_link).collect();
    let [link] = links[..] else { panic!("a worker has one link, not {links:?}") };
    link
}

fn hand_on(mut from: UnixStream, mut to: UnixStream, mut left: usize) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let passing = read.min(left);
        if to.write_all(&buffer[..passing]).is_err() {
            break;
        }
        left -= passing;
        if passing < read {
            die();
        }
    }
    // The end is handed on, too; the other side may be gone already.
    let _ = to.shutdown(std::net::Shutdown::Write);
}

/// One byte more would have passed.
pub fn die() {
    kill_process(getpid(), Signal::KILL).expect("this very process");
}
