//! The writing side.

use super::buffer::Unit;
use super::depth::Depth;
use super::parts::{BESIDE, Parts};
use super::{Encoded, Error, MAX_HANDLES, bulk, varint};
use postcard::ser_flavors::Flavor;
use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use std::any::{TypeId, type_name};
use std::fmt;

/// A serde serializer that appends postcard's bytes to a vector and notices handles.
pub(super) struct Encoder<'a> {
    postcard: postcard::Serializer<Output<'a>>,
    depth: Depth,
    leaf: Leaf,
    /// Handles known by their type.
    known: usize,
    /// As many of those may be.
    max_known: usize,
    /// A number that may be the index of a handle was seen.
    suspected: bool,
    /// Where large blocks go, if not to `postcard`.
    beside: Option<Beside<'a>>,
}

/// Where large blocks go.
pub(super) struct Beside<'a> {
    parts: &'a mut Parts,
    /// Whether the value has its blocks on the heap, where they outlive the encoding. Asked when there is a block.
    can_lend: fn() -> bool,
}

impl<'a> Beside<'a> {
    /// Large blocks go to `parts`: lent, if they can be, else as copies.
    ///
    /// # Safety
    /// If `can_lend` says so, each block that the encoder meets stays where it is, unchanged, until the caller has taken the
    /// parts back or has given the value to them ([`Parts::keep`]).
    pub(super) unsafe fn new(parts: &'a mut Parts, can_lend: fn() -> bool) -> Self {
        Beside { parts, can_lend }
    }
}

/// What a bare `u64` would be, coming from the value that is being written.
///
/// A handle of `ipc-channel` parks itself in a thread-local vector and writes its index there as a `usize`. Core does
/// not depend on that crate and cannot look into the vector, so it looks at who writes a `u64`:
///
/// * an `u64` or `usize`, or one of std's wrappers of them: it is a number. Whatever else holds numbers (structs,
///   options, sequences, newtypes) hands them to `Encoder::value`, where they are seen as what they are;
/// * a type whose name says that it is one of `ipc-channel`'s: it is a handle (or shared memory of no bytes);
/// * any other type that writes a `u64` straight away. It may pass on the call to a handle inside
///   (`#[serde(transparent)]`, `Box`, `serialize_with`, an impl by hand), or to a number. The first handle of a value
///   has the index 0, so 0 is a handle until the caller has looked; anything else is a number, or comes after that 0.
///
/// Not noticed: a handle that a `Serialize` impl encodes with a serializer of its own, to embed the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    Number,
    Handle,
    Unknown,
}

impl Leaf {
    /// Constant for each `T`, once optimized.
    #[inline]
    fn of<T: ?Sized>() -> Self {
        let id = typeid::of::<T>();
        if id == TypeId::of::<u64>()
            || id == TypeId::of::<usize>()
            || id == TypeId::of::<&'static u64>()
            || id == TypeId::of::<&'static usize>()
        {
            return Leaf::Number;
        }
        let name = type_name::<T>();
        // Elements of a sequence are seen by reference.
        let name = name.strip_prefix('&').unwrap_or(name);
        if name.starts_with("ipc_channel::ipc::") {
            Leaf::Handle
        } else if name.starts_with("core::sync::atomic::") || name.starts_with("core::num::") {
            Leaf::Number
        } else {
            Leaf::Unknown
        }
    }
}

impl<'a> Encoder<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>, max_known: usize, beside: Option<Beside<'a>>) -> Self {
        Encoder {
            postcard: postcard::Serializer { output: Output(out) },
            depth: Depth::new(),
            leaf: Leaf::Unknown,
            known: 0,
            max_known,
            suspected: false,
            beside,
        }
    }

    pub(super) fn encoded(&self) -> Encoded {
        Encoded { handles: self.known > 0 || self.suspected, known: self.known }
    }

    /// Every value comes through here: the outermost one, fields, elements, keys, what is in an option or a newtype.
    #[inline]
    pub(super) fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.leaf = Leaf::of::<T>();
        if self.leaf == Leaf::Handle {
            self.handle()?;
        }
        value.serialize(self)
    }

    /// Before it parks itself, for one too many could not be fetched any more.
    #[cold]
    fn handle(&mut self) -> Result<(), Error> {
        if self.max_known == 0 {
            return Err(Error::new(format_args!(
                "no channel or shared memory of ipc-channel fits in here: tasks alone take them along, {MAX_HANDLES} each"
            )));
        }
        if self.known == self.max_known {
            return Err(Error::new(format_args!(
                "more than {MAX_HANDLES} channels and shared memory regions in one message"
            )));
        }
        self.known += 1;
        Ok(())
    }

    /// Writes the length of what stands at `start`, in front of it.
    fn insert_length(&mut self, start: usize, len: usize) {
        let end = self.output().len();
        self.number(len as u64);
        let width = self.output().len() - end;
        self.output()[start..].rotate_right(width);
    }

    /// Writes a block of `len` elements, into the stream or beside it.
    #[inline]
    fn block(&mut self, len: usize, bytes: &[u8], unit: Unit) {
        if self.beside.is_some() && self.put_beside(bytes, unit) {
            self.number((len | BESIDE) as u64);
            return;
        }
        self.number(len as u64);
        self.output().extend_from_slice(bytes);
    }

    #[inline]
    fn put_beside(&mut self, bytes: &[u8], unit: Unit) -> bool {
        let wants = |beside: &&mut Beside<'_>| beside.parts.wants(bytes.len());
        let Some(Beside { parts, can_lend }) = self.beside.as_mut().filter(wants) else { return false };
        if !can_lend() {
            return parts.push_copy(bytes, unit);
        }
        // SAFETY: whoever made the `Beside` has vouched for it.
        unsafe { parts.push_lent(bytes, unit) };
        true
    }

    #[inline]
    fn number(&mut self, value: u64) {
        varint::write(value, self.output());
    }

    #[inline]
    fn output(&mut self) -> &mut Vec<u8> {
        self.postcard.output.0
    }
}

impl fmt::Debug for Encoder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").field("leaf", &self.leaf).field("known", &self.known).finish_non_exhaustive()
    }
}

/// Where postcard puts its bytes.
struct Output<'a>(&'a mut Vec<u8>);

impl Flavor for Output<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// What postcard writes itself.
macro_rules! postcard_writes {
    ($($method:ident($type:ty);)*) => {$(
        #[inline]
        fn $method(self, value: $type) -> Result<(), Error> {
            Ok(self.postcard.$method(value)?)
        }
    )*};
}

/// Numbers of a few bytes.
macro_rules! numbers {
    ($($method:ident($value:ident: $type:ty) => $unsigned:expr;)*) => {$(
        #[inline]
        fn $method(self, $value: $type) -> Result<(), Error> {
            self.number($unsigned);
            Ok(())
        }
    )*};
}

impl<'e, 'a> Serializer for &'e mut Encoder<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Counted<'e, 'a>;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Counted<'e, 'a>;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    postcard_writes! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i128(i128);
        serialize_u8(u8);
        serialize_u128(u128);
        serialize_f32(f32);
        serialize_f64(f64);
        serialize_char(char);
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), Error> {
        self.block(value.len(), value.as_bytes(), Unit::One);
        Ok(())
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Result<(), Error> {
        self.block(value.len(), value, Unit::One);
        Ok(())
    }

    numbers! {
        serialize_u16(value: u16) => value.into();
        serialize_u32(value: u32) => value.into();
        serialize_i16(value: i16) => varint::zigzag(value.into());
        serialize_i32(value: i32) => varint::zigzag(value.into());
        serialize_i64(value: i64) => varint::zigzag(value);
    }

    #[inline]
    fn serialize_u64(self, value: u64) -> Result<(), Error> {
        if self.leaf == Leaf::Unknown {
            self.suspected |= value == 0;
        }
        self.number(value);
        Ok(())
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Error> {
        Ok(self.postcard.serialize_none()?)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        self.depth.check()?;
        self.postcard.serialize_u8(1)?;
        self.value(value)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), Error> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, index: u32, _: &'static str) -> Result<(), Error> {
        self.serialize_u32(index)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Error> {
        self.depth.check()?;
        self.value(value)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.depth.check()?;
        self.number(index.into());
        self.value(value)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Counted<'e, 'a>, Error> {
        Counted::new(self, len)
    }

    #[inline]
    fn serialize_tuple(self, _: usize) -> Result<Self, Error> {
        self.depth.check()?;
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Error> {
        self.depth.check()?;
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_variant(self, _: &'static str, index: u32, _: &'static str, _: usize) -> Result<Self, Error> {
        self.depth.check()?;
        self.number(index.into());
        Ok(self)
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Counted<'e, 'a>, Error> {
        Counted::new(self, len)
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Error> {
        self.depth.check()?;
        Ok(self)
    }

    #[inline]
    fn serialize_struct_variant(self, _: &'static str, index: u32, _: &'static str, _: usize) -> Result<Self, Error> {
        self.depth.check()?;
        self.number(index.into());
        Ok(self)
    }

    /// Vectors, slices and sets come here, also from inside a `Box`, an `Arc` or a transparent newtype.
    #[inline]
    fn collect_seq<I>(self, sequence: I) -> Result<(), Error>
    where
        I: IntoIterator,
        I::Item: Serialize,
    {
        if let Some(block) = bulk::view(&sequence) {
            self.block(block.len, block.bytes, block.unit);
            return Ok(());
        }
        let elements = sequence.into_iter();
        let len = match elements.size_hint() {
            (low, Some(high)) if low == high => Some(low),
            _ => None,
        };
        let mut sequence = self.serialize_seq(len)?;
        for element in elements {
            sequence.serialize_element(&element)?;
        }
        SerializeSeq::end(sequence)
    }

    /// Formats once; postcard alone would format twice and trust both to be as long.
    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<(), Error> {
        let mut text = String::new();
        fmt::Write::write_fmt(&mut text, format_args!("{value}")).map_err(Error::new)?;
        self.serialize_str(&text)
    }
}

/// A sequence or a map on its way out.
pub(super) struct Counted<'e, 'a> {
    encoder: &'e mut Encoder<'a>,
    announced: Announced,
    written: usize,
}

/// What is known of the number of elements when the first is written.
#[derive(Clone, Copy)]
enum Announced {
    /// It is written already.
    Length(usize),
    /// It will be inserted at this place.
    At(usize),
}

impl<'e, 'a> Counted<'e, 'a> {
    #[inline]
    fn new(encoder: &'e mut Encoder<'a>, len: Option<usize>) -> Result<Self, Error> {
        encoder.depth.check()?;
        let announced = match len {
            Some(len) => {
                encoder.number(len as u64);
                Announced::Length(len)
            }
            None => Announced::At(encoder.output().len()),
        };
        Ok(Counted { encoder, announced, written: 0 })
    }

    #[inline]
    fn finish(self) -> Result<(), Error> {
        match self.announced {
            Announced::Length(len) if len == self.written => Ok(()),
            Announced::Length(len) => {
                Err(Error::new(format_args!("a sequence of {len} elements was announced, {} came", self.written)))
            }
            Announced::At(start) => {
                self.encoder.insert_length(start, self.written);
                Ok(())
            }
        }
    }
}

impl SerializeSeq for Counted<'_, '_> {
    type Ok = ();
    type Error = Error;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.written += 1;
        self.encoder.value(value)
    }

    #[inline]
    fn end(self) -> Result<(), Error> {
        self.finish()
    }
}

impl SerializeMap for Counted<'_, '_> {
    type Ok = ();
    type Error = Error;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.written += 1;
        self.encoder.value(key)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.encoder.value(value)
    }

    #[inline]
    fn end(self) -> Result<(), Error> {
        self.finish()
    }
}

/// Tuples have as many elements as their type says.
macro_rules! writes_elements {
    ($($trait:ident::$method:ident;)*) => {$(
        impl $trait for &mut Encoder<'_> {
            type Ok = ();
            type Error = Error;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                self.value(value)
            }

            #[inline]
            fn end(self) -> Result<(), Error> {
                Ok(())
            }
        }
    )*};
}

writes_elements! {
    SerializeTuple::serialize_element;
    SerializeTupleStruct::serialize_field;
    SerializeTupleVariant::serialize_field;
}

/// Structs too, but one may leave out a field that its reader will wait for.
macro_rules! writes_fields {
    ($($trait:ident;)*) => {$(
        impl $trait for &mut Encoder<'_> {
            type Ok = ();
            type Error = Error;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, value: &T) -> Result<(), Error> {
                self.value(value)
            }

            #[inline]
            fn skip_field(&mut self, name: &'static str) -> Result<(), Error> {
                Err(Error::new(format_args!(
                    "the field `{name}` was left out (skip_serializing_if), and the reader could not tell"
                )))
            }

            #[inline]
            fn end(self) -> Result<(), Error> {
                Ok(())
            }
        }
    )*};
}

writes_fields! {
    SerializeStruct;
    SerializeStructVariant;
}
