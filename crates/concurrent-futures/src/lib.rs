//! Python's `concurrent.futures` for Rust: one [`Executor`] trait over threads and processes.
//!
//! A program is written once against the trait; the executor is chosen by one line. Every submission gives a [`Future`]
//! handle with `result`, `add_done_callback`, `map`; leaving the block shuts the executor down.
//!
//! ```
//! use concurrent_futures::prelude::*;
//!
//! fn square(x: u64) -> u64 {
//!     x * x
//! }
//!
//! fn sum_of_squares(ex: &dyn Executor) -> Result<u64, TaskError> {
//!     ex.map(square, 0..1_000).sum() // ordered results, the first error wins
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     {
//!         let ex = ThreadPoolExecutor::new(4)?;
//!         let future = ex.submit(square, 12);
//!         future.add_done_callback(|outcome| println!("{outcome:?}"));
//!         assert_eq!(future.result()?, 144);
//!     } // shut down here, after all submitted work
//!
//!     // The same on processes; `scope` names the block.
//!     let sum = ProcessPoolExecutor::new(2)?.scope(|ex| sum_of_squares(ex))?;
//!     assert_eq!(sum, 332_833_500);
//!     Ok(())
//! }
//! ```
//!
//! Nothing else is needed: no `init()` in `main`, no macro on the task, no registration; the same code works in `#[test]`,
//! doc tests, benches and examples. The [`guide`] is the tour.
//!
//! # Features
//!
//! | feature | default | what |
//! |---|---|---|
//! | `thread` | yes | [`ThreadPoolExecutor`] |
//! | `process` | yes | [`ProcessPoolExecutor`] (Linux) |
//! | `manager` | yes | [`multiprocessing::Manager`] (Linux) |
//! | `boot` | yes | worker processes are recognised before `main` runs; without it, call [`init`] first in `main` |
//! | `chaos` | no | `Chaos`: worker processes that are killed, stopped, late or cut off at random, to test programs that use pools |

pub use concurrent_futures_core::*;

#[cfg(feature = "thread")]
pub use concurrent_futures_thread as thread;
#[cfg(feature = "thread")]
pub use concurrent_futures_thread::ThreadPoolExecutor;

#[cfg(feature = "process")]
pub use concurrent_futures_process as process;
#[cfg(feature = "chaos")]
pub use concurrent_futures_process::Chaos;
#[cfg(feature = "process")]
pub use concurrent_futures_process::{
    DataPath, ProcessPoolExecutor, SharedBytes, SharedSlice, SharedSliceMut, StartMethod, bytemuck, init, ipc_channel,
};

#[cfg(feature = "thread")]
mod global;
mod kind;
#[cfg(feature = "process")]
pub mod multiprocessing;

#[cfg(feature = "thread")]
pub use global::global;
pub use kind::{ExecutorKind, ParseKindError};

/// What most programs need: the traits, the executors, the two free functions, the error.
///
/// The struct [`Future`] is left out on purpose: edition 2024's own prelude has the trait of that name.
///
/// ```
/// use concurrent_futures::prelude::*;
///
/// assert_eq!(SerialExecutor::new().submit(|x: u8| x + 1, 1).result().unwrap(), 2);
/// ```
pub mod prelude {
    #[cfg(feature = "process")]
    pub use crate::ProcessPoolExecutor;
    #[cfg(feature = "thread")]
    pub use crate::ThreadPoolExecutor;
    pub use crate::{Executor, ExecutorExt, ReturnWhen, SerialExecutor, TaskError, as_completed, wait};
}

#[doc = include_str!("../guide.md")]
pub mod guide {}

#[cfg(all(feature = "thread", feature = "manager"))]
#[doc = include_str!("../from-python.md")]
pub mod from_python {}

/// The program in the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}
