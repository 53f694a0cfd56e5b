//! What a worker can still say when a panic aborts it.
//!
//! Where the program is built with `panic = "abort"`, a task's panic ends its worker, but not before the panic hook has run.
//! The hook leaves the message in the slot page, so that the parent can tell a panic from any other death.

use crate::slots::Page;
use crate::wire::Ticket;
use std::cell::Cell;
use std::sync::Arc;

thread_local! {
    /// The task that this thread runs.
    static CURRENT: Cell<Option<Ticket>> = const { Cell::new(None) };
}

/// Sets the hook, before the library's own, which hands panics inside tasks on to it only under `panic = "abort"`.
pub(super) fn arrange(page: Arc<Page>) {
    if !cfg!(panic = "abort") {
        return;
    }
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if let Some(ticket) = CURRENT.get() {
            let location = info.location().map(ToString::to_string).unwrap_or_default();
            let message = info.payload_as_str().unwrap_or("a value that is no text");
            page.leave_words(ticket, &format!("{location}\n{message}"));
        }
        before(info);
    }));
}

/// This thread begins a task.
pub(super) fn of(ticket: Ticket) {
    CURRENT.set(Some(ticket));
}
