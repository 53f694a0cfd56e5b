//! Frames over a pair of rings in shared memory: who waits looks for a while, with `sched_yield`, then sleeps in a futex.

use crate::Link;
use concurrent_futures_ipc::SharedMemory;
use concurrent_futures_ipc::ring::{self, Consumer, Place, Producer, Ringer};
use std::env::current_exe;
use std::io;
use std::os::fd::AsFd;
use std::process::{Child, Command};
use std::sync::Arc;

pub const ECHO: &str = "echo-over-ring";

/// As the pool's.
const CAPACITY: usize = 256 * 1024;
const SIZE: usize = 2 * ring::size(CAPACITY);
/// As the pool's tasks have.
const HEAD: usize = 40;
/// One read of small frames takes at most this, and one write of a large one.
const CHUNK: usize = 64 * 1024;
/// In place of a length: there is no more.
const END: u64 = u64::MAX;

/// Our end, and the process at the other.
pub struct Ring {
    frames: Frames,
    child: Child,
}

impl Ring {
    pub fn new() -> Ring {
        let memory = SharedMemory::create(SIZE).expect("shared memory");
        let stdin = memory.fd().try_clone_to_owned().expect("a duplicate");
        let mut command = Command::new(current_exe().expect("a path to this program"));
        let child = command.arg(ECHO).stdin(stdin).spawn().expect("a second process");
        Ring { frames: Frames::new(memory, [0, SIZE / 2]), child }
    }
}

impl Link for Ring {
    fn send(&mut self, body: &[u8]) {
        self.frames.send(body.len() as u64, body);
    }

    fn receive(&mut self) -> Vec<u8> {
        self.frames.receive().expect("the echo lives")
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.frames.send(END, &[]);
        assert!(self.child.wait().expect("our child").success());
    }
}

/// What the other process does, the memory being its stdin.
pub fn echo() {
    let memory = io::stdin().as_fd().try_clone_to_owned().expect("memory as stdin");
    let mut frames = Frames::new(SharedMemory::open(memory, SIZE).expect("the parent's memory"), [SIZE / 2, 0]);
    while let Some(body) = frames.receive() {
        frames.send(body.len() as u64, &body);
    }
}

/// One end of the two rings.
struct Frames {
    out: Producer,
    ringer: Ringer,
    input: Consumer,
    read: Vec<u8>,
    /// How much of `read` has been used.
    used: usize,
}

impl Frames {
    fn new(memory: SharedMemory, [out, input]: [usize; 2]) -> Frames {
        let memory = Arc::new(memory);
        // SAFETY: each process has one end of each ring.
        let [out, input] = [out, input].map(|at| unsafe { Place::new(memory.clone(), at, CAPACITY, None) });
        let out = Producer::new(out);
        let ringer = out.ringer();
        Frames { out, ringer, input: Consumer::new(input), read: Vec::with_capacity(CHUNK), used: 0 }
    }

    fn send(&mut self, length: u64, body: &[u8]) {
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&length.to_le_bytes());
        self.write(&head);
        for chunk in body.chunks(CHUNK) {
            self.write(chunk);
            self.out.publish();
            self.ringer.ring().expect("a futex");
        }
        self.out.publish();
        self.ringer.ring().expect("a futex");
    }

    fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.out.write(bytes).expect("the other end is sound") {
                0 => self.out.wait_for_room().expect("the other end is sound"),
                written => bytes = &bytes[written..],
            }
        }
    }

    /// `None` at the end.
    fn receive(&mut self) -> Option<Vec<u8>> {
        while self.read.len() - self.used < HEAD {
            self.read.drain(..self.used);
            self.used = 0;
            self.input.wait().expect("the other end is sound");
            let room = CHUNK - self.read.len();
            self.input.read(&mut self.read, room).expect("the other end is sound");
        }
        let length = u64::from_le_bytes(*self.read[self.used..].first_chunk().expect("a head has eight bytes"));
        self.used += HEAD;
        if length == END {
            return None;
        }
        let length = usize::try_from(length).expect("a body that fits");
        let mut body = Vec::with_capacity(length);
        let here = (self.read.len() - self.used).min(length);
        body.extend_from_slice(&self.read[self.used..self.used + here]);
        self.used += here;
        while body.len() < length {
            self.input.wait().expect("the other end is sound");
            let missing = length - body.len();
            self.input.read(&mut body, missing).expect("the other end is sound");
        }
        Some(body)
    }
}
