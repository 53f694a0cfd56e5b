//! What a server holds.

use super::machines::{Lock, Machine};
use super::{State, complain};
use crate::entry::Value;
use crate::wire::Kind;
use concurrent_futures_core::catch_for_another;
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};

/// It goes with its last reference; the table of objects has none.
pub(crate) struct Object {
    id: u64,
    state: Weak<State>,
    /// Taken out by `drop` alone.
    body: Option<Body>,
}

pub(crate) enum Body {
    Data { value: Value, type_name: &'static str },
    Lock(Lock),
    Other(Box<dyn Machine>),
}

impl Object {
    pub(super) fn new(id: u64, state: Weak<State>, body: Body) -> Self {
        Object { id, state, body: Some(body) }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    fn body(&self) -> &Body {
        self.body.as_ref().expect("it is there until the object is dropped")
    }

    pub(crate) fn kind(&self) -> Kind {
        self.machine().map_or(Kind::Data, |machine| machine.kind())
    }

    /// In words.
    pub(crate) fn type_name(&self) -> String {
        match self.body() {
            Body::Data { type_name, .. } => (*type_name).to_owned(),
            _ => self.kind().to_string(),
        }
    }

    pub(crate) fn value(&self) -> Option<&Value> {
        match self.body() {
            Body::Data { value, .. } => Some(value),
            _ => None,
        }
    }

    pub(crate) fn machine(&self) -> Option<&dyn Machine> {
        match self.body() {
            Body::Data { .. } => None,
            Body::Lock(lock) => Some(lock),
            Body::Other(machine) => Some(&**machine),
        }
    }

    pub(crate) fn lock(&self) -> Option<&Lock> {
        match self.body() {
            Body::Lock(lock) => Some(lock),
            _ => None,
        }
    }

    /// A token for a handle that leaves this process.
    pub(crate) fn mint(self: &Arc<Self>) -> io::Result<OwnedFd> {
        let state = self.state.upgrade().ok_or_else(|| io::Error::other("the manager has ended"))?;
        state.tokens.mint(self)
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        if let Some(state) = self.state.upgrade() {
            state.objects.lock().remove(&self.id);
        }
        if let Some(body) = self.body.take() {
            end(body);
        }
    }
}

thread_local! {
    /// What is to end after the one that ends now in this thread.
    static LATER: RefCell<Option<Vec<Body>>> = const { RefCell::new(None) };
}

/// Drops it. What it has the last references of ends after it, not within: a chain of objects can be longer than a stack is deep.
fn end(body: Body) {
    let mut body = Some(body);
    // At the end of a thread there may be no list any more.
    let is_within =
        LATER.try_with(|later| later.borrow_mut().as_mut().map(|later| later.extend(body.take())).is_some());
    let Some(first) = body else { return };
    if is_within.is_ok() {
        LATER.set(Some(Vec::new()));
    }
    let mut next = Some(first);
    while let Some(body) = next {
        // The user's destructor must not take a thread along that serves others.
        if let Err(panic) = catch_for_another(|| drop(body)) {
            complain(format_args!("the destructor of an object in a manager {panic}"));
        }
        next = LATER.try_with(|later| later.borrow_mut().as_mut().and_then(Vec::pop)).ok().flatten();
    }
    let _ = LATER.try_with(RefCell::take);
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("id", &self.id).field("kind", &self.kind()).finish_non_exhaustive()
    }
}
