//! Catching a task's panic with what only the panic hook knows: where it happened.

use crate::error::{Panic, TaskErrorKind};
use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Once, OnceLock};

/// What the hook saw on this thread.
struct Seen {
    location: Option<String>,
    backtrace: Option<Backtrace>,
}

/// What the hook does with a panic on this thread.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Prints it.
    Outside,
    /// Keeps what it sees: a task runs.
    InTask,
    /// As before; it has kept something already.
    Seen,
}

thread_local! {
    /// A byte without a destructor, since it is written for each task.
    static MODE: Cell<Mode> = const { Cell::new(Mode::Outside) };
    /// With [`Mode::Seen`], of the task that runs.
    static SEEN: RefCell<Option<Seen>> = const { RefCell::new(None) };
}

/// While a thread's storage is being destroyed there is none: then only the location is missing.
fn take_seen() -> Option<Seen> {
    SEEN.try_with(|seen| seen.take()).ok().flatten()
}

/// Runs `f` in that mode; gives what the hook has seen of its panics, too.
fn guard<T>(mode: Mode, f: impl FnOnce() -> T) -> (std::thread::Result<T>, Option<Seen>) {
    let outer = MODE.replace(mode);
    // A task that unwinds, and runs another one in a destructor.
    let of_outer = if outer == Mode::Seen { take_seen() } else { None };
    let outcome = catch_unwind(AssertUnwindSafe(f));
    let seen = if MODE.replace(outer) == Mode::Seen { take_seen() } else { None };
    if of_outer.is_some() {
        let _ = SEEN.try_with(|seen| seen.replace(of_outer));
    }
    (outcome, seen)
}

/// Runs a task; a panic becomes an error with message, location, backtrace and payload.
///
/// Inside, our panic hook keeps what it sees for the error and prints nothing: the error goes to whoever holds the
/// future. Outside of tasks the program's own hook is called as ever. Under `panic = "abort"` the hook that was there
/// before ours is called inside tasks too, since the error will not get anywhere.
pub(crate) fn catch<T>(task: impl FnOnce() -> Result<T, TaskErrorKind>) -> Result<T, TaskErrorKind> {
    install_hook();
    let (outcome, seen) = guard(Mode::InTask, task);
    outcome.unwrap_or_else(|payload| {
        let (location, backtrace) = seen.map_or((None, None), |seen| (seen.location, seen.backtrace));
        Err(TaskErrorKind::Panicked(Panic::caught(message_of(&*payload), location, backtrace, payload)))
    })
}

/// Runs code of the user's in a process that serves others; a panic goes to whoever asked, and is not printed.
///
/// # Errors
/// It panicked.
pub fn catch_for_another<T>(f: impl FnOnce() -> T) -> Result<T, Panic> {
    catch(|| Ok(f())).map_err(|kind| match kind {
        TaskErrorKind::Panicked(panic) => panic,
        other => Panic::remote(&other.to_string(), None, ""),
    })
}

/// Runs code of the user's that is no task (a callback, a destructor); gives the panic's message.
/// The panic hook prints as ever.
pub(crate) fn contain<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    // Also where it is called from inside a task.
    contain_as(Mode::Outside, f)
}

/// Drops what is the user's: a destructor that panics must not take an executor's thread along.
#[inline]
pub(crate) fn contain_drop<T>(value: T) {
    if std::mem::needs_drop::<T>() {
        let _ = contain(|| drop(value));
    }
}

/// The same for what goes into an error, with its message: an encoder, a decoder. The panic hook prints nothing.
pub(crate) fn contain_quietly<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    install_hook();
    contain_as(Mode::InTask, f)
}

fn contain_as<T>(mode: Mode, f: impl FnOnce() -> T) -> Result<T, String> {
    let (outcome, _) = guard(mode, f);
    outcome.map_err(|payload| {
        let message = message_of(&*payload);
        // A payload whose destructor panics must not take the thread along either.
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(again);
        }
        message
    })
}

/// The words of a panic.
pub(crate) fn message_of(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a value that is no text".to_owned()
    }
}

/// Chains our hook before the program's, once, when the first task runs.
fn install_hook() {
    static ONCE: Once = Once::new();
    if ONCE.is_completed() {
        return;
    }
    if std::thread::panicking() {
        // The hook cannot be changed now (a task run by a destructor while its thread unwinds); the next task does it.
        return;
    }
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let in_task = MODE.get() != Mode::Outside;
            if in_task {
                let now = Seen {
                    location: info.location().map(ToString::to_string),
                    backtrace: wants_backtrace().then(Backtrace::force_capture),
                };
                if SEEN.try_with(|seen| seen.replace(Some(now))).is_ok() {
                    MODE.set(Mode::Seen);
                }
            }
            if !in_task || cfg!(panic = "abort") {
                before(info);
            }
        }));
    });
}

/// On unless the environment says no: the text is made only when somebody asks for it.
fn wants_backtrace() -> bool {
    static WANTS: OnceLock<bool> = OnceLock::new();
    *WANTS.get_or_init(|| {
        let setting = std::env::var_os("RUST_LIB_BACKTRACE").or_else(|| std::env::var_os("RUST_BACKTRACE"));
        setting.is_none_or(|value| value != "0")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panic_of(outcome: Result<(), TaskErrorKind>) -> Panic {
        match outcome {
            Err(TaskErrorKind::Panicked(panic)) => panic,
            other => panic!("not a panic: {other:?}"),
        }
    }

    #[test]
    fn keeps_message_location_and_payload() {
        let way = std::hint::black_box("way");
        let panic = panic_of(catch(|| panic!("no {way}")));
        assert_eq!(panic.message(), "no way");
        assert!(panic.location().unwrap().contains("panics.rs"), "{:?}", panic.location());
        assert_eq!(*panic.take_payload().unwrap().downcast::<String>().unwrap(), "no way");
        assert!(panic.take_payload().is_none());
    }

    #[test]
    fn a_nested_task_does_not_hide_the_outer_one() {
        let panic = panic_of(catch(|| {
            let inner = panic_of(catch(|| panic!("inner")));
            assert_eq!(inner.message(), "inner");
            panic!("outer")
        }));
        assert_eq!(panic.message(), "outer");
        assert!(panic.location().is_some());
    }

    #[test]
    fn a_payload_whose_destructor_panics_is_contained() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("in a destructor")
            }
        }
        drop(panic_of(catch(|| std::panic::panic_any(Bomb))));
    }

    #[test]
    fn what_is_no_text_is_said_to_be_none() {
        let panic = panic_of(catch(|| std::panic::panic_any(7_u8)));
        assert_eq!(*panic.take_payload().unwrap().downcast::<u8>().unwrap(), 7);
    }
}
