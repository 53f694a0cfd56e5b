//! The core of `concurrent-futures`: the [`Executor`] trait and what every executor shares.
//!
//! Users depend on the facade crate `concurrent-futures`, which re-exports all of this. This crate is for authors of
//! executors and knows none itself, save the [`SerialExecutor`] for tests.
//!
//! A call of `submit` makes a *cell*: one allocation that holds function, argument, and later the outcome. The executor gets
//! a [`Task`], the caller a [`Future`]; both point to the cell. The executor runs the task in place, or has it encoded, sends
//! the bytes to a worker process and completes it with the bytes that come back.
//!
//! ```
//! use concurrent_futures_core::{ExecutorExt, SerialExecutor};
//!
//! let future = SerialExecutor::new().submit(|(a, b)| a * b, (6, 7));
//! assert_eq!(future.result().unwrap(), 42);
//! ```

pub mod attach;
mod cell;
#[doc(hidden)]
pub mod codec;
mod error;
mod executor;
pub mod exit;
mod future;
mod id;
mod init;
mod map;
mod output;
mod panics;
mod portable;
mod service;
mod sync;
pub mod task;
mod timer;
mod unobserved;
mod wait;
pub mod worker;

pub use error::{
    BuildError, CodecError, CodecStep, Death, Ending, Failure, KilledBy, OomEvidence, Panic, Refusal, TaskError,
    TaskErrorKind, TrySubmitError,
};
pub use executor::{
    Executor, ExecutorExt, Handle, OnDrop, SerialExecutor, Shutdown, ShutdownTimeout, Stats, TaskBuilder, TasksBuilder,
    UnfinishedTask, WithContext,
};
pub use future::{
    AbortHandle, CancelOnDrop, Future, InvalidState, Promise, SharedFuture, TimedOut, gather, gather_results,
};
pub use id::{PoolId, TaskId};
pub use init::InitResult;
pub use map::{BufferedMap, Map, MapStream, MapUnordered};
pub use output::TaskOutput;
pub use portable::Portable;
pub use task::{Backoff, Grace, Limits, RetryOn, Task, block_on};
pub use unobserved::on_unobserved_error;
pub use wait::{
    AsCompleted, AsCompletedStream, AsCompletedTimeout, ReturnWhen, Unfinished, Waitable, as_completed, wait,
};

#[doc(hidden)]
pub use init::init_outcome;
#[doc(hidden)]
pub use map::ChunkSizes;
#[doc(hidden)]
pub use panics::catch_for_another;
#[doc(hidden)]
pub use wait::{Sealed, Slot};

/// Returns when no callback of this pool's futures waits or runs; for authors of executors, at the end of a shutdown.
/// At once when called from a callback.
pub fn wait_for_callbacks(pool: PoolId) {
    service::wait_for(pool, None);
}

/// As [`wait_for_callbacks`], but not longer than to `until`. `false`: they were not done in time.
pub fn wait_for_callbacks_until(pool: PoolId, until: std::time::Instant) -> bool {
    service::wait_for(pool, Some(until))
}
