//! Starting worker processes: by the fork server, or by spawning this program again.
//!
//! `README.md` beside this file has the protocol.

pub(crate) mod forkserver;
mod launcher;
mod preload;
pub(crate) mod protocol;
pub(crate) mod spawn;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use concurrent_futures_core::TaskError;

pub(crate) use self::launcher::Launcher;
pub(crate) use crate::sys::exit::{Exit, ExitReport};

/// A worker's number within its pool; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct WorkerId(pub(crate) u64);

/// The ends of a worker that go with it.
#[derive(Debug)]
pub(crate) struct Ends {
    /// Of its control socket.
    pub(crate) control: OwnedFd,
    /// Its standard output and error, if they are not those of this process.
    pub(crate) output: Option<[OwnedFd; 2]>,
}

/// How a worker process came into being.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Born {
    /// By exec of this program.
    Spawned,
    /// By fork of the fork server, after the preload.
    Forked,
}

/// How workers are started, and [processes](crate::Process).
///
/// ```
/// use concurrent_futures_core::ExecutorExt;
/// use concurrent_futures_process::{ProcessPoolExecutor, StartMethod};
///
/// let pool = ProcessPoolExecutor::builder().start_method(StartMethod::Spawn).build()?;
/// assert_eq!(pool.submit(|x: u64| x + 1, 1).result()?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartMethod {
    /// One process with one thread, started with the pool, forks the workers: the quickest, and what it has
    /// preloaded is shared by all workers. They have its environment and its current directory, those from the
    /// start of the pool. Whatever the tasks have started ends with the pool.
    ///
    /// Processes share one of their own, which has preloaded nothing; they have what this process has when they are started.
    #[default]
    ForkServer,
    /// Each worker is started by exec, with nothing inherited but its standard output and error.
    Spawn,
}

/// A call that the fork server makes once, before it forks the first worker: offsets as of
/// [`image`](crate::image), and the encoded argument.
#[derive(Clone, Debug)]
pub(crate) struct PreloadCall {
    pub(crate) trampoline: u64,
    pub(crate) function: u64,
    pub(crate) input: Arc<[u8]>,
}

/// What [`Launcher::poll_events`] reports.
#[derive(Debug)]
pub(crate) enum LaunchEvent {
    /// The process is there. A forked one has the preload in it, a spawned one has not.
    Started { worker: WorkerId, pid: i32, pidfd: OwnedFd, born: Born },
    /// The worker could not be started; its control socket is closed.
    Failed { worker: WorkerId, error: io::Error },
    /// How a worker ended for which [`Launcher::reap`] had no answer yet.
    Exited { worker: WorkerId, exit: Exit },
    /// The fork server can no longer fork safely. From now on workers are spawned.
    FellBack { why: String },
    /// The fork server has ended; another one is started for the next worker. Those that are there live on.
    ServerDied {
        #[cfg_attr(not(test), expect(dead_code, reason = "shown by Debug"))]
        status: ExitReport,
    },
    /// The preload call failed: no worker will be started any more.
    PreloadFailed { error: TaskError },
}
