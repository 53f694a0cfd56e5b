//! The smallest runtime: this thread.

use crate::worker;
use parking_lot::{Condvar, Mutex};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

/// Polls a future to its end in this thread, which sleeps while there is nothing to do.
///
/// It is what runs an async task in a worker process, and does for a `main` without a runtime. A worker thread of a pool that calls
/// it is given a substitute while it sleeps, as with every wait of this library.
///
/// ```
/// use concurrent_futures_core::{ExecutorExt, SerialExecutor, block_on};
///
/// let ex = SerialExecutor::new();
/// let sum = block_on(async {
///     let three = ex.submit(|x: u32| x + 1, 2).await?;
///     Ok::<_, concurrent_futures_core::TaskError>(three + ex.submit(|x: u32| x * x, three).await?)
/// });
/// assert_eq!(sum.unwrap(), 12);
/// ```
pub fn block_on<F: Future>(future: F) -> F::Output {
    let bell = Arc::new(Bell { is_rung: Mutex::new(false), rung: Condvar::new() });
    let waker = Waker::from(bell.clone());
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(value) => return value,
            Poll::Pending => bell.wait(),
        }
    }
}

/// Not the thread's own parking: a future may use that for itself.
struct Bell {
    is_rung: Mutex<bool>,
    rung: Condvar,
}

impl Bell {
    fn wait(&self) {
        if std::mem::take(&mut *self.is_rung.lock()) {
            return;
        }
        worker::blocking(|| {
            let mut is_rung = self.is_rung.lock();
            while !std::mem::take(&mut *is_rung) {
                self.rung.wait(&mut is_rung);
            }
        });
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        *self.is_rung.lock() = true;
        self.rung.notify_one();
    }
}
