//! What a worker thread of an in-process pool tells the rest of the library about itself.
//!
//! A task may wait for another task of its own pool. Two things keep that from locking the pool up, and both need to
//! know which pool the waiting thread works for: the waiter runs the awaited task itself when nobody has started it, and
//! otherwise tells its pool that it is about to sleep, so that the pool can put a substitute in its place.

use crate::PoolId;
use crate::task::Host;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;

/// The pool's side: which pool a thread works for, and what to do around a wait inside a task.
///
/// ```
/// use concurrent_futures_core::{PoolId, worker};
/// use std::sync::Arc;
///
/// #[derive(Debug)]
/// struct Mine(PoolId);
/// impl worker::WorkerThread for Mine {
///     fn pool(&self) -> PoolId { self.0 }
///     fn block_begin(&self) { /* start a substitute */ }
///     fn block_end(&self) { /* let one go */ }
/// }
///
/// let id = PoolId::next();
/// let guard = worker::enter(Arc::new(Mine(id)));
/// assert_eq!(worker::current_pool(), Some(id));
/// drop(guard);
/// assert_eq!(worker::current_pool(), None);
/// ```
pub trait WorkerThread: fmt::Debug {
    /// The pool this thread works for.
    fn pool(&self) -> PoolId;
    /// A task on this thread is about to sleep until a future is done (or a queue has room).
    fn block_begin(&self);
    /// It woke up.
    fn block_end(&self);
    /// Where async tasks of its pool wait without a worker; `None` if they are to be run to their end by the worker.
    fn host(&self) -> Option<Arc<dyn Host>> {
        None
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<dyn WorkerThread>>> = const { RefCell::new(None) };
    /// The pool of `CURRENT`. It has no destructor: at the end of the process, when `exit` has destroyed what has one, the
    /// thread must still know that it is a pool's.
    static POOL: Cell<Option<PoolId>> = const { Cell::new(None) };
}

/// Marks this thread as a worker until the guard is dropped; then the thread is what it was before.
pub fn enter(worker: Arc<dyn WorkerThread>) -> Guard {
    let pool = POOL.replace(Some(worker.pool()));
    Guard { before: CURRENT.replace(Some(worker)), pool }
}

/// Ends what [`enter`] began.
#[must_use = "the thread counts as a worker until this is dropped"]
#[derive(Debug)]
pub struct Guard {
    before: Option<Arc<dyn WorkerThread>>,
    pool: Option<PoolId>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        POOL.set(self.pool);
        let before = self.before.take();
        // The storage is gone when a thread ends: then there is nothing left to restore.
        let _ = CURRENT.try_with(|current| current.replace(before));
    }
}

/// The pool whose worker this thread is.
pub fn current_pool() -> Option<PoolId> {
    POOL.get()
}

/// The host of the pool with this number, if this thread works for it.
pub(crate) fn host(home: Option<PoolId>) -> Option<Arc<dyn Host>> {
    if home.is_none() || home != current_pool() {
        return None;
    }
    CURRENT.try_with(|current| current.borrow().as_ref()?.host()).ok().flatten()
}

/// Runs `wait`, which may sleep, and has the pool of this thread (if any) stand in for it meanwhile.
pub fn blocking<T>(wait: impl FnOnce() -> T) -> T {
    struct End(Arc<dyn WorkerThread>);
    impl Drop for End {
        fn drop(&mut self) {
            self.0.block_end();
        }
    }
    let worker = CURRENT.try_with(|current| current.borrow().clone()).ok().flatten();
    let _end = worker.map(|worker| {
        worker.block_begin();
        End(worker)
    });
    wait()
}
