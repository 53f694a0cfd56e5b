//! How a process has ended.

use crate::sys::exit::ExitReport;
use concurrent_futures_core::Ending;
use std::fmt;

/// How a process has ended: by itself, with an exit code, or by a signal.
///
/// ```
/// use concurrent_futures_process::Process;
/// use std::process::ExitCode;
///
/// let status = Process::start(|code| ExitCode::from(code), 7_u8)?.join()?;
/// assert_eq!(status.code(), Some(7));
/// assert!(!status.success());
/// assert_eq!(status.to_string(), "exit code 7");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitStatus(Ending);

impl ExitStatus {
    /// It has left by itself, with the exit code zero.
    pub fn success(self) -> bool {
        self.code() == Some(0)
    }

    /// The exit code, if it has left by itself. A target that panics gives 101.
    pub fn code(self) -> Option<i32> {
        match self.0 {
            Ending::Code(code) => Some(code),
            _ => None,
        }
    }

    /// The number of the signal that has ended it, if one has.
    pub fn signal(self) -> Option<i32> {
        match self.0 {
            Ending::Signal { number, .. } => Some(number),
            _ => None,
        }
    }

    /// The name of that signal, as in `"SIGKILL"`.
    pub fn signal_name(self) -> Option<&'static str> {
        self.0.signal_name()
    }

    /// Whether a core was dumped.
    pub fn core_dumped(self) -> bool {
        matches!(self.0, Ending::Signal { core_dumped: true, .. })
    }

    /// The same in the words of the pools. [`Ending::Unknown`] where something else in the program has taken the status: a
    /// `waitpid(-1)`, or an ignored SIGCHLD.
    pub fn ending(self) -> Ending {
        self.0
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ending::Code(code) => write!(f, "exit code {code}"),
            Ending::Signal { number, core_dumped } => {
                write!(f, "{} (signal {number})", self.signal_name().unwrap_or_default())?;
                if core_dumped { f.write_str(", core dumped") } else { Ok(()) }
            }
            _ => f.write_str("ended, and how is not known"),
        }
    }
}

impl From<ExitReport> for ExitStatus {
    fn from(report: ExitReport) -> Self {
        ExitStatus(match report {
            ExitReport::Code(code) => Ending::Code(code),
            ExitReport::Signal { signal, core_dumped } => Ending::Signal { number: signal, core_dumped },
            ExitReport::Unknown => Ending::Unknown,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_end_has_words() {
        let killed = ExitStatus::from(ExitReport::Signal { signal: 9, core_dumped: false });
        assert_eq!(killed.to_string(), "SIGKILL (signal 9)");
        assert_eq!((killed.code(), killed.signal(), killed.success()), (None, Some(9), false));
        let crashed = ExitStatus::from(ExitReport::Signal { signal: 11, core_dumped: true });
        assert_eq!(crashed.to_string(), "SIGSEGV (signal 11), core dumped");
        assert_eq!(ExitStatus::from(ExitReport::Code(3)).to_string(), "exit code 3");
        let unknown = ExitStatus::from(ExitReport::Unknown);
        assert_eq!((unknown.code(), unknown.signal(), unknown.success()), (None, None, false));
        assert_eq!(unknown.to_string(), "ended, and how is not known");
    }
}
