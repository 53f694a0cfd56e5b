//! The thread pool of the whole process.

use crate::ThreadPoolExecutor;
use std::sync::LazyLock;

/// The thread pool of the whole process, of the default size, started at first use and never shut down: for libraries that
/// are given no executor.
///
/// The end of `main` does not wait for it: keep the futures.
///
/// # Panics
/// When the pool cannot be made, which its default settings allow.
///
/// ```
/// use concurrent_futures::prelude::*;
///
/// fn total(ex: Option<&dyn Executor>, numbers: Vec<u64>) -> Result<u64, TaskError> {
///     ex.unwrap_or(concurrent_futures::global()).map(|x: u64| x * x, numbers).sum()
/// }
/// assert_eq!(total(None, vec![1, 2, 3]).unwrap(), 14);
/// ```
pub fn global() -> &'static ThreadPoolExecutor {
    static POOL: LazyLock<ThreadPoolExecutor> = LazyLock::new(|| {
        let builder = ThreadPoolExecutor::builder().thread_name_prefix("concurrent-futures-global");
        builder.build().expect("the default settings are valid")
    });
    &POOL
}
