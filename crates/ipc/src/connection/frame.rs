//! How messages stand in a ring, one after the other.

use concurrent_futures_core::attach;

/// Before the bytes of a message: how many there are, and what goes with them over the socket.
///
/// In the ring 8 bytes, little-endian: 48 bits of length, 16 bits of descriptors; if there are any, 4 more with the
/// number by which their packets are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) len: usize,
    pub(super) descriptors: usize,
    pub(super) number: u32,
}

const SHORT: usize = 8;
const LONG: usize = 12;
const LEN_BITS: u32 = 48;

/// A head as it stands in the ring.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    bytes: [u8; LONG],
    len: usize,
}

impl Head {
    /// `None`: no message is that long.
    pub(super) fn write(self) -> Option<Written> {
        if self.len as u64 >= 1 << LEN_BITS || self.descriptors > attach::MAX {
            return None;
        }
        let mut bytes = [0; LONG];
        let word = self.len as u64 | (self.descriptors as u64) << LEN_BITS;
        bytes[..SHORT].copy_from_slice(&word.to_le_bytes());
        bytes[SHORT..].copy_from_slice(&self.number.to_le_bytes());
        Some(Written { bytes, len: if self.descriptors > 0 { LONG } else { SHORT } })
    }

    /// The head at the start of `bytes`, and how many of them it takes; `None` if it is not all there.
    pub(super) fn read(bytes: &[u8]) -> Option<(Head, usize)> {
        let (word, rest) = bytes.split_first_chunk::<SHORT>()?;
        let word = u64::from_le_bytes(*word);
        let (len, descriptors) = ((word & ((1 << LEN_BITS) - 1)) as usize, (word >> LEN_BITS) as usize);
        if descriptors == 0 {
            return Some((Head { len, descriptors, number: 0 }, SHORT));
        }
        let number = u32::from_le_bytes(*rest.first_chunk()?);
        Some((Head { len, descriptors, number }, LONG))
    }
}

impl AsRef<[u8]> for Written {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read(len in 0..1_usize << 48, descriptors in 0..=attach::MAX, number: u32, rest: Vec<u8>) {
            let head = Head { len, descriptors, number: if descriptors > 0 { number } else { 0 } };
            let written = head.write().unwrap();
            let mut bytes = written.as_ref().to_vec();
            for short in 0..bytes.len() {
                prop_assert_eq!(Head::read(&bytes[..short]), None);
            }
            let size = bytes.len();
            bytes.extend(rest);
            prop_assert_eq!(Head::read(&bytes), Some((head, size)));
        }
    }

    #[test]
    fn there_is_a_limit() {
        assert!(Head { len: 1 << 48, descriptors: 0, number: 0 }.write().is_none());
        assert!(Head { len: 0, descriptors: attach::MAX + 1, number: 0 }.write().is_none());
    }
}
