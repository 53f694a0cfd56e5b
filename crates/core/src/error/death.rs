//! The death of a worker process.

use std::fmt;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// It exited with this code.
    Code(i32),
    /// A signal ended it.
    Signal {
        /// The signal's number.
        number: i32,
        /// Whether a core was dumped.
        core_dumped: bool,
    },
    /// Nobody could say: something else had collected its status.
    Unknown,
}

impl Ending {
    /// The name of the signal that ended it, if one did.
    ///
    /// ```
    /// use concurrent_futures_core::Ending;
    ///
    /// assert_eq!(Ending::Signal { number: 15, core_dumped: false }.signal_name(), Some("SIGTERM"));
    /// assert_eq!(Ending::Code(1).signal_name(), None);
    /// ```
    pub fn signal_name(self) -> Option<&'static str> {
        match self {
            Ending::Signal { number, .. } => Some(signal_name(number)),
            _ => None,
        }
    }
}

/// The death of a worker process while it ran a task.
///
/// ```
/// use concurrent_futures_core::{Death, Ending};
///
/// let death = Death::new(4711, Ending::Signal { number: 9, core_dumped: false });
/// assert_eq!(death.signal(), Some("SIGKILL"));
/// assert_eq!(death.exit_code(), None);
/// assert!(!death.by_pool());
/// ```
#[derive(Clone, Debug)]
pub struct Death {
    pid: u32,
    ending: Ending,
    killed_by: KilledBy,
    last_words: Option<Box<str>>,
    oom: Option<OomEvidence>,
    peak_memory: Option<u64>,
    stderr_tail: Option<Box<str>>,
    deaths: u32,
}

/// What of the library's own, or of the limits it set, ended a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KilledBy {
    /// Nothing of ours: its own task, somebody else, or the kernel.
    Nobody,
    /// `terminate_workers`, `kill_workers`, or the end of the pool.
    Shutdown,
    /// A task of it ran out of time.
    Timeout,
    /// A task of it was aborted.
    Abort,
    /// Its memory limit.
    Memory,
    /// Its limit of CPU time.
    CpuTime,
    /// It did not keep to the protocol, or closed its link to the pool.
    Protocol,
    /// The chaos that the pool was asked for.
    Chaos,
}

/// What the kernel's counters say about a lack of memory at the time of a death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OomEvidence {
    /// The kernel has killed a process of this program's own cgroup for lack of memory.
    Cgroup,
    /// It has killed some process of this machine for lack of memory: a hint.
    System,
}

impl Death {
    /// A death as its supervisor saw it.
    pub fn new(pid: u32, ending: Ending) -> Self {
        Death {
            pid,
            ending,
            killed_by: KilledBy::Nobody,
            last_words: None,
            oom: None,
            peak_memory: None,
            stderr_tail: None,
            deaths: 1,
        }
    }

    /// What of ours ended the worker.
    #[must_use]
    pub fn caused_by(mut self, who: KilledBy) -> Self {
        self.killed_by = who;
        self
    }

    /// What the kernel's counters say.
    #[must_use]
    pub fn with_oom(mut self, evidence: OomEvidence) -> Self {
        self.oom = Some(evidence);
        self
    }

    /// The most memory, in bytes, that the process had at any time.
    #[must_use]
    pub fn with_peak_memory(mut self, bytes: u64) -> Self {
        self.peak_memory = Some(bytes);
        self
    }

    /// The last of what the worker wrote to its captured standard error.
    #[must_use]
    pub fn with_stderr_tail(mut self, text: impl Into<Box<str>>) -> Self {
        self.stderr_tail = Some(text.into());
        self
    }

    /// How many workers have died of this task, this one included.
    #[must_use]
    pub fn with_deaths(mut self, deaths: u32) -> Self {
        self.deaths = deaths;
        self
    }

    /// What the worker could still say, such as its panic message under `panic = "abort"`.
    #[must_use]
    pub fn with_last_words(mut self, words: impl Into<Box<str>>) -> Self {
        self.last_words = Some(words.into());
        self
    }

    /// The process that died.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How it ended.
    pub fn ending(&self) -> Ending {
        self.ending
    }

    /// The exit code, if it exited.
    pub fn exit_code(&self) -> Option<i32> {
        match self.ending {
            Ending::Code(code) => Some(code),
            _ => None,
        }
    }

    /// The name of the signal that ended it, if one did.
    pub fn signal(&self) -> Option<&'static str> {
        self.ending.signal_name()
    }

    /// Whether a core was dumped.
    pub fn core_dumped(&self) -> bool {
        matches!(self.ending, Ending::Signal { core_dumped: true, .. })
    }

    /// What of the library's own, or of the limits that it set, ended it.
    pub fn killed_by(&self) -> KilledBy {
        self.killed_by
    }

    /// Whether our own pool, or a limit that it set, ended it.
    pub fn by_pool(&self) -> bool {
        self.killed_by != KilledBy::Nobody
    }

    /// Signs that the kernel ended it for lack of memory: it got SIGKILL, not from us, and the kernel's counter of such
    /// kills has grown.
    pub fn oom(&self) -> Option<OomEvidence> {
        self.oom
    }

    /// The most resident memory, in bytes, that it had at any time; `None` where the kernel's figure is not its own.
    pub fn peak_memory(&self) -> Option<u64> {
        self.peak_memory
    }

    /// The last lines of its standard error, when the pool captures output.
    pub fn stderr_tail(&self) -> Option<&str> {
        self.stderr_tail.as_deref()
    }

    /// How many workers this task has cost, this one included: more than one if it was tried again.
    pub fn deaths(&self) -> u32 {
        self.deaths
    }

    /// What it could still say before it died.
    pub fn last_words(&self) -> Option<&str> {
        self.last_words.as_deref()
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lost its worker: process {} ", self.pid)?;
        match self.ending {
            Ending::Code(code) => write!(f, "exited with code {code} before the task was done")?,
            Ending::Signal { number, core_dumped } => {
                write!(f, "was ended by {} (signal {number})", signal_name(number))?;
                if core_dumped {
                    f.write_str(", core dumped")?;
                }
            }
            Ending::Unknown => f.write_str("ended, and its status is not known")?,
        }
        if let Some(who) = self.killed_by.words() {
            write!(f, "; {who}")?;
        }
        match self.oom {
            Some(OomEvidence::Cgroup) => f.write_str("; the kernel killed for lack of memory in this cgroup")?,
            Some(OomEvidence::System) => f.write_str("; the kernel killed for lack of memory on this machine")?,
            None => {}
        }
        if let Some(peak) = self.peak_memory {
            write!(f, "; it had {} MiB at its peak", peak >> 20)?;
        }
        if self.deaths > 1 {
            write!(f, "; the task has cost {} workers", self.deaths)?;
        }
        if let Some(words) = &self.last_words {
            write!(f, "; its last words: {words}")?;
        }
        if let Some(tail) = &self.stderr_tail {
            write!(f, "; the end of its standard error:\n{tail}")?;
        }
        Ok(())
    }
}

impl KilledBy {
    fn words(self) -> Option<&'static str> {
        Some(match self {
            KilledBy::Nobody => return None,
            KilledBy::Shutdown => "its own pool ended it",
            KilledBy::Timeout => "its own pool ended it since a task ran out of time",
            KilledBy::Abort => "its own pool ended it since a task was aborted",
            KilledBy::Memory => "it ran into its memory limit",
            KilledBy::CpuTime => "it ran into its limit of CPU time",
            KilledBy::Protocol => "its own pool ended it since it did not keep to the protocol",
            KilledBy::Chaos => "chaos, which the pool was asked for, ended it",
        })
    }
}

fn signal_name(number: i32) -> &'static str {
    // Linux's numbers on the architectures Rust's tier 1 knows.
    const NAMES: [&str; 32] = [
        "signal 0",
        "SIGHUP",
        "SIGINT",
        "SIGQUIT",
        "SIGILL",
        "SIGTRAP",
        "SIGABRT",
        "SIGBUS",
        "SIGFPE",
        "SIGKILL",
        "SIGUSR1",
        "SIGSEGV",
        "SIGUSR2",
        "SIGPIPE",
        "SIGALRM",
        "SIGTERM",
        "SIGSTKFLT",
        "SIGCHLD",
        "SIGCONT",
        "SIGSTOP",
        "SIGTSTP",
        "SIGTTIN",
        "SIGTTOU",
        "SIGURG",
        "SIGXCPU",
        "SIGXFSZ",
        "SIGVTALRM",
        "SIGPROF",
        "SIGWINCH",
        "SIGIO",
        "SIGPWR",
        "SIGSYS",
    ];
    usize::try_from(number).ok().and_then(|n| NAMES.get(n).copied()).unwrap_or("a real-time signal")
}
