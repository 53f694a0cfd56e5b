//! A condition: a name for some of the waits of its lock, which does all the rest.

use super::{Granted, Machine, Request, Step};
use crate::server::object::Object;
use crate::server::session::Session;
use crate::wire::{Kind, Op, Status};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub(crate) struct Condition {
    id: u64,
    /// Its body is a lock.
    lock: Arc<Object>,
}

impl Condition {
    /// `None`: that object is no lock.
    pub(crate) fn new(lock: Arc<Object>) -> Option<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        lock.lock()?;
        Some(Condition { id: NEXT.fetch_add(1, Ordering::Relaxed), lock })
    }

    fn lock(&self) -> &super::Lock {
        self.lock.lock().expect("`new` has looked")
    }
}

impl Machine for Condition {
    fn kind(&self) -> Kind {
        Kind::Condition
    }

    fn request(&self, session: &Arc<Session>, request: Request) -> Step {
        match request.op {
            Op::Wait if request.may_wait => self.lock().sleep(self.id, session),
            Op::Notify => self.lock().notify(self.id, session.id(), request.number),
            Op::Wait => Step::of(Status::Invalid),
            _ => self.lock().request(session, request),
        }
    }

    fn cancel(&self, session: u64) -> Option<Granted> {
        self.lock().cancel(session)
    }

    fn leave(&self, session: u64) -> bool {
        self.lock().leave(session)
    }

    fn undo(&self, session: u64, op: Op, granted: Granted) {
        self.lock().undo(session, op, granted);
    }

    fn holds(&self, session: u64) -> bool {
        self.lock().holds(session)
    }

    fn ended(&self, session: u64) {
        self.lock().ended(session);
    }
}
