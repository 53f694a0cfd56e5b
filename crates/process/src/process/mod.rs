//! [`Process`]: a function that runs in a process of its own. `README.md` beside this file has its life.

mod builder;
mod call;
mod child;
pub(crate) mod current;
mod environment;
mod fork;
pub(crate) mod life;
mod orders;
mod server;
mod status;
mod stdio;
mod table;

pub use builder::ProcessBuilder;
pub use current::{CurrentProcess, ParentProcess, current_process, parent_process};
pub use status::ExitStatus;
pub use stdio::Stdio;

use child::Child;
use concurrent_futures_core::Portable;
use concurrent_futures_ipc::reactor;
use rustix::process::Signal;
use std::fmt;
use std::future::Future;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Termination;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A process that runs a function of this program: Python's `multiprocessing.Process`.
///
/// The function gets one argument, which travels as those of tasks do: anything that is `Serialize` and `Deserialize`, with
/// whatever of this library's handles is in it. It returns what `main` may return: nothing, an
/// [`ExitCode`](std::process::ExitCode), a `Result<(), E>`. That makes the exit code; results travel by a pipe, a queue or
/// shared memory. (For results, a [pool](crate::ProcessPoolExecutor) is simpler.)
///
/// ```
/// use concurrent_futures_process::Process;
///
/// fn greet((name, times): (String, u32)) {
///     for _ in 0..times {
///         println!("hello, {name}");
///     }
/// }
///
/// let process = Process::start(greet, ("world".to_owned(), 2))?;
/// let status = process.join()?;
/// assert!(status.success());
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// [`Process::target`] gives a builder for all else that can be said: name, daemon, standard streams, environment, directory.
///
/// # Exit code
///
/// What the function's return means for a program; 101 after a panic, with its message on standard error (Python says 1; in a
/// program that is built with `panic = "abort"` it is SIGABRT). Code that calls `std::process::exit` ends the process with that
/// code. At the end it does what the end of a program does: it writes out standard output, waits for the processes that it has
/// started itself, and for pools that still work.
///
/// # Who ends when
///
/// The process ends when its parent does, in whatever way that happens, and whatever it is doing; unless it may
/// [outlive it](ProcessBuilder::outlive_parent). Before its own end, the parent waits for processes that nobody has waited
/// for, and sends SIGTERM to [daemons](ProcessBuilder::daemon).
///
/// Dropping the last handle of a process lets it go on: it stays among the [`active_children`], is reaped when it has ended,
/// and is waited for at the end of the program.
#[must_use = "dropping it lets the process go on; `join` waits for its end"]
pub struct Process(Arc<Child>);

impl Process {
    /// Starts a process that calls `f` with `args`.
    ///
    /// ```
    /// use concurrent_futures_process::Process;
    ///
    /// let process = Process::start(|(a, b): (u8, u8)| std::process::exit((a + b).into()), (2, 3))?;
    /// assert_eq!(process.join()?.code(), Some(5));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The process cannot be started (no process, memory or descriptor is left); the argument cannot be sent; the function is
    /// not part of this program's own file; this process is a daemon, which may not have children, or cannot start itself
    /// again. Nothing is left behind then.
    pub fn start<A: Portable, R: Termination + 'static>(f: fn(A) -> R, args: A) -> io::Result<Self> {
        Self::target(f, args).start()
    }

    /// A process that calls `f` with `args`, to be described and then [started](ProcessBuilder::start).
    ///
    /// ```
    /// use concurrent_futures_process::Process;
    ///
    /// let process = Process::target(|seconds: u64| println!("{seconds}"), 3).name("counter").start()?;
    /// assert_eq!(process.name(), "counter");
    /// process.join()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn target<A, R: Termination + 'static>(f: fn(A) -> R, args: A) -> ProcessBuilder<A, R> {
        ProcessBuilder::new(f, args)
    }

    /// Its number in the system. When it has been waited for, another process may get it.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Its name: `Process-1` and so on, if none was given.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Whether it was started as a daemon.
    pub fn daemon(&self) -> bool {
        self.0.daemon()
    }

    /// Waits until it has ended, and gives how. Any number of times, and from any number of threads.
    ///
    /// A process that writes into a pipe which nobody reads does not end: read first, or drop the pipe.
    ///
    /// ```
    /// use concurrent_futures_process::Process;
    ///
    /// let process = Process::start(|()| panic!("on purpose"), ())?;
    /// assert_eq!(process.join()?.code(), Some(101));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// This process has not started it (it is a fork of the one that has).
    pub fn join(&self) -> io::Result<ExitStatus> {
        loop {
            // A wait without limit ends with the process.
            if let Some(status) = self.0.join_until(None)? {
                return Ok(status);
            }
        }
    }

    /// As [`join`](Self::join), but not longer than that. `None`: it is still there.
    ///
    /// ```
    /// use concurrent_futures_process::Process;
    /// use std::time::Duration;
    ///
    /// let process = Process::start(|()| loop { std::thread::park() }, ())?;
    /// assert!(process.join_timeout(Duration::from_millis(1))?.is_none() && process.is_alive());
    /// process.kill()?;
    /// assert_eq!(process.join()?.signal_name(), Some("SIGKILL"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As of [`join`](Self::join).
    pub fn join_timeout(&self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        self.0.join_until(Instant::now().checked_add(timeout))
    }

    /// Whether it has not ended.
    pub fn is_alive(&self) -> bool {
        // Reaps it by the way.
        matches!(self.0.try_reap(), Ok(None)) && !self.0.has_ended().unwrap_or(false)
    }

    /// How it has ended; `None` while it runs.
    ///
    /// ```
    /// use concurrent_futures_process::Process;
    ///
    /// let process = Process::start(|()| (), ())?;
    /// process.join()?;
    /// assert!(process.exit_status().is_some_and(|status| status.success()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.0.status().ok().flatten()
    }

    /// Completes when it has ended, with how; on any runtime. It needs no handle any more, and dropping it changes nothing.
    ///
    /// ```
    /// use concurrent_futures_process::Process;
    ///
    /// let process = Process::start(|()| (), ())?;
    /// assert!(futures::executor::block_on(process.wait())?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As of [`join`](Self::join); or there is no descriptor or no thread left to wait with.
    pub fn wait(&self) -> impl Future<Output = io::Result<ExitStatus>> + Send + use<> {
        let process = self.clone();
        async move {
            loop {
                if let Some(status) = process.0.status()? {
                    return Ok(status);
                }
                reactor::readable(&process)?.await?;
            }
        }
    }

    /// Lets the handle go, if the process has ended: what [`exit_status`](Self::exit_status) and then dropping it would do.
    ///
    /// ```
    /// use concurrent_futures_process::Process;
    ///
    /// let process = Process::start(|()| loop { std::thread::park() }, ())?;
    /// let process = process.close().expect_err("it runs");
    /// process.terminate()?;
    /// process.join()?;
    /// assert_eq!(process.close().expect("it has ended").signal_name(), Some("SIGTERM"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// It still runs: here is the handle.
    pub fn close(self) -> Result<ExitStatus, Process> {
        self.exit_status().ok_or(self)
    }

    /// Asks it to end, by SIGTERM, which it may handle. Processes that it has started end with it, if they are ours.
    ///
    /// The signal goes to this very process, never to another one that has got its number. One that has ended is no error.
    ///
    /// # Errors
    ///
    /// It may not be sent a signal: it runs as another user.
    pub fn terminate(&self) -> io::Result<()> {
        self.0.signal(Signal::TERM)
    }

    /// Ends it at once, by SIGKILL. Otherwise as [`terminate`](Self::terminate).
    ///
    /// # Errors
    ///
    /// As of [`terminate`](Self::terminate).
    pub fn kill(&self) -> io::Result<()> {
        self.0.signal(Signal::KILL)
    }

    /// Interrupts it as Ctrl-C would, by SIGINT, which ends it unless it handles that. Otherwise as
    /// [`terminate`](Self::terminate).
    ///
    /// # Errors
    ///
    /// As of [`terminate`](Self::terminate).
    pub fn interrupt(&self) -> io::Result<()> {
        self.0.signal(Signal::INT)
    }

    /// The writing end of its standard input, if that is [piped](Stdio::piped) and nobody has taken it.
    pub fn take_stdin(&self) -> Option<PipeWriter> {
        self.0.pipes().lock().stdin.take()
    }

    /// The reading end of its standard output, if that is [piped](Stdio::piped) and nobody has taken it.
    pub fn take_stdout(&self) -> Option<PipeReader> {
        self.0.pipes().lock().stdout.take()
    }

    /// The reading end of its standard error, if that is [piped](Stdio::piped) and nobody has taken it.
    pub fn take_stderr(&self) -> Option<PipeReader> {
        self.0.pipes().lock().stderr.take()
    }

    fn of(child: Arc<Child>) -> Self {
        child.add_handle();
        Process(child)
    }
}

/// Another handle of the same process.
impl Clone for Process {
    fn clone(&self) -> Self {
        Process::of(self.0.clone())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.drop_handle();
    }
}

/// A descriptor that is readable when the process has ended (a pidfd): for `poll`, `epoll` and the like.
impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Process");
        shown.field("name", &self.name()).field("pid", &self.pid()).field("daemon", &self.daemon());
        match self.0.try_reap() {
            Ok(status) => shown.field("status", &status).finish(),
            Err(_) => shown.finish_non_exhaustive(),
        }
    }
}

/// The processes that this one has started and that have not ended. Those that have ended are reaped by the way.
///
/// ```
/// use concurrent_futures_process::{Process, active_children};
///
/// let process = Process::start(|()| loop { std::thread::park() }, ())?;
/// assert!(active_children().iter().any(|child| child.pid() == process.pid()));
/// process.kill()?;
/// process.join()?;
/// assert!(active_children().iter().all(|child| child.pid() != process.pid()));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn active_children() -> Vec<Process> {
    table::alive().into_iter().map(Process::of).collect()
}

/// How many CPUs the machine has. (How many this process may use, by its affinity and its cgroup, is the default size of pools.)
///
/// ```
/// assert!(concurrent_futures_process::cpu_count() >= 1);
/// ```
pub fn cpu_count() -> usize {
    // SAFETY: asks for a number.
    let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    usize::try_from(count).unwrap_or(1).max(1)
}
