//! [`ThreadPoolExecutor`]: the thread pool of `concurrent-futures`.
//!
//! It is an [`Executor`](concurrent_futures_core::Executor) like the others, and has what only threads can do: closures
//! ([`spawn`](ThreadPoolExecutor::spawn)) and tasks that borrow ([`borrow_scope`](ThreadPoolExecutor::borrow_scope)).
//!
//! ```
//! use concurrent_futures_core::{Executor, ExecutorExt};
//! use concurrent_futures_thread::ThreadPoolExecutor;
//!
//! fn double(x: u32) -> u32 {
//!     x * 2
//! }
//!
//! let pool = ThreadPoolExecutor::new(2)?;
//! let future = pool.submit(double, 21);
//! assert_eq!(future.result().unwrap(), 42);
//! # Ok::<(), concurrent_futures_core::BuildError>(())
//! ```

mod builder;
mod crew;
mod handle;
mod pool;
mod scope;

pub use builder::ThreadPoolBuilder;
pub use pool::ThreadPoolExecutor;
pub use scope::{Scope, ScopedFuture, ScopedMap};
