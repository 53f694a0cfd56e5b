//! How deep a value may nest, by the stack that it takes.

use super::Error;

/// Stack that one encoding or decoding may take: half of what a thread of Rust has.
const BUDGET: usize = 1 << 20;

/// Where on the stack the work began.
///
/// The two sides of a link have stacks of different sizes, so what one could write may be too deep for the other, and
/// garbled bytes may pretend any depth: an overflow would end the process. A count of levels would be a bad measure,
/// for a level takes from a hundred bytes to several thousand. (Address sanitizer's check for use after return moves
/// locals off the stack and so disarms this.)
#[derive(Clone, Copy, Debug)]
pub(super) struct Depth {
    start: usize,
}

impl Depth {
    pub(super) fn new() -> Self {
        Depth { start: here() }
    }

    /// To be asked wherever a value may hold another one.
    #[inline]
    pub(super) fn check(self) -> Result<(), Error> {
        if here().abs_diff(self.start) > BUDGET {
            return Err(Error::new("the value is nested too deeply"));
        }
        Ok(())
    }
}

/// The address of something in the caller's stack frame.
#[inline(always)]
fn here() -> usize {
    let marker = 0u8;
    (&raw const marker).addr()
}
