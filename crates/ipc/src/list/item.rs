//! What may be in a shareable list.

use std::fmt;

/// An element of a [`ShareableList`](super::ShareableList). Most values become one by themselves (`Into<Item>`).
///
/// ```
/// use concurrent_futures_ipc::list::Item;
///
/// assert_eq!(Item::from("howdy"), Item::Str("howdy".to_owned()));
/// assert_eq!([Item::from(None::<i64>), Item::from(b"raw")], [Item::None, Item::Bytes(b"raw".to_vec())]);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Item {
    /// Nothing.
    #[default]
    None,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Str(String),
    /// Any bytes.
    Bytes(Vec<u8>),
}

/// What is written before the bytes of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    None,
    Bool,
    Int,
    Float,
    Str,
    Bytes,
}

impl Tag {
    /// By its number.
    pub(super) fn of(number: u64) -> Option<Tag> {
        [Tag::None, Tag::Bool, Tag::Int, Tag::Float, Tag::Str, Tag::Bytes].into_iter().find(|tag| *tag as u64 == number)
    }
}

impl Item {
    /// Calls `f` with its bytes.
    pub(super) fn encode<R>(&self, f: impl FnOnce(Tag, &[u8]) -> R) -> R {
        match self {
            Item::None => f(Tag::None, &[]),
            Item::Bool(value) => f(Tag::Bool, &[u8::from(*value)]),
            Item::Int(value) => f(Tag::Int, &value.to_ne_bytes()),
            Item::Float(value) => f(Tag::Float, &value.to_ne_bytes()),
            Item::Str(value) => f(Tag::Str, value.as_bytes()),
            Item::Bytes(value) => f(Tag::Bytes, value),
        }
    }

    /// What these bytes are; `None`: nothing that `encode` gives.
    pub(super) fn decode(tag: Tag, bytes: Vec<u8>) -> Option<Item> {
        Some(match (tag, &bytes[..]) {
            (Tag::None, []) => Item::None,
            (Tag::Bool, [value @ (0 | 1)]) => Item::Bool(*value == 1),
            (Tag::Int, _) => Item::Int(i64::from_ne_bytes(bytes.try_into().ok()?)),
            (Tag::Float, _) => Item::Float(f64::from_ne_bytes(bytes.try_into().ok()?)),
            (Tag::Str, _) => Item::Str(String::from_utf8(bytes).ok()?),
            (Tag::Bytes, _) => Item::Bytes(bytes),
            _ => return None,
        })
    }

    /// So much room an element has that begins with this item: a multiple of eight, and more than a text or bytes need, as in Python.
    pub(super) fn room(&self) -> usize {
        match self {
            Item::Str(value) => 8 * (value.len() / 8 + 1),
            Item::Bytes(value) => 8 * (value.len() / 8 + 1),
            _ => 8,
        }
    }
}

macro_rules! from {
    ($($type:ty, $value:ident => $item:expr;)*) => {$(
        impl From<$type> for Item {
            fn from($value: $type) -> Item {
                $item
            }
        }
    )*};
}

from! {
    (), _nothing => Item::None;
    bool, value => Item::Bool(value);
    i64, value => Item::Int(value);
    i32, value => Item::Int(value.into());
    u32, value => Item::Int(value.into());
    f64, value => Item::Float(value);
    &str, value => Item::Str(value.to_owned());
    String, value => Item::Str(value);
    &[u8], value => Item::Bytes(value.to_vec());
    Vec<u8>, value => Item::Bytes(value);
}

impl<const N: usize> From<&[u8; N]> for Item {
    fn from(value: &[u8; N]) -> Item {
        Item::Bytes(value.to_vec())
    }
}

impl<T: Into<Item>> From<Option<T>> for Item {
    fn from(value: Option<T>) -> Item {
        value.map_or(Item::None, Into::into)
    }
}

/// As one would write it: texts and bytes in quotes.
impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::None => f.write_str("None"),
            Item::Bool(value) => value.fmt(f),
            Item::Int(value) => value.fmt(f),
            Item::Float(value) => fmt::Debug::fmt(value, f),
            Item::Str(value) => fmt::Debug::fmt(value, f),
            Item::Bytes(value) => write!(f, "b\"{}\"", value.escape_ascii()),
        }
    }
}
