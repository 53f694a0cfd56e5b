//! So many must be there before any of them goes on.

use super::{Granted, Machine, Request, Step, Waiter, grant_all, take_out};
use crate::server::session::Session;
use crate::wire::{Kind, Op, Status};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Barrier {
    parties: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    broken: bool,
    waiters: VecDeque<Waiter>,
}

/// In the number of its state: how many wait, twice; whether it is broken in the lowest bit; the parties in the upper half.
pub(crate) fn state_number(parties: u64, waiting: u64, broken: bool) -> u64 {
    parties << 32 | waiting << 1 | u64::from(broken)
}

impl Barrier {
    /// As many as a number has room for; not none.
    pub(crate) fn new(parties: u64) -> Option<Self> {
        (1..1 << 31).contains(&parties).then(|| Barrier { parties, state: Mutex::default() })
    }
}

impl State {
    fn break_up(&mut self) {
        self.broken = true;
        grant_all(&mut self.waiters, || Granted::of(Status::Broken));
    }
}

impl Machine for Barrier {
    fn kind(&self) -> Kind {
        Kind::Barrier
    }

    fn request(&self, session: &Arc<Session>, request: Request) -> Step {
        let mut state = self.state.lock();
        match request.op {
            Op::Wait if state.broken => Step::of(Status::Broken),
            Op::Wait if state.waiters.len() as u64 + 1 == self.parties => {
                let waiters = std::mem::take(&mut state.waiters);
                for (place, waiter) in waiters.into_iter().enumerate() {
                    waiter.session.grant(Granted::done(place as u64));
                }
                Step::done(self.parties - 1)
            }
            Op::Wait if request.may_wait => {
                state.waiters.push_back(Waiter { session: session.clone(), wants: () });
                Step::Wait
            }
            // Who does not wait cannot be there.
            Op::Wait => Step::of(Status::NotNow),
            Op::Abort => {
                state.break_up();
                Step::done(0)
            }
            Op::Reset => {
                state.break_up();
                state.broken = false;
                Step::done(0)
            }
            Op::State => Step::done(state_number(self.parties, state.waiters.len() as u64, state.broken)),
            _ => Step::of(Status::WrongType),
        }
    }

    fn cancel(&self, session: u64) -> Option<Granted> {
        let mut state = self.state.lock();
        take_out(&mut state.waiters, session)?;
        state.break_up();
        Some(Granted::of(Status::Broken))
    }

    fn undo(&self, _session: u64, _op: Op, granted: Granted) {
        // The others have gone on already, as they do when one dies behind the barrier.
        drop(granted);
    }
}
