//! What `Chaos` needs of a pool.

use super::inner::Inner;
use super::setup::SetupCall;
use crate::chaos::{Prey, Storm, Victim, expect};
use crate::launch::WorkerId;
use concurrent_futures_core::KilledBy;
use std::io;
use std::sync::Arc;

impl Inner {
    /// Starts what sends signals to the workers.
    pub(super) fn storm(self: &Arc<Self>) -> io::Result<Option<Storm>> {
        let Some(chaos) = &self.settings.chaos else { return Ok(None) };
        Storm::start(chaos, self.clone())
    }

    /// What tells worker `id` which of its answers it is to spoil.
    pub(super) fn mishaps(&self, id: WorkerId) -> Option<SetupCall> {
        let mishaps = self.settings.chaos.as_ref()?.mishaps(id)?;
        // It fails only where no function at all could be sent: there nobody sends a task either.
        SetupCall::new(expect, mishaps).ok()
    }
}

impl Prey for Arc<Inner> {
    fn herd(&self) -> Vec<Victim> {
        self.lock().ready_processes()
    }

    fn is_doomed(&self, worker: WorkerId) {
        self.lock().blame(worker, KilledBy::Chaos);
    }
}
