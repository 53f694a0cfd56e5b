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
    owner: Option<Owner>,
    /// The one before has died, and nobody has been told yet.
    orphaned: bool,
    waiters: VecDeque<Waiter<Wants>>,
    /// Who waits for a condition: they do not want the lock yet.
    sleepers: VecDeque<Waiter<Wants>>,
}

/// Who holds it.
#[derive(Clone, Copy, Debug)]
struct Owner {
    session: u64,
    /// How often.
    depth: u64,
    /// Until it asks this lock for something: the condition of which a notification has brought it here. It may not have learnt of it.
    notified: Option<u64>,
}

/// What a waiter is to get.
#[derive(Clone, Copy, Debug)]
struct Wants {
    depth: u64,
    /// It comes from a wait for that condition.
    condition: Option<u64>,
    notified: bool,
}

impl Wants {
    const ONCE: Wants = Wants { depth: 1, condition: None, notified: false };
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
            None => Step::done(state.give(session.id(), Wants::ONCE)),
            Some(owner) if owner.session == session.id() && self.reentrant => {
                owner.depth += 1;
                owner.notified = None;
                Step::done(0)
            }
            Some(owner) if owner.session == session.id() && may_wait => Step::of(Status::Deadlock),
            Some(_) if may_wait => {
                state.waiters.push_back(Waiter { session: session.clone(), wants: Wants::ONCE });
                Step::Wait
            }
            Some(_) => Step::of(Status::NotNow),
        }
    }

    fn release(&self, session: u64) -> Step {
        let mut state = self.state.lock();
        let Some(owner) = state.owned_by(session) else { return Step::of(Status::NotOwner) };
        owner.notified = None;
        owner.depth -= 1;
        if owner.depth == 0 {
            state.pass();
        }
        Step::done(0)
    }

    /// Lets the lock go, and waits for that condition.
    pub(super) fn sleep(&self, condition: u64, session: &Arc<Session>) -> Step {
        let mut state = self.state.lock();
        let Some(Owner { depth, .. }) = state.owned_by(session.id()).copied() else {
            return Step::of(Status::NotOwner);
        };
        let wants = Wants { depth, condition: Some(condition), notified: false };
        state.sleepers.push_back(Waiter { session: session.clone(), wants });
        state.pass();
        Step::Wait
    }

    /// Lets so many of those who wait for that condition wait for the lock instead.
    pub(super) fn notify(&self, condition: u64, session: u64, count: u64) -> Step {
        let mut state = self.state.lock();
        let Some(owner) = state.owned_by(session) else { return Step::of(Status::NotOwner) };
        owner.notified = None;
        Step::done(state.wake(condition, count))
    }
}

impl State {
    fn owned_by(&mut self, session: u64) -> Option<&mut Owner> {
        self.owner.as_mut().filter(|owner| owner.session == session)
    }

    /// Gives the number of the grant.
    fn give(&mut self, session: u64, wants: Wants) -> u64 {
        let Wants { depth, condition, notified } = wants;
        self.owner = Some(Owner { session, depth, notified: condition.filter(|_| notified) });
        let orphaned = if std::mem::take(&mut self.orphaned) { ORPHANED } else { 0 };
        orphaned | if notified { NOTIFIED } else { 0 }
    }

    /// Its owner has it no more: the next one does, if there is one.
    fn pass(&mut self) {
        self.owner = None;
        if let Some(Waiter { session, wants }) = self.waiters.pop_front() {
            let number = self.give(session.id(), wants);
            session.grant(Granted::done(number));
        }
    }

    /// As `pass`, from an owner who has died: what it was notified of is another's to look after.
    fn pass_from_the_dead(&mut self) {
        if let Some(condition) = self.owner.and_then(|owner| owner.notified) {
            self.wake(condition, 1);
        }
        self.pass();
    }

    /// How many there were.
    fn wake(&mut self, condition: u64, count: u64) -> u64 {
        let mut woken = 0;
        for mut waiter in std::mem::take(&mut self.sleepers) {
            if waiter.wants.condition == Some(condition) && woken < count {
                woken += 1;
                waiter.wants.notified = true;
                self.waiters.push_back(waiter);
            } else {
                self.sleepers.push_back(waiter);
            }
        }
        woken
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
        if let Some(waiter) = state.waiters.iter().find(|waiter| waiter.session.id() == session) {
            // Who has waited for a condition comes back with the lock only.
            return match waiter.wants.condition {
                Some(_) => None,
                None => take_out(&mut state.waiters, session).map(|_| Granted::of(Status::NotNow)),
            };
        }
        let waiter = take_out(&mut state.sleepers, session)?;
        state.waiters.push_back(waiter);
        if state.owner.is_none() {
            state.pass();
        }
        None
    }

    fn leave(&self, session: u64) -> bool {
        let mut state = self.state.lock();
        let Some(Waiter { wants, .. }) = take_out(&mut state.waiters, session) else {
            return take_out(&mut state.sleepers, session).is_some();
        };
        if let (Some(condition), true) = (wants.condition, wants.notified) {
            state.wake(condition, 1);
        }
        true
    }

    fn undo(&self, session: u64, op: Op, granted: Granted) {
        let mut state = self.state.lock();
        let Some(owner) = state.owned_by(session).filter(|_| granted.status == Status::Done) else { return };
        match op {
            // The client has died with what it had before.
            Op::Acquire if owner.depth > 1 => owner.depth -= 1,
            Op::Acquire | Op::Wait => {
                // Nobody has had it since it was granted.
                state.orphaned |= granted.number & ORPHANED != 0;
                state.pass_from_the_dead();
            }
            _ => {}
        }
    }

    fn holds(&self, session: u64) -> bool {
        self.state.lock().owned_by(session).is_some()
    }

    fn ended(&self, session: u64) {
        let mut state = self.state.lock();
        if state.owned_by(session).is_some() {
            state.orphaned = true;
            state.pass_from_the_dead();
        }
    }
}
