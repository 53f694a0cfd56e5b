//! The fork server that this program's processes are forked by: started by the first that needs it, and there until the end of
//! the program. It is not a pool's, as it has nothing preloaded.

use crate::boot;
use crate::boot::variable::Role;
use crate::launch::protocol::{self, Report};
use crate::launch::spawn::{self, Spawned};
use crate::launch::{Ends, ExitReport, WorkerId, forkserver};
use crate::sys::credentials::Credentials;
use crate::sys::{pidfd, socket};
use parking_lot::{Condvar, Mutex, MutexGuard};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{Shutdown, shutdown};
use rustix::process::Signal;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A fork server that says nothing for so long (it is stopped, perhaps) is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// After so many that died there is no point in another one.
const ATTEMPTS: u32 = 3;

/// Held for moments only, and never while the fork server is waited for, but for the end of one that was killed: who joins a process, and
/// the reactor, which reaps, are not to wait behind somebody who starts one.
static CLIENT: Mutex<Client> = Mutex::new(Client::of(0));
/// Something in it has changed.
static CHANGED: Condvar = Condvar::new();

/// This process's side.
#[derive(Debug)]
struct Client {
    /// Whose it is. A fork of it has another one.
    owner: u32,
    server: Option<Server>,
    /// It can never fork, and why.
    refused: Option<String>,
    next: u64,
    /// Somebody starts a process: one at a time, or one might give up the fork server of another one.
    starting: bool,
    /// Which one, and what the fork server has said about it.
    asked: Option<(u64, Option<Answer>)>,
    /// Somebody waits at the socket, under no lock, and wakes the others when something has come.
    listening: bool,
    /// Of those that nobody has asked for: how they have ended, if they have.
    reports: Option<HashMap<u64, Option<ExitReport>>>,
}

#[derive(Debug)]
struct Server {
    /// Another thread may wait at it.
    socket: Arc<OwnedFd>,
    process: Spawned,
    /// Whose rights it has, and all that it forks.
    rights: Credentials,
}

/// The pid and a pidfd of what was asked for.
type Answer = io::Result<(u32, OwnedFd)>;

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
    let _turn = Turn::wait();
    let mut client = client();
    if client.has_other_rights()? {
        return Err(Failed::Refused);
    }
    let mut attempt = 1;
    loop {
        if client.refused.is_some() {
            return Err(Failed::Refused);
        }
        match try_fork(&mut client, name, control) {
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
        let Ok(true) = hear(&mut client, deadline) else { break };
    }
    // What else it has said is taken out of the socket: it says no more, and reaps nobody, when that is full. Not from somebody who
    // listens: he would sleep on.
    if !client.listening {
        while let Ok(true) = client.take_next() {}
    }
    // Reaped meanwhile, by a fork server that has died since.
    known.or_else(|| client.reports().get(&forked.0).copied().flatten()).or_else(|| pidfd::exit_of_other(process))
}

/// Nobody will ask for it any more.
pub(super) fn forget(forked: Forked) {
    client().reports().remove(&forked.0);
}

/// Ends the fork server, at the end of the program, when its processes have ended.
pub(super) fn stop() {
    // Whoever is just starting a process would start another fork server.
    let _turn = Turn::wait();
    let server = client().server.take();
    if let Some(Server { socket, process, rights: _ }) = server {
        // Not dropped alone: somebody may wait at it still.
        let _ = shutdown(&*socket, Shutdown::Both);
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
        *client = Client::of(this);
    }
    client
}

/// This thread is the one that starts a process, until this is dropped.
struct Turn;

impl Turn {
    fn wait() -> Turn {
        let mut client = client();
        while client.starting {
            CHANGED.wait(&mut client);
        }
        client.starting = true;
        Turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut client = client();
        client.starting = false;
        client.asked = None;
        CHANGED.notify_all();
    }
}

/// By whoever has the [`Turn`].
fn try_fork(
    client: &mut MutexGuard<'static, Client>,
    name: &str,
    control: BorrowedFd<'_>,
) -> Result<(u32, OwnedFd, Forked), Failed> {
    let id = client.next;
    client.next += 1;
    client.asked = Some((id, None));
    let socket = client.server()?.socket.clone();
    if let Err(error) = protocol::send_fork_process(&*socket, WorkerId(id), name, control) {
        if is_end(&error) {
            client.bury();
        }
        return Err(error.into());
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some((_, Some(answer))) = client.asked.take_if(|(_, answer)| answer.is_some()) {
            let (pid, pidfd) = answer?;
            return Ok((pid, pidfd, Forked(id)));
        }
        if client.refused.is_some() {
            return Err(Failed::Refused);
        }
        let is_there = client.server.as_ref().is_some_and(|server| Arc::ptr_eq(&server.socket, &socket));
        if is_there && Instant::now() >= deadline {
            // It would fork when it goes on.
            client.bury();
        } else if is_there {
            hear(client, deadline)?;
            continue;
        }
        return Err(io::Error::from(io::ErrorKind::ConnectionReset).into());
    }
}

/// Waits until somebody has taken what the fork server says, this thread or another one. `false`: there is nobody, or nothing came.
fn hear(client: &mut MutexGuard<'static, Client>, deadline: Instant) -> io::Result<bool> {
    if client.listening {
        return Ok(!CHANGED.wait_until(client, deadline).timed_out());
    }
    let Some(Server { socket, .. }) = &client.server else { return Ok(false) };
    let socket = socket.clone();
    client.listening = true;
    let patience = deadline.saturating_duration_since(Instant::now());
    let spoke = MutexGuard::unlocked(client, || is_readable(&*socket, patience));
    client.listening = false;
    CHANGED.notify_all();
    while client.take_next()? {}
    spoke
}

impl Client {
    const fn of(owner: u32) -> Client {
        Client {
            owner,
            server: None,
            refused: None,
            next: 0,
            starting: false,
            asked: None,
            listening: false,
            reports: None,
        }
    }

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

    fn server(&mut self) -> io::Result<&Server> {
        let server = match self.server.take() {
            Some(server) => server,
            None => {
                let (socket, control) = socket::packet_pair()?;
                protocol::send_begin(&socket, boot::depth(), None)?;
                let rights = Credentials::of_this_process()?;
                let process =
                    spawn::spawn(Role::ForkServer, &forkserver::padded_name(), Ends { control, output: None })?;
                Server { socket: Arc::new(socket), process, rights }
            }
        };
        Ok(self.server.insert(server))
    }

    /// Takes what the fork server has said, if it has said anything.
    fn take_next(&mut self) -> io::Result<bool> {
        let Some(Server { socket, .. }) = &self.server else { return Ok(false) };
        let received = is_readable(&**socket, Duration::ZERO).and_then(|readable| match readable {
            true => Report::receive(&**socket)?.ok_or_else(|| io::ErrorKind::ConnectionReset.into()).map(Some),
            false => Ok(None),
        });
        match received {
            Ok(Some(report)) => {
                self.take(report);
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(error) => {
                self.bury();
                Err(error)
            }
        }
    }

    fn take(&mut self, report: Report) {
        match report {
            Report::Started { worker: WorkerId(id), pid, pidfd } => {
                if self.answer(id, Ok((pid.cast_unsigned(), pidfd))) {
                    self.reports().insert(id, None);
                }
            }
            Report::Failed { worker: WorkerId(id), error } => {
                self.answer(id, Err(error));
            }
            Report::Refused { why } => self.refused = Some(why),
            Report::Exited { worker: WorkerId(id), exit } => {
                if let Some(known) = self.reports().get_mut(&id) {
                    *known = Some(exit.report);
                }
            }
            Report::Ready | Report::PreloadFailed { .. } => {}
        }
        CHANGED.notify_all();
    }

    /// Whether somebody waits for it.
    fn answer(&mut self, id: u64, said: Answer) -> bool {
        match &mut self.asked {
            Some((asked, answer)) if *asked == id => {
                *answer = Some(said);
                true
            }
            _ => false,
        }
    }

    /// It has died, or is of no use. The processes that it has started live on.
    fn bury(&mut self) {
        if let Some(Server { process, .. }) = self.server.take() {
            bury(process);
        }
        CHANGED.notify_all();
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
