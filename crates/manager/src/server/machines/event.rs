//! A flag that can be waited for.

use super::{Granted, Machine, Request, Step, Waiter, grant_all, take_out};
use crate::server::session::Session;
use crate::wire::{Kind, Op, Status};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

#[derive(Debug, Default)]
pub(crate) struct Event {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    set: bool,
    waiters: VecDeque<Waiter>,
}

impl Machine for Event {
    fn kind(&self) -> Kind {
        Kind::Event
    }

    fn request(&self, session: &Arc<Session>, request: Request) -> Step {
        let mut state = self.state.lock();
        match request.op {
            Op::Set => {
                state.set = true;
                // All of them, also if it is cleared at once.
                grant_all(&mut state.waiters, || Granted::done(1));
                Step::done(0)
            }
            Op::Clear => {
                state.set = false;
                Step::done(0)
            }
            Op::State => Step::done(state.set.into()),
            Op::Wait if state.set => Step::done(1),
            Op::Wait if request.may_wait => {
                state.waiters.push_back(Waiter { session: session.clone(), wants: () });
                Step::Wait
            }
            Op::Wait => Step::of(Status::NotNow),
            _ => Step::of(Status::WrongType),
        }
    }

    fn cancel(&self, session: u64) -> Option<Granted> {
        take_out(&mut self.state.lock().waiters, session).map(|_| Granted::of(Status::NotNow))
    }

    fn undo(&self, _session: u64, _op: Op, _granted: Granted) {}
}
