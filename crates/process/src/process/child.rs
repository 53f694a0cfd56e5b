//! A process that this one has started.

use super::server::{self, Forked};
use super::status::ExitStatus;
use super::stdio::Pipes;
use super::table;
use crate::sys::exit::ExitReport;
use crate::sys::pidfd;
use concurrent_futures_core::worker;
use concurrent_futures_ipc::reactor::{self, Ready};
use parking_lot::Mutex;
use rustix::process::Signal;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

/// So long whoever wants to know how a process has ended waits for its fork server, if the kernel does not say. It may be dead.
const FOR_STATUS: Duration = Duration::from_secs(5);

/// What all handles of one process share.
#[derive(Debug)]
pub(super) struct Child {
    pid: u32,
    name: String,
    daemon: bool,
    /// Its pidfd.
    process: OwnedFd,
    /// Of the fork server, which reaps it then.
    forked: Option<Forked>,
    /// It ends when nobody has this end of its control socket. `None`: it may outlive this process.
    control: Mutex<Option<OwnedFd>>,
    outlives: bool,
    /// The process that has started it.
    creator: u32,
    status: Mutex<Option<ExitStatus>>,
    pipes: Mutex<Pipes>,
    /// The user's.
    handles: AtomicUsize,
    /// Has it reaped when it ends and nobody has a handle.
    watch: Mutex<Option<Ready>>,
}

/// What is known of a process that has just been started.
#[derive(Debug)]
pub(super) struct Newborn {
    pub(super) pid: u32,
    pub(super) process: OwnedFd,
    pub(super) forked: Option<Forked>,
    pub(super) control: Option<OwnedFd>,
}

impl Child {
    /// Enters it into the table of this process's children, where it stays until it is reaped.
    pub(super) fn register(newborn: Newborn, name: String, daemon: bool, pipes: Pipes) -> Arc<Self> {
        let Newborn { pid, process, forked, control } = newborn;
        let child = Arc::new(Child {
            pid,
            name,
            daemon,
            process,
            forked,
            outlives: control.is_none(),
            control: Mutex::new(control),
            creator: std::process::id(),
            status: Mutex::new(None),
            pipes: Mutex::new(pipes),
            handles: AtomicUsize::new(0),
            watch: Mutex::new(None),
        });
        table::add(child.clone());
        child
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn daemon(&self) -> bool {
        self.daemon
    }

    /// Its end is not tied to this process's.
    pub(super) fn outlives(&self) -> bool {
        self.outlives
    }

    /// In a fork, where copies of its handles may stay for ever: it is to see its parent's end, not the fork's.
    pub(super) fn let_go(&self) {
        drop(self.control.lock().take());
    }

    pub(super) fn pipes(&self) -> &Mutex<Pipes> {
        &self.pipes
    }

    /// Closes this process's ends of the pipes that nobody has taken.
    pub(super) fn close_pipes(&self) {
        *self.pipes.lock() = Pipes::default();
    }

    /// One that has ended already is no error.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        pidfd::signal(&self.process, signal)
    }

    /// Whether it has ended; it may be unreaped.
    pub(super) fn has_ended(&self) -> io::Result<bool> {
        pidfd::wait_end(&self.process, Duration::ZERO)
    }

    /// Its status, if it has ended. It is reaped then, and leaves the table. `None`: it has not ended; or its fork server has not
    /// said how, and would have to be waited for.
    pub(super) fn try_reap(&self) -> io::Result<Option<ExitStatus>> {
        self.reap(Duration::ZERO)
    }

    /// The same, and waits for the fork server.
    pub(super) fn status(&self) -> io::Result<Option<ExitStatus>> {
        self.reap(FOR_STATUS)
    }

    fn reap(&self, patience: Duration) -> io::Result<Option<ExitStatus>> {
        let mut status = self.status.lock();
        if status.is_some() {
            return Ok(*status);
        }
        if self.creator != std::process::id() {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "only the process that has started a process can wait for it",
            ));
        }
        if !self.has_ended()? {
            return Ok(None);
        }
        let report = match self.forked {
            None => match pidfd::reap_child(self.process.as_fd())? {
                // It has ended, and who traces it (a debugger, `strace -f`) has not seen that yet.
                None if patience.is_zero() => return Ok(None),
                None => pidfd::reap_ended_child(self.process.as_fd())?.map(|exit| exit.report),
                Some(exit) => Some(exit.report),
            },
            Some(forked) => match server::report(forked, self.process.as_fd(), patience) {
                None if patience.is_zero() => return Ok(None),
                report => {
                    server::forget(forked);
                    report
                }
            },
        };
        let known = ExitStatus::from(report.unwrap_or(ExitReport::Unknown));
        *status = Some(known);
        drop(status);
        table::remove(self);
        Ok(Some(known))
    }

    /// Waits for its end, for ever or until then. `None`: it is still there.
    pub(super) fn join_until(&self, deadline: Option<Instant>) -> io::Result<Option<ExitStatus>> {
        if let Some(status) = self.status()? {
            return Ok(Some(status));
        }
        // A pool whose thread waits here puts another one in its place.
        worker::blocking(|| pidfd::wait_end_until(&self.process, deadline))?;
        self.status()
    }

    pub(super) fn add_handle(&self) {
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    /// A handle of the user's is dropped. With the last one, it is left to itself, to the table, and to the reactor.
    pub(super) fn drop_handle(self: &Arc<Self>) {
        if self.handles.fetch_sub(1, Ordering::AcqRel) > 1 || self.creator != std::process::id() {
            return;
        }
        self.close_pipes();
        if let Ok(None) = self.try_reap() {
            self.reap_when_it_ends();
        }
    }

    /// Without the descriptors that this needs, it is reaped when this process starts another one, asks for those that are
    /// active, or ends.
    fn reap_when_it_ends(self: &Arc<Self>) {
        let mut watch = self.watch.lock();
        if watch.is_some() {
            return;
        }
        let Ok(mut readable) = reactor::readable(&self.process) else { return };
        let reaper = Waker::from(Arc::new(Reaper(Arc::downgrade(self))));
        if Pin::new(&mut readable).poll(&mut Context::from_waker(&reaper)).is_pending() {
            *watch = Some(readable);
            return;
        }
        drop(watch);
        let _ = self.try_reap();
    }
}

/// Called by the reactor's thread.
struct Reaper(Weak<Child>);

impl Wake for Reaper {
    fn wake(self: Arc<Self>) {
        if let Some(child) = self.0.upgrade() {
            // One that somebody else has reaped is not there any more either.
            let _ = child.try_reap();
        }
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }
}
