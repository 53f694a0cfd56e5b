//! Async functions and futures as tasks.
//!
//! In a worker process such a task is polled to its end by [`block_on`], like a call. In this process it is [`Suspended`]: a
//! pool that offers itself as a [`Host`] has its workers poll it when it is woken, and between two polls it has no worker.

mod block_on;
mod function;
mod host;
mod suspended;
mod work;

pub use block_on::block_on;
pub use function::Outcome;
pub use host::{AsyncTask, Host, Poll};
pub use work::spawned;

pub(crate) use function::{Async, AsyncFallible, AsyncFunction};
pub(crate) use work::Call;

#[cfg(all(test, concurrent_futures_loom))]
mod models;
