//! Where a task is, for those who want to cancel it or ask whether it runs.

use crate::slots::{Fate, Page};
use crate::wire::Ticket;
use concurrent_futures_core::task::Remote;
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
    At(Arc<Page>, Ticket),
    /// Core has taken it back and resolves it.
    Revoked,
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
    pub(super) fn new() -> Self {
        Placement(Mutex::new(Place::Here))
    }

    /// Offers the task in a slot. `false`: it has been revoked and must not be sent.
    pub(super) fn send(&self, page: &Arc<Page>, ticket: Ticket) -> bool {
        let mut place = self.0.lock();
        match *place {
            Place::Revoked => false,
            Place::Here | Place::At(..) => {
                page.offer(ticket);
                *place = Place::At(page.clone(), ticket);
                true
            }
        }
    }

    /// The pool takes the task back to send it elsewhere. `false`: it has started, or core has revoked it.
    pub(super) fn take_back(&self) -> bool {
        let mut place = self.0.lock();
        let Place::At(page, ticket) = &*place else { return false };
        let taken = page.revoke(*ticket);
        if taken {
            *place = Place::Here;
        }
        taken
    }

    /// The worker is dead.
    pub(super) fn bury(&self) -> Remains {
        let mut place = self.0.lock();
        match &*place {
            Place::Revoked => Remains::Revoked,
            Place::At(page, ticket) if page.judge(*ticket) == Fate::Started => Remains::Lost,
            Place::At(..) | Place::Here => {
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
            Place::At(page, ticket) => page.revoke(*ticket),
        };
        if revoked {
            *place = Place::Revoked;
        }
        revoked
    }

    fn started(&self) -> bool {
        matches!(&*self.0.lock(), Place::At(page, ticket) if page.has_started(*ticket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Ticket = Ticket { slot: 1, seq: 1 };

    fn sent() -> (Placement, Arc<Page>) {
        let page = Arc::new(Page::create().unwrap());
        let placement = Placement::new();
        assert!(placement.send(&page, T));
        (placement, page)
    }

    #[test]
    fn a_task_that_has_started_stays() {
        let (placement, page) = sent();
        assert!(!placement.started());
        assert!(page.start(T));
        assert!(placement.started());
        assert!(!placement.try_revoke() && !placement.take_back());
        assert_eq!(placement.bury(), Remains::Lost);
    }

    #[test]
    fn a_cancelled_task_is_never_sent_again() {
        let (placement, page) = sent();
        assert!(placement.take_back());
        assert!(!page.start(T), "the worker must not have what was taken back");
        assert!(placement.try_revoke());
        assert!(!placement.send(&page, Ticket { seq: 2, ..T }));
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
        assert!(other.start(ticket) && placement.started());
    }

    #[test]
    fn what_a_dead_worker_had_not_started_goes_on() {
        let (placement, page) = sent();
        assert_eq!(placement.bury(), Remains::Unstarted);
        assert!(placement.send(&page, Ticket { seq: 2, ..T }));
    }
}
