//! Bytes of memory that others may write at the same time, read and written in words.
//!
//! Rust gives no meaning to a plain read of what another thread writes meanwhile. So all that others may write is accessed by atomic
//! operations; and those on the same bytes must be of one size: eight bytes, here, at multiples of eight. Who writes less than
//! a word changes it by compare-and-swap.

use std::fmt;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// The size of a word.
pub(crate) const WORD: usize = size_of::<u64>();

/// Some bytes of shared memory.
#[derive(Clone, Copy)]
pub(crate) struct Words<'a> {
    words: &'a [AtomicU64],
    /// In bytes: the last word may have more.
    len: usize,
}

impl<'a> Words<'a> {
    /// `len` bytes from `start` on.
    ///
    /// # Safety
    ///
    /// `start` is aligned for words, and as many of them as it takes for `len` bytes are mapped, to be read and written, for `'a`.
    /// Meanwhile this process accesses them by atomic operations on words alone, unless it changes nothing by others.
    pub(crate) unsafe fn new(start: NonNull<u8>, len: usize) -> Words<'a> {
        // SAFETY: mapped and aligned, says the caller; any bits are a valid atomic, which others may change.
        let words = unsafe { std::slice::from_raw_parts(start.cast().as_ptr(), len.div_ceil(WORD)) };
        Words { words, len }
    }

    /// The whole words.
    pub(crate) fn whole(self) -> &'a [AtomicU64] {
        &self.words[..self.len / WORD]
    }

    /// Copies from `at` on. Each word is read once.
    ///
    /// # Panics
    ///
    /// It is not within the memory.
    #[track_caller]
    pub(crate) fn read(self, at: usize, to: &mut [u8]) {
        let len = to.len();
        // SAFETY: bytes that have a value are such as may have none; they are only written, and only with values.
        self.read_to(at, unsafe { std::slice::from_raw_parts_mut(to.as_mut_ptr().cast(), len) });
    }

    /// Copies `len` bytes from `at` on to new memory, as [`read`](Self::read) does.
    ///
    /// # Panics
    ///
    /// They are not within the memory.
    #[track_caller]
    pub(crate) fn to_vec(self, at: usize, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len);
        self.read_to(at, &mut bytes.spare_capacity_mut()[..len]);
        // SAFETY: so many have just been written, all that there was room for.
        unsafe { bytes.set_len(len) };
        bytes
    }

    /// Writes all of `to`.
    #[track_caller]
    fn read_to(self, at: usize, to: &mut [MaybeUninit<u8>]) {
        let parts = self.parts(at, to.len());
        let (head, rest) = to.split_at_mut(parts.head.len());
        let (body, tail) = rest.split_at_mut(parts.body.len() * WORD);
        if let Some(word) = parts.head_word {
            head.write_copy_of_slice(&word.load(Relaxed).to_ne_bytes()[parts.head]);
        }
        for (word, to) in parts.body.iter().zip(body.as_chunks_mut().0) {
            *to = word.load(Relaxed).to_ne_bytes().map(MaybeUninit::new);
        }
        if let Some(word) = parts.tail_word {
            tail.write_copy_of_slice(&word.load(Relaxed).to_ne_bytes()[parts.tail]);
        }
    }

    /// Copies to where they are `at` bytes behind the start. Each word is written once.
    ///
    /// # Panics
    ///
    /// It is not within the memory.
    #[track_caller]
    pub(crate) fn write(self, at: usize, from: &[u8]) {
        let parts = self.parts(at, from.len());
        let (head, rest) = from.split_at(parts.head.len());
        let (body, tail) = rest.split_at(parts.body.len() * WORD);
        if let Some(word) = parts.head_word {
            change(word, parts.head, head);
        }
        for (word, from) in parts.body.iter().zip(body.as_chunks().0) {
            word.store(u64::from_ne_bytes(*from), Relaxed);
        }
        if let Some(word) = parts.tail_word {
            change(word, parts.tail, tail);
        }
    }

    /// Writes the same byte `len` times.
    ///
    /// # Panics
    ///
    /// It is not within the memory.
    #[track_caller]
    pub(crate) fn fill(self, at: usize, len: usize, byte: u8) {
        let (parts, bytes) = (self.parts(at, len), [byte; WORD]);
        if let Some(word) = parts.head_word {
            let few = &bytes[..parts.head.len()];
            change(word, parts.head, few);
        }
        parts.body.iter().for_each(|word| word.store(u64::from_ne_bytes(bytes), Relaxed));
        if let Some(word) = parts.tail_word {
            let few = &bytes[..parts.tail.len()];
            change(word, parts.tail, few);
        }
    }

    /// Where `len` bytes from `at` on are.
    #[track_caller]
    fn parts(self, at: usize, len: usize) -> Parts<'a> {
        let end = at.checked_add(len).filter(|end| *end <= self.len);
        assert!(end.is_some(), "{len} bytes from {at} on are not within {} bytes of shared memory", self.len);
        let within = at % WORD;
        let head = if within == 0 { 0 } else { len.min(WORD - within) };
        let (first, rest) = self.words[at / WORD..].split_at(usize::from(head > 0));
        let (body, behind) = rest.split_at((len - head) / WORD);
        let tail = (len - head) % WORD;
        let head_word = first.first();
        let tail_word = behind.first().filter(|_| tail > 0);
        Parts { head_word, head: within..within + head, body, tail_word, tail: 0..tail }
    }
}

/// Some bytes: those at the end of a word, whole words, those at the start of a word.
struct Parts<'a> {
    head_word: Option<&'a AtomicU64>,
    head: Range<usize>,
    body: &'a [AtomicU64],
    tail_word: Option<&'a AtomicU64>,
    tail: Range<usize>,
}

/// Changes these bytes of a word and leaves the others as they are, whoever else is at them.
fn change(word: &AtomicU64, within: Range<usize>, from: &[u8]) {
    let changed = |old: u64| {
        let mut bytes = old.to_ne_bytes();
        bytes[within.clone()].copy_from_slice(from);
        Some(u64::from_ne_bytes(bytes))
    };
    // It gives a new word for each, so it does not fail.
    let _old = word.fetch_update(Relaxed, Relaxed, changed);
}

impl fmt::Debug for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Words").field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const LEN: usize = 29;

    fn with_words(test: impl FnOnce(Words<'_>)) {
        let memory: [AtomicU64; 4] = std::array::from_fn(|_| AtomicU64::new(u64::MAX));
        // SAFETY: four words, which live longer than the view, and nobody else looks at them.
        test(unsafe { Words::new(NonNull::from(&memory).cast(), LEN) });
    }

    #[test]
    fn every_part_is_written_and_read_and_nothing_beside_it() {
        with_words(|words| {
            for at in 0..=LEN {
                for len in 0..=LEN - at {
                    words.fill(0, LEN, 0xaa);
                    let bytes: Vec<u8> = (1..=len as u8).collect();
                    words.write(at, &bytes);
                    let (mut all, mut part) = ([0; LEN], vec![0; len]);
                    words.read(0, &mut all);
                    words.read(at, &mut part);
                    assert_eq!(part, bytes, "{len} from {at} on");
                    assert_eq!(words.to_vec(at, len), bytes, "{len} from {at} on");
                    let expected: Vec<u8> =
                        [vec![0xaa; at], bytes, vec![0xaa; LEN - at - len]].into_iter().flatten().collect();
                    assert_eq!(all[..], expected, "{len} from {at} on");
                }
            }
            assert_eq!(words.whole().len(), 3);
        });
    }

    #[test]
    fn what_is_not_within_is_refused() {
        with_words(|words| {
            for (at, len) in [(0, LEN + 1), (LEN, 1), (LEN + 1, 0), (usize::MAX, 2), (2, usize::MAX)] {
                let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| words.fill(at, len, 0)));
                assert!(outcome.is_err(), "{len} from {at} on");
            }
        });
    }

    #[test]
    fn neighbours_do_not_disturb_each_other() {
        with_words(|words| {
            thread::scope(|s| {
                for at in 0..8 {
                    s.spawn(move || {
                        for round in 0..1000_u32 {
                            words.write(3 * at, &round.to_ne_bytes()[..3]);
                            let mut back = [0; 3];
                            words.read(3 * at, &mut back);
                            assert_eq!(back, round.to_ne_bytes()[..3]);
                        }
                    });
                }
            });
        });
    }
}
