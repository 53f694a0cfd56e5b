//! The fork server that this program's processes are forked by: started by the first that needs it, and there until the end of
//! the program. It is not a pool's, as it has nothing preloaded.

use crate::boot;
use crate::boot::variable::Role;
use crate::launch::protocol::{self, Report};
use crate::launch::spawn::{self, Spawned};
use crate::launch::{Ends, ExitReport, WorkerId, forkserver};
use crate::sys::credentials::Credentials;
use crate::sys::{pidfd, socket};
use parking_lot::{Mutex, MutexGuard};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// A fork server that says nothing for so long (it is stopped, perhaps) is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// After so many that died there is no point in another one.
const ATTEMPTS: u32 = 3;

static CLIENT: Mutex<Client> = Mutex::new(Client { owner: 0, server: None, refused: None, next: 0, reports: None });

/// This process's side.
#[derive(Debug)]
struct Client {
    /// Whose it is. A fork of it has another one.
    owner: u32,
    server: Option<Server>,
    /// It can never fork, and why.
    refused: Option<String>,
    next: u64,
    /// Of those that nobody has asked for: how they have ended, if they have.
    reports: Option<HashMap<u64, Option<ExitReport>>>,
}

#[derive(Debug)]
struct Server {
    socket: OwnedFd,
    process: Spawned,
    /// Whose rights it has, and all that it forks.
    rights: Credentials,
}

/// Which of its processes it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forked(u64);

/// Why there is no process.
#[derive(Debug)]
pub(super) enum Failed {
    /// It must be spawned: this program's constructors start threads, so nothing can be forked safely, or this process has
    /// other rights than it had when the fork server was started.
    Refused,
    Error(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Failed::Error(error)
    }
}

/// Has a process forked that takes its orders from `control`.
pub(super) fn fork(name: &str, control: BorrowedFd<'_>) -> Result<(u32, OwnedFd, Forked), Failed> {
    let mut client = client();
    if client.has_other_rights()? {
        return Err(Failed::Refused);
    }
    let mut attempt = 1;
    loop {
        if client.refused.is_some() {
            return Err(Failed::Refused);
        }
        match client.try_fork(name, control) {
            Err(Failed::Error(error)) if is_end(&error) => {
                if attempt == ATTEMPTS {
                    let words = format!("the fork server has ended, or said nothing, {ATTEMPTS} times in a row");
                    return Err(io::Error::new(error.kind(), words).into());
                }
                attempt += 1;
            }
            other => return other,
        }
    }
}

/// How a process has ended that the fork server has started: `None` if that is not known after so long.
pub(super) fn report(forked: Forked, process: BorrowedFd<'_>, patience: Duration) -> Option<ExitReport> {
    // The kernel tells, since 6.15, or as long as it is not reaped.
    let known = pidfd::exit_of_other(process);
    let mut client = client();
    let deadline = Instant::now() + patience;
    while known.is_none() && client.reports().get(&forked.0).is_some_and(Option::is_none) {
        let Ok(true) = client.hear(deadline.saturating_duration_since(Instant::now())) else { break };
    }
    // What else it has said is taken out of the socket: it says no more, and reaps nobody, when that is full.
    while let Ok(true) = client.hear(Duration::ZERO) {}
    // Reaped meanwhile, by a fork server that has died since.
    known.or_else(|| client.reports().get(&forked.0).copied().flatten()).or_else(|| pidfd::exit_of_other(process))
}

/// Nobody will ask for it any more.
pub(super) fn forget(forked: Forked) {
    client().reports().remove(&forked.0);
}

/// Ends the fork server, at the end of the program, when its processes have ended.
pub(super) fn stop() {
    let server = client().server.take();
    if let Some(Server { socket, process, rights: _ }) = server {
        drop(socket);
        // One that is stopped would not see the end.
        let told = pidfd::signal(&process.pidfd, Signal::CONT);
        if told.and_then(|()| pidfd::wait_end(&process.pidfd, PATIENCE)).is_ok_and(|ended| ended) {
            // Unless somebody else has done it.
            let _ = pidfd::reap_child(process.pidfd.as_fd());
        } else {
            bury(process);
        }
    }
}

/// In a fork of this process: the fork server is its parent's.
pub(super) fn let_go() {
    drop(client());
}

fn client() -> MutexGuard<'static, Client> {
    let mut client = CLIENT.lock();
    let this = std::process::id();
    if client.owner != this {
        *client = Client { owner: this, server: None, refused: None, next: 0, reports: None };
    }
    client
}

impl Client {
    fn reports(&mut self) -> &mut HashMap<u64, Option<ExitReport>> {
        self.reports.get_or_insert_default()
    }

    /// Whether this process has given up rights, or has got some, since the fork server was started: what that forks would
    /// have those of then.
    fn has_other_rights(&self) -> io::Result<bool> {
        match &self.server {
            Some(server) => Ok(server.rights != Credentials::of_this_process()?),
            None => Ok(false),
        }
    }

    fn try_fork(&mut self, name: &str, control: BorrowedFd<'_>) -> Result<(u32, OwnedFd, Forked), Failed> {
        let id = self.next;
        self.next += 1;
        let socket = &self.server()?.socket;
        if let Err(error) = protocol::send_fork_process(socket, WorkerId(id), name, control) {
            if is_end(&error) {
                self.bury();
            }
            return Err(error.into());
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.next_report(deadline.saturating_duration_since(Instant::now()))? {
                Some(Report::Started { worker: WorkerId(started), pid, pidfd }) if started == id => {
                    self.reports().insert(id, None);
                    return Ok((pid.cast_unsigned(), pidfd, Forked(id)));
                }
                Some(Report::Failed { worker: WorkerId(failed), error }) if failed == id => return Err(error.into()),
                Some(Report::Refused { why }) => {
                    self.refused = Some(why);
                    return Err(Failed::Refused);
                }
                Some(report) => self.take(report),
                None => {
                    // It would fork when it goes on.
                    self.bury();
                    return Err(io::Error::from(io::ErrorKind::ConnectionReset).into());
                }
            }
        }
    }

    fn server(&mut self) -> io::Result<&Server> {
        let server = match self.server.take() {
            Some(server) => server,
            None => {
                let (socket, control) = socket::packet_pair()?;
                protocol::send_begin(&socket, boot::depth(), None)?;
                let process =
                    spawn::spawn(Role::ForkServer, &forkserver::padded_name(), Ends { control, output: None })?;
                Server { socket, process, rights: Credentials::of_this_process()? }
            }
        };
        Ok(self.server.insert(server))
    }

    /// Takes what the fork server has to say, and waits for that. `false`: there is nobody, or nothing came.
    fn hear(&mut self, patience: Duration) -> io::Result<bool> {
        match self.next_report(patience)? {
            Some(report) => {
                self.take(report);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    fn next_report(&mut self, patience: Duration) -> io::Result<Option<Report>> {
        let Some(Server { socket, .. }) = &self.server else { return Ok(None) };
        let received = is_readable(socket, patience).and_then(|readable| match readable {
            true => Report::receive(socket)?.ok_or_else(|| io::ErrorKind::ConnectionReset.into()).map(Some),
            false => Ok(None),
        });
        if received.is_err() {
            self.bury();
        }
        received
    }

    fn take(&mut self, report: Report) {
        if let Report::Exited { worker: WorkerId(id), exit } = report
            && let Some(known) = self.reports().get_mut(&id)
        {
            *known = Some(exit.report);
        }
    }

    /// It has died, or is of no use. The processes that it has started live on.
    fn bury(&mut self) {
        if let Some(Server { process, .. }) = self.server.take() {
            bury(process);
        }
    }
}

fn bury(process: Spawned) {
    let _ = pidfd::kill(&process.pidfd);
    let _ = pidfd::wait_end(&process.pidfd, PATIENCE);
    // Unless somebody else has done it.
    let _ = pidfd::reap_child(process.pidfd.as_fd());
}

fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

fn is_readable(socket: impl AsFd, patience: Duration) -> io::Result<bool> {
    let patience = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: patience.subsec_nanos().into() };
    loop {
        match poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&patience)) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other? > 0),
        }
    }
}
