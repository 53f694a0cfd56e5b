//! Sequences whose bytes on the wire are their bytes in memory.
//!
//! All decisions here are on types, so the compiler makes them: nothing is left of them for other sequences.

use super::buffer::{Buffer, Unit};
use serde::de::{Deserialize, Deserializer, Visitor};
use std::any::TypeId;
use std::fmt;
use std::mem::{ManuallyDrop, transmute_copy};

/// A sequence seen as a block: the number of its elements, its bytes, and the size of an element.
pub(super) struct Block<'a> {
    pub(super) len: usize,
    pub(super) bytes: &'a [u8],
    pub(super) unit: Unit,
}

/// Where the bytes of a block are.
pub(super) enum Found<'a> {
    Here(&'a [u8]),
    Beside(Buffer),
}

/// The block that `sequence` is, if it is a reference to a slice or a `Vec` of plain numbers.
#[inline]
pub(super) fn view<I>(sequence: &I) -> Option<Block<'_>> {
    let block = view_as::<I, u8>(sequence).or_else(|| view_as::<I, i8>(sequence));
    #[cfg(target_endian = "little")]
    let block = block.or_else(|| view_as::<I, f32>(sequence)).or_else(|| view_as::<I, f64>(sequence));
    block
}

/// What `V` would make of a sequence, if `V` is serde's own visitor for a `Vec` of plain numbers: such a vector.
///
/// A visitor of the user's that makes a `Vec<u8>` as well may look at each byte, so it is the visitor's type that
/// counts. `take` is given the size of an element and finds the block's bytes, a multiple of that.
#[inline]
pub(super) fn vector<'a, 'de, V, E>(take: impl FnOnce(usize) -> Result<Found<'a>, E>) -> Option<Result<V::Value, E>>
where
    V: Visitor<'de>,
{
    if is_serdes_own::<V, u8>() {
        return Some(take(1).map(vector_as::<V::Value, u8>));
    }
    if is_serdes_own::<V, i8>() {
        return Some(take(1).map(vector_as::<V::Value, i8>));
    }
    #[cfg(target_endian = "little")]
    if is_serdes_own::<V, f32>() {
        return Some(take(4).map(vector_as::<V::Value, f32>));
    }
    #[cfg(target_endian = "little")]
    if is_serdes_own::<V, f64>() {
        return Some(take(8).map(vector_as::<V::Value, f64>));
    }
    None
}

/// A number that postcard writes as its bytes in memory.
///
/// # Safety
///
/// `Self` has no padding, every bit pattern is a value, and postcard's encoding of it is its memory.
pub(super) unsafe trait Plain: Copy + 'static {}

// SAFETY: one byte, written as it is.
unsafe impl Plain for u8 {}
// SAFETY: one byte, written as it is (postcard does not zigzag this one).
unsafe impl Plain for i8 {}
// SAFETY: four bytes, written in little-endian order, which is the order in memory; every pattern is a float.
#[cfg(target_endian = "little")]
unsafe impl Plain for f32 {}
// SAFETY: as f32, with eight bytes.
#[cfg(target_endian = "little")]
unsafe impl Plain for f64 {}

#[inline]
fn view_as<I, P: Plain>(sequence: &I) -> Option<Block<'_>> {
    let id = typeid::of::<I>();
    let elements: &[P] = if id == TypeId::of::<&'static [P]>() {
        // SAFETY: `I` is `&'x [P]` for some lifetime: type ids differ in nothing else, and `P` holds no lifetime. The
        // copy is used for no longer than the borrow of `sequence`, which `'x` outlives.
        unsafe { transmute_copy::<I, &[P]>(sequence) }
    } else if id == TypeId::of::<&'static Vec<P>>() {
        // SAFETY: as above, with `&'x Vec<P>`.
        unsafe { transmute_copy::<I, &Vec<P>>(sequence) }
    } else {
        return None;
    };
    // SAFETY: the elements are `size_of_val` initialized bytes without padding (`Plain`), borrowed for as long as the
    // result, and any address is aligned for bytes.
    let bytes = unsafe { std::slice::from_raw_parts(elements.as_ptr().cast::<u8>(), size_of_val(elements)) };
    Some(Block { len: elements.len(), bytes, unit: Unit::of::<P>() })
}

/// The vector of these bytes, which are whole elements. `T` must be `Vec<P>`.
#[inline]
fn vector_as<T, P: Plain>(found: Found<'_>) -> T {
    assert!(typeid::of::<T>() == TypeId::of::<Vec<P>>());
    let elements = match found {
        Found::Here(bytes) => copied::<P>(bytes),
        Found::Beside(buffer) => buffer.into_vec::<P>().expect("whoever found it has looked at its length"),
    };
    let elements = ManuallyDrop::new(elements);
    // SAFETY: `T` is `Vec<P>`: the ids are equal and neither type holds a lifetime; `ManuallyDrop` has its layout. The
    // original is never dropped, so the vector has one owner.
    unsafe { transmute_copy::<ManuallyDrop<Vec<P>>, T>(&elements) }
}

/// Copies `bytes` into a vector; what is left of an element at their end stays behind.
#[inline]
pub(super) fn copied<P: Plain>(bytes: &[u8]) -> Vec<P> {
    let len = bytes.len() / size_of::<P>();
    let mut elements = Vec::<P>::with_capacity(len);
    // SAFETY: the source is readable for this many bytes, and the target was just allocated with room for `len`
    // elements; they do not overlap, and bytes need no alignment.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), elements.as_mut_ptr().cast::<u8>(), len * size_of::<P>()) };
    // SAFETY: the first `len` elements have just been written, and every bit pattern is a value (`Plain`).
    unsafe { elements.set_len(len) };
    elements
}

/// Whether `V` is the visitor with which serde decodes a `Vec<P>`: that type is private, so serde is asked for it.
#[inline]
fn is_serdes_own<'de, V, P>() -> bool
where
    V: Visitor<'de>,
    P: Plain + Deserialize<'de>,
{
    matches!(Vec::<P>::deserialize(Probe), Err(Asked(Some(visitor))) if visitor == typeid::of::<V>())
}

/// A deserializer that only looks at who asks it for a sequence.
struct Probe;

/// The answer of a [`Probe`]: the type of the visitor.
#[derive(Debug)]
struct Asked(Option<TypeId>);

impl<'de> Deserializer<'de> for Probe {
    type Error = Asked;

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Asked> {
        Err(Asked(Some(typeid::of::<V>())))
    }

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Asked> {
        Err(Asked(None))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "asked by {:?}", self.0)
    }
}

impl std::error::Error for Asked {}

impl serde::de::Error for Asked {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Asked(None)
    }
}
