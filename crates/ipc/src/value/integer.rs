//! Which types can be counted with.

use bytemuck::Pod;

/// An integer that fits a word, so that [`RawValue::fetch_add`](super::RawValue::fetch_add) is one instruction. It is implemented for
/// all that there are, and cannot be for others.
pub trait Integer: Pod + sealed::Sealed {
    /// Its negative, wrapping.
    #[doc(hidden)]
    fn negative(self) -> Self;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! integers {
    ($($type:ty)*) => {$(
        impl sealed::Sealed for $type {}
        impl Integer for $type {
            fn negative(self) -> Self {
                self.wrapping_neg()
            }
        }
    )*};
}

integers!(u8 u16 u32 u64 usize i8 i16 i32 i64 isize);
