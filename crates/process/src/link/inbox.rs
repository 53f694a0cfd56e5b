//! From a stream of bytes to frames, whatever pieces the bytes come in.

use super::Frame;
use crate::sys::huge_pages;
use crate::wire::{Garbled, Head};
use std::io;

/// One read takes at most this many bytes of small frames.
const CHUNK: usize = 64 * 1024;
/// A body of which more than this is missing is read straight into its own buffer.
const DIRECT: usize = 16 * 1024;
/// A body's buffer is this large at first. It grows as bytes arrive, so that a length alone costs no memory.
const FIRST: usize = 1 << 20;
/// By how much the buffer of a body may exceed what has arrived of it.
const GROWTH: usize = 16;

/// Where the bytes come from.
pub(crate) trait Source {
    /// Appends at most `limit` bytes to `buffer`, within its capacity; 0 is the end.
    fn read(&mut self, buffer: &mut Vec<u8>, limit: usize) -> io::Result<usize>;
}

/// Frames in the making; survives every partial read.
#[derive(Debug)]
pub(crate) struct Inbox<H, const N: usize> {
    buffer: Vec<u8>,
    /// What of `buffer` has been used.
    start: usize,
    /// A frame whose head is known and whose body is not complete.
    partial: Option<Frame<H>>,
}

/// The result of one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    /// This many bytes came, and there may be more.
    Full(usize),
    /// This many bytes came, fewer than there was room for.
    Short(usize),
    End,
}

impl<H: Head<N>, const N: usize> Inbox<H, N> {
    pub(crate) fn new() -> Self {
        Inbox { buffer: Vec::with_capacity(CHUNK), start: 0, partial: None }
    }

    /// The next frame that is complete.
    pub(crate) fn next(&mut self) -> Result<Option<Frame<H>>, Garbled> {
        if self.partial.is_none() {
            let Some(head) = self.buffer[self.start..].first_chunk::<N>() else { return Ok(None) };
            let head = H::decode(head)?;
            self.start += N;
            self.partial = Some((head, Vec::new()));
        }
        let Some((head, mut body)) = self.partial.take() else { return Ok(None) };
        let total = length(&head)?;
        let here = &self.buffer[self.start..];
        let part = here.len().min(total - body.len());
        reserve(&mut body, part, total)?;
        body.extend_from_slice(&here[..part]);
        self.start += part;
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
        if body.len() == total {
            return Ok(Some((head, body)));
        }
        self.partial = Some((head, body));
        Ok(None)
    }

    /// Reads once. Call [`next`](Self::next) until it has no more frame first, and then again.
    pub(crate) fn fill(&mut self, source: &mut impl Source) -> io::Result<Filled> {
        if let Some((head, body)) = &mut self.partial {
            let missing = length(head).map_err(garbled)? - body.len();
            if missing >= DIRECT {
                debug_assert!(self.buffer.is_empty(), "`next` moves what is there into the body first");
                reserve(body, 1, missing + body.len()).map_err(garbled)?;
                let room = missing.min(body.capacity() - body.len());
                return Ok(Filled::of(source.read(body, room)?, room));
            }
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        let room = CHUNK - self.buffer.len();
        Ok(Filled::of(source.read(&mut self.buffer, room)?, room))
    }

    /// Whether a frame has begun to arrive.
    pub(crate) fn is_partial(&self) -> bool {
        self.partial.is_some() || self.start < self.buffer.len()
    }
}

impl Filled {
    /// How many bytes came.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Filled::Full(bytes) | Filled::Short(bytes) => bytes,
            Filled::End => 0,
        }
    }

    fn of(read: usize, room: usize) -> Self {
        match read {
            0 => Filled::End,
            _ if read < room => Filled::Short(read),
            _ => Filled::Full(read),
        }
    }
}

pub(crate) fn garbled(garbled: Garbled) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, garbled)
}

fn length<H: Head<N>, const N: usize>(head: &H) -> Result<usize, Garbled> {
    usize::try_from(head.body()).map_err(|_| Garbled::Length(head.body()))
}

/// Room for `more` bytes of a body that will have `total`.
fn reserve(body: &mut Vec<u8>, more: usize, total: usize) -> Result<(), Garbled> {
    let needed = body.len() + more;
    if needed <= body.capacity() {
        return Ok(());
    }
    let wanted = total.min(needed.saturating_mul(GROWTH).max(FIRST));
    body.try_reserve_exact(wanted - body.len()).map_err(|_| Garbled::Length(total as u64))?;
    huge_pages::advise(body);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Ticket, UP, Up};
    use proptest::prelude::*;

    /// Gives its bytes in pieces of the given sizes, then in ones.
    struct Pieces<'a> {
        bytes: &'a [u8],
        sizes: std::vec::IntoIter<usize>,
        reads: usize,
    }

    impl<'a> Pieces<'a> {
        fn new(bytes: &'a [u8], sizes: Vec<usize>) -> Self {
            Pieces { bytes, sizes: sizes.into_iter(), reads: 0 }
        }
    }

    impl Source for Pieces<'_> {
        fn read(&mut self, buffer: &mut Vec<u8>, limit: usize) -> io::Result<usize> {
            assert!(limit > 0 && limit <= buffer.capacity() - buffer.len());
            self.reads += 1;
            let size = self.sizes.next().unwrap_or(1 << 20).clamp(1, limit).min(self.bytes.len());
            buffer.extend_from_slice(&self.bytes[..size]);
            self.bytes = &self.bytes[size..];
            Ok(size)
        }
    }

    fn result(len: usize) -> Up {
        Up::Result {
            ticket: Ticket { slot: 1, seq: 2 },
            failed: false,
            again: false,
            retire: false,
            handles: false,
            len: len as u64,
        }
    }

    fn stream(lengths: &[usize]) -> (Vec<u8>, Vec<Frame<Up>>) {
        let mut bytes = Vec::new();
        let mut frames = Vec::new();
        for (n, len) in lengths.iter().enumerate() {
            let body: Vec<u8> = (0..*len).map(|i| (i * 31 + n) as u8).collect();
            bytes.extend_from_slice(&result(*len).encode());
            bytes.extend_from_slice(&body);
            frames.push((result(*len), body));
        }
        (bytes, frames)
    }

    fn drain(source: &mut impl Source) -> io::Result<(Vec<Frame<Up>>, bool)> {
        let mut inbox = Inbox::<Up, UP>::new();
        let mut frames = Vec::new();
        loop {
            while let Some(frame) = inbox.next().map_err(garbled)? {
                frames.push(frame);
            }
            if inbox.fill(source)? == Filled::End {
                return Ok((frames, inbox.is_partial()));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn frames_survive_any_cut(
            lengths in proptest::collection::vec(prop_oneof![0..40usize, 0..200_000usize], 0..12),
            sizes in proptest::collection::vec(1..70_000usize, 0..40),
        ) {
            let (bytes, frames) = stream(&lengths);
            let (got, partial) = drain(&mut Pieces::new(&bytes, sizes)).unwrap();
            prop_assert!(!partial);
            prop_assert_eq!(got, frames);
        }

        #[test]
        fn a_torn_stream_gives_its_complete_frames(
            lengths in proptest::collection::vec(0..3000usize, 1..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let (bytes, frames) = stream(&lengths);
            let cut = cut.index(bytes.len());
            let (got, partial) = drain(&mut Pieces::new(&bytes[..cut], Vec::new())).unwrap();
            let mut end = 0;
            let whole = frames.iter().take_while(|(_, body)| { end += UP + body.len(); end <= cut }).count();
            prop_assert_eq!(got.len(), whole);
            let boundary = frames[..whole].iter().map(|(_, body)| UP + body.len()).sum::<usize>();
            prop_assert_eq!(partial, cut > boundary);
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = drain(&mut Pieces::new(&bytes, Vec::new()));
        }
    }

    #[test]
    fn a_length_alone_costs_no_memory() {
        let head = result(1 << 39).encode();
        let mut inbox = Inbox::<Up, UP>::new();
        inbox.fill(&mut Pieces::new(&head, Vec::new())).unwrap();
        assert_eq!(inbox.next().unwrap(), None);
        inbox.fill(&mut Pieces::new(&[0; 100], Vec::new())).unwrap();
        assert!(inbox.partial.unwrap().1.capacity() <= FIRST);
    }

    #[test]
    fn a_big_body_takes_few_reads_and_exactly_its_room() {
        let (bytes, _) = stream(&[8 << 20]);
        let mut source = Pieces::new(&bytes, Vec::new());
        let (frames, _) = drain(&mut source).unwrap();
        assert_eq!(frames[0].1.len(), 8 << 20);
        assert!(frames[0].1.capacity() < 9 << 20);
        assert!(source.reads < 16, "{}", source.reads);
    }
}
