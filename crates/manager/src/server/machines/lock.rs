//! A lock, reentrant or not, and the waits of the conditions that belong to it.

use super::{Granted, Machine, Request, Step, Waiter, take_out};
use crate::server::session::Session;
use crate::wire::{Kind, Op, Status};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Lock {
    reentrant: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The session that holds it, and how often.
    owner: Option<(u64, u64)>,
    /// The one before has died, and nobody has been told yet.
    orphaned: bool,
    waiters: VecDeque<Waiter<Wants>>,
    /// Who waits for a condition: they do not want the lock yet.
    sleepers: VecDeque<(u64, Waiter<Wants>)>,
}

/// What a waiter is to get.
#[derive(Clone, Copy, Debug)]
struct Wants {
    depth: u64,
    /// For the reply.
    notified: bool,
}

/// In the number of a grant: the owner before has died.
pub(crate) const ORPHANED: u64 = 1;
/// In the number of a grant after a wait for a condition: it was notified.
pub(crate) const NOTIFIED: u64 = 2;

impl Lock {
    pub(crate) fn new(reentrant: bool) -> Self {
        Lock { reentrant, state: Mutex::default() }
    }

    fn acquire(&self, session: &Arc<Session>, may_wait: bool) -> Step {
        let mut state = self.state.lock();
        match &mut state.owner {
            None => Step::done(state.give(session.id(), 1)),
            Some((owner, depth)) if *owner == session.id() && self.reentrant => {
                *depth += 1;
                Step::done(0)
            }
            Some((owner, _)) if *owner == session.id() && may_wait => Step::of(Status::Deadlock),
            Some(_) if may_wait => {
                state
                    .waiters
                    .push_back(Waiter { session: session.clone(), wants: Wants { depth: 1, notified: false } });
                Step::Wait
            }
            Some(_) => Step::of(Status::NotNow),
        }
    }

    fn release(&self, session: u64) -> Step {
        let mut state = self.state.lock();
        match &mut state.owner {
            Some((owner, depth)) if *owner == session => {
                *depth -= 1;
                if *depth == 0 {
                    state.owner = None;
                    state.pass();
                }
                Step::done(0)
            }
            _ => Step::of(Status::NotOwner),
        }
    }

    /// Lets the lock go, and waits for that condition.
    pub(super) fn sleep(&self, condition: u64, session: &Arc<Session>) -> Step {
        let mut state = self.state.lock();
        match state.owner {
            Some((owner, depth)) if owner == session.id() => {
                let wants = Wants { depth, notified: false };
                state.sleepers.push_back((condition, Waiter { session: session.clone(), wants }));
                state.owner = None;
                state.pass();
                Step::Wait
            }
            _ => Step::of(Status::NotOwner),
        }
    }

    /// Lets so many of those who wait for that condition wait for the lock instead.
    pub(super) fn notify(&self, condition: u64, session: u64, count: u64) -> Step {
        let mut state = self.state.lock();
        if state.owner.is_none_or(|(owner, _)| owner != session) {
            return Step::of(Status::NotOwner);
        }
        let mut woken = 0;
        let sleepers = std::mem::take(&mut state.sleepers);
        for (its_condition, mut waiter) in sleepers {
            if its_condition == condition && woken < count {
                woken += 1;
                waiter.wants.notified = true;
                state.waiters.push_back(waiter);
            } else {
                state.sleepers.push_back((its_condition, waiter));
            }
        }
        Step::done(woken)
    }
}

impl State {
    /// Gives the number of the grant.
    fn give(&mut self, session: u64, depth: u64) -> u64 {
        self.owner = Some((session, depth));
        if std::mem::take(&mut self.orphaned) { ORPHANED } else { 0 }
    }

    /// Nobody holds it: the next one does, if there is one.
    fn pass(&mut self) {
        if self.owner.is_none()
            && let Some(Waiter { session, wants }) = self.waiters.pop_front()
        {
            let notified = if wants.notified { NOTIFIED } else { 0 };
            let number = self.give(session.id(), wants.depth) | notified;
            session.grant(Granted::done(number));
        }
    }
}

impl Machine for Lock {
    fn kind(&self) -> Kind {
        if self.reentrant { Kind::RLock } else { Kind::Lock }
    }

    fn request(&self, session: &Arc<Session>, request: Request) -> Step {
        match request.op {
            Op::Acquire => self.acquire(session, request.may_wait),
            Op::Release => self.release(session.id()),
            Op::State => Step::done(self.state.lock().owner.is_some().into()),
            _ => Step::of(Status::WrongType),
        }
    }

    fn cancel(&self, session: u64) -> Option<Granted> {
        let mut state = self.state.lock();
        if take_out(&mut state.waiters, session).is_some() {
            return Some(Granted::of(Status::NotNow));
        }
        // Who waits for a condition comes back with the lock only.
        let place = state.sleepers.iter().position(|(_, waiter)| waiter.session.id() == session)?;
        let (_, waiter) = state.sleepers.remove(place)?;
        state.waiters.push_back(waiter);
        state.pass();
        None
    }

    fn undo(&self, session: u64, op: Op, granted: Granted) {
        let mut state = self.state.lock();
        let Some((owner, depth)) = state.owner else { return };
        if owner != session || granted.status != Status::Done {
            return;
        }
        match op {
            // The client has died with what it had before.
            Op::Acquire if depth > 1 => state.owner = Some((owner, depth - 1)),
            Op::Acquire | Op::Wait => {
                // Nobody has had it since it was granted.
                state.orphaned |= granted.number & ORPHANED != 0;
                state.owner = None;
                state.pass();
            }
            _ => {}
        }
    }

    fn holds(&self, session: u64) -> bool {
        self.state.lock().owner.is_some_and(|(owner, _)| owner == session)
    }

    fn ended(&self, session: u64) {
        let mut state = self.state.lock();
        if state.owner.is_some_and(|(owner, _)| owner == session) {
            state.owner = None;
            state.orphaned = true;
            state.pass();
        }
    }
}
