//! Small frames side by side, to be posted with one call.

use crate::wire::Head;

/// So large a body goes with its head.
pub(crate) const TOGETHER: usize = 48;
/// What is gathered before it is handed on.
const ROOM: usize = 768;

/// Whole frames.
pub(crate) struct Together {
    bytes: [u8; ROOM],
    len: usize,
}

impl Together {
    pub(crate) fn new() -> Self {
        Together { bytes: [0; ROOM], len: 0 }
    }

    /// Adds a frame, whose body is of [`TOGETHER`] bytes at most; before that hands on what is here, if there is no room beside it.
    #[inline]
    pub(crate) fn push<H: Head<N>, const N: usize>(&mut self, head: H, body: &[u8], full: impl FnOnce(&[u8])) {
        if self.len + N + TOGETHER > ROOM {
            full(&self.bytes[..self.len]);
            self.len = 0;
        }
        let (to, rest) = self.bytes[self.len..].split_at_mut(N);
        to.copy_from_slice(&head.encode());
        rest[..body.len()].copy_from_slice(body);
        self.len += N + body.len();
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Ticket, UP, Up};

    #[test]
    fn what_was_pushed_is_handed_on_in_order() {
        let (mut together, mut all, mut expected) = (Together::new(), Vec::new(), Vec::new());
        for n in 0..200_u32 {
            let (head, body) = (Up::Started(Ticket { slot: 1, seq: n }), vec![n as u8; n as usize % (TOGETHER + 1)]);
            expected.extend_from_slice(&Head::<UP>::encode(&head));
            expected.extend_from_slice(&body);
            together.push(head, &body, |bytes| all.extend_from_slice(bytes));
        }
        all.extend_from_slice(together.bytes());
        assert_eq!(all, expected);
    }
}
