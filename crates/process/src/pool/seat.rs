//! One worker, as its tasks know it: where core asks, with a ticket, what has become of one of them.

use super::intake::Intake;
use super::stops::{StopRequest, Stops};
use crate::launch::WorkerId;
use crate::slots::{Fate, Page};
use crate::wire::Ticket;
use concurrent_futures_core::task::{Collector, Remote, Stop};
use parking_lot::Mutex;
use std::sync::Arc;

/// The link of every task that is at one worker.
///
/// Its lock is held for a few instructions and never together with a call of anybody else's code, so that `cancel` needs
/// no lock of the pool's. A task that is sent elsewhere gets another link, under the lock of its cell: whoever has asked here
/// meanwhile finds that, and asks there.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) worker: WorkerId,
    /// `None`: the worker is dead, and what it had is judged. Futures may keep this for long.
    occupied: Mutex<Option<Occupied>>,
}

#[derive(Debug)]
struct Occupied {
    page: Arc<Page>,
    stops: Arc<Stops>,
    intake: Arc<Intake>,
    /// What core has taken back and the worker has not met yet. Here, since what the page says, the worker could have written.
    revoked: Vec<Ticket>,
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

impl Seat {
    pub(super) fn new(worker: WorkerId, page: Arc<Page>, stops: Arc<Stops>, intake: Arc<Intake>) -> Self {
        Seat { worker, occupied: Mutex::new(Some(Occupied { page, stops, intake, revoked: Vec::new() })) }
    }

    /// Whether core has taken the task back, and resolves it.
    pub(super) fn has_revoked(&self, ticket: Ticket) -> bool {
        self.occupied.lock().as_ref().is_some_and(|at| at.revoked.contains(&ticket))
    }

    /// The worker has met a task that was taken back.
    pub(super) fn met_revoked(&self, ticket: Ticket) {
        if let Some(at) = &mut *self.occupied.lock() {
            at.revoked.retain(|revoked| *revoked != ticket);
        }
    }

    /// The worker is dead.
    pub(super) fn judge(&self, ticket: Ticket) -> Remains {
        match &*self.occupied.lock() {
            Some(at) if at.revoked.contains(&ticket) => Remains::Revoked,
            Some(at) if at.page.judge(ticket) == Fate::Untouched => Remains::Unstarted,
            Some(_) | None => Remains::Lost,
        }
    }

    /// The worker is dead, all that it had is judged, and nothing of that has this for its link but what had started.
    pub(super) fn close(&self) {
        let left = self.occupied.lock().take();
        drop(left);
    }
}

impl Remote for Seat {
    fn try_revoke(&self, mark: u64) -> bool {
        let ticket = Ticket::of_mark(mark);
        let mut occupied = self.occupied.lock();
        let Some(at) = &mut *occupied else { return false };
        if at.page.revoke(ticket) {
            at.revoked.push(ticket);
            return true;
        }
        // Core itself has, or the pool has taken it back this moment and will find that it is resolved.
        at.page.is_revoked(ticket)
    }

    fn started(&self, mark: u64) -> bool {
        // What is answered had started, if it was not lost; and in a moment core will know.
        self.occupied.lock().as_ref().is_none_or(|at| at.page.was_taken(Ticket::of_mark(mark)))
    }

    fn collector(&self) -> Option<Arc<dyn Collector>> {
        let occupied = self.occupied.lock();
        let intake = &occupied.as_ref()?.intake;
        if intake.is_for_all() { Some(intake.clone()) } else { None }
    }

    fn stop(&self, mark: u64, why: Stop, attempt: u32) {
        // Whether that is (still) the attempt that is meant, is looked at under the pool's lock.
        if let Some(at) = &*self.occupied.lock() {
            at.stops.request(StopRequest { worker: self.worker, ticket: Ticket::of_mark(mark), attempt, why });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::bell::Bell;

    const T: Ticket = Ticket { slot: 1, seq: 1 };

    fn seat() -> (Seat, Arc<Page>, Arc<Stops>) {
        let page = Arc::new(Page::create().unwrap());
        let stops = Arc::new(Stops::new(Arc::new(Bell::new().unwrap())));
        let worker = WorkerId(7);
        page.offer(T);
        (Seat::new(worker, page.clone(), stops.clone(), Intake::silent(worker)), page, stops)
    }

    #[test]
    fn a_task_that_has_started_stays() {
        let (seat, page, _) = seat();
        assert!(!seat.started(T.mark()));
        assert!(page.start(T));
        assert!(seat.started(T.mark()));
        assert!(!seat.try_revoke(T.mark()) && !seat.has_revoked(T));
        assert_eq!(seat.judge(T), Remains::Lost);
    }

    #[test]
    fn what_core_takes_back_is_known_until_the_worker_has_met_it() {
        let (seat, page, _) = seat();
        assert!(seat.try_revoke(T.mark()));
        assert!(!page.start(T), "the worker must not have what was taken back");
        assert!(seat.try_revoke(T.mark()), "asking again gives the same answer");
        assert!(!seat.started(T.mark()) && seat.has_revoked(T));
        assert_eq!(seat.judge(T), Remains::Revoked);
        seat.met_revoked(T);
        assert!(!seat.has_revoked(T));
    }

    #[test]
    fn what_the_pool_has_taken_back_can_still_be_cancelled_and_goes_on_otherwise() {
        let (seat, page, _) = seat();
        assert!(page.revoke(T));
        assert!(seat.try_revoke(T.mark()) && !seat.started(T.mark()));
        assert!(!seat.has_revoked(T), "that was not core");
    }

    #[test]
    fn an_earlier_user_of_the_slot_asks_in_vain() {
        let (seat, page, _) = seat();
        assert!(page.start(T));
        let next = Ticket { seq: 2, ..T };
        page.offer(next);
        assert!(!seat.try_revoke(T.mark()) && seat.started(T.mark()), "that one is over");
        assert!(page.start(next), "and nobody has touched its successor");
    }

    #[test]
    fn who_is_asked_to_stop_is_named() {
        let (seat, _, stops) = seat();
        seat.stop(T.mark(), Stop::Abort, 3);
        let request = StopRequest { worker: WorkerId(7), ticket: T, attempt: 3, why: Stop::Abort };
        assert_eq!(stops.take(), [request]);
    }

    #[test]
    fn a_dead_worker_leaves_nothing_behind() {
        let (seat, page, stops) = seat();
        assert_eq!(seat.judge(T), Remains::Unstarted);
        seat.close();
        assert!(!seat.try_revoke(T.mark()) && seat.started(T.mark()) && seat.collector().is_none());
        seat.stop(T.mark(), Stop::Abort, 1);
        assert_eq!(stops.take(), []);
        assert_eq!((Arc::strong_count(&page), Arc::strong_count(&stops)), (1, 1));
    }
}
