//! Who knows where a task is, and by what mark.

use crate::future::Source;
use crate::task::{Collector, Remote, Stop};
use std::sync::Arc;

/// A [`Remote`] may know many tasks: the mark tells it which one is meant.
#[derive(Clone)]
pub(crate) struct Link {
    remote: Arc<dyn Remote>,
    mark: u64,
}

impl Link {
    pub(crate) fn new(remote: Arc<dyn Remote>, mark: u64) -> Self {
        Link { remote, mark }
    }

    /// Of one that knows this task alone.
    pub(crate) fn only(remote: Arc<dyn Remote>) -> Self {
        Link::new(remote, 0)
    }

    pub(crate) fn try_revoke(&self) -> bool {
        self.remote.try_revoke(self.mark)
    }

    pub(crate) fn revoked(&self) {
        self.remote.revoked(self.mark);
    }

    pub(crate) fn started(&self) -> bool {
        self.remote.started(self.mark)
    }

    pub(crate) fn stop(&self, why: Stop, attempt: u32) {
        self.remote.stop(self.mark, why, attempt);
    }

    pub(crate) fn collector(&self) -> Option<Arc<dyn Collector>> {
        self.remote.collector()
    }

    pub(crate) fn abort_parts(&self) {
        self.remote.abort_parts();
    }

    pub(crate) fn source(&self) -> Option<&Source> {
        self.remote.source()
    }
}

impl PartialEq for Link {
    fn eq(&self, other: &Link) -> bool {
        self.mark == other.mark && Arc::ptr_eq(&self.remote, &other.remote)
    }
}
