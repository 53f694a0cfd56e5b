//! What can be waited for: small machines of states, each behind one mutex, with lists of who waits. None of them blocks, sleeps or knows
//! a socket.

mod barrier;
mod condition;
mod event;
mod lock;
mod queue;
mod semaphore;
#[cfg(test)]
mod tests;

pub(crate) use barrier::Barrier;
pub(crate) use condition::Condition;
pub(crate) use event::Event;
pub(crate) use lock::{Lock, NOTIFIED, ORPHANED};
pub(crate) use queue::Queue;
pub(crate) use semaphore::Semaphore;

use super::object::Object;
use super::session::Session;
use crate::wire::{Kind, Op, Status};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// An item as it came, with all that it refers to.
#[derive(Debug, Default)]
pub(crate) struct Parcel {
    pub(crate) value: Vec<u8>,
    pub(crate) descriptors: Vec<OwnedFd>,
    pub(crate) references: Vec<Arc<Object>>,
    /// Which one of its queue it is.
    pub(super) place: u64,
}

/// What came of a request.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) status: Status,
    pub(crate) number: u64,
    pub(crate) item: Option<Parcel>,
}

impl Granted {
    pub(crate) fn done(number: u64) -> Self {
        Granted { status: Status::Done, number, item: None }
    }

    pub(crate) fn of(status: Status) -> Self {
        Granted { status, number: 0, item: None }
    }
}

/// What happens next to a request.
#[derive(Debug)]
pub(crate) enum Step {
    Answer(Granted),
    /// There is a waiter of the session now, and a grant will follow.
    Wait,
}

impl Step {
    fn done(number: u64) -> Self {
        Step::Answer(Granted::done(number))
    }

    fn of(status: Status) -> Self {
        Step::Answer(Granted::of(status))
    }
}

/// What a session asks for.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) op: Op,
    pub(crate) number: u64,
    pub(crate) may_wait: bool,
    pub(crate) item: Parcel,
}

pub(crate) trait Machine: Send + Sync {
    fn kind(&self) -> Kind;

    /// Does what can be done now. [`Step::Wait`] only if the request may wait; then the session asks for nothing else before the grant.
    fn request(&self, session: &Arc<Session>, request: Request) -> Step;

    /// The time that the session would wait is over: takes its waiter out, if it is still there. `None`: the grant is there, or will
    /// come.
    fn cancel(&self, session: u64) -> Option<Granted>;

    /// The session ends: takes its waiter out, if it is still there. `false`: the grant is there.
    fn leave(&self, session: u64) -> bool {
        self.cancel(session).is_some()
    }

    /// Takes back what was granted for `op` to a session of which the client never learns it.
    fn undo(&self, session: u64, op: Op, granted: Granted);

    /// The session holds something that must be given back at its end.
    fn holds(&self, _session: u64) -> bool {
        false
    }

    /// The session has ended. It has no waiter any more.
    fn ended(&self, _session: u64) {}
}

/// Who waits, in order.
#[derive(Debug)]
struct Waiter<W = ()> {
    session: Arc<Session>,
    wants: W,
}

fn take_out<W>(waiters: &mut VecDeque<Waiter<W>>, session: u64) -> Option<Waiter<W>> {
    let place = waiters.iter().position(|waiter| waiter.session.id() == session)?;
    waiters.remove(place)
}

fn grant_all<W>(waiters: &mut VecDeque<Waiter<W>>, granted: impl Fn() -> Granted) {
    waiters.drain(..).for_each(|waiter| waiter.session.grant(granted()));
}
