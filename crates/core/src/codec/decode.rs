//! The reading side.

use super::buffer::Buffer;
use super::bulk::{self, Found};
use super::depth::Depth;
use super::parts::BESIDE;
use super::{Error, varint};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};
use std::mem;
use std::slice;

/// Elements that one value may have beyond those that take a byte or more.
///
/// `vec![(); n]` takes the bytes of `n` alone, so garbled bytes could ask for elements until memory or patience end.
const EMPTY_ELEMENTS: usize = 1 << 26;

/// A serde deserializer for postcard's bytes.
#[derive(Debug)]
pub(super) struct Decoder<'de> {
    input: &'de [u8],
    /// The blocks that are not in the input. Each is taken out, or stays where it is until all is read.
    parts: slice::IterMut<'de, Buffer>,
    depth: Depth,
    empty_elements: usize,
}

impl<'de> Decoder<'de> {
    pub(super) fn new(input: &'de [u8], parts: &'de mut [Buffer]) -> Self {
        Decoder { input, parts: parts.iter_mut(), depth: Depth::new(), empty_elements: EMPTY_ELEMENTS }
    }

    /// All bytes must have been read.
    #[inline]
    pub(super) fn finish(&self) -> Result<(), Error> {
        match (self.input.len(), self.parts.len()) {
            (0, 0) => Ok(()),
            (0, parts) => Err(Error::new(format_args!("{parts} parts are left after the value"))),
            _ => Err(self.too_many_bytes()),
        }
    }

    /// Lets postcard read what it reads itself.
    #[inline]
    fn leaf<T: Deserialize<'de>>(&mut self) -> Result<T, Error> {
        let (value, rest) = postcard::take_from_bytes(self.input)?;
        self.input = rest;
        Ok(value)
    }

    #[inline]
    fn number(&mut self, bits: u32) -> Result<u64, Error> {
        varint::read(bits, &mut self.input)
    }

    #[inline]
    fn signed_number(&mut self, bits: u32) -> Result<i64, Error> {
        Ok(varint::unzigzag(self.number(bits)?))
    }

    /// Reads how many elements or entries come.
    #[inline]
    fn length(&mut self) -> Result<usize, Error> {
        let len = self.number(usize::BITS)? as usize;
        self.believe(len)
    }

    #[inline]
    fn believe(&mut self, len: usize) -> Result<usize, Error> {
        let empty = len.saturating_sub(self.input.len());
        self.empty_elements = self.empty_elements.checked_sub(empty).ok_or_else(|| self.too_long(len))?;
        Ok(len)
    }

    /// The next `len` elements of `size` bytes.
    #[inline]
    fn block(&mut self, len: usize, size: usize) -> Result<&'de [u8], Error> {
        let split = len.checked_mul(size).and_then(|bytes| self.input.split_at_checked(bytes));
        let (block, rest) = split.ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
        self.input = rest;
        Ok(block)
    }

    /// Where there are no parts, it is a length that cannot be.
    #[inline]
    fn is_beside(&self, len: usize) -> bool {
        len & BESIDE != 0 && self.parts.len() > 0
    }

    /// The next part, which has as many elements as this marked length says.
    fn part(&mut self, marked: usize) -> Result<&'de mut Buffer, Error> {
        let Some(part) = self.parts.next() else { return Err(self.too_long(marked)) };
        let len = marked & !BESIDE;
        let size = part.unit();
        if len.checked_mul(size) == Some(part.len()) {
            return Ok(part);
        }
        Err(Error::new(format_args!("{len} elements of {size} bytes are announced in a part of {}", part.len())))
    }

    /// The same, of elements of `size` bytes, to keep.
    fn take_part(&mut self, marked: usize, size: usize) -> Result<Buffer, Error> {
        let part = self.part(marked)?;
        if part.unit() != size {
            return Err(Error::new(format_args!("elements of {} bytes where {size} are expected", part.unit())));
        }
        let empty = Buffer::new(size).ok_or_else(|| Error::new("no numbers have this size"))?;
        Ok(mem::replace(part, empty))
    }

    /// The elements of the next part one by one, as if they were in the input.
    fn elements_of_part<V: Visitor<'de>>(&mut self, marked: usize, visitor: V) -> Result<V::Value, Error> {
        let part: &'de [u8] = self.part(marked)?;
        let rest = mem::replace(&mut self.input, part);
        let value = self.elements(marked & !BESIDE, |elements| visitor.visit_seq(elements))?;
        if !self.input.is_empty() {
            return Err(self.too_many_bytes());
        }
        self.input = rest;
        Ok(value)
    }

    #[inline]
    fn bytes<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Error> {
        let len = self.number(usize::BITS)? as usize;
        if self.is_beside(len) {
            return visitor.visit_byte_buf(self.take_part(len, 1)?.into_bytes());
        }
        visitor.visit_borrowed_bytes(self.block(len, 1)?)
    }

    #[inline]
    fn text<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Error> {
        let len = self.number(usize::BITS)? as usize;
        if self.is_beside(len) {
            let bytes = self.take_part(len, 1)?.into_bytes();
            let text = String::from_utf8(bytes).map_err(|_| postcard::Error::DeserializeBadUtf8)?;
            return visitor.visit_string(text);
        }
        let text = std::str::from_utf8(self.block(len, 1)?).map_err(|_| postcard::Error::DeserializeBadUtf8)?;
        visitor.visit_borrowed_str(text)
    }

    /// Lets `visit` take `len` elements or entries; it must not leave any, or the rest would be read as something else.
    #[inline]
    fn elements<T>(
        &mut self,
        len: usize,
        visit: impl FnOnce(&mut Elements<'_, 'de>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.depth.check()?;
        let mut elements = Elements { decoder: self, left: len };
        let value = visit(&mut elements)?;
        match elements.left {
            0 => Ok(value),
            left => Err(Error::new(format_args!("{left} of {len} elements were not taken"))),
        }
    }

    #[cold]
    fn too_many_bytes(&self) -> Error {
        Error::new(format_args!("{} bytes are left after the value", self.input.len()))
    }

    #[cold]
    fn too_long(&self, len: usize) -> Error {
        Error::new(format_args!("{len} elements are announced in the bytes, and {} bytes are left", self.input.len()))
    }

    #[cold]
    fn not_self_describing(&self) -> Error {
        Error::new(
            "the type asks what comes next (serde's untagged, flatten, internally tagged, or any value), and the bytes \
             do not say",
        )
    }
}

/// What postcard reads itself.
macro_rules! postcard_reads {
    ($($method:ident: $type:ty => $visit:ident;)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit(self.leaf::<$type>()?)
        }
    )*};
}

/// Numbers of a few bytes; one of so many bits fits its type.
macro_rules! numbers {
    ($($method:ident: $read:ident($type:ty) => $visit:ident;)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit(self.$read(<$type>::BITS)? as $type)
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Decoder<'de> {
    type Error = Error;

    postcard_reads! {
        deserialize_bool: bool => visit_bool;
        deserialize_i8: i8 => visit_i8;
        deserialize_i128: i128 => visit_i128;
        deserialize_u8: u8 => visit_u8;
        deserialize_u128: u128 => visit_u128;
        deserialize_f32: f32 => visit_f32;
        deserialize_f64: f64 => visit_f64;
        deserialize_char: char => visit_char;
    }

    numbers! {
        deserialize_u16: number(u16) => visit_u16;
        deserialize_u32: number(u32) => visit_u32;
        deserialize_u64: number(u64) => visit_u64;
        deserialize_i16: signed_number(i16) => visit_i16;
        deserialize_i32: signed_number(i32) => visit_i32;
        deserialize_i64: signed_number(i64) => visit_i64;
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.text(visitor)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.text(visitor)
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.bytes(visitor)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.bytes(visitor)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(self.not_self_describing())
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(self.not_self_describing())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(self.not_self_describing())
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.leaf::<u8>()? {
            0 => visitor.visit_none(),
            1 => {
                self.depth.check()?;
                visitor.visit_some(self)
            }
            _ => Err(postcard::Error::DeserializeBadOption.into()),
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        self.depth.check()?;
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let len = self.number(usize::BITS)? as usize;
        if self.is_beside(len) {
            return match bulk::vector::<V, Error>(|size| Ok(Found::Beside(self.take_part(len, size)?))) {
                Some(vector) => vector,
                None => self.elements_of_part(len, visitor),
            };
        }
        match bulk::vector::<V, Error>(|size| Ok(Found::Here(self.block(len, size)?))) {
            Some(vector) => vector,
            None => {
                let len = self.believe(len)?;
                self.elements(len, |elements| visitor.visit_seq(elements))
            }
        }
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.elements(len, |elements| visitor.visit_seq(elements))
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let len = self.length()?;
        self.elements(len, |elements| visitor.visit_map(elements))
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.depth.check()?;
        visitor.visit_enum(self)
    }
}

/// The elements of a sequence, tuple or struct, or the entries of a map, that are still to be read.
struct Elements<'d, 'de> {
    decoder: &'d mut Decoder<'de>,
    left: usize,
}

impl<'de> SeqAccess<'de> for &mut Elements<'_, 'de> {
    type Error = Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.decoder).map(Some)
    }

    /// Collections reserve what this says: no more than one element for each byte that is there.
    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left.min(self.decoder.input.len()))
    }
}

impl<'de> MapAccess<'de> for &mut Elements<'_, 'de> {
    type Error = Error;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        SeqAccess::next_element_seed(self, seed)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(&mut *self.decoder)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        SeqAccess::size_hint(self)
    }
}

impl<'de> EnumAccess<'de> for &mut Decoder<'de> {
    type Error = Error;
    type Variant = Self;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Error> {
        let index = self.number(32)? as u32;
        let variant = seed.deserialize(IntoDeserializer::<Error>::into_deserializer(index))?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for &mut Decoder<'de> {
    type Error = Error;

    #[inline]
    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(self)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        self.deserialize_tuple(fields.len(), visitor)
    }
}
