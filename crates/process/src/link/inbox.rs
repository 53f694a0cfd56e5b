//! From a stream of bytes to frames, whatever pieces the bytes come in.

use super::{Frame, SMALL};
use crate::blocks;
use crate::sys::huge_pages;
use crate::wire::{Garbled, Head, PART, read_part};
use concurrent_futures_core::codec::{Buffer, Content, Stream};
use std::io;
use std::mem::MaybeUninit;

/// One read takes at most this many bytes of small frames.
const CHUNK: usize = 64 * 1024;
/// A body of which more than this is missing is read straight into its own buffer.
const DIRECT: usize = 16 * 1024;
/// A body's buffer is this large at first. It grows as bytes arrive, so that a length alone costs no memory.
const FIRST: usize = 1 << 20;
/// A buffer of this size is put on huge pages, even if it may have to be copied when it grows.
const HUGE: usize = 64 << 20;
/// By how much the buffer of a body may exceed what has arrived of it.
const GROWTH: usize = 64;

/// Where the bytes come from.
pub(crate) trait Source {
    /// Writes to the beginning of `room` and gives what it has written; nothing is the end. `room` has some.
    fn read<'a>(&mut self, room: &'a mut [MaybeUninit<u8>]) -> io::Result<&'a mut [u8]>;
}

/// Frames in the making; survives every partial read.
#[derive(Debug)]
pub(crate) struct Inbox<H, const N: usize> {
    buffer: Vec<u8>,
    /// What of `buffer` has been used.
    start: usize,
    /// A frame whose head is known and that is not complete.
    partial: Option<Partial<H>>,
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
            let Some((head, here)) = self.buffer[self.start..].split_first_chunk::<N>() else { return Ok(None) };
            let head = H::decode(head)?;
            self.start += N;
            if head.parts() == 0 && head.body() <= here.len().min(SMALL) as u64 {
                // As a rule: all of it is there.
                let len = head.body() as usize;
                let stream = Stream::start_of(here, len);
                self.used(len);
                return Ok(Some((head, stream.into())));
            }
            self.partial = Some(Partial::new(head)?);
        }
        let Some(mut partial) = self.partial.take() else { return Ok(None) };
        loop {
            let here = &self.buffer[self.start..];
            let some = here.len().min(partial.missing());
            partial.reserve(some)?;
            partial.arriving.extend_from_slice(&here[..some]);
            self.used(some);
            if partial.missing() > 0 {
                self.partial = Some(partial);
                return Ok(None);
            }
            partial = match partial.complete()? {
                Step::Frame(frame) => return Ok(Some(frame)),
                Step::More(partial) => partial,
            };
        }
    }

    fn used(&mut self, bytes: usize) {
        self.start += bytes;
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
    }

    /// Reads once. Call [`next`](Self::next) until it has no more frame first, and then again.
    pub(crate) fn fill(&mut self, source: &mut impl Source) -> io::Result<Filled> {
        if let Some(partial) = self.partial.as_mut().filter(|partial| partial.missing() >= DIRECT) {
            debug_assert!(self.buffer.is_empty(), "`next` moves what is there into the body first");
            partial.reserve(1).map_err(garbled)?;
            let missing = partial.missing();
            let room = partial.arriving.spare();
            let room_len = room.len().min(missing);
            let read = read(source, &mut room[..room_len])?;
            // SAFETY: `read` has seen to it that so many bytes of the room have been written.
            unsafe { partial.arriving.grow(read) };
            return Ok(Filled::of(read, room_len));
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        let room_len = CHUNK - self.buffer.len();
        let room = &mut self.buffer.spare_capacity_mut()[..room_len];
        let read = read(source, room)?;
        // SAFETY: `read` has seen to it that so many bytes of the room have been written.
        unsafe { self.buffer.set_len(self.buffer.len() + read) };
        Ok(Filled::of(read, room_len))
    }

    /// Whether a frame has begun to arrive.
    pub(crate) fn is_partial(&self) -> bool {
        self.partial.is_some() || self.start < self.buffer.len()
    }
}

/// How many bytes at the beginning of `room` the source has written.
fn read(source: &mut impl Source, room: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
    let (start, limit) = (room.as_ptr().addr(), room.len());
    let written = source.read(room)?;
    // What is given as bytes is initialized; that it is the room's beginning, and not bytes of another place, is for us to see.
    assert!(
        written.is_empty() || written.as_ptr().addr() == start && written.len() <= limit,
        "a source wrote elsewhere"
    );
    Ok(written.len())
}

/// A frame that is not complete.
#[derive(Debug)]
struct Partial<H> {
    head: H,
    /// The body, once it is complete and parts follow.
    body: Option<Vec<u8>>,
    parts: Vec<Buffer>,
    /// The words that describe the parts which have not begun, the next one at the end.
    coming: Vec<[u8; PART]>,
    /// What arrives: the body or a part.
    arriving: Buffer,
    /// How long it will be.
    length: usize,
}

enum Step<H> {
    More(Partial<H>),
    Frame(Frame<H>),
}

impl<H> Partial<H> {
    fn new<const N: usize>(head: H) -> Result<Self, Garbled>
    where
        H: Head<N>,
    {
        let length = usize::try_from(head.body()).map_err(|_| Garbled::Length(head.body()))?;
        Ok(Partial { head, body: None, parts: Vec::new(), coming: Vec::new(), arriving: Buffer::default(), length })
    }

    fn missing(&self) -> usize {
        self.length - self.arriving.len()
    }

    /// Room for `more` bytes of what arrives. It grows with what has arrived.
    fn reserve(&mut self, more: usize) -> Result<(), Garbled> {
        let here = self.arriving.len();
        let needed = here + more;
        if needed <= self.arriving.capacity() {
            return Ok(());
        }
        if self.arriving.capacity() == 0
            && let Some(kept) = blocks::for_arrival(self.arriving.unit(), self.length)
        {
            self.arriving = kept;
            return Ok(());
        }
        let wanted = self.length.min(needed.saturating_mul(GROWTH).max(FIRST));
        self.arriving.try_reserve(wanted - here).ok_or(Garbled::Length(self.length as u64))?;
        // What has to grow again is grown in place, which the kernel refuses where there are pages of two sizes.
        if wanted == self.length || wanted >= HUGE {
            huge_pages::advise(self.arriving.spare());
        }
        Ok(())
    }

    /// What was to arrive has arrived.
    fn complete<const N: usize>(mut self) -> Result<Step<H>, Garbled>
    where
        H: Head<N>,
    {
        let arrived = std::mem::take(&mut self.arriving);
        if self.body.is_some() {
            self.parts.push(arrived);
        } else {
            let mut body = arrived.into_bytes();
            self.coming = take_descriptions(&mut body, self.head.parts())?;
            self.body = Some(body);
        }
        match (self.coming.pop(), self.body.take()) {
            (None, stream) => {
                Ok(Step::Frame((self.head, Content { stream: stream.unwrap_or_default().into(), parts: self.parts })))
            }
            (Some(word), body) => {
                (self.length, self.arriving) = read_part(word)?;
                self.body = body;
                Ok(Step::More(self))
            }
        }
    }
}

/// Cuts off the end of a body that describes the parts which follow; gives the words, the first one last.
fn take_descriptions(body: &mut Vec<u8>, count: u16) -> Result<Vec<[u8; PART]>, Garbled> {
    let start = body.len().checked_sub(usize::from(count) * PART).ok_or(Garbled::Parts(count))?;
    let words = body[start..].as_chunks::<PART>().0.iter().rev().copied().collect();
    body.truncate(start);
    Ok(words)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Ticket, UP, Up, describe_part};
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
        fn read<'a>(&mut self, room: &'a mut [MaybeUninit<u8>]) -> io::Result<&'a mut [u8]> {
            assert!(!room.is_empty());
            self.reads += 1;
            let size = self.sizes.next().unwrap_or(1 << 20).clamp(1, room.len()).min(self.bytes.len());
            let written = room[..size].write_copy_of_slice(&self.bytes[..size]);
            self.bytes = &self.bytes[size..];
            Ok(written)
        }
    }

    fn result(len: usize) -> Up {
        Up::Result {
            ticket: Ticket { slot: 1, seq: 2 },
            failed: false,
            again: false,
            retire: false,
            handles: false,
            parts: 0,
            len: len as u64,
        }
    }

    fn content(len: usize, n: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 31 + n) as u8).collect()
    }

    fn stream(lengths: &[usize]) -> (Vec<u8>, Vec<Frame<Up>>) {
        let mut bytes = Vec::new();
        let mut frames = Vec::new();
        for (n, len) in lengths.iter().enumerate() {
            let body = content(*len, n);
            bytes.extend_from_slice(&result(*len).encode());
            bytes.extend_from_slice(&body);
            frames.push((result(*len), body.into()));
        }
        (bytes, frames)
    }

    /// A frame with parts.
    fn with_parts(len: usize, parts: &[(usize, usize)]) -> (Vec<u8>, Frame<Up>) {
        let Up::Result { ticket, failed, again, retire, handles, .. } = result(0) else { unreachable!() };
        let whole = (len + parts.len() * PART) as u64;
        let head = Up::Result { ticket, failed, again, retire, handles, parts: parts.len() as u16, len: whole };
        let mut frame = Content::from(content(len, 1));
        let mut bytes = [&head.encode(), &frame.stream[..]].concat();
        for (len, unit) in parts {
            bytes.extend(describe_part(*len, *unit));
        }
        for (n, (len, unit)) in parts.iter().enumerate() {
            let mut part = Buffer::new(*unit).unwrap();
            part.try_reserve(*len).unwrap();
            part.extend_from_slice(&content(*len, n));
            bytes.extend_from_slice(&part);
            frame.parts.push(part);
        }
        (bytes, (head, frame))
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
            let whole = frames.iter().take_while(|(_, body)| { end += UP + body.stream.len(); end <= cut }).count();
            prop_assert_eq!(got.len(), whole);
            let boundary = frames[..whole].iter().map(|(_, body)| UP + body.stream.len()).sum::<usize>();
            prop_assert_eq!(partial, cut > boundary);
        }

        #[test]
        fn parts_survive_any_cut(
            frames in proptest::collection::vec(
                (0..300_usize, proptest::collection::vec((prop_oneof![0..40usize, 0..200_000usize], 0..3_usize), 0..5)), 0..4,
            ),
            sizes in proptest::collection::vec(1..70_000usize, 0..40),
            cut in proptest::option::of(any::<prop::sample::Index>()),
        ) {
            let unit = |(len, unit): &(usize, usize)| (*len, [1, 4, 8][*unit]);
            let made: Vec<_> = frames.iter()
                .map(|(len, parts)| with_parts(*len, &parts.iter().map(unit).collect::<Vec<_>>())).collect();
            let mut bytes: Vec<u8> = made.iter().flat_map(|(bytes, _)| bytes.iter().copied()).collect();
            if let Some(cut) = cut.filter(|_| !bytes.is_empty()) {
                bytes.truncate(cut.index(bytes.len()));
            }
            let (got, _) = drain(&mut Pieces::new(&bytes, sizes)).unwrap();
            let mut end = 0;
            let whole: Vec<_> = made.into_iter()
                .take_while(|(frame, _)| { end += frame.len(); end <= bytes.len() }).map(|(_, frame)| frame).collect();
            let units = |frames: &[Frame<Up>]| -> Vec<_> {
                frames.iter().flat_map(|(_, content)| content.parts.iter().map(Buffer::unit)).collect()
            };
            prop_assert_eq!(units(&got), units(&whole));
            prop_assert_eq!(got, whole);
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
        assert!(inbox.partial.unwrap().arriving.capacity() <= FIRST);

        let (bytes, _) = with_parts(3, &[(100, 8)]);
        let mut long = bytes[..UP + 3].to_vec();
        long.extend(describe_part(1 << 39, 8));
        let mut inbox = Inbox::<Up, UP>::new();
        inbox.fill(&mut Pieces::new(&long, Vec::new())).unwrap();
        assert_eq!(inbox.next().unwrap(), None);
        inbox.fill(&mut Pieces::new(&[0; 100], Vec::new())).unwrap();
        assert!(inbox.partial.unwrap().arriving.capacity() <= FIRST);
    }

    #[test]
    fn parts_that_cannot_be_are_refused() {
        let (mut bytes, _) = with_parts(3, &[(100, 8)]);
        bytes[UP + 3 + 7] = 1;
        assert!(drain(&mut Pieces::new(&bytes, Vec::new())).is_err(), "a part of half a petabyte");
        let (mut bytes, _) = with_parts(3, &[(100, 8)]);
        bytes[UP + 3 + 6] = 3;
        assert!(drain(&mut Pieces::new(&bytes, Vec::new())).is_err(), "numbers of three bytes");
    }

    #[test]
    fn a_big_body_takes_few_reads_and_exactly_its_room() {
        let (bytes, _) = stream(&[8 << 20]);
        let mut source = Pieces::new(&bytes, Vec::new());
        let (frames, _) = drain(&mut source).unwrap();
        assert_eq!(frames[0].1.stream.len(), 8 << 20);
        assert!(frames[0].1.stream.clone().into_vec().capacity() < 9 << 20);
        assert!(source.reads < 16, "{}", source.reads);
    }
}
