//! Settings of a pool of processes.

use super::Pool;
use crate::process::ProcessPoolBuilder;
use crate::{BuildError, InitResult, Portable, ProcessPoolExecutor, StartMethod};
use std::fmt;

/// Settles how the workers of a [`Pool`] of processes are; made by [`Pool::builder`].
///
/// There are those of Python's `Pool`. All others have a pool too: make the executor, and give it to [`Pool::over`].
///
/// ```
/// use concurrent_futures::ProcessPoolExecutor;
/// use concurrent_futures::multiprocessing::Pool;
///
/// let pool = Pool::builder().processes(2).max_tasks_per_child(10).build()?;
/// assert_eq!(pool.map(|x: u64| x * x, 0..3)?, [0, 1, 4]);
///
/// let small = ProcessPoolExecutor::builder().max_workers(2).memory_limit(1 << 30).build()?;
/// assert_eq!(Pool::over(small).apply(|x: u8| x, 1)?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "there is no pool before `.build()`"]
pub struct PoolBuilder(ProcessPoolBuilder);

impl PoolBuilder {
    pub(super) fn new() -> Self {
        PoolBuilder(ProcessPoolExecutor::builder())
    }

    /// How many worker processes there are. Without it, as many as there are CPUs that this program may use.
    pub fn processes(self, n: usize) -> Self {
        PoolBuilder(self.0.max_workers(n))
    }

    /// Runs in every worker before its first job. Should it panic or return an error, the pool is broken: all jobs are refused
    /// with the reason.
    ///
    /// ```
    /// use concurrent_futures::multiprocessing::Pool;
    /// use std::sync::OnceLock;
    ///
    /// static GREETING: OnceLock<String> = OnceLock::new();
    /// let set = |words: String| GREETING.set(words).expect("once in a process");
    /// let pool = Pool::builder().processes(1).initializer(set, "hello".into()).build()?;
    /// assert_eq!(pool.apply(|()| GREETING.get().cloned(), ())?.as_deref(), Some("hello"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn initializer<A: Portable + Clone, R: InitResult + 'static>(self, f: fn(A) -> R, args: A) -> Self {
        PoolBuilder(self.0.initializer(f, args))
    }

    /// A worker that has done so many jobs (a chunk is one) is replaced.
    pub fn max_tasks_per_child(self, n: usize) -> Self {
        PoolBuilder(self.0.max_tasks_per_child(n))
    }

    /// How the workers are started.
    pub fn start_method(self, method: StartMethod) -> Self {
        PoolBuilder(self.0.start_method(method))
    }

    /// Makes the pool. Its workers start when there is work.
    ///
    /// # Errors
    /// A number is zero, or processes cannot be started here; see
    /// [`ProcessPoolBuilder::build`](crate::process::ProcessPoolBuilder::build).
    pub fn build(self) -> Result<Pool, BuildError> {
        Ok(Pool::over(self.0.build()?))
    }
}

impl fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PoolBuilder").field(&self.0).finish()
    }
}
