//! [`ProcessPoolExecutor`]: the process pool of `concurrent-futures`.
//!
//! A task runs in another process, where it can crash, leak, hang or be killed without harm to this one. There is
//! nothing to set up: no call at the beginning of `main`, no macro on the task, no registration.
//!
//! ```
//! use concurrent_futures_core::ExecutorExt;
//! use concurrent_futures_process::ProcessPoolExecutor;
//!
//! fn square(x: u64) -> u64 {
//!     x * x
//! }
//!
//! let pool = ProcessPoolExecutor::new(2)?;
//! assert_eq!(pool.submit(square, 12).result()?, 144);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A worker is this program, started again. With the feature `boot` (on by default) a constructor that the linker runs
//! before `main` makes it one, so this works in `main`, tests, doc tests, benches and examples alike. Without the
//! feature, call [`init`] first in `main`.
//!
//! Inside, each part has a page of its own beside its code: how a process becomes a worker (`boot`), how workers are
//! started and how they end (`launch`), what travels between pool and worker (`link`, `handles`, `attachments`), and how tasks are
//! handed out (`pool`, `worker`); and [`Process`] (`process`).

#[cfg(not(target_os = "linux"))]
compile_error!(
    "concurrent-futures-process needs Linux: pidfd, memfd, PR_SET_CHILD_SUBREAPER and /proc/self/exe; \
     use the thread pool (feature `thread`) on this system"
);

mod attachments;
mod blocks;
mod boot;
#[cfg(feature = "chaos")]
mod chaos;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod handles;
mod image;
mod launch;
mod limits;
mod link;
mod notes;
mod pool;
mod process;
#[doc(hidden)]
pub mod program;
mod slots;
mod sys;
mod tracker;
mod wire;
mod worker;

pub use boot::init;
#[cfg(feature = "chaos")]
pub use chaos::Chaos;
/// Plain data that tasks take and return without a copy.
pub use concurrent_futures_ipc::{SharedBytes, SharedSlice, SharedSliceMut, bytemuck};
/// The channels and the shared memory that tasks may have as arguments and results; re-exported so that versions agree.
pub use ipc_channel;
pub use launch::StartMethod;
pub use link::DataPath;
pub use pool::{ProcessPoolBuilder, ProcessPoolExecutor};
pub use process::{
    CurrentProcess, ExitStatus, ParentProcess, Process, ProcessBuilder, Stdio, active_children, cpu_count,
    current_process, parent_process,
};
