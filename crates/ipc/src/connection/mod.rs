//! Waiting for several things at once.

mod poll;
mod pollable;
mod wait;

pub use pollable::{Armed, Pollable, Watch, ready};
pub use wait::wait;
