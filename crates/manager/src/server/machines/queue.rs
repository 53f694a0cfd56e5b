//! A queue of items, whose tasks can be counted.

use super::{Granted, Machine, Parcel, Request, Step, Waiter, grant_all, take_out};
use crate::server::session::Session;
use crate::wire::{Kind, Op, Status};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Queue {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// In the order of their places.
    items: VecDeque<Parcel>,
    /// So many have come in: the place of the next one.
    come: u64,
    closed: bool,
    /// Items that were put and for which nobody has said that they are done.
    unfinished: u64,
    /// Only while there is no item.
    getters: VecDeque<Waiter>,
    /// Only while there is no room.
    putters: VecDeque<Waiter<Parcel>>,
    joiners: VecDeque<Waiter>,
}

impl Queue {
    /// At most that many items; 0: any number.
    pub(crate) fn new(most: u64) -> Self {
        let most = if most == 0 { usize::MAX } else { usize::try_from(most).unwrap_or(usize::MAX) };
        Queue { most, state: Mutex::default() }
    }

    fn put(&self, session: &Arc<Session>, item: Parcel, may_wait: bool) -> Step {
        let mut state = self.state.lock();
        if state.closed {
            return Step::of(Status::Closed);
        }
        if state.items.len() < self.most {
            state.come_in(item);
            Step::done(0)
        } else if may_wait {
            state.putters.push_back(Waiter { session: session.clone(), wants: item });
            Step::Wait
        } else {
            Step::of(Status::NotNow)
        }
    }

    fn get(&self, session: &Arc<Session>, may_wait: bool) -> Step {
        let mut state = self.state.lock();
        if let Some(item) = state.items.pop_front() {
            if let Some(putter) = state.putters.pop_front() {
                state.come_in(putter.wants);
                putter.session.grant(Granted::done(0));
            }
            return Step::Answer(Granted { item: Some(item), ..Granted::done(0) });
        }
        if state.closed {
            Step::of(Status::Closed)
        } else if may_wait {
            state.getters.push_back(Waiter { session: session.clone(), wants: () });
            Step::Wait
        } else {
            Step::of(Status::NotNow)
        }
    }

    fn task_done(&self) -> Step {
        let mut state = self.state.lock();
        let Some(left) = state.unfinished.checked_sub(1) else { return Step::of(Status::OverRelease) };
        state.unfinished = left;
        if left == 0 {
            grant_all(&mut state.joiners, || Granted::done(0));
        }
        Step::done(left)
    }
}

impl State {
    fn come_in(&mut self, item: Parcel) {
        let place = self.come;
        self.come += 1;
        self.unfinished += 1;
        self.hand_over(Parcel { place, ..item });
    }

    /// To who waits longest, or into the queue: behind all others if it is new, and before those that have come later if it comes back.
    fn hand_over(&mut self, item: Parcel) {
        if let Some(getter) = self.getters.pop_front() {
            getter.session.grant(Granted { item: Some(item), ..Granted::done(0) });
        } else {
            let before = self.items.partition_point(|other| other.place < item.place);
            self.items.insert(before, item);
        }
    }
}

impl Machine for Queue {
    fn kind(&self) -> Kind {
        Kind::Queue
    }

    fn request(&self, session: &Arc<Session>, request: Request) -> Step {
        match request.op {
            Op::Put => self.put(session, request.item, request.may_wait),
            Op::Get => self.get(session, request.may_wait),
            Op::State => Step::done(self.state.lock().items.len() as u64),
            Op::Close => {
                let mut state = self.state.lock();
                state.closed = true;
                grant_all(&mut state.getters, || Granted::of(Status::Closed));
                let putters = std::mem::take(&mut state.putters);
                putters.iter().for_each(|putter| putter.session.grant(Granted::of(Status::Closed)));
                // Their items may be the last that have an object, whose end is the user's and may need the queue.
                drop(state);
                drop(putters);
                Step::done(0)
            }
            Op::TaskDone => self.task_done(),
            Op::Join => {
                let mut state = self.state.lock();
                if state.unfinished == 0 {
                    Step::done(0)
                } else if request.may_wait {
                    state.joiners.push_back(Waiter { session: session.clone(), wants: () });
                    Step::Wait
                } else {
                    Step::of(Status::NotNow)
                }
            }
            _ => Step::of(Status::WrongType),
        }
    }

    fn cancel(&self, session: u64) -> Option<Granted> {
        let mut state = self.state.lock();
        let putter = take_out(&mut state.putters, session);
        let there = putter.is_some()
            || take_out(&mut state.getters, session).is_some()
            || take_out(&mut state.joiners, session).is_some();
        // As of those who hear that it is closed.
        drop(state);
        drop(putter);
        there.then(|| Granted::of(Status::NotNow))
    }

    fn undo(&self, _session: u64, _op: Op, granted: Granted) {
        if let Some(item) = granted.item {
            self.state.lock().hand_over(item);
        }
    }
}
