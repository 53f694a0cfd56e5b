//! What `Chaos` needs of a pool.

use super::inner::Inner;
use super::setup::SetupCall;
use crate::chaos::{Storm, expect};
use crate::launch::WorkerId;
use std::io;
use std::sync::Arc;

impl Inner {
    /// Starts what sends signals to the workers.
    pub(super) fn storm(self: &Arc<Self>) -> io::Result<Option<Storm>> {
        let Some(chaos) = &self.settings.chaos else { return Ok(None) };
        let pool = self.clone();
        Storm::start(chaos, move || pool.lock().ready_processes())
    }

    /// What tells worker `id` which of its answers it is to spoil.
    pub(super) fn mishaps(&self, id: WorkerId) -> Option<SetupCall> {
        let mishaps = self.settings.chaos.as_ref()?.mishaps(id)?;
        // It fails only where no function at all could be sent: there nobody sends a task either.
        SetupCall::new(expect, mishaps).ok()
    }
}
