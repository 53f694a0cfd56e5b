//! A process that this one has started.

use super::status::ExitStatus;
use super::stdio::Pipes;
use super::table;
use crate::sys::pidfd;
use concurrent_futures_core::worker;
use parking_lot::Mutex;
use rustix::process::Signal;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What all handles of one process share.
#[derive(Debug)]
pub(super) struct Child {
    pid: u32,
    name: String,
    daemon: bool,
    /// Its pidfd.
    process: OwnedFd,
    /// It ends when nobody has this end of its control socket. `None`: it may outlive this process.
    _control: Option<OwnedFd>,
    /// The process that has started it.
    creator: u32,
    status: Mutex<Option<ExitStatus>>,
    pipes: Mutex<Pipes>,
    /// The user's.
    handles: AtomicUsize,
}

/// What is known of a process that has just been started.
#[derive(Debug)]
pub(super) struct Newborn {
    pub(super) pid: u32,
    pub(super) process: OwnedFd,
    pub(super) control: Option<OwnedFd>,
}

impl Child {
    /// Enters it into the table of this process's children, where it stays until it is reaped.
    pub(super) fn register(newborn: Newborn, name: String, daemon: bool, pipes: Pipes) -> Arc<Self> {
        let Newborn { pid, process, control } = newborn;
        let child = Arc::new(Child {
            pid,
            name,
            daemon,
            process,
            _control: control,
            creator: std::process::id(),
            status: Mutex::new(None),
            pipes: Mutex::new(pipes),
            handles: AtomicUsize::new(0),
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

    /// Its status, if it has ended. It is reaped then, and leaves the table.
    pub(super) fn try_reap(&self) -> io::Result<Option<ExitStatus>> {
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
        if !pidfd::wait_end(&self.process, Duration::ZERO)? {
            return Ok(None);
        }
        *status = Some(self.collect()?);
        let known = *status;
        drop(status);
        table::remove(self);
        Ok(known)
    }

    fn collect(&self) -> io::Result<ExitStatus> {
        let exit = pidfd::reap_child(self.process.as_fd())?;
        Ok(exit.map_or(crate::sys::exit::ExitReport::Unknown, |exit| exit.report).into())
    }

    /// Waits for its end, for ever or until then. `None`: it is still there.
    pub(super) fn join_until(&self, deadline: Option<Instant>) -> io::Result<Option<ExitStatus>> {
        if let Some(status) = self.try_reap()? {
            return Ok(Some(status));
        }
        // A pool whose thread waits here puts another one in its place.
        worker::blocking(|| pidfd::wait_end_until(&self.process, deadline))?;
        self.try_reap()
    }

    pub(super) fn add_handle(&self) {
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    /// A handle of the user's is dropped.
    pub(super) fn drop_handle(&self) {
        if self.handles.fetch_sub(1, Ordering::AcqRel) == 1 && self.creator == std::process::id() {
            self.close_pipes();
            // One that runs stays in the table; an error is one of the next who asks.
            let _ = self.try_reap();
        }
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }
}
