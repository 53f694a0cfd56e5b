//! How a process ended.

use std::fmt;

/// How a worker ended, as far as it could be learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitReport {
    /// It left by itself, with this exit code.
    Code(i32),
    /// A signal ended it.
    Signal { signal: i32, core_dumped: bool },
    /// Somebody else took the status (`waitpid(-1)` in the program, or the fork server died with it).
    Unknown,
}

/// The end of a process, and what it had used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) report: ExitReport,
    /// The most memory that it had at a time, in bytes; or that a program had which it has started and waited for, if that
    /// was more. Known only to whoever reaps it.
    pub(crate) peak_memory: Option<u64>,
}

impl Exit {
    pub(crate) const UNKNOWN: Self = Self { report: ExitReport::Unknown, peak_memory: None };
}

impl From<ExitReport> for Exit {
    fn from(report: ExitReport) -> Self {
        Self { report, peak_memory: None }
    }
}

impl fmt::Display for ExitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal { signal, core_dumped: false } => write!(f, "signal {signal}"),
            Self::Signal { signal, core_dumped: true } => write!(f, "signal {signal}, core dumped"),
            Self::Unknown => f.write_str("how is not known"),
        }
    }
}

impl ExitReport {
    /// From the status word of `wait`, which PIDFD_GET_INFO and `/proc/<pid>/stat` give too.
    pub(crate) fn from_wait_status(status: i32) -> Self {
        if libc::WIFEXITED(status) {
            Self::Code(libc::WEXITSTATUS(status))
        } else if libc::WIFSIGNALED(status) {
            Self::Signal { signal: libc::WTERMSIG(status), core_dumped: libc::WCOREDUMP(status) }
        } else {
            Self::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_word_is_read_as_wait_defines_it() {
        assert_eq!(ExitReport::from_wait_status(7 << 8), ExitReport::Code(7));
        assert_eq!(
            ExitReport::from_wait_status(libc::SIGKILL),
            ExitReport::Signal { signal: libc::SIGKILL, core_dumped: false }
        );
        assert_eq!(
            ExitReport::from_wait_status(libc::SIGSEGV | 0x80),
            ExitReport::Signal { signal: libc::SIGSEGV, core_dumped: true }
        );
        assert_eq!(ExitReport::from_wait_status(0x137f), ExitReport::Unknown);
    }
}
