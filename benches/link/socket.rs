//! Frames over a unix stream socket.

use crate::Link;
use std::env::current_exe;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};

pub const ECHO: &str = "echo-over-socket";
pub const ECHO_IN_BATCHES: &str = "echo-over-socket-in-batches";

/// As the pool's tasks have.
const HEAD: usize = 40;
/// More than this is not held back.
const HOLD: usize = 32 * 1024;
/// One read of small frames takes at most this.
const CHUNK: usize = 64 * 1024;

/// Whether small frames are gathered until somebody waits.
#[derive(Clone, Copy, PartialEq)]
pub enum Batching {
    Off,
    On,
}

/// Our end, and the process at the other.
pub struct Socket {
    /// Closed before the child is waited for.
    frames: Option<Frames>,
    child: Child,
}

impl Socket {
    pub fn new(batching: Batching) -> Socket {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        let word = match batching {
            Batching::Off => ECHO,
            Batching::On => ECHO_IN_BATCHES,
        };
        let mut command = Command::new(current_exe().expect("a path to this program"));
        let child = command.arg(word).stdin(OwnedFd::from(theirs)).spawn().expect("a second process");
        Socket { frames: Some(Frames::new(ours, batching)), child }
    }
}

impl Link for Socket {
    fn send(&mut self, body: &[u8]) {
        let frames = self.frames.as_mut().expect("open until dropped");
        frames.send(body).expect("the echo listens");
    }

    fn receive(&mut self) -> Vec<u8> {
        let frames = self.frames.as_mut().expect("open until dropped");
        frames.receive().expect("the echo answers").expect("the echo lives")
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.frames = None;
        assert!(self.child.wait().expect("our child").success());
    }
}

/// What the other process does, its end being its stdin.
pub fn echo(batching: Batching) {
    let end = io::stdin().as_fd().try_clone_to_owned().expect("a socket as stdin");
    let mut frames = Frames::new(UnixStream::from(end), batching);
    while let Some(body) = frames.receive().expect("frames") {
        frames.send(&body).expect("the parent listens");
    }
}

/// One end of the socket.
struct Frames {
    socket: UnixStream,
    batching: Batching,
    held: Vec<u8>,
    read: Box<[u8; CHUNK]>,
    /// What of `read` is still to be used.
    rest: std::ops::Range<usize>,
}

impl Frames {
    fn new(socket: UnixStream, batching: Batching) -> Frames {
        Frames { socket, batching, held: Vec::new(), read: Box::new([0; CHUNK]), rest: 0..0 }
    }

    fn send(&mut self, body: &[u8]) -> io::Result<()> {
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&(body.len() as u64).to_le_bytes());
        self.held.extend_from_slice(&head);
        if body.len() > HOLD {
            return self.write(body);
        }
        self.held.extend_from_slice(body);
        if self.batching == Batching::Off || self.held.len() > HOLD { self.write(&[]) } else { Ok(()) }
    }

    /// `None` at the end.
    fn receive(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut head = [0; HEAD];
        let mut got = self.take(&mut head);
        while got < HEAD {
            self.write(&[])?;
            let read = self.socket.read(&mut self.read[..])?;
            if read == 0 {
                return Ok(None);
            }
            self.rest = 0..read;
            got += self.take(&mut head[got..]);
        }
        let length = u64::from_le_bytes(*head.first_chunk().expect("a head has eight bytes"));
        let length = usize::try_from(length).expect("a body that fits");
        let mut body = Vec::with_capacity(length);
        let here = self.rest.len().min(length);
        body.extend_from_slice(&self.read[self.rest.start..self.rest.start + here]);
        self.rest.start += here;
        (&self.socket).take((length - here) as u64).read_to_end(&mut body)?;
        if body.len() < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(Some(body)) }
    }

    /// Moves what has been read, as far as it goes.
    fn take(&mut self, into: &mut [u8]) -> usize {
        let here = self.rest.len().min(into.len());
        into[..here].copy_from_slice(&self.read[self.rest.start..self.rest.start + here]);
        self.rest.start += here;
        here
    }

    fn write(&mut self, body: &[u8]) -> io::Result<()> {
        let mut slices = &mut [IoSlice::new(&self.held), IoSlice::new(body)][..];
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            let written = self.socket.write_vectored(slices)?;
            IoSlice::advance_slices(&mut slices, written);
        }
        self.held.clear();
        Ok(())
    }
}
