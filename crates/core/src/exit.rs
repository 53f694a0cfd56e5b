//! The end of the process with work still pending.
//!
//! A pool that was shut down with `wait = false` finishes its work in the background; as in Python, the end of `main`
//! waits for it. Statics are not dropped in Rust, so only C's `atexit` can do that. A task that itself ends the process
//! must not wait for its own pool: on a pool's thread the hook returns at once.

use crate::worker;
use parking_lot::Mutex;
use std::ffi::c_int;
use std::sync::Once;

type Wait = Box<dyn FnOnce() + Send>;

/// With the process that each belongs to: in a fork of it, its pools have no threads.
static WAITS: Mutex<Vec<(u32, Wait)>> = Mutex::new(Vec::new());

unsafe extern "C" {
    fn atexit(callback: extern "C" fn()) -> c_int;
}

/// Has the end of the process wait for `wait`, which returns when the work is done; for authors of executors.
///
/// ```
/// let done = std::sync::Arc::new(std::sync::Barrier::new(1));
/// concurrent_futures_core::exit::wait_for(move || { done.wait(); });
/// ```
pub fn wait_for(wait: impl FnOnce() + Send + 'static) {
    static REGISTER: Once = Once::new();
    REGISTER.call_once(|| {
        // SAFETY: `atexit` takes any function with C's calling convention; ours never unwinds (panics are caught).
        let failed = unsafe { atexit(at_exit) };
        // Out of memory at most; then the process ends without waiting, which is what it did before.
        debug_assert_eq!(failed, 0, "atexit refused");
    });
    WAITS.lock().push((std::process::id(), Box::new(wait)));
}

/// Waits now, for a process that is about to end without `exit`; for authors of executors.
///
/// ```
/// use std::sync::{Arc, Barrier};
///
/// let done = Arc::new(Barrier::new(2));
/// let waits = done.clone();
/// concurrent_futures_core::exit::wait_for(move || { waits.wait(); });
/// std::thread::spawn(move || done.wait());
/// concurrent_futures_core::exit::wait_now();
/// ```
pub fn wait_now() {
    at_exit();
}

extern "C" fn at_exit() {
    if worker::current_pool().is_some() {
        return;
    }
    loop {
        let Some((process, wait)) = WAITS.lock().pop() else { return };
        if process != std::process::id() {
            // It would wait for ever, and its destructor may, too.
            std::mem::forget(wait);
            continue;
        }
        // A panic must not cross into C; its message has been printed by the panic hook.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(wait));
    }
}
