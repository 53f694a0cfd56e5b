//! Values and arrays of plain data that processes share and change. `README.md` beside this file says what lies in memory.

mod array;
mod cells;
mod ground;
mod integer;
mod raw;
mod shared;
#[cfg(test)]
mod tests;
mod travel;

pub use array::{Array, ArrayGuard};
pub use integer::Integer;
pub use raw::{RawArray, RawValue};
pub use shared::{Value, ValueGuard};
