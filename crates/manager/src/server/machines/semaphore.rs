//! Permits, bounded or not, of which the machine knows who has them.

use super::{Granted, Machine, Request, Step, Waiter, take_out};
use crate::server::session::Session;
use crate::wire::{Kind, Op, Status};
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Semaphore {
    /// There may never be more, taken ones included.
    most: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    free: u64,
    holders: HashMap<u64, u64>,
    waiters: VecDeque<Waiter>,
}

impl Semaphore {
    pub(crate) fn new(permits: u64, bounded: bool) -> Self {
        let most = if bounded { permits } else { u64::MAX };
        Semaphore { most, state: Mutex::new(State { free: permits, ..State::default() }) }
    }
}

impl State {
    fn add(&mut self, permits: u64) {
        self.free += permits;
        while self.free > 0
            && let Some(waiter) = self.waiters.pop_front()
        {
            self.give(waiter.session.id());
            waiter.session.grant(Granted::done(0));
        }
    }

    fn give(&mut self, session: u64) {
        self.free -= 1;
        *self.holders.entry(session).or_default() += 1;
    }

    fn take_back(&mut self, session: u64) -> bool {
        let Some(count) = self.holders.get_mut(&session) else { return false };
        *count -= 1;
        if *count == 0 {
            self.holders.remove(&session);
        }
        true
    }
}

impl Machine for Semaphore {
    fn kind(&self) -> Kind {
        Kind::Semaphore
    }

    fn request(&self, session: &Arc<Session>, request: Request) -> Step {
        let mut state = self.state.lock();
        match request.op {
            Op::Acquire if state.free > 0 => {
                state.give(session.id());
                Step::done(0)
            }
            Op::Acquire if request.may_wait => {
                state.waiters.push_back(Waiter { session: session.clone(), wants: () });
                Step::Wait
            }
            Op::Acquire => Step::of(Status::NotNow),
            Op::Release if state.take_back(session.id()) => {
                state.add(1);
                Step::done(0)
            }
            Op::Forget if state.take_back(session.id()) => Step::done(0),
            Op::Release | Op::Forget => Step::of(Status::NotOwner),
            Op::AddPermits => {
                let all = state.holders.values().sum::<u64>().saturating_add(state.free);
                if all.checked_add(request.number).is_none_or(|all| all > self.most) {
                    return Step::of(Status::OverRelease);
                }
                state.add(request.number);
                Step::done(0)
            }
            Op::State => Step::done(state.free),
            _ => Step::of(Status::WrongType),
        }
    }

    fn cancel(&self, session: u64) -> Option<Granted> {
        take_out(&mut self.state.lock().waiters, session).map(|_| Granted::of(Status::NotNow))
    }

    fn undo(&self, session: u64, op: Op, granted: Granted) {
        let mut state = self.state.lock();
        if op == Op::Acquire && granted.status == Status::Done && state.take_back(session) {
            state.add(1);
        }
    }

    fn holds(&self, session: u64) -> bool {
        self.state.lock().holders.contains_key(&session)
    }

    fn ended(&self, session: u64) {
        let mut state = self.state.lock();
        if let Some(permits) = state.holders.remove(&session) {
            state.add(permits);
        }
    }
}
