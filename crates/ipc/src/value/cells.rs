//! Elements of plain data in memory that others may read and write at the same time.

use crate::SharedMemory;
use crate::bounds::bounds;
use bytemuck::Pod;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Range, RangeBounds};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release, SeqCst};
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

/// Some elements, one behind the other. Each has as many bytes as one atomic operation moves, one, two, four or eight, which are
/// never torn; a larger one has a whole number of words of eight, each of which is not torn.
///
/// Whoever has this memory accesses an element by atomic operations of that size alone.
pub(super) struct Cells<T> {
    memory: Arc<SharedMemory>,
    /// Where they begin.
    at: usize,
    len: usize,
    elements: PhantomData<fn(T) -> T>,
}

/// The bytes of an element that is not larger than a word, and zeros.
type Bits = [u8; WORD];

const WORD: usize = 8;

impl<T: Pod> Cells<T> {
    /// From the start of one element to that of the next.
    pub(super) const STRIDE: usize = {
        let size = size_of::<T>();
        assert!(size > 0, "elements without a size have no place in memory");
        if size <= WORD { size.next_power_of_two() } else { size.next_multiple_of(WORD) }
    };

    /// What one atomic operation can change is never torn.
    pub(super) const IS_WHOLE: bool = Self::STRIDE <= WORD;

    /// How many bytes so many take.
    pub(super) fn size(len: usize) -> Option<usize> {
        len.checked_mul(Self::STRIDE)
    }

    /// `len` elements, `at` bytes from the start.
    ///
    /// # Safety
    ///
    /// Nothing else is there, in any process.
    ///
    /// # Panics
    ///
    /// They are not within the memory, or not in line.
    pub(super) unsafe fn new(memory: Arc<SharedMemory>, at: usize, len: usize) -> Cells<T> {
        let end = Self::size(len).and_then(|size| size.checked_add(at));
        assert!(end.is_some_and(|end| end <= memory.len()) && at.is_multiple_of(WORD), "elements need their room");
        Cells { memory, at, len, elements: PhantomData }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn memory(&self) -> &Arc<SharedMemory> {
        &self.memory
    }

    #[track_caller]
    fn check(&self, index: usize) {
        assert!(index < self.len, "there is no element {index} of {}", self.len);
    }

    /// The word `word` of an element.
    #[track_caller]
    fn atomic<A: Atomic>(&self, index: usize, word: usize) -> &A {
        self.check(index);
        debug_assert!(size_of::<A>() == Self::STRIDE.min(WORD) && word * WORD < Self::STRIDE);
        // SAFETY: `new` has seen that the elements are within the memory, this is one of them, and has this word.
        let place: NonNull<u8> = unsafe { self.memory.start().add(self.at + index * Self::STRIDE + word * WORD) };
        // SAFETY: it is aligned, for a mapping begins with a page and the elements at a word; mapped as long as this borrow keeps the
        // memory; and an atomic, for which any bits are valid, and as which alone everybody accesses it, says `new`.
        unsafe { place.cast().as_ref() }
    }

    #[track_caller]
    pub(super) fn load(&self, index: usize) -> T {
        let mut value = T::zeroed();
        let bytes = bytemuck::bytes_of_mut(&mut value);
        if Self::IS_WHOLE {
            bytes.copy_from_slice(&self.load_bits(index)[..size_of::<T>()]);
        } else {
            for (word, part) in bytes.chunks_mut(WORD).enumerate() {
                let bits = self.atomic::<AtomicU64>(index, word).load(SeqCst).to_ne_bytes();
                part.copy_from_slice(&bits[..part.len()]);
            }
        }
        value
    }

    #[track_caller]
    pub(super) fn store(&self, index: usize, value: T) {
        if Self::IS_WHOLE {
            return self.store_bits(index, bits_of(&value));
        }
        for (word, part) in bytemuck::bytes_of(&value).chunks(WORD).enumerate() {
            self.atomic::<AtomicU64>(index, word).store(u64::from_ne_bytes(bits(part)), SeqCst);
        }
    }

    /// Replaces `current` by `new` in one step; else gives what is there. Only for what [is whole](Self::IS_WHOLE).
    #[track_caller]
    pub(super) fn compare_exchange(&self, index: usize, current: T, new: T) -> Result<T, T> {
        let outcome = self.exchange_bits(index, bits_of(&current), bits_of(&new));
        outcome.map(value_of).map_err(value_of)
    }

    /// Replaces it by what `f` makes of it, in one step, and gives what was there. Only for what [is whole](Self::IS_WHOLE).
    #[track_caller]
    pub(super) fn update(&self, index: usize, mut f: impl FnMut(T) -> T) -> T {
        let mut current = self.load_bits(index);
        loop {
            match self.exchange_bits(index, current, bits_of(&f(value_of(current)))) {
                Ok(old) => return value_of(old),
                Err(other) => current = other,
            }
        }
    }

    /// The indices of a range.
    #[track_caller]
    pub(super) fn part(&self, range: impl RangeBounds<usize>) -> Range<usize> {
        let part = bounds(range, self.len);
        assert!(part.start <= part.end && part.end <= self.len, "{part:?} is not within an array of {}", self.len);
        part
    }

    /// The atomics of these elements.
    #[track_caller]
    fn atomics<A: Atomic>(&self, range: Range<usize>) -> &[A] {
        let Some(last) = range.clone().next_back() else { return &[] };
        self.check(last);
        let per_element = Self::STRIDE / size_of::<A>();
        let first: &A = self.atomic(range.start, 0);
        // SAFETY: as of the first one; `check` has seen that the last element is within the memory, and so are all between them.
        unsafe { std::slice::from_raw_parts(first, range.len() * per_element) }
    }

    /// A copy of these elements, each of them or each of its words as it is when its turn comes.
    #[track_caller]
    pub(super) fn read(&self, range: Range<usize>) -> Vec<T> {
        match Self::STRIDE {
            1 => self.atomics::<AtomicU8>(range).iter().map(|one| value_of(bits(&[one.load(Acquire)]))).collect(),
            2 => self
                .atomics::<AtomicU16>(range)
                .iter()
                .map(|one| value_of(bits(&one.load(Acquire).to_ne_bytes())))
                .collect(),
            4 => self
                .atomics::<AtomicU32>(range)
                .iter()
                .map(|one| value_of(bits(&one.load(Acquire).to_ne_bytes())))
                .collect(),
            8 => self.atomics::<AtomicU64>(range).iter().map(|one| value_of(one.load(Acquire).to_ne_bytes())).collect(),
            _ => range.map(|index| self.load(index)).collect(),
        }
    }

    /// Copies elements to where the first of them is `index`.
    #[track_caller]
    pub(super) fn write(&self, index: usize, elements: &[T]) {
        let room = self.len.checked_sub(index).is_some_and(|room| elements.len() <= room);
        assert!(room, "{} elements from {index} on are not within an array of {}", elements.len(), self.len);
        let places = index..index + elements.len();
        match Self::STRIDE {
            1 => (self.atomics::<AtomicU8>(places).iter().zip(elements))
                .for_each(|(one, element)| one.store(bits_of(element)[0], Release)),
            2 => (self.atomics::<AtomicU16>(places).iter().zip(elements))
                .for_each(|(one, element)| one.store(u16::from_ne_bytes(first(bits_of(element))), Release)),
            4 => (self.atomics::<AtomicU32>(places).iter().zip(elements))
                .for_each(|(one, element)| one.store(u32::from_ne_bytes(first(bits_of(element))), Release)),
            8 => (self.atomics::<AtomicU64>(places).iter().zip(elements))
                .for_each(|(one, element)| one.store(u64::from_ne_bytes(bits_of(element)), Release)),
            _ => places.zip(elements).for_each(|(place, element)| self.store(place, *element)),
        }
    }

    /// The first elements, and how many there are.
    pub(super) fn show(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result
    where
        T: fmt::Debug,
    {
        const SHOWN: usize = 16;
        write!(f, "{name}(")?;
        let mut list = f.debug_list();
        list.entries((0..self.len.min(SHOWN)).map(|index| self.load(index)));
        if self.len > SHOWN {
            list.entry(&format_args!("... {} in all", self.len));
        }
        list.finish()?;
        f.write_str(")")
    }

    #[track_caller]
    fn load_bits(&self, index: usize) -> Bits {
        match Self::STRIDE {
            1 => bits(&[self.atomic::<AtomicU8>(index, 0).load(SeqCst)]),
            2 => bits(&self.atomic::<AtomicU16>(index, 0).load(SeqCst).to_ne_bytes()),
            4 => bits(&self.atomic::<AtomicU32>(index, 0).load(SeqCst).to_ne_bytes()),
            _ => self.atomic::<AtomicU64>(index, 0).load(SeqCst).to_ne_bytes(),
        }
    }

    #[track_caller]
    fn store_bits(&self, index: usize, value: Bits) {
        match Self::STRIDE {
            1 => self.atomic::<AtomicU8>(index, 0).store(value[0], SeqCst),
            2 => self.atomic::<AtomicU16>(index, 0).store(u16::from_ne_bytes(first(value)), SeqCst),
            4 => self.atomic::<AtomicU32>(index, 0).store(u32::from_ne_bytes(first(value)), SeqCst),
            _ => self.atomic::<AtomicU64>(index, 0).store(u64::from_ne_bytes(value), SeqCst),
        }
    }

    #[track_caller]
    fn exchange_bits(&self, index: usize, current: Bits, new: Bits) -> Result<Bits, Bits> {
        const { assert!(Self::IS_WHOLE, "only what has at most eight bytes can be changed in one step") };
        macro_rules! exchange {
            ($atomic:ty, $int:ty) => {{
                let [current, new] = [current, new].map(|bits| <$int>::from_ne_bytes(first(bits)));
                let outcome = self.atomic::<$atomic>(index, 0).compare_exchange(current, new, SeqCst, SeqCst);
                outcome.map(|old| bits(&old.to_ne_bytes())).map_err(|old| bits(&old.to_ne_bytes()))
            }};
        }
        match Self::STRIDE {
            1 => exchange!(AtomicU8, u8),
            2 => exchange!(AtomicU16, u16),
            4 => exchange!(AtomicU32, u32),
            _ => exchange!(AtomicU64, u64),
        }
    }
}

/// Integers that one instruction can add to.
impl<T: super::Integer> Cells<T> {
    /// Adds, wrapping, and gives what was there.
    #[track_caller]
    pub(super) fn fetch_add(&self, index: usize, value: T) -> T {
        match Self::STRIDE {
            1 => value_of(bits(&[self.atomic::<AtomicU8>(index, 0).fetch_add(bits_of(&value)[0], SeqCst)])),
            2 => {
                let value = u16::from_ne_bytes(first(bits_of(&value)));
                value_of(bits(&self.atomic::<AtomicU16>(index, 0).fetch_add(value, SeqCst).to_ne_bytes()))
            }
            4 => {
                let value = u32::from_ne_bytes(first(bits_of(&value)));
                value_of(bits(&self.atomic::<AtomicU32>(index, 0).fetch_add(value, SeqCst).to_ne_bytes()))
            }
            _ => {
                let value = u64::from_ne_bytes(bits_of(&value));
                value_of(self.atomic::<AtomicU64>(index, 0).fetch_add(value, SeqCst).to_ne_bytes())
            }
        }
    }
}

impl<T> Clone for Cells<T> {
    fn clone(&self) -> Self {
        Cells { memory: self.memory.clone(), at: self.at, len: self.len, elements: PhantomData }
    }
}

impl<T> fmt::Debug for Cells<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cells").field("at", &self.at).field("len", &self.len).finish_non_exhaustive()
    }
}

/// What an element consists of.
trait Atomic {}
impl Atomic for AtomicU8 {}
impl Atomic for AtomicU16 {}
impl Atomic for AtomicU32 {}
impl Atomic for AtomicU64 {}

/// Inlined, also into other crates: it is a move, where the length is known.
#[inline]
fn bits(bytes: &[u8]) -> Bits {
    let mut bits = Bits::default();
    bits[..bytes.len()].copy_from_slice(bytes);
    bits
}

fn bits_of<T: Pod>(value: &T) -> Bits {
    bits(bytemuck::bytes_of(value))
}

fn value_of<T: Pod>(bits: Bits) -> T {
    let mut value = T::zeroed();
    bytemuck::bytes_of_mut(&mut value).copy_from_slice(&bits[..size_of::<T>()]);
    value
}

fn first<const N: usize>(bits: Bits) -> [u8; N] {
    *bits.first_chunk().expect("it has at most so many")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells<T: Pod>(len: usize) -> Cells<T> {
        let memory = Arc::new(SharedMemory::create(4096).unwrap());
        // SAFETY: new memory, for these alone.
        unsafe { Cells::new(memory, 8, len) }
    }

    fn elements_of<T: Pod + PartialEq + fmt::Debug>(stride: usize, values: [T; 3]) {
        let cells = cells::<T>(3);
        assert_eq!((Cells::<T>::STRIDE, cells.load(2)), (stride, T::zeroed()));
        for round in 0..3 {
            for index in 0..3 {
                cells.store(index, values[(index + round) % 3]);
            }
            for index in 0..3 {
                assert_eq!(cells.load(index), values[(index + round) % 3]);
            }
        }
    }

    #[test]
    fn elements_of_all_sizes_lie_one_behind_the_other() {
        elements_of(1, [1_u8, 2, 255]);
        elements_of(2, [1_i16, -1, 300]);
        elements_of(4, [1.5_f32, -0.5, 1e9]);
        elements_of(8, [1.5_f64, -0.5, 1e99]);
        elements_of(4, [[1_u8, 2, 3], [4, 5, 6], [7, 8, 9]]);
        elements_of(8, [[1_u8; 5], [2; 5], [3; 5]]);
        elements_of(16, [[1_u8; 9], [2; 9], [3; 9]]);
        elements_of(16, [1_u128, u128::MAX, 7 << 64]);
    }

    fn steps_of<T: Pod + PartialEq + fmt::Debug>(one: T, two: T) {
        let cells = cells::<T>(2);
        cells.store(0, one);
        assert_eq!(cells.compare_exchange(0, two, two), Err(one));
        assert_eq!(cells.compare_exchange(0, one, two), Ok(one));
        assert_eq!(cells.update(0, |_| one), two);
        assert_eq!((cells.load(0), cells.load(1)), (one, T::zeroed()));
    }

    #[test]
    fn what_fits_a_word_changes_in_one_step() {
        steps_of(3_u8, 200);
        steps_of(-3_i16, 200);
        steps_of(1.5_f32, 2.5);
        steps_of(-3_i64, i64::MAX);
        steps_of([1_u8, 2, 3], [4, 5, 6]);
    }

    #[test]
    fn integers_add_and_wrap() {
        let bytes = cells::<u8>(3);
        bytes.store(1, 255);
        assert_eq!((bytes.fetch_add(1, 2), bytes.load(0), bytes.load(1), bytes.load(2)), (255, 0, 1, 0));
        let small = cells::<i16>(1);
        assert_eq!((small.fetch_add(0, -5), small.load(0)), (0, -5));
        let middle = cells::<i32>(1);
        assert_eq!((middle.fetch_add(0, i32::MIN), middle.fetch_add(0, i32::MIN), middle.load(0)), (0, i32::MIN, 0));
        let large = cells::<u64>(1);
        assert_eq!((large.fetch_add(0, u64::MAX), large.fetch_add(0, 2), large.load(0)), (0, u64::MAX, 1));
    }

    #[test]
    #[should_panic(expected = "no element 3 of 3")]
    fn there_is_none_behind_the_last() {
        cells::<u8>(3).load(3);
    }
}
