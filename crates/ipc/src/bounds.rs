//! Ranges of indices, of whatever kind they are. Not for users of the library.

use std::ops::{Bound, Range, RangeBounds};

/// From where to where a range goes, of what has so many elements. Whether it lies within them is for the caller to see; one that goes
/// beyond all numbers does not.
pub fn bounds(range: impl RangeBounds<usize>, len: usize) -> Range<usize> {
    let from = match range.start_bound() {
        Bound::Included(&at) => at,
        Bound::Excluded(&at) => at.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(&at) => at.saturating_add(1),
        Bound::Excluded(&at) => at,
        Bound::Unbounded => len,
    };
    from..to
}
