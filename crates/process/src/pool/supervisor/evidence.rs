//! What is known about the death of a worker, put together.

use super::Supervisor;
use super::deaths::Wake;
use super::printed::last_lines;
use crate::launch::{Exit, ExitReport};
use crate::sys::oom::{Evidence, OomCounters};
use concurrent_futures_core::{Death, Ending, KilledBy, OomEvidence, Task};

impl Supervisor {
    /// Everything that the kernel and the worker itself have left.
    pub(super) fn autopsy(&mut self, wake: &Wake, exit: Exit) -> Death {
        let ending = match exit.report {
            ExitReport::Code(code) => Ending::Code(code),
            ExitReport::Signal { signal, core_dumped } => Ending::Signal { number: signal, core_dumped },
            ExitReport::Unknown => Ending::Unknown,
        };
        let mut death = Death::new(wake.pid, ending);
        if let Some(peak) = exit.peak_memory.and_then(|peak| wake.page.own_peak(peak)) {
            death = death.with_peak_memory(peak);
        }
        if let Some(tail) = wake.output.as_ref().and_then(|output| last_lines(&output.stderr)) {
            death = death.with_stderr_tail(tail);
        }
        let killed = matches!(ending, Ending::Signal { number: libc::SIGKILL, .. });
        if killed
            && wake.killed_by == KilledBy::Nobody
            && let Some(evidence) = self.oom.as_mut().and_then(OomCounters::look)
        {
            death = death.with_oom(match evidence {
                Evidence::Cgroup => OomEvidence::Cgroup,
                Evidence::System => OomEvidence::System,
            });
        }
        match ending {
            Ending::Signal { number: libc::SIGABRT, .. } => {
                if let Some((used, limit)) = wake.page.memory_left() {
                    let words =
                        format!("it could not have more memory: its limit is {limit} bytes, and {used} were in use");
                    death = death.caused_by(KilledBy::Memory).with_last_words(words);
                }
            }
            Ending::Signal { number: libc::SIGSEGV, .. } => {
                if let Some(limit) = wake.page.overflow_left() {
                    let words = match limit {
                        libc::RLIM_INFINITY => "its stack overflowed".to_owned(),
                        limit => format!("its stack overflowed: the system lets it have {limit} bytes (`ulimit -s`)"),
                    };
                    death = death.with_last_words(words);
                }
            }
            // Somebody may send the signal by hand; then it is that of the limit all the same.
            Ending::Signal { number: libc::SIGXCPU, .. } => {
                let limited = |task: &Task| task.limits().cpu_time.is_some();
                let of_worker = self.pool.settings.rules.limits.cpu_time.is_some();
                if of_worker || wake.lost.iter().any(|(_, item)| limited(&item.task)) {
                    death = death.caused_by(KilledBy::CpuTime);
                }
            }
            _ => {}
        }
        death
    }
}
