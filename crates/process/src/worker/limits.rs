//! What this worker, and each of its tasks, may use; and the note that a worker leaves when it dies of its memory limit.

use crate::limits::{Limits, Rules};
use crate::slots::Page;
use crate::sys::abort;
use crate::sys::resources::{self, Limit};
use rustix::process::{Resource, setpriority_process};
use std::io;
use std::sync::Arc;

/// What a worker must be able to allocate to do anything at all.
const ROOM: u64 = 256 * 1024;

/// The limits of a worker between two tasks, to which those of a task are added for as long as it runs.
#[derive(Debug)]
pub(super) struct Fences {
    data: Limit,
    cpu: Limit,
    files: Limit,
    page: Arc<Page>,
}

impl Fences {
    /// Sets what holds for the worker's whole life. `Err` says in words what cannot be.
    pub(super) fn of_worker(rules: &Rules, page: &Arc<Page>) -> Result<Self, String> {
        if let Some(limit) = rules.limits.memory {
            let used = resources::data_size().map_err(|error| format!("its memory cannot be measured: {error}"))?;
            if limit < used.saturating_add(ROOM) {
                return Err(format!("its memory limit is {limit} bytes, and {used} are in use before the first task"));
            }
        }
        let before = Fences::now(page);
        before.set(&rules.limits).map_err(|error| format!("its limits cannot be set: {error}"))?;
        if let Some(nice) = rules.nice {
            setpriority_process(None, nice).map_err(|error| format!("its niceness cannot be {nice}: {error}"))?;
        }
        if !rules.cpus.is_empty() {
            resources::run_on(&rules.cpus).map_err(|error| format!("its CPUs cannot be {:?}: {error}", rules.cpus))?;
        }
        Ok(Fences::now(page))
    }

    fn now(page: &Arc<Page>) -> Self {
        let [data, cpu, files] = [Resource::Data, Resource::Cpu, Resource::Nofile].map(Limit::of);
        Fences { data, cpu, files, page: page.clone() }
    }

    /// Before a task that has limits of its own: they hold as far as they are stricter than the worker's.
    pub(super) fn set(&self, limits: &Limits) -> io::Result<()> {
        if let Some(bytes) = limits.memory {
            abort::note_failed_allocations(&self.page)?;
            self.data.lower(bytes)?;
        }
        if let Some(time) = limits.cpu_time {
            self.cpu.lower(resources::cpu_limit_after(time)?)?;
        }
        if let Some(n) = limits.open_files {
            self.files.lower(n)?;
        }
        Ok(())
    }

    /// After it.
    pub(super) fn put_back(&self, limits: &Limits) -> io::Result<()> {
        if limits.memory.is_some() {
            self.data.put_back()?;
        }
        if limits.cpu_time.is_some() {
            self.cpu.put_back()?;
        }
        if limits.open_files.is_some() {
            self.files.put_back()?;
        }
        Ok(())
    }
}
