//! Where a task is, for those who want to cancel it or ask whether it runs.

use super::stops::{Seat, Stops};
use crate::slots::Fate;
use crate::wire::Ticket;
use concurrent_futures_core::task::{Collector, Remote, Stop};
use parking_lot::Mutex;
use std::sync::Arc;

/// One per task, for as long as the task is in the pool, however often it is sent.
///
/// Its lock is held for a few instructions and never together with a call of anybody else's code, so that `cancel` needs
/// no lock of the pool's. What it says is final: once [`try_revoke`](Remote::try_revoke) was true, [`send`](Self::send)
/// refuses, and so no worker ever gets the task.
#[derive(Debug)]
pub(super) struct Placement(Mutex<Place>);

#[derive(Debug)]
enum Place {
    /// In the pool's queue, or on its way from one worker to another.
    Here,
    At(Arc<Seat>, Ticket),
    /// Between two attempts. The pool's supervisor sends it again later.
    Paused(Arc<Stops>),
    /// Core has taken it back and resolves it.
    Revoked,
    /// The worker has answered, or is dead.
    Over,
}

/// What became of a task whose worker is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remains {
    /// It had not started and can be sent elsewhere.
    Unstarted,
    /// It had started.
    Lost,
    /// It had been cancelled.
    Revoked,
}

impl Placement {
    /// Of a task that is offered in a slot.
    pub(super) fn sent(seat: &Arc<Seat>, ticket: Ticket) -> Self {
        seat.page.offer(ticket);
        Placement(Mutex::new(Place::At(seat.clone(), ticket)))
    }

    /// Offers the task in a slot. `false`: it has been revoked and must not be sent.
    pub(super) fn send(&self, seat: &Arc<Seat>, ticket: Ticket) -> bool {
        let mut place = self.0.lock();
        match *place {
            Place::Revoked | Place::Over => false,
            Place::Here | Place::At(..) | Place::Paused(_) => {
                seat.page.offer(ticket);
                *place = Place::At(seat.clone(), ticket);
                true
            }
        }
    }

    /// The attempt is over, and another one follows.
    pub(super) fn pause(&self) {
        let mut place = self.0.lock();
        if let Place::At(seat, _) = &*place {
            *place = Place::Paused(seat.stops.clone());
        }
    }

    /// It is about to be resolved. Nobody needs to know its worker any more; core may keep this for long.
    pub(super) fn over(&self) {
        let before = std::mem::replace(&mut *self.0.lock(), Place::Over);
        drop(before);
    }

    /// The pool takes the task back to send it elsewhere. `false`: it has started, or core has revoked it.
    pub(super) fn take_back(&self) -> bool {
        let mut place = self.0.lock();
        let Place::At(seat, ticket) = &*place else { return false };
        let taken = seat.page.revoke(*ticket);
        if taken {
            *place = Place::Here;
        }
        taken
    }

    /// Whether core has taken it back.
    pub(super) fn is_revoked(&self) -> bool {
        matches!(*self.0.lock(), Place::Revoked)
    }

    /// The worker is dead.
    pub(super) fn bury(&self) -> Remains {
        let mut place = self.0.lock();
        match &*place {
            Place::Revoked => Remains::Revoked,
            Place::At(seat, ticket) if seat.page.judge(*ticket) == Fate::Started => Remains::Lost,
            Place::At(..) | Place::Here | Place::Paused(_) | Place::Over => {
                *place = Place::Here;
                Remains::Unstarted
            }
        }
    }
}

impl Remote for Placement {
    fn try_revoke(&self) -> bool {
        let mut place = self.0.lock();
        let revoked = match &*place {
            Place::Here | Place::Revoked => true,
            Place::Paused(stops) => {
                // Nobody waits for the end of the pause any more.
                stops.cancelled();
                true
            }
            Place::At(seat, ticket) => seat.page.revoke(*ticket),
            Place::Over => false,
        };
        if revoked {
            *place = Place::Revoked;
        }
        revoked
    }

    fn started(&self) -> bool {
        match &*self.0.lock() {
            Place::At(seat, ticket) => seat.page.has_started(*ticket),
            // It had, if it was not lost; and in a moment core will know.
            Place::Over => true,
            Place::Here | Place::Paused(_) | Place::Revoked => false,
        }
    }

    fn collector(&self) -> Option<Arc<dyn Collector>> {
        match &*self.0.lock() {
            Place::At(seat, _) if seat.intake.is_for_all() => Some(seat.intake.clone()),
            _ => None,
        }
    }

    fn stop(&self, why: Stop, attempt: u32) {
        // Whether that is (still) the attempt that is meant, is looked at under the pool's lock.
        match &*self.0.lock() {
            Place::At(seat, ticket) => seat.stop(*ticket, attempt, why),
            // Nobody waits for the end of the pause any more.
            Place::Paused(stops) => stops.cancelled(),
            Place::Here | Place::Revoked | Place::Over => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::WorkerId;
    use crate::pool::intake::Intake;
    use crate::pool::stops::{StopRequest, Stops};
    use crate::slots::Page;
    use crate::sys::bell::Bell;

    const T: Ticket = Ticket { slot: 1, seq: 1 };

    fn sent() -> (Placement, Arc<Seat>) {
        let page = Arc::new(Page::create().unwrap());
        let stops = Arc::new(Stops::new(Arc::new(Bell::new().unwrap())));
        let worker = WorkerId(7);
        let seat = Arc::new(Seat { worker, page, stops, intake: Intake::silent(worker) });
        let placement = Placement::sent(&seat, T);
        (placement, seat)
    }

    #[test]
    fn a_task_that_has_started_stays() {
        let (placement, seat) = sent();
        assert!(!placement.started());
        assert!(seat.page.start(T));
        assert!(placement.started());
        assert!(!placement.try_revoke() && !placement.take_back());
        assert_eq!(placement.bury(), Remains::Lost);
    }

    #[test]
    fn a_cancelled_task_is_never_sent_again() {
        let (placement, seat) = sent();
        assert!(placement.take_back());
        assert!(!seat.page.start(T), "the worker must not have what was taken back");
        assert!(placement.try_revoke());
        assert!(!placement.send(&seat, Ticket { seq: 2, ..T }));
        assert!(placement.try_revoke(), "asking again gives the same answer");
        assert_eq!(placement.bury(), Remains::Revoked);
    }

    #[test]
    fn a_task_taken_back_can_be_sent_again() {
        let (placement, _) = sent();
        assert!(placement.take_back());
        let (_, other) = sent();
        let ticket = Ticket { slot: 5, seq: 8 };
        assert!(placement.send(&other, ticket));
        assert!(other.page.start(ticket) && placement.started());
    }

    #[test]
    fn only_what_is_at_a_worker_can_be_stopped() {
        let (placement, seat) = sent();
        placement.stop(Stop::Abort, 3);
        let request = StopRequest { worker: WorkerId(7), ticket: T, attempt: 3, why: Stop::Abort };
        assert_eq!(seat.stops.take(), [request]);
        assert!(seat.page.start(T));
        placement.pause();
        assert!(!placement.started(), "between two attempts it does not run");
        placement.stop(Stop::Timeout, 1);
        assert_eq!(seat.stops.take(), []);
        assert!(seat.stops.take_cancelled(), "its task is resolved: nobody waits for the end of the pause");
        assert!(placement.try_revoke() && !placement.send(&seat, Ticket { seq: 2, ..T }));
        assert!(seat.stops.take_cancelled() && !seat.stops.take_cancelled());
    }

    #[test]
    fn what_a_dead_worker_had_not_started_goes_on() {
        let (placement, seat) = sent();
        assert_eq!(placement.bury(), Remains::Unstarted);
        assert!(placement.send(&seat, Ticket { seq: 2, ..T }));
    }
}
