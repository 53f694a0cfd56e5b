//! The executor that sends bytes: it borrows the work, gives it up, and says who knows where the task is.

use super::state::*;
use super::{Link, Ref};
use crate::attach::Attachment;
use crate::codec::Memory;
use crate::error::TaskErrorKind;
use crate::sync::Ordering;
use crate::task::{Call, Remote};
use std::sync::Arc;

impl Ref {
    /// The work as bytes; `None` when the task is resolved already.
    pub(crate) fn encode(&self) -> Option<Result<Call, TaskErrorKind>> {
        self.borrow_work().then(|| {
            // SAFETY: the cell lives, and BUSY keeps everybody else away from the work.
            let encoded = unsafe { (self.vtable.encode)(self.0) };
            let before = self.clear_flags(BUSY);
            if phase(before) != PENDING {
                // SAFETY: it was resolved while we were at it, and whoever did left the work to us (BUSY).
                unsafe { (self.vtable.drop_work)(self.0) };
                self.clear_flags(WORK);
            }
            encoded
        })
    }

    /// As `encode`, and the work is gone: what of it is still needed is in the call. From now on only bytes can complete this
    /// task.
    pub(crate) fn send(
        &self,
        memory: Option<Memory>,
        attachments: &mut Vec<Attachment>,
    ) -> Option<Result<Call, TaskErrorKind>> {
        self.borrow_work().then(|| {
            // SAFETY: the cell lives, and BUSY keeps everybody else away from the work, also after this: WORK goes with it.
            let encoded = unsafe { (self.vtable.send)(self.0, memory, attachments) };
            self.clear_flags(BUSY | WORK);
            encoded
        })
    }

    /// Drops the work: from now on only bytes can complete this task.
    pub(crate) fn release_work(&self) {
        if self.borrow_work() {
            // SAFETY: the cell lives, and BUSY keeps everybody else away from the work, also after this: WORK goes with it.
            unsafe { (self.vtable.drop_work)(self.0) };
            self.clear_flags(BUSY | WORK);
        }
    }

    /// Sets BUSY. False: there is no work, or it is somebody else's.
    fn borrow_work(&self) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while phase(word as u32) == PENDING && word as u32 & (BUSY | WORK) == WORK {
            let busy = word | u64::from(BUSY);
            match self.word.compare_exchange_weak(word, busy, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// From now on `remote` knows whether the task has started. It may stay as long as the cell. False: it is resolved already.
    pub(crate) fn set_remote(&self, remote: Link) -> bool {
        self.link(remote, AWAY, PENDING)
    }

    /// The same for a link that must not stay: whoever resolves drops it.
    pub(crate) fn set_source(&self, source: Arc<dyn Remote>) -> bool {
        self.link(Link::only(source), AWAY | LISTENED, PENDING)
    }

    /// The running task, whose work has moved there, waits. From now on it can be cancelled. False: it is resolved already.
    pub(crate) fn set_suspended(&self, task: Arc<dyn Remote>) -> bool {
        self.link(Link::only(task), AWAY | LISTENED, RUNNING)
    }

    /// False, and without effect, when the cell is not in `phase`.
    fn link(&self, remote: Link, flags: u32, in_phase: u32) -> bool {
        let remote = match self.put_remote(remote) {
            // Nobody could have had the lock of a list that was not there: as if it had been done under it.
            Ok(()) if phase(self.set_flag(flags)) == in_phase => return true,
            Ok(()) => None,
            Err(remote) => Some(remote),
        };
        let mut listeners = self.listeners();
        let before = remote.and_then(|remote| listeners.set_remote(Some(remote)));
        let state = self.set_flag(flags);
        let linked = phase(state) == in_phase;
        let after = if linked { None } else { listeners.set_remote(None) };
        drop(listeners);
        drop((before, after));
        linked
    }

    pub(crate) fn remote(&self) -> Option<Link> {
        self.known_listeners()?.remote().cloned()
    }

    /// Whether that is its link still.
    pub(crate) fn is_linked_to(&self, remote: &Link) -> bool {
        self.known_listeners().is_some_and(|listeners| listeners.remote() == Some(remote))
    }

    pub(crate) fn clear_remote(&self) {
        let remote = self.known_listeners().and_then(|mut listeners| listeners.set_remote(None));
        drop(remote);
    }
}
