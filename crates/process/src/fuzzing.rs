//! What the bytes of a peer are read with, for the fuzz targets (`fuzz/`) and the property tests below. Each function takes
//! anything and must come back: with frames that mean what they say, or with an error in words; without a panic, and without
//! taking memory for what has only been announced.

use crate::link::{Filled, Inbox, Source};
use crate::wire::{Boot, DOWN, Down, Head, PART, UP, Up};
use concurrent_futures_core::task::decode_error;
use std::io;
use std::mem::MaybeUninit;

/// More than this has no business in a buffer after so few bytes: one read of small frames, and the first part of a body.
const ROOM: usize = 4 << 20;

/// A stream from a worker, as its parent reads it. The first byte says in which pieces it comes.
pub fn stream_from_a_worker(bytes: &[u8]) {
    read::<Up, UP>(bytes);
}

/// A stream from a pool, as a worker reads it.
pub fn stream_from_a_pool(bytes: &[u8]) {
    read::<Down, DOWN>(bytes);
}

/// The first message on a control socket.
pub fn first_message(bytes: &[u8]) {
    if let Ok(boot) = Boot::decode(bytes) {
        assert_eq!(Boot::decode(&boot.encode()).map(|again| again.depth), Ok(boot.depth));
    }
}

/// The body of a result that says that its task has failed.
pub fn error_of_a_task(bytes: &[u8]) {
    assert!(!decode_error(bytes).to_string().is_empty());
}

fn read<H: Head<N>, const N: usize>(bytes: &[u8]) {
    let Some((size, rest)) = bytes.split_first() else { return };
    let mut source = Pieces { rest, size: usize::from(*size).max(1), whole: bytes.len() };
    let mut inbox = Inbox::<H, N>::new();
    loop {
        loop {
            match inbox.next() {
                Ok(Some((head, content))) => {
                    let described = content.parts.len() * PART;
                    assert_eq!(head.body(), (content.stream.len() + described) as u64);
                    assert_eq!(usize::from(head.parts()), content.parts.len());
                    assert!(H::decode(&head.encode()).is_ok());
                }
                Ok(None) => break,
                Err(garbled) => return assert!(!garbled.to_string().is_empty()),
            }
        }
        match inbox.fill(&mut source) {
            Ok(Filled::End) => return,
            Ok(_) => {}
            Err(error) => return assert!(!error.to_string().is_empty()),
        }
    }
}

struct Pieces<'a> {
    rest: &'a [u8],
    size: usize,
    whole: usize,
}

impl Source for Pieces<'_> {
    fn read<'a>(&mut self, room: &'a mut [MaybeUninit<u8>]) -> io::Result<&'a mut [u8]> {
        assert!(room.len() <= ROOM + self.whole * 64, "a length alone has taken {}", room.len());
        let (piece, rest) = self.rest.split_at(self.size.min(room.len()).min(self.rest.len()));
        self.rest = rest;
        Ok(room[..piece.len()].write_copy_of_slice(piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Heads with plausible kinds and lengths among the noise, so that more than the first check is reached.
    fn noise() -> impl Strategy<Value = Vec<u8>> {
        let plausible = (0..8_u8, 0..16_u8, 0..4_u8, proptest::collection::vec(any::<u8>(), 0..60));
        let head = plausible.prop_map(|(kind, flags, len, tail)| {
            let mut head = vec![kind, flags, 0, 0, 0, 0, 0, 0, len, 0, 0, 0, 0, 0, 0, 0];
            head.extend(tail);
            head
        });
        let part = prop_oneof![head, proptest::collection::vec(any::<u8>(), 0..40)];
        (any::<u8>(), proptest::collection::vec(part, 0..8)).prop_map(|(size, parts)| {
            let mut bytes = vec![size];
            bytes.extend(parts.concat());
            bytes
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn row_28_any_bytes_are_read_or_refused(bytes in noise()) {
            stream_from_a_worker(&bytes);
            stream_from_a_pool(&bytes);
            first_message(&bytes);
            error_of_a_task(&bytes);
        }
    }
}
