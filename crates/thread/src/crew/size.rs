//! How many workers there are to be: at first, and from now on.

use super::Crew;
use super::closing::wake;
use concurrent_futures_core::worker::{blocking, current_pool};
use concurrent_futures_core::{BuildError, Refusal};
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct Size {
    /// So many run tasks at once.
    pub(crate) max_workers: usize,
    /// So many are started at once and do not end for want of work.
    pub(crate) min_workers: usize,
    /// The others end when they have had nothing to do for so long.
    pub(crate) idle_timeout: Option<Duration>,
}

impl Size {
    /// # Errors
    /// No worker could ever run a task, or more are to be kept than there may be.
    pub(crate) fn check(&self) -> Result<(), BuildError> {
        if self.max_workers == 0 {
            return Err(BuildError::invalid("max_workers must be at least 1: with 0 no task would ever run"));
        }
        if self.min_workers > self.max_workers {
            let message =
                format!("min_workers must be at most max_workers: {} > {}", self.min_workers, self.max_workers);
            return Err(BuildError::invalid(message));
        }
        Ok(())
    }

    /// The same with room for `max_workers`: as many are kept as were asked for, if there may be so many.
    pub(super) fn resized(&self, max_workers: usize) -> Self {
        let min_workers = self.min_workers.min(max_workers);
        Size { max_workers, min_workers, idle_timeout: self.idle_timeout }
    }
}

impl Crew {
    pub(crate) fn max_workers(&self) -> usize {
        self.lock().max_workers()
    }

    /// From now on `max_workers` run tasks at once. Those that are too many end when they are done with what they run.
    ///
    /// # Errors
    /// Zero workers; or a thread that is to be kept cannot be started.
    pub(crate) fn resize(self: &Arc<Self>, max_workers: usize) -> Result<(), BuildError> {
        let size = self.settings.size.resized(max_workers);
        size.check()?;
        let sleepers = self.lock().resize(&size);
        wake(sleepers);
        // The queue may hold what nobody was to be called for before. Who comes calls the next.
        self.call_help();
        self.start_those_to_keep()
    }

    /// # Errors
    /// A thread cannot be started.
    pub(crate) fn start_those_to_keep(self: &Arc<Self>) -> Result<(), BuildError> {
        let least = self.lock().min_workers();
        self.start_up_to(least)
    }

    /// Starts all workers that there may be, and waits until they have come.
    ///
    /// # Errors
    /// A thread cannot be started, or the pool takes no jobs.
    pub(crate) fn warm_up(self: &Arc<Self>) -> Result<(), BuildError> {
        let most = self.max_workers();
        self.start_up_to(most)?;
        // A worker cannot wait for itself: its initializer may ask for this.
        if current_pool() != Some(self.id) {
            blocking(|| self.wait_for_starts());
        }
        match self.lock().refusal() {
            Some(Refusal::Broken(why)) => Err(BuildError::invalid(why)),
            Some(why) => Err(BuildError::invalid(why.to_string())),
            None => Ok(()),
        }
    }

    fn start_up_to(self: &Arc<Self>, least: usize) -> Result<(), BuildError> {
        // Not until there are so many: those that need not be kept may end as fast as others are started.
        let missing = self.lock().missing(least);
        for _ in 0..missing {
            let Some(number) = self.lock().reserve_up_to(least) else { break };
            self.start(number).map_err(|error| BuildError::system("a worker thread could not be started", error))?;
        }
        Ok(())
    }

    fn wait_for_starts(&self) {
        let mut state = self.lock();
        state.waiting_for_start += 1;
        while state.is_starting() {
            state.wait(&self.arrived);
        }
        state.waiting_for_start -= 1;
    }
}
