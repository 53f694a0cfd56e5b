//! Cells of the common sizes are kept by the thread that frees them, for the next ones that it makes.
//!
//! Whoever takes a result frees the cell, as a rule, and is who submits the next task. The system's allocator keeps a handful
//! of blocks for a thread and asks its arena, with a lock, for more; this keeps a window's worth.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr::{NonNull, null_mut};

/// Sizes of blocks: with the 8 bytes that most allocators add, or without, they end with a multiple of 32.
const CLASSES: [usize; 3] = [56, 88, 120];
const ALIGN: usize = 8;
/// So many blocks of each class are kept by a thread.
const KEEP: u32 = 1024;

/// The blocks that a thread keeps, each with the address of the next in its first word.
struct Kept {
    first: [Cell<*mut Block>; CLASSES.len()],
    count: [Cell<u32>; CLASSES.len()],
}

struct Block {
    next: *mut Block,
}

thread_local! {
    static KEPT: Kept = const {
        Kept { first: [const { Cell::new(null_mut()) }; CLASSES.len()], count: [const { Cell::new(0) }; CLASSES.len()] }
    };
}

impl Drop for Kept {
    fn drop(&mut self) {
        for (class, size) in CLASSES.into_iter().enumerate() {
            while let Some(block) = self.pop(class) {
                // SAFETY: a block of this class was allocated with this layout, by `allocate`.
                unsafe { dealloc(block.as_ptr().cast(), layout_of(size)) };
            }
        }
    }
}

impl Kept {
    fn pop(&self, class: usize) -> Option<NonNull<Block>> {
        let block = NonNull::new(self.first[class].get())?;
        // SAFETY: what is in the list is a free block of at least a pointer's size, whose first word `push` has written.
        self.first[class].set(unsafe { block.as_ref() }.next);
        self.count[class].set(self.count[class].get() - 1);
        Some(block)
    }

    /// # Safety
    /// A block of this class that nobody uses.
    unsafe fn push(&self, class: usize, block: NonNull<Block>) -> bool {
        let count = self.count[class].get();
        if count >= KEEP {
            return false;
        }
        // SAFETY: the caller gives the block away; it is large enough and aligned for a pointer.
        unsafe { block.write(Block { next: self.first[class].get() }) };
        self.first[class].set(block.as_ptr());
        self.count[class].set(count + 1);
        true
    }
}

/// The class of blocks for such a value, known when the program is compiled. What is larger, or aligned to more, is none.
const fn class_of(layout: Layout) -> Option<usize> {
    let mut class = 0;
    while class < CLASSES.len() {
        if layout.size() <= CLASSES[class] && layout.align() <= ALIGN {
            return Some(class);
        }
        class += 1;
    }
    None
}

const fn layout_of(size: usize) -> Layout {
    match Layout::from_size_align(size, ALIGN) {
        Ok(layout) => layout,
        Err(_) => panic!("the classes are small"),
    }
}

/// A block for a `T`.
pub(super) fn allocate<T>() -> NonNull<T> {
    let layout = const {
        match class_of(Layout::new::<T>()) {
            Some(class) => layout_of(CLASSES[class]),
            None => Layout::new::<T>(),
        }
    };
    if let Some(class) = const { class_of(Layout::new::<T>()) }
        && let Ok(Some(block)) = KEPT.try_with(|kept| kept.pop(class))
    {
        return block.cast();
    }
    const { assert!(size_of::<T>() > 0) };
    // SAFETY: the size is not zero: that of a class is not, nor that of `T`.
    let block = unsafe { alloc(layout) };
    NonNull::new(block.cast()).unwrap_or_else(|| handle_alloc_error(layout))
}

/// Gives a block back.
///
/// # Safety
/// It comes from `allocate` of the same type, and nobody uses it any more, nor what was in it.
pub(super) unsafe fn release<T>(block: NonNull<T>) {
    let layout = const {
        match class_of(Layout::new::<T>()) {
            Some(class) => layout_of(CLASSES[class]),
            None => Layout::new::<T>(),
        }
    };
    if let Some(class) = const { class_of(Layout::new::<T>()) } {
        let push = |kept: &Kept| {
            // SAFETY: the caller gives the block away, and by its type it is of this class.
            unsafe { kept.push(class, block.cast()) }
        };
        // A thread whose storage is being destroyed keeps nothing.
        if KEPT.try_with(push) == Ok(true) {
            return;
        }
    }
    // SAFETY: it was allocated with this layout: by `allocate` of this type, or of another type of the same class.
    unsafe { dealloc(block.as_ptr().cast(), layout) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_used_again() {
        let first = allocate::<[u64; 6]>();
        // SAFETY: it was allocated just now and is not used.
        unsafe { release(first) };
        let second = allocate::<[u64; 7]>();
        assert_eq!(first.as_ptr().cast::<u8>(), second.as_ptr().cast());
        // SAFETY: as above.
        unsafe { release(second) };
    }

    #[test]
    fn a_thread_keeps_so_many_and_no_more() {
        std::thread::spawn(|| {
            let blocks: Vec<_> = (0..KEEP + 10).map(|_| allocate::<[u64; 10]>()).collect();
            for block in blocks {
                // SAFETY: it was allocated above and is not used.
                unsafe { release(block) };
            }
            assert_eq!(KEPT.with(|kept| kept.count[1].get()), KEEP);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn what_is_large_or_aligned_is_not_kept() {
        #[repr(align(64))]
        struct Aligned(#[allow(dead_code, reason = "it is only large")] [u8; 64]);
        assert!(class_of(Layout::new::<Aligned>()).is_none() && class_of(Layout::new::<[u8; 121]>()).is_none());
        let block = allocate::<Aligned>();
        assert_eq!(block.as_ptr() as usize % 64, 0);
        // SAFETY: it was allocated just now and is not used.
        unsafe { release(block) };
    }
}
