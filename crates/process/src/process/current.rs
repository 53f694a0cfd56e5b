//! What a process knows of itself and of its parent.

use super::orders::ParentIs;
use crate::sys::pidfd;
use concurrent_futures_ipc::reactor;
use parking_lot::{RwLock, RwLockWriteGuard};
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Names of the process that the user has started.
const MAIN: &str = "MainProcess";

/// What this process is, if it is not the one that the user has started.
static STANDING: RwLock<Option<Arc<Standing>>> = RwLock::new(None);

#[derive(Debug)]
pub(super) struct Standing {
    name: String,
    /// Its number among its parent's children, behind its parent's own.
    identity: Vec<u32>,
    daemon: bool,
    parent: Option<ParentProcess>,
}

/// Held by a process while it is forked, so that the fork can change it.
#[derive(Debug)]
pub(super) struct Held(RwLockWriteGuard<'static, Option<Arc<Standing>>>);

pub(super) fn hold() -> Held {
    Held(STANDING.write())
}

/// This process is a child of another one of this program.
pub(super) fn become_child(
    held: Held,
    name: String,
    identity: Vec<u32>,
    daemon: bool,
    parent: ParentIs,
    process: Option<OwnedFd>,
) {
    let Held(mut standing) = held;
    let parent =
        process.map(|process| ParentProcess { pid: parent.pid, name: parent.name, process: Arc::new(process) });
    *standing = Some(Arc::new(Standing { name, identity, daemon, parent }));
}

/// This process is a worker of a pool. What its tasks start are children of a process without a number.
pub(crate) fn become_worker(name: &str) {
    let (identity, daemon, parent) = (Vec::new(), false, None);
    *STANDING.write() = Some(Arc::new(Standing { name: name.to_owned(), identity, daemon, parent }));
}

/// This process's number among its parent's children, behind its parent's own; empty in the program that the user has started.
pub(super) fn identity() -> Vec<u32> {
    STANDING.read().as_ref().map(|standing| standing.identity.clone()).unwrap_or_default()
}

/// The process that this code runs in.
///
/// ```
/// use concurrent_futures_process::current_process;
///
/// let me = current_process();
/// assert_eq!(me.name(), "MainProcess");
/// assert_eq!(me.pid(), std::process::id());
/// assert!(!me.daemon());
/// ```
pub fn current_process() -> CurrentProcess {
    CurrentProcess { standing: STANDING.read().clone() }
}

/// What [`current_process`] gives.
#[derive(Clone, Debug)]
pub struct CurrentProcess {
    standing: Option<Arc<Standing>>,
}

impl CurrentProcess {
    /// The name that it was started with: `Process-1` if none was given, and `Process-1:2` for the second process that this one
    /// starts. `MainProcess` in the program that the user has started. Workers of pools have names, too.
    pub fn name(&self) -> &str {
        self.standing.as_ref().map_or(MAIN, |standing| &standing.name)
    }

    /// Its number in the system.
    pub fn pid(&self) -> u32 {
        std::process::id()
    }

    /// Whether it was started as a daemon.
    pub fn daemon(&self) -> bool {
        self.standing.as_ref().is_some_and(|standing| standing.daemon)
    }
}

/// The process that has started this one; `None` in the program that the user has started, and in workers of a pool.
///
/// ```
/// use concurrent_futures_process::{Process, parent_process};
/// use std::process::ExitCode;
///
/// assert!(parent_process().is_none());
/// let child = Process::start(|pid| ExitCode::from(parent_process().is_some_and(|parent| parent.pid() == pid) as u8), std::process::id())?;
/// assert_eq!(child.join()?.code(), Some(1));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn parent_process() -> Option<ParentProcess> {
    STANDING.read().as_ref().and_then(|standing| standing.parent.clone())
}

/// The process that has started this one. Its end can be waited for, which makes sense for a process that
/// [outlives](super::ProcessBuilder::outlive_parent) its parent: any other ends with it.
///
/// ```
/// use concurrent_futures_process::{Process, parent_process};
///
/// let child = Process::start(|()| assert!(parent_process().expect("it has one").is_alive()), ())?;
/// assert!(child.join()?.success());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ParentProcess {
    pid: u32,
    name: String,
    /// A pidfd, which names that process also when its number is somebody else's.
    process: Arc<OwnedFd>,
}

impl ParentProcess {
    /// Its number in the system, which is another process's perhaps when it has ended.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its name, as of [`CurrentProcess::name`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it has not ended.
    pub fn is_alive(&self) -> bool {
        !pidfd::wait_end(&self.process, Duration::ZERO).unwrap_or(false)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// Those of the system's `poll`.
    pub fn join(&self) -> io::Result<()> {
        pidfd::wait_end_until(&self.process, None).map(drop)
    }

    /// Completes when it has ended; on any runtime.
    ///
    /// # Errors
    /// There is no descriptor or no thread left to wait with.
    pub fn wait(&self) -> impl Future<Output = io::Result<()>> + Send + use<> {
        let process = self.process.clone();
        async move { reactor::readable(&process)?.await }
    }

    /// As [`join`](Self::join), but not longer than that. `false`: it is still there.
    ///
    /// # Errors
    /// As of [`join`](Self::join).
    pub fn join_timeout(&self, timeout: Duration) -> io::Result<bool> {
        pidfd::wait_end_until(&self.process, Instant::now().checked_add(timeout))
    }
}

/// A descriptor that is readable when the process has ended: for `poll`, `epoll` and the like.
impl AsFd for ParentProcess {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }
}
