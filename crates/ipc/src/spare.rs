//! Memory for the bytes of a message, which a thread uses again.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

/// An empty vector at first, with room from the last time; goes back to its thread when it is dropped.
#[derive(Debug)]
pub(crate) struct Spare(Vec<u8>);

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What is larger is not kept.
const KEPT: usize = 64 << 10;

impl Spare {
    /// Code of the user's that runs meanwhile in this thread, and wants one, gets another one.
    pub(crate) fn new() -> Spare {
        let mut bytes = SPARE.try_with(Cell::take).unwrap_or_default();
        bytes.clear();
        Spare(bytes)
    }
}

impl Deref for Spare {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Spare {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        if self.0.capacity() <= KEPT {
            // At the end of a thread there is no place for it any more.
            let _ = SPARE.try_with(|spare| spare.set(std::mem::take(&mut self.0)));
        }
    }
}
