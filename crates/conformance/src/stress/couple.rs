//! Two processes and a pipe.

use super::random::Random;
use super::world::{Deed, World};
use crate::PATIENCE;
use concurrent_futures::multiprocessing::{Connection, Process, RecvError, SendError, pipe};
use std::io;

/// A number, and so many bytes.
type Message = (u64, Vec<u8>);

/// Two that talk until one of them is killed, or they are told to stop.
pub(super) fn start(world: &World, seed: u64) -> io::Result<[Process; 2]> {
    let (one, other) = pipe()?;
    let asking = Process::target(ask, (one, world.clone(), seed)).daemon(true).start()?;
    Ok([asking, Process::target(answer, other).daemon(true).start()?])
}

fn ask((connection, world, seed): (Connection<Message>, World, u64)) {
    let mut random = Random::new(seed);
    for number in 0.. {
        if world.is_stopped() {
            return;
        }
        let bytes = vec![number as u8; random.below(20_000)];
        match connection.send((number, bytes.clone())) {
            Ok(()) => {}
            Err(SendError::Closed(_)) => return,
            Err(error) => panic!("send: {error}"),
        }
        match connection.recv_timeout(PATIENCE) {
            Ok(answer) => assert!(answer == (number + 1, bytes), "another answer to {number}"),
            // He was killed, maybe in the middle of his answer.
            Err(RecvError::Ended | RecvError::Torn) => return,
            Err(error) => panic!("recv: {error}"),
        }
        world.did(Deed::Echoes);
    }
}

fn answer(connection: Connection<Message>) {
    loop {
        let (number, bytes) = match connection.recv_timeout(PATIENCE) {
            Ok(message) => message,
            Err(RecvError::Ended | RecvError::Torn) => return,
            Err(error) => panic!("recv: {error}"),
        };
        match connection.send((number + 1, bytes)) {
            Ok(()) => {}
            Err(SendError::Closed(_)) => return,
            Err(error) => panic!("send: {error}"),
        }
    }
}
