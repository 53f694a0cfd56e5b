//! Places for the values of a whole map, in one allocation: see `README.md` beside this file.

use crate::error::TaskError;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;

/// Memory for values of one layout. It owns no value: whoever has a stretch of it does.
#[derive(Debug)]
pub(crate) struct Room {
    start: NonNull<u8>,
    places: usize,
    place: Layout,
}

// SAFETY: it is memory and two numbers. What is in it belongs to others, who are `Send` only if their values are.
unsafe impl Send for Room {}
// SAFETY: as above; by `&Room` nobody gets at a value.
unsafe impl Sync for Room {}

impl Room {
    /// `None`: there is no memory for so many.
    pub(crate) fn new<T>(places: usize) -> Option<Room> {
        let layout = Layout::array::<T>(places).ok()?;
        let start = if layout.size() == 0 {
            NonNull::<T>::dangling().cast()
        } else {
            // SAFETY: the layout is not of size zero.
            NonNull::new(unsafe { alloc(layout) })?
        };
        huge::advise(start, layout.size());
        Some(Room { start, places, place: Layout::new::<T>() })
    }

    /// Where a value of type `T` may be instead of one that it was made for.
    pub(crate) fn fits<T>(&self) -> bool {
        self.place == Layout::new::<T>()
    }

    pub(crate) fn places(&self) -> usize {
        self.places
    }

    /// # Safety
    /// The room fits `T`, and has a place of this number or just one less.
    unsafe fn place<T>(&self, number: usize) -> *mut T {
        debug_assert!(self.fits::<T>() && number <= self.places);
        // SAFETY: the caller vouches that this is inside of the allocation, or its end.
        unsafe { self.start.as_ptr().cast::<T>().add(number) }
    }

    fn layout(&self) -> Layout {
        // SAFETY: the product did not overflow when the room was made, and the alignment is that of a type.
        unsafe { Layout::from_size_align_unchecked(self.place.size() * self.places, self.place.align()) }
    }

    /// # Safety
    /// The room fits `T`, and the first `len` places have values, which are the caller's to give away.
    unsafe fn into_vec<T>(self, len: usize) -> Vec<T> {
        let room = ManuallyDrop::new(self);
        // SAFETY: the memory is of the global allocator, with the layout of so many `T`; the caller vouches for the values,
        // and the room does not free it.
        unsafe { Vec::from_raw_parts(room.start.as_ptr().cast::<T>(), len, room.places) }
    }
}

impl<T> From<Vec<T>> for Room {
    /// The memory of the vector. Its values are forgotten.
    fn from(values: Vec<T>) -> Room {
        let mut values = ManuallyDrop::new(values);
        // SAFETY: the pointer of a vector is never null.
        let start = unsafe { NonNull::new_unchecked(values.as_mut_ptr()) }.cast();
        let places = if size_of::<T>() == 0 { values.len() } else { values.capacity() };
        Room { start, places, place: Layout::new::<T>() }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let layout = self.layout();
        if layout.size() > 0 {
            // SAFETY: allocated with this layout, by `new` or by a vector, and freed once.
            unsafe { dealloc(self.start.as_ptr(), layout) }
        }
    }
}

/// Values side by side in a room, to be taken from the front.
pub(crate) struct Stretch<T> {
    room: Arc<Room>,
    at: usize,
    /// The values are in the places from `at` to here, and belong to this stretch.
    end: usize,
    values: PhantomData<T>,
}

impl<T> Stretch<T> {
    /// An empty stretch that begins at a place.
    ///
    /// # Safety
    /// The room fits `T`. While this lives, nobody else puts anything into the places to which it grows or takes anything
    /// out of them before they have been left (by [`Iterator::next`]).
    pub(crate) unsafe fn begin(room: Arc<Room>, at: usize) -> Self {
        Stretch { room, at, end: at, values: PhantomData }
    }

    /// # Safety
    /// The room fits `T`, and the places from `at` to before `end` have values, which are the caller's to give away.
    unsafe fn whole(room: Arc<Room>, at: usize, end: usize) -> Self {
        Stretch { room, at, end, values: PhantomData }
    }

    /// Gives the value back when there is no place for it.
    #[inline]
    pub(crate) fn push(&mut self, value: T) -> Result<(), T> {
        if self.end >= self.room.places {
            return Err(value);
        }
        // SAFETY: the room fits `T` (`begin`) and has this place.
        let place = unsafe { self.room.place::<T>(self.end) };
        // SAFETY: it is ours, and empty (`begin`).
        unsafe { place.write(value) };
        self.end += 1;
        Ok(())
    }

    /// Appends up to `most` of the next items, and no more than there are places.
    pub(crate) fn take_from(&mut self, items: &mut impl Iterator<Item = T>, most: usize) {
        /// Sets the end, also when the iterator panics.
        struct End<'a, T> {
            stretch: &'a mut Stretch<T>,
            pushed: usize,
        }
        impl<T> Drop for End<'_, T> {
            fn drop(&mut self) {
                self.stretch.end += self.pushed;
            }
        }
        let most = most.min(self.room.places.saturating_sub(self.end));
        // SAFETY: the room fits `T` (`begin`) and has this place, or ends here.
        let first = unsafe { self.room.place::<T>(self.end.min(self.room.places)) };
        let mut end = End { stretch: self, pushed: 0 };
        items.take(most).for_each(|item| {
            // SAFETY: fewer than `most` have been pushed, so the room has this place.
            let place = unsafe { first.add(end.pushed) };
            // SAFETY: it is ours, and empty (`begin`).
            unsafe { place.write(item) };
            end.pushed += 1;
        });
    }

    /// Its values are somebody else's now.
    fn forget(mut self) {
        self.at = self.end;
    }

    /// The number of the first place.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn as_slice(&self) -> &[T] {
        // SAFETY: the room fits `T`, and has these places.
        let first = unsafe { self.room.place::<T>(self.at) };
        // SAFETY: the values from `at` to `end` are there, and ours.
        unsafe { std::slice::from_raw_parts(first, self.end - self.at) }
    }
}

impl<T> From<Vec<T>> for Stretch<T> {
    fn from(values: Vec<T>) -> Self {
        let end = values.len();
        Stretch { room: Arc::new(Room::from(values)), at: 0, end, values: PhantomData }
    }
}

impl<T> Iterator for Stretch<T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        if self.at == self.end {
            return None;
        }
        // SAFETY: the room fits `T`, and has this place.
        let place = unsafe { self.room.place::<T>(self.at) };
        self.at += 1;
        // SAFETY: the value is there and was ours; the place has been left.
        Some(unsafe { place.read() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.end - self.at, Some(self.end - self.at))
    }
}

impl<T> ExactSizeIterator for Stretch<T> {}

impl<T> Drop for Stretch<T> {
    fn drop(&mut self) {
        if self.at == self.end || !std::mem::needs_drop::<T>() {
            return;
        }
        // SAFETY: the room fits `T`, and has these places.
        let first = unsafe { self.room.place::<T>(self.at) };
        let rest = std::ptr::slice_from_raw_parts_mut(first, self.end - self.at);
        // SAFETY: the values are there and ours, and nobody looks at them after this.
        unsafe { std::ptr::drop_in_place(rest) }
    }
}

/// The results of the items of a chunk: the values, side by side in a room, and the errors of those that have none.
pub(crate) struct Batch<R> {
    /// In a place that is a gap there is no value.
    values: Stretch<R>,
    /// In rising order.
    gaps: VecDeque<(usize, TaskError)>,
    /// The first of them; `usize::MAX` when there is none.
    gap: usize,
}

// SAFETY: it owns its values, and with them goes a share of the room, which is only memory.
unsafe impl<R: Send> Send for Batch<R> {}

impl<R> Batch<R> {
    /// # Safety
    /// As for [`Stretch::begin`].
    pub(crate) unsafe fn begin(room: Arc<Room>, at: usize) -> Self {
        // SAFETY: the caller vouches for it.
        Self::of(unsafe { Stretch::begin(room, at) })
    }

    /// In a room of its own.
    pub(crate) fn with_places(places: usize) -> Self {
        let room = Room::new::<R>(places);
        let room = room.unwrap_or_else(|| handle_alloc_error(Layout::new::<R>()));
        // SAFETY: the room was made for `R`, and is nobody else's.
        unsafe { Self::begin(Arc::new(room), 0) }
    }

    fn of(values: Stretch<R>) -> Self {
        Batch { values, gaps: VecDeque::new(), gap: usize::MAX }
    }

    #[inline]
    pub(crate) fn push(&mut self, result: Result<R, TaskError>) {
        match result {
            Ok(value) => {
                let pushed = self.values.push(value);
                assert!(pushed.is_ok(), "a chunk has as many results as it had items");
            }
            Err(error) => self.push_gap(error),
        }
    }

    #[cold]
    fn push_gap(&mut self, error: TaskError) {
        let place = self.values.end;
        self.gap = self.gap.min(place);
        self.gaps.push_back((place, error));
        // Nothing is ever read from it, so it may lie behind the last place of the room.
        self.values.end += 1;
    }

    /// Makes it as long as it should be; what is missing is what `error` says.
    pub(crate) fn fit(&mut self, len: usize, error: impl Fn() -> TaskError) {
        while self.len() > len {
            self.drop_last();
        }
        while self.len() < len {
            self.push_gap(error());
        }
    }

    fn drop_last(&mut self) {
        self.values.end -= 1;
        let place = self.values.end;
        if self.gaps.pop_back_if(|(gap, _)| *gap == place).is_some() {
            self.gap = self.next_gap();
            return;
        }
        // SAFETY: the room fits `R`, and this place has had a value pushed into it.
        let place = unsafe { self.values.room.place::<R>(place) };
        // SAFETY: the value is there and was ours; the place has been left.
        drop(unsafe { place.read() });
    }

    fn next_gap(&self) -> usize {
        self.gaps.front().map_or(usize::MAX, |(place, _)| *place)
    }

    #[cold]
    fn pass_gap(&mut self) -> Option<Result<R, TaskError>> {
        let (_, error) = self.gaps.pop_front()?;
        self.gap = self.next_gap();
        self.values.at += 1;
        Some(Err(error))
    }

    /// Takes over the results of the next items in the same room. Gives them back when they are elsewhere, or when some are
    /// errors.
    pub(crate) fn append(&mut self, mut next: Batch<R>) -> Result<(), Batch<R>> {
        let follows = Arc::ptr_eq(&self.values.room, &next.values.room) && self.values.end == next.values.at;
        if !follows || !self.gaps.is_empty() || !next.gaps.is_empty() {
            return Err(next);
        }
        self.values.end = next.values.end;
        next.values.at = next.values.end;
        Ok(())
    }

    pub(crate) fn has_gaps(&self) -> bool {
        !self.gaps.is_empty()
    }

    /// Moves values, no errors, into the places that follow.
    pub(crate) fn extend(&mut self, next: Batch<R>) {
        let values = next.into_stretch();
        let len = values.len();
        assert!(len <= self.values.room.places - self.values.end, "there are places for all values");
        // SAFETY: the room fits `R` (`begin`) and has these places.
        let place = unsafe { self.values.room.place::<R>(self.values.end) };
        // SAFETY: there are so many values there, and as many places that are ours and empty here. Both are in use at the
        // same time by owners of their own, so they do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(values.as_slice().as_ptr(), place, len) };
        self.values.end += len;
        values.forget();
    }

    /// The values, and no errors: in the memory in which they are, if that is nobody else's.
    pub(crate) fn into_values(self) -> Vec<R> {
        let values = self.into_stretch();
        let (at, end, room) = (values.at, values.end, values.room.clone());
        values.forget();
        let room = match Arc::try_unwrap(room) {
            // SAFETY: the room fits `R`, and all places up to the last value have one, which were ours.
            Ok(room) if at == 0 => return unsafe { room.into_vec(end) },
            Ok(room) => Arc::new(room),
            Err(shared) => shared,
        };
        // SAFETY: as above.
        unsafe { Stretch::whole(room, at, end) }.collect()
    }

    fn into_stretch(mut self) -> Stretch<R> {
        assert!(self.gaps.is_empty(), "only for values");
        let (room, at) = (self.values.room.clone(), self.values.at);
        let end = std::mem::replace(&mut self.values.end, at);
        // SAFETY: there are no gaps, and what was there is forgotten here.
        unsafe { Stretch::whole(room, at, end) }
    }
}

impl<R> From<Vec<R>> for Batch<R> {
    fn from(values: Vec<R>) -> Self {
        Batch::of(Stretch::from(values))
    }
}

impl<R> Iterator for Batch<R> {
    type Item = Result<R, TaskError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.values.at == self.gap {
            return self.pass_gap();
        }
        self.values.next().map(Ok)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.values.size_hint()
    }
}

impl<R> ExactSizeIterator for Batch<R> {}

impl<R> Drop for Batch<R> {
    fn drop(&mut self) {
        let end = std::mem::replace(&mut self.values.end, self.values.at);
        if !std::mem::needs_drop::<R>() {
            return;
        }
        // What is left, from one gap to the next. Should a destructor panic, the rest is leaked.
        let mut at = self.values.at;
        for next in self.gaps.iter().map(|(gap, _)| *gap).chain([end]) {
            // SAFETY: all of it has been pushed and not been taken, and there is no gap in it.
            drop(unsafe { Stretch::<R>::whole(self.values.room.clone(), at, next) });
            at = next + 1;
        }
    }
}

#[cfg(target_os = "linux")]
mod huge {
    //! Large rooms on large pages: to fault in small ones one by one takes longer than to fill them.

    use rustix::mm::{Advice, madvise};
    use std::ptr::NonNull;

    /// The size of a huge page; where it differs from this the advice covers less.
    const PAGE: usize = 2 << 20;

    pub(super) fn advise(start: NonNull<u8>, size: usize) {
        let first = start.addr().get().next_multiple_of(PAGE);
        let end = (start.addr().get() + size) / PAGE * PAGE;
        if first < end {
            let range = start.as_ptr().with_addr(first).cast();
            // SAFETY: the range lies in an allocation of ours, and the advice changes no byte of it. A kernel that knows no
            // huge pages refuses, and nothing is lost but speed.
            let _ = unsafe { madvise(range, end - first, Advice::LinuxHugepage) };
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod huge {
    pub(super) fn advise(_start: std::ptr::NonNull<u8>, _size: usize) {}
}

#[cfg(all(test, not(concurrent_futures_loom)))]
mod tests {
    use super::*;
    use crate::error::TaskErrorKind;
    use proptest::prelude::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// Everything that is made is dropped once, or the count is off.
    type Counted = Arc<()>;

    fn error() -> TaskError {
        TaskError::new(TaskErrorKind::Cancelled)
    }

    /// Chunks of these sizes, side by side in a room in which results take the places of their items. `fails` says which items.
    fn run(sizes: &[usize], fails: impl Fn(usize) -> bool, counted: &Counted) -> Vec<Batch<(usize, Counted)>> {
        let room = Arc::new(Room::new::<(usize, Counted)>(sizes.iter().sum()).unwrap());
        let mut items = (0..).map(|i| (i, counted.clone()));
        let mut at = 0;
        let chunks: Vec<_> = sizes
            .iter()
            .map(|size| {
                // SAFETY: each chunk begins where the one before it ended.
                let mut chunk = unsafe { Stretch::begin(room.clone(), at) };
                chunk.take_from(&mut items, *size);
                at += size;
                chunk
            })
            .collect();
        let batch = |mut chunk: Stretch<(usize, Counted)>| {
            // SAFETY: a result is put into the place of an item that has been taken.
            let mut batch = unsafe { Batch::begin(chunk.room.clone(), chunk.at()) };
            for (i, counted) in chunk.by_ref() {
                batch.push(if fails(i) { Err(error()) } else { Ok((i * 10, counted)) });
            }
            batch
        };
        // The last one runs first.
        let mut batches: Vec<_> = chunks.into_iter().rev().map(batch).collect();
        batches.reverse();
        batches
    }

    proptest! {
        #[test]
        fn each_result_comes_once_and_nothing_is_left(
            sizes in prop::collection::vec(0..6_usize, 0..8),
            fails in prop::collection::vec(any::<bool>(), 48),
            taken in 0..48_usize,
        ) {
            let counted = Counted::default();
            let all = || run(&sizes, |i| fails[i], &counted).into_iter().flatten();
            let count = sizes.iter().sum::<usize>();
            for (i, result) in all().enumerate() {
                prop_assert_eq!(result.ok().map(|(value, _)| value), (!fails[i]).then_some(i * 10));
            }
            prop_assert_eq!(all().count(), count);
            // What was not taken is dropped.
            drop(all().take(taken).collect::<Vec<_>>());
            prop_assert_eq!(Arc::strong_count(&counted), 1);
        }

        #[test]
        fn values_side_by_side_become_a_vector_without_being_moved(sizes in prop::collection::vec(1..6_usize, 1..8)) {
            let counted = Counted::default();
            let mut batches = run(&sizes, |_| false, &counted).into_iter();
            let mut all = batches.next().unwrap();
            let first = all.values.as_slice().as_ptr();
            for batch in batches {
                prop_assert!(all.append(batch).is_ok());
            }
            let values = all.into_values();
            prop_assert_eq!(values.as_ptr(), first);
            prop_assert!(values.iter().map(|(value, _)| *value).eq((0..sizes.iter().sum()).map(|i| i * 10)));
            drop(values);
            prop_assert_eq!(Arc::strong_count(&counted), 1);
        }
    }

    #[test]
    fn values_of_a_room_that_others_use_are_moved() {
        let counted = Counted::default();
        let mut batches = run(&[2, 3], |_| false, &counted);
        let last = batches.pop().unwrap();
        let first = batches.pop().unwrap().into_values();
        assert_eq!((first.len(), last.values.as_slice()[0].0), (2, 20));
        drop((first, last));
        assert_eq!(Arc::strong_count(&counted), 1);
    }

    #[test]
    fn neither_gaps_nor_strangers_are_appended() {
        let counted = Counted::default();
        let mut batches = run(&[2, 2, 2], |i| i == 3, &counted).into_iter();
        let (mut first, gap, last) = (batches.next().unwrap(), batches.next().unwrap(), batches.next().unwrap());
        assert!(gap.has_gaps());
        let Err(gap) = first.append(gap) else { panic!("it has a gap") };
        let Err(last) = first.append(last) else { panic!("it does not follow") };
        let stranger = run(&[1], |_| false, &counted).remove(0);
        let Err(stranger) = first.append(stranger) else { panic!("it is elsewhere") };
        drop((first, gap, last, stranger));
        assert_eq!(Arc::strong_count(&counted), 1);
    }

    #[test]
    fn an_answer_that_is_too_short_or_too_long_is_made_to_fit() {
        for (len, values) in [(0, 0), (1, 1), (4, 3), (6, 4)] {
            let counted = Counted::default();
            let mut batch = run(&[5], |i| i == 2, &counted).remove(0);
            batch.fit(len, error);
            assert_eq!((batch.len(), batch.filter(Result::is_ok).count()), (len, values));
            assert_eq!(Arc::strong_count(&counted), 1);
        }
    }

    #[test]
    fn input_that_panics_leaves_what_was_taken_to_the_stretch() {
        let counted = Counted::default();
        let room = Arc::new(Room::new::<Counted>(5).unwrap());
        // SAFETY: nobody else uses the room.
        let mut stretch = unsafe { Stretch::<Counted>::begin(room, 0) };
        let items =
            (0..5).map(|i| if i == 3 { panic!("input of this test panics on purpose") } else { counted.clone() });
        let panic = catch_unwind(AssertUnwindSafe(|| stretch.take_from(&mut items.into_iter(), 9)));
        assert!(panic.is_err());
        assert_eq!((stretch.len(), Arc::strong_count(&counted)), (3, 4));
        // There are two places left.
        stretch.take_from(&mut std::iter::repeat(counted.clone()), usize::MAX);
        assert_eq!(stretch.len(), 5);
        drop(stretch);
        assert_eq!(Arc::strong_count(&counted), 1);
    }

    #[test]
    fn rooms_of_any_size_for_values_of_any_size() {
        for places in [0, 1, 3, (4 << 20) / 8 + 7] {
            let mut numbers = Batch::with_places(places);
            let mut nothings = Batch::with_places(places);
            for i in 0..places {
                numbers.push(Ok(i));
                nothings.push(Ok(()));
            }
            assert!(numbers.into_values().into_iter().eq(0..places));
            assert_eq!(nothings.into_values().len(), places);
            assert_eq!(Batch::from(vec![(); places]).count(), places);
        }
        assert!(Room::new::<u64>(usize::MAX / 4).is_none());
    }
}
