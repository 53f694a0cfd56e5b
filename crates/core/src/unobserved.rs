//! Errors that nobody has looked at.

use crate::error::TaskError;
use crate::{PoolId, panics, service};
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

type Hook = Arc<dyn Fn(&TaskError) + Send + Sync>;

static HOOK: RwLock<Option<Hook>> = RwLock::new(None);
/// For a look without the lock at the end of each task.
static SET: AtomicBool = AtomicBool::new(false);

/// Has `hook` called with the error of each task whose future was dropped before anybody had looked at it: by `result`,
/// `exception`, `.await`, a callback, or a future derived from it. Cancelled and aborted tasks are not reported.
///
/// One hook for the program; another call replaces it. It runs in a thread of the library's own, soon after the drop; a panic
/// of it is contained. Without a hook such errors are lost silently, which is also the default of Python.
///
/// ```
/// use concurrent_futures_core::{ExecutorExt, SerialExecutor, on_unobserved_error};
/// use std::sync::mpsc;
///
/// let (tell, told) = mpsc::channel();
/// on_unobserved_error(move |error| drop(tell.send(error.to_string())));
/// drop(SerialExecutor::new().submit(|()| -> () { panic!("nobody looks") }, ()));
/// assert!(told.recv().unwrap().contains("nobody looks"));
/// ```
pub fn on_unobserved_error(hook: impl Fn(&TaskError) + Send + Sync + 'static) {
    let before = HOOK.write().replace(Arc::new(hook));
    SET.store(true, Ordering::Release);
    // Its destructor is the user's: not under the lock.
    drop(before);
}

pub(crate) fn is_hooked() -> bool {
    SET.load(Ordering::Acquire)
}

/// Reports an error; `home` is the pool that the task was of, whose shutdown waits for this like for a callback.
pub(crate) fn report(error: TaskError, home: Option<PoolId>) {
    if error.is_cancelled() || error.is_aborted() {
        return;
    }
    service::run(
        home,
        Box::new(move || {
            let hook = HOOK.read().clone();
            if let Some(hook) = hook {
                // Its message has been printed by the panic hook.
                let _ = panics::contain(|| hook(&error));
            }
        }),
    );
}
