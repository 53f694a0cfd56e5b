//! Large buffers on large pages.

use std::mem::MaybeUninit;
use std::ptr;

use rustix::mm::{Advice, madvise};

/// The size of a huge page, where it differs from this the advice covers less.
const PAGE: usize = 2 << 20;

/// Asks the kernel to put what is not yet touched of a large buffer on huge pages: to fault in small ones one by one takes
/// longer than to fill them.
pub(crate) fn advise(fresh: &mut [MaybeUninit<u8>]) {
    let start = fresh.as_ptr().expose_provenance();
    let first = start.next_multiple_of(PAGE);
    let end = (start + fresh.len()) / PAGE * PAGE;
    if first < end {
        let range = ptr::with_exposed_provenance_mut(first);
        // SAFETY: the range lies in what we were lent, and the advice changes no byte of it. A kernel that knows no
        // huge pages refuses, and nothing is lost but speed.
        let _ = unsafe { madvise(range, end - first, Advice::LinuxHugepage) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_stay_and_small_buffers_are_left_alone() {
        for size in [0, 100, PAGE, 5 * PAGE + 7] {
            let mut buffer = vec![3; size];
            buffer.reserve_exact(size);
            advise(buffer.spare_capacity_mut());
            assert!(buffer.iter().all(|byte| *byte == 3));
        }
    }
}
