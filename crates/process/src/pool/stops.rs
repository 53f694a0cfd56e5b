//! Wishes for the supervisor that come from where no lock of the pool's may be taken: from the timer, from whoever aborts, and
//! from whoever cancels.

use crate::launch::WorkerId;
use crate::sys::bell::Bell;
use crate::wire::Ticket;
use concurrent_futures_core::task::{Remote, Stop};
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

/// What the supervisor has not looked at yet. It is the link of a task between two attempts, which nobody needs to ask whether it
/// may be cancelled.
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

    pub(super) fn request(&self, request: StopRequest) {
        self.requests.lock().push(request);
        // After it: the supervisor silences the bell before it looks.
        self.bell.ring();
    }

    /// A task that pauses is resolved, and to be forgotten.
    fn cancelled(&self) {
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

impl Remote for Stops {
    fn try_revoke(&self, _mark: u64) -> bool {
        true
    }

    fn revoked(&self, _mark: u64) {
        self.cancelled();
    }

    fn started(&self, _mark: u64) -> bool {
        false
    }

    fn stop(&self, _mark: u64, _why: Stop, _attempt: u32) {
        self.cancelled();
    }
}
