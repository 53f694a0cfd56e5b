//! Numbers of up to 64 bits, as postcard writes them: seven bits a byte, the lowest first, the top bit set on all but the
//! last; signed ones zigzag (0, -1, 1, -2, … are 0, 1, 2, 3, …).
//!
//! Small tasks are mostly such numbers. Written and read in place they cost a third of what they do in postcard, which
//! takes each through a buffer.

use super::Error;

#[inline]
pub(super) fn write(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a number of at most `bits` bits off the front of `input`.
#[inline(always)]
pub(super) fn read(bits: u32, input: &mut &[u8]) -> Result<u64, Error> {
    let mut value = 0;
    let mut shift = 0;
    let mut rest = *input;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            if bits - shift < 7 && byte >> (bits - shift) != 0 {
                return Err(too_large());
            }
            *input = rest;
            return Ok(value);
        }
        shift += 7;
        if shift >= bits {
            return Err(too_large());
        }
    }
    Err(cut_off())
}

#[inline]
pub(super) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[inline]
pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cold]
fn too_large() -> Error {
    postcard::Error::DeserializeBadVarint.into()
}

#[cold]
fn cut_off() -> Error {
    postcard::Error::DeserializeUnexpectedEnd.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(value, &mut bytes);
        bytes
    }

    #[test]
    fn limits_are_exact() {
        for (bits, max) in [(16, u16::MAX.into()), (32, u32::MAX.into()), (64, u64::MAX)] {
            assert!(read(bits, &mut &written(max)[..]).is_ok_and(|value| value == max));
            let above = u128::from(max) + 1;
            let bytes = postcard::to_stdvec(&above).expect("postcard writes it");
            assert!(read(bits, &mut &bytes[..]).is_err());
        }
        assert!(read(64, &mut &[0xff; 20][..]).is_err());
        assert!(read(16, &mut &[0x80, 0x80, 0x80, 0][..]).is_err());
        assert!(read(64, &mut &[][..]).is_err());
    }

    proptest! {
        #[test]
        fn as_postcard_does(unsigned in any::<(u16, u32, u64)>(), signed in any::<(i16, i32, i64)>(), shift in 0..64u32) {
            let small = (unsigned.2 >> shift, signed.2 >> shift);
            let numbers = (unsigned, signed, small);
            let mut bytes = Vec::new();
            for value in [unsigned.0.into(), unsigned.1.into(), unsigned.2] {
                write(value, &mut bytes);
            }
            for value in [signed.0.into(), signed.1.into(), signed.2] {
                write(zigzag(value), &mut bytes);
            }
            write(small.0, &mut bytes);
            write(zigzag(small.1), &mut bytes);
            prop_assert_eq!(&bytes, &postcard::to_stdvec(&numbers).expect("postcard writes it"));

            let mut rest = &bytes[..];
            let mut next = |bits| read(bits, &mut rest).expect("it was written");
            prop_assert_eq!([next(16), next(32), next(64)], [unsigned.0.into(), unsigned.1.into(), unsigned.2]);
            let mut signed_next = |bits| unzigzag(next(bits));
            prop_assert_eq!(
                [signed_next(16), signed_next(32), signed_next(64)],
                [signed.0.into(), signed.1.into(), signed.2]
            );
            prop_assert_eq!((next(64), unzigzag(next(64))), small);
            prop_assert!(rest.is_empty());
        }
    }
}
