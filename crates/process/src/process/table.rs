//! The processes that this one has started and not yet waited for; what becomes of them at its end.

use super::child::Child;
use super::{current, server};
use concurrent_futures_core::exit;
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a daemon may take to end, after SIGTERM, at the end of its parent.
const GRACE: Duration = Duration::from_secs(5);

static TABLE: Mutex<Table> = Mutex::new(Table::of(0));

#[derive(Debug)]
struct Table {
    /// Whose children these are. In a fork of it they are nobody's.
    owner: u32,
    /// The end of this process will see to them.
    hooked: bool,
    /// How many there were.
    started: u32,
    children: Vec<Arc<Child>>,
}

impl Table {
    const fn of(owner: u32) -> Self {
        Table { owner, hooked: false, started: 0, children: Vec::new() }
    }
}

fn table() -> MutexGuard<'static, Table> {
    let mut table = TABLE.lock();
    let this = std::process::id();
    if table.owner != this {
        // In a fork: its copies of their control sockets are closed, or they would not notice their own parent's end.
        table.children.iter().for_each(|child| child.let_go());
        *table = Table::of(this);
    }
    table
}

/// The number of the next child: its name is made of it.
pub(super) fn next_identity() -> Vec<u32> {
    let mut identity = current::identity();
    let mut table = table();
    table.started += 1;
    if !table.hooked {
        table.hooked = true;
        exit::wait_for(end_all);
    }
    identity.push(table.started);
    identity
}

/// Held by a process while it is forked, so that the fork finds it whole.
pub(super) struct Held(#[expect(dead_code, reason = "it is held")] MutexGuard<'static, Table>);

pub(super) fn hold() -> Held {
    Held(table())
}

pub(super) fn add(child: Arc<Child>) {
    table().children.push(child);
}

/// It is not there any more, or nobody's business.
pub(super) fn remove(child: &Child) {
    table().children.retain(|other| !std::ptr::eq(Arc::as_ptr(other), child));
}

/// Reaps those that have ended, and gives the others.
pub(super) fn alive() -> Vec<Arc<Child>> {
    let children = table().children.clone();
    // Not under the lock: whoever finds one that has ended removes it.
    children
        .into_iter()
        .filter(|child| matches!(child.try_reap(), Ok(None)) && !child.has_ended().unwrap_or(false))
        .collect()
}

/// At the end of this process: ends daemons, waits for the others, leaves those alone that may go on.
fn end_all() {
    // What still runs may start others: then this is called again.
    table().hooked = false;
    let (daemons, others): (Vec<_>, Vec<_>) = alive().into_iter().partition(|child| child.daemon());
    for daemon in &daemons {
        // Nobody is there any more who could be told.
        let _ = daemon.signal(rustix::process::Signal::TERM);
    }
    let deadline = Instant::now() + GRACE;
    for daemon in &daemons {
        daemon.close_pipes();
        if let Ok(None) = daemon.join_until(Some(deadline)) {
            let _ = daemon.signal(rustix::process::Signal::KILL);
            let _ = daemon.join_until(None);
        }
    }
    let others = others.into_iter().filter(|child| !child.outlives());
    // One that waits for a reader or a writer would do so for ever.
    others.clone().for_each(|child| child.close_pipes());
    for child in others {
        // Whoever has asked for its status has it; an error is none of a process that ends.
        let _ = child.join_until(None);
    }
    server::stop();
}
