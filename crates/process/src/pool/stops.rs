//! Wishes for the supervisor that come from where no lock of the pool's may be taken: from the timer, from whoever aborts, and
//! from whoever cancels.

use super::intake::Intake;
use crate::launch::WorkerId;
use crate::slots::Page;
use crate::sys::bell::Bell;
use crate::wire::Ticket;
use concurrent_futures_core::task::Stop;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// An attempt is to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StopRequest {
    pub(super) worker: WorkerId,
    pub(super) ticket: Ticket,
    /// Which attempt of the task is meant, unless the task is resolved: then it is any.
    pub(super) attempt: u32,
    pub(super) why: Stop,
}

/// What the supervisor has not looked at yet.
#[derive(Debug)]
pub(super) struct Stops {
    requests: Mutex<Vec<StopRequest>>,
    /// A task was cancelled between two attempts.
    cancelled: AtomicBool,
    bell: Arc<Bell>,
}

impl Stops {
    pub(super) fn new(bell: Arc<Bell>) -> Self {
        Stops { requests: Mutex::default(), cancelled: AtomicBool::new(false), bell }
    }

    fn request(&self, request: StopRequest) {
        self.requests.lock().push(request);
        // After it: the supervisor silences the bell before it looks.
        self.bell.ring();
    }

    /// A task that pauses is to be forgotten.
    pub(super) fn cancelled(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.bell.ring();
    }

    pub(super) fn take_cancelled(&self) -> bool {
        self.cancelled.swap(false, Ordering::AcqRel)
    }

    pub(super) fn take(&self) -> Vec<StopRequest> {
        std::mem::take(&mut *self.requests.lock())
    }
}

/// One worker, as the tasks at it know it.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) worker: WorkerId,
    pub(super) page: Arc<Page>,
    pub(super) stops: Arc<Stops>,
    pub(super) intake: Arc<Intake>,
}

impl Seat {
    pub(super) fn stop(&self, ticket: Ticket, attempt: u32, why: Stop) {
        self.stops.request(StopRequest { worker: self.worker, ticket, attempt, why });
    }
}
