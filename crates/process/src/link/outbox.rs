//! What is to be sent and has not been: small frames side by side in one buffer, large bodies as they are.

use super::{Bytes, SMALL};
use concurrent_futures_core::codec::Parts;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

/// Frames are put side by side up to about this size.
const TOGETHER: usize = 64 * 1024;
/// How many pieces one system call gets.
const PIECES: usize = 16;

/// A queue of bytes.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pieces: VecDeque<Piece>,
    /// How much of the first piece has gone out.
    sent: usize,
    /// An empty buffer to use again.
    spare: Vec<u8>,
}

#[derive(Debug)]
enum Piece {
    Frames(Vec<u8>),
    Body(Bytes),
    /// One of the parts.
    Part(Arc<Parts>, usize),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Piece::Frames(bytes) => bytes,
            Piece::Body(bytes) => bytes,
            Piece::Part(parts, number) => parts.get(*number),
        }
    }
}

impl Outbox {
    pub(crate) fn push(&mut self, head: &[u8], body: Option<&Bytes>, parts: Option<&Arc<Parts>>) {
        let copied = body.filter(|body| body.len() <= SMALL);
        let more = head.len() + copied.map_or(0, |body| body.len());
        let frames = match self.pieces.back_mut() {
            Some(Piece::Frames(frames)) if frames.len() + more <= TOGETHER => frames,
            _ => {
                self.pieces.push_back(Piece::Frames(std::mem::take(&mut self.spare)));
                let Some(Piece::Frames(frames)) = self.pieces.back_mut() else { unreachable!("it was just put there") };
                frames
            }
        };
        frames.extend_from_slice(head);
        if let Some(body) = copied {
            frames.extend_from_slice(body);
        } else if let Some(body) = body {
            self.pieces.push_back(Piece::Body(body.clone()));
        }
        if let Some(parts) = parts {
            self.pieces.extend((0..parts.len()).map(|number| Piece::Part(parts.clone(), number)));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Gives the first bytes to `write`, which says how many it took; goes on until it takes none or all are gone.
    pub(crate) fn drain<E>(&mut self, mut write: impl FnMut(&[IoSlice<'_>]) -> Result<usize, E>) -> Result<(), E> {
        while !self.pieces.is_empty() {
            let mut slices = [IoSlice::new(&[]); PIECES];
            let count = self.pieces.len().min(PIECES);
            for (n, (slice, piece)) in slices.iter_mut().zip(&self.pieces).enumerate() {
                *slice = IoSlice::new(&piece.bytes()[if n == 0 { self.sent } else { 0 }..]);
            }
            let took = write(&slices[..count])?;
            self.advance(took);
        }
        Ok(())
    }

    /// Puts what `later` holds behind what is here.
    pub(crate) fn append(&mut self, mut later: Outbox) {
        debug_assert_eq!(later.sent, 0, "only the box that is drained has a piece half gone");
        self.pieces.append(&mut later.pieces);
    }

    /// Takes over the buffer of a box that is empty.
    pub(crate) fn reuse(&mut self, empty: Outbox) {
        debug_assert!(empty.is_empty());
        if self.spare.capacity() == 0 {
            self.spare = empty.spare;
        }
    }

    fn advance(&mut self, mut took: usize) {
        while let Some(first) = self.pieces.front() {
            let left = first.bytes().len() - self.sent;
            if took < left {
                self.sent += took;
                return;
            }
            took -= left;
            self.sent = 0;
            if let Some(Piece::Frames(mut frames)) = self.pieces.pop_front()
                && frames.capacity() <= 2 * TOGETHER
            {
                frames.clear();
                self.spare = frames;
            }
        }
        debug_assert_eq!(took, 0, "more was taken than there was");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use concurrent_futures_core::codec::{Message, PART_MIN, encode_whole};
    use proptest::prelude::*;

    fn shared(len: usize, seed: usize) -> Bytes {
        Bytes::from((0..len).map(|i| (i * 7 + seed) as u8).collect::<Vec<_>>())
    }

    fn parts(sizes: &[usize]) -> Arc<Parts> {
        let mut message = Message::default();
        for (n, size) in sizes.iter().enumerate() {
            let bytes: Vec<u8> = (0..PART_MIN + size).map(|i| (i * 3 + n) as u8).collect();
            let _ = encode_whole(bytes, &mut message, 0).unwrap();
        }
        Arc::new(message.parts)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_byte_goes_out_once_and_in_order(
            bodies in proptest::collection::vec(proptest::option::of(prop_oneof![0..50usize, 3000..9000usize]), 0..40),
            sizes in proptest::collection::vec(proptest::collection::vec(0..9000_usize, 0..3), 40),
            mut takes in proptest::collection::vec(1..20_000usize, 0..40),
        ) {
            let mut outbox = Outbox::default();
            let mut expected = Vec::new();
            for (n, body) in bodies.iter().enumerate() {
                let body = body.map(|len| shared(len, n));
                let parts = parts(&sizes[n]);
                outbox.push(&[n as u8; 40], body.as_ref(), Some(&parts));
                expected.extend_from_slice(&[n as u8; 40]);
                expected.extend_from_slice(body.as_deref().unwrap_or(&[]));
                parts.iter().for_each(|(bytes, _)| expected.extend_from_slice(bytes));
            }
            let mut out = Vec::new();
            let done: Result<(), ()> = outbox.drain(|slices| {
                let mut room = takes.pop().unwrap_or(usize::MAX);
                let before = out.len();
                for slice in slices {
                    let part = slice.len().min(room);
                    out.extend_from_slice(&slice[..part]);
                    room -= part;
                }
                Ok(out.len() - before)
            });
            prop_assert_eq!(done, Ok(()));
            prop_assert!(outbox.is_empty());
            prop_assert_eq!(out, expected);
        }
    }

    #[test]
    fn a_large_body_is_not_copied() {
        let body = Arc::new(vec![0_u8; 1 << 20]);
        let mut outbox = Outbox::default();
        let parts = parts(&[0, 1 << 20]);
        outbox.push(&[0; 40], Some(&Bytes::Large(body.clone())), Some(&parts));
        assert_eq!((Arc::strong_count(&body), Arc::strong_count(&parts)), (2, 3));
        outbox.drain(|slices| Ok::<_, ()>(slices.iter().map(|s| s.len()).sum())).unwrap();
        assert_eq!((Arc::strong_count(&body), Arc::strong_count(&parts)), (1, 1));
    }
}
