//! What workers may use: the builder's options for it.

use super::ProcessPoolBuilder;
use crate::limits::{Limits, Rules};
use crate::sys::resources;
use concurrent_futures_core::task::refuse_priority;
use concurrent_futures_core::{BuildError, Refusal, Task};
use std::time::Duration;

/// Less than this is not enough for the program itself, let alone a task. The worker looks exactly, at its start.
const LEAST_MEMORY: u64 = 8 << 20;
/// What a worker has open itself, and needs to have now and then.
const LEAST_FILES: u64 = 24;

/// Limits on what a worker may use. Each of them is enforced by the kernel, in the worker, while a task runs, unless said
/// otherwise. A task may have stricter ones of its own (`pool.task(f, args).memory_limit(..)`), which hold while it runs.
///
/// Not enforced by any of them: what a task's own child processes use together (each of them inherits the limits, and has
/// them to itself), shared memory, network and disk. Control groups would cover that; they are left to whoever starts the
/// program, as a process may not make them in general.
impl ProcessPoolBuilder {
    /// How much memory a worker may have, in bytes: what it has mapped privately and writable (heap, stacks of threads,
    /// static data), whether it has been touched or not; with what the program and a preload have before the first task. The
    /// default is no limit.
    ///
    /// By the soft `RLIMIT_DATA`. An allocation beyond it fails; Rust's collections then abort the worker, and its task fails
    /// with a [`Death`](concurrent_futures_core::Death) that says [`KilledBy::Memory`](concurrent_futures_core::KilledBy).
    /// Code that can live with a failed allocation (`try_reserve`, C libraries) gets the failure instead. Not counted: shared
    /// mappings, files that are mapped to be read.
    ///
    /// ```
    /// use concurrent_futures_core::{ExecutorExt, KilledBy};
    /// use concurrent_futures_process::ProcessPoolExecutor;
    ///
    /// let pool = ProcessPoolExecutor::builder().max_workers(1).memory_limit(256 << 20).build()?;
    /// let greedy = pool.submit(|n: usize| std::hint::black_box(vec![1_u8; n]).len(), 1 << 30);
    /// assert_eq!(greedy.result().unwrap_err().death().unwrap().killed_by(), KilledBy::Memory);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.rules.limits.memory = Some(bytes);
        self
    }

    /// How much CPU time a worker may use in its life, all its threads together; the task that it runs then dies with it, by
    /// SIGXCPU, and says [`KilledBy::CpuTime`](concurrent_futures_core::KilledBy). For a limit on each task, give it to the
    /// task. The default is no limit.
    ///
    /// By the soft `RLIMIT_CPU`, which counts whole seconds: it is rounded up. A program that a task starts has a count of its
    /// own.
    pub fn cpu_time_limit(mut self, time: Duration) -> Self {
        self.rules.limits.cpu_time = Some(time);
        self
    }

    /// How many descriptors a worker may have open, some twenty of its own included. To open more fails, with `EMFILE`; it
    /// ends nothing. By the soft `RLIMIT_NOFILE`; the default is that of this process, and a higher one changes nothing.
    pub fn open_files_limit(mut self, n: u64) -> Self {
        self.rules.limits.open_files = Some(n);
        self
    }

    /// The niceness of the workers, from -20 (served first) to 19 (served last); a value, not a change. The default is that
    /// of this process. To go below it needs a privilege; without it the pool breaks when the first worker starts.
    pub fn nice(mut self, value: i32) -> Self {
        self.rules.nice = Some(value);
        self
    }

    /// The CPUs on which the workers may run, by number. The default is those of this process. Tasks can widen it again, up to
    /// what the cpuset of the program allows.
    pub fn cpu_affinity(mut self, cpus: impl IntoIterator<Item = usize>) -> Self {
        self.rules.cpus = cpus.into_iter().collect();
        self.rules.cpus.sort_unstable();
        self.rules.cpus.dedup();
        self.pinned = true;
        self
    }

    /// A worker that has more than this in RAM after a task, in bytes, ends, and is replaced when there is work for another:
    /// against leaks. Looked at after each task, by the worker (`/proc/self/statm`); what is shared with other processes
    /// counts, such as a preload's data. It limits nothing while a task runs: for that there is
    /// [`memory_limit`](Self::memory_limit). The default is not to look.
    pub fn max_memory_per_child(mut self, bytes: u64) -> Self {
        self.rules.max_memory = Some(bytes);
        self
    }
}

/// How many CPUs there are for the workers.
pub(super) fn cpus(rules: &Rules) -> usize {
    let all = num_cpus::get();
    if rules.cpus.is_empty() { all } else { all.min(rules.cpus.len()) }
}

/// Refuses what cannot be.
pub(super) fn check(rules: Rules, pinned: bool) -> Result<Rules, BuildError> {
    check_limits(&rules.limits).map_err(BuildError::invalid)?;
    if let Some(nice) = rules.nice.filter(|nice| !(-20..=19).contains(nice)) {
        return Err(BuildError::invalid(format!("a niceness is from -20 to 19, and {nice} is not")));
    }
    if rules.max_memory == Some(0) {
        return Err(BuildError::invalid("max_memory_per_child must be at least 1"));
    }
    if pinned && rules.cpus.is_empty() {
        return Err(BuildError::invalid("cpu_affinity must name at least one CPU"));
    }
    if !rules.cpus.is_empty() {
        // In a thread of its own, which takes the setting with it.
        let cpus = rules.cpus.clone();
        let tried = std::thread::Builder::new()
            .name("cf-affinity".into())
            .spawn(move || resources::run_on(&cpus))
            .map_err(|error| BuildError::system("no thread to try the CPUs", error))?
            .join();
        if let Ok(Err(error)) = tried {
            return Err(BuildError::invalid(format!("cpu_affinity: {error}")));
        }
    }
    Ok(rules)
}

/// Refuses a task that asks for what cannot be: limits, or another place in the queue.
pub(super) fn admit(task: &Task) -> Result<(), Refusal> {
    refuse_priority(task)?;
    let limits = task.limits();
    let limits = Limits { memory: limits.memory, cpu_time: limits.cpu_time, open_files: limits.open_files };
    check_limits(&limits).map_err(|words| Refusal::Unsupported(words.into()))
}

fn check_limits(limits: &Limits) -> Result<(), String> {
    if let Some(bytes) = limits.memory.filter(|&bytes| bytes < LEAST_MEMORY) {
        return Err(format!("memory_limit is {bytes} bytes, and a worker needs at least {LEAST_MEMORY}"));
    }
    if limits.cpu_time.is_some_and(|time| time.is_zero()) {
        return Err("cpu_time_limit must be more than zero".into());
    }
    if let Some(n) = limits.open_files.filter(|&n| n < LEAST_FILES) {
        return Err(format!("open_files_limit is {n}, and a worker needs at least {LEAST_FILES}"));
    }
    Ok(())
}
