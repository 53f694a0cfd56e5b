//! The pool's side of starting workers.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use concurrent_futures_core::task::decode_error;
use concurrent_futures_core::{Death, Ending, TaskError, TaskErrorKind};

use super::protocol::{self, Report};
use super::spawn::{Spawned, spawn};
use super::{Born, Ends, Exit, ExitReport, LaunchEvent, PreloadCall, StartMethod, WorkerId, forkserver};
use crate::boot::variable::Role;
use crate::sys::bell::Bell;
use crate::sys::poller::{Interest, Poller};
use crate::sys::{blob, pidfd, socket};

/// Starts the workers of one pool and learns how they end. Used by one thread, which lives as long as the
/// pool does: the kernel ties a preload that hangs to the thread that started the fork server.
///
/// Dropping it ends the fork server and whatever still descends from it.
#[derive(Debug)]
pub(crate) struct Launcher {
    poller: Poller,
    /// Rings while there are events that no descriptor announces.
    bell: Bell,
    events: Vec<LaunchEvent>,
    preload: Option<PreloadCall>,
    depth: u32,
    route: Route,
    server: Option<Server>,
    /// Deaths of the fork server without any progress between them.
    setbacks: u32,
    /// Workers that are asked for and neither started nor failed, oldest first.
    requests: Vec<Request>,
    /// Workers that have started and whose end the pool does not know.
    lives: HashMap<WorkerId, Life>,
}

/// What is known of a worker that has started.
#[derive(Debug)]
enum Life {
    /// A child of this process.
    Spawned,
    /// A child of the fork server that runs now, which will report its end.
    Forked,
    /// A child of a fork server that has died.
    Orphaned,
    /// It has ended like this; the pool has not asked yet.
    Reported(Exit),
    /// The pool has asked, and gets an event when the fork server reports. What the kernel says is here.
    Awaited { process: OwnedFd, known: Option<ExitReport> },
}

/// How the next worker is started.
#[derive(Debug)]
enum Route {
    ForkServer,
    Spawn,
    /// Not at all: the preload has failed.
    Closed,
}

#[derive(Debug)]
struct Server {
    socket: OwnedFd,
    process: Spawned,
    /// It has said that the preload is done.
    ready: bool,
}

#[derive(Debug)]
struct Request {
    worker: WorkerId,
    name: String,
    /// Kept until the worker is there, for another fork server if this one dies.
    ends: Ends,
    sent: bool,
}

/// Requests under way to the fork server. Few enough to fit its socket's buffer while it runs a preload.
const UNDER_WAY: usize = 16;

/// After so many deaths in a row there is no point in starting another fork server.
const SETBACKS: u32 = 3;

/// How long a fork server may take to end what descends from it before it is killed itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// So long the pool may wait for a report when nothing is known of a worker's end, as the fork server may be dead too.
const FOR_STATUS: Duration = Duration::from_secs(5);

/// And so long when only the details are missing.
const FOR_DETAILS: Duration = Duration::from_millis(250);

/// The longest error that is taken from a fork server.
const ERROR_MAX: u64 = 16 << 20;

const BELL: u64 = 0;
const SERVER: u64 = 1;

impl Launcher {
    /// With [`StartMethod::ForkServer`] the fork server is started now. `depth` is that of the workers.
    pub(crate) fn new(method: StartMethod, preload: Option<PreloadCall>, depth: u32) -> io::Result<Self> {
        let poller = Poller::new()?;
        let bell = Bell::new()?;
        poller.add(&bell, BELL, Interest::READ)?;
        let mut launcher = Self {
            poller,
            bell,
            events: Vec::new(),
            preload,
            depth,
            route: match method {
                StartMethod::ForkServer => Route::ForkServer,
                StartMethod::Spawn => Route::Spawn,
            },
            server: None,
            setbacks: 0,
            requests: Vec::new(),
            lives: HashMap::new(),
        };
        if method == StartMethod::ForkServer {
            launcher.start_server()?;
        }
        Ok(launcher)
    }

    /// Asks for a worker. [`LaunchEvent::Started`] or [`LaunchEvent::Failed`] follows.
    pub(crate) fn start(&mut self, worker: WorkerId, name: &str, ends: Ends) {
        self.requests.push(Request { worker, name: name.to_owned(), ends, sent: false });
        self.advance();
    }

    /// What has happened since the last call. To be called when [`fd`](Self::fd) is readable.
    pub(crate) fn poll_events(&mut self) -> Vec<LaunchEvent> {
        self.hear_server();
        self.advance();
        self.bell.clear();
        std::mem::take(&mut self.events)
    }

    /// How a worker ended whose pidfd has become readable. `None`: [`LaunchEvent::Exited`] follows, or the pool loses
    /// patience and calls [`give_up`](Self::give_up). What the worker's tasks have left in its process group is killed.
    pub(crate) fn reap(&mut self, worker: WorkerId, process: BorrowedFd<'_>) -> Option<Exit> {
        let Some(life) = self.lives.remove(&worker) else { return Some(Exit::UNKNOWN) };
        pidfd::kill_group(process);
        match life {
            // Readable means that it has ended, so it cannot be found running.
            Life::Spawned => Some(pidfd::reap_child(process).ok().flatten().unwrap_or(Exit::UNKNOWN)),
            Life::Reported(exit) => Some(exit),
            Life::Orphaned => Some(known_or_not(pidfd::exit_of_other(process))),
            // The fork server knows more than the kernel tells, but it may be stopped or busy.
            Life::Forked | Life::Awaited { .. } => {
                let known = pidfd::exit_of_other(process);
                match process.try_clone_to_owned() {
                    Ok(process) => {
                        self.lives.insert(worker, Life::Awaited { process, known });
                        None
                    }
                    Err(_) => Some(known_or_not(known)),
                }
            }
        }
    }

    /// How long it is worth while to wait for the report of a worker of which [`reap`](Self::reap) did not know all.
    pub(crate) fn patience(&self, worker: WorkerId) -> Duration {
        match self.lives.get(&worker) {
            Some(Life::Awaited { known: Some(_), .. }) => FOR_DETAILS,
            _ => FOR_STATUS,
        }
    }

    /// What is known of a worker's end without the report that does not come.
    pub(crate) fn give_up(&mut self, worker: WorkerId) -> Exit {
        match self.lives.remove(&worker) {
            Some(Life::Awaited { process, known }) => {
                known_or_not(known.or_else(|| pidfd::exit_of_other(process.as_fd())))
            }
            Some(Life::Reported(exit)) => exit,
            _ => Exit::UNKNOWN,
        }
    }

    /// Readable while [`poll_events`](Self::poll_events) has something to do; the same for the whole life.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }

    #[cfg(test)]
    pub(super) fn server_pid(&self) -> Option<i32> {
        self.server.as_ref().map(|server| server.process.pid)
    }

    /// Brings requests on their way.
    fn advance(&mut self) {
        loop {
            match self.route {
                Route::Spawn => {
                    for request in std::mem::take(&mut self.requests) {
                        self.spawn_worker(request);
                    }
                }
                Route::Closed => self.fail_all(|| io::Error::other("the preload has failed")),
                Route::ForkServer if self.requests.is_empty() => {}
                Route::ForkServer if self.server.is_none() => match self.start_server() {
                    Ok(()) => continue,
                    Err(error) => {
                        // Each gets an error of its own with the same words; an error of the system keeps its number.
                        let kind = error.kind();
                        let words = error.to_string();
                        let code = error.raw_os_error();
                        self.fail_all(|| match code {
                            Some(code) => io::Error::from_raw_os_error(code),
                            None => io::Error::new(kind, words.clone()),
                        });
                    }
                },
                Route::ForkServer => self.send_requests(),
            }
            return;
        }
    }

    fn spawn_worker(&mut self, request: Request) {
        let Request { worker, name, ends, .. } = request;
        match spawn(Role::Worker, &name, ends) {
            Ok(Spawned { pid, pidfd }) => {
                self.lives.insert(worker, Life::Spawned);
                self.push(LaunchEvent::Started { worker, pid, pidfd, born: Born::Spawned });
            }
            Err(error) => self.push(LaunchEvent::Failed { worker, error }),
        }
    }

    fn fail_all(&mut self, error: impl Fn() -> io::Error) {
        for Request { worker, .. } in std::mem::take(&mut self.requests) {
            self.push(LaunchEvent::Failed { worker, error: error() });
        }
    }

    fn send_requests(&mut self) {
        let Some(server) = &self.server else { return };
        let mut under_way = self.requests.iter().filter(|request| request.sent).count();
        let mut failed = Vec::new();
        for (index, request) in self.requests.iter_mut().enumerate().filter(|(_, request)| !request.sent) {
            if under_way == UNDER_WAY {
                break;
            }
            match protocol::send_fork(&server.socket, request.worker, &request.name, &request.ends) {
                Ok(()) => {
                    request.sent = true;
                    under_way += 1;
                }
                // Its death is noticed by `hear_server`, a full buffer is followed by an answer.
                Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && under_way > 0 => break,
                Err(error) => failed.push((index, error)),
            }
        }
        for (index, error) in failed.into_iter().rev() {
            let worker = self.requests.remove(index).worker;
            self.push(LaunchEvent::Failed { worker, error });
        }
    }

    fn start_server(&mut self) -> io::Result<()> {
        let (socket, control) = socket::packet_pair()?;
        // Before the start: nothing can fail any more once the process is there.
        let input = self.preload.as_ref().map(|preload| blob::write(&preload.input)).transpose()?;
        let preload = self.preload.as_ref().zip(input.as_ref());
        let preload = preload.map(|(call, input)| (call.trampoline, call.function, input.as_fd()));
        protocol::send_begin(&socket, self.depth, preload)?;
        socket::set_nonblocking(&socket, true)?;
        self.poller.add(&socket, SERVER, Interest::READ)?;
        let process = spawn(Role::ForkServer, &forkserver::padded_name(), Ends { control, output: None })?;
        let server = self.server.insert(Server { socket, process, ready: false });
        // From here on the server ends with the launcher, whatever else fails.
        self.poller.add(&server.process.pidfd, SERVER, Interest::READ)
    }

    /// Takes what the fork server has to say, and notices its end.
    fn hear_server(&mut self) {
        let Some(server) = &self.server else { return };
        // Looked at first: what it had sent before it ended is there then.
        let mut ended = pidfd::wait_end(&server.process.pidfd, Duration::ZERO).unwrap_or(false);
        loop {
            let Some(server) = &self.server else { return };
            match Report::receive(&server.socket) {
                Ok(Some(report)) => self.handle(report),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The end, or nothing that can be understood: of no use any more.
                Ok(None) | Err(_) => {
                    ended = true;
                    break;
                }
            }
        }
        if ended {
            self.bury_server();
        }
    }

    fn handle(&mut self, report: Report) {
        match report {
            Report::Ready => {
                if let Some(server) = &mut self.server {
                    server.ready = true;
                }
            }
            Report::Started { worker, pid, pidfd } => {
                self.setbacks = 0;
                if self.take_request(worker).is_some() {
                    self.lives.insert(worker, Life::Forked);
                    self.push(LaunchEvent::Started { worker, pid, pidfd, born: Born::Forked });
                }
            }
            Report::Failed { worker, error } => {
                if self.take_request(worker).is_some() {
                    self.push(LaunchEvent::Failed { worker, error });
                }
            }
            Report::Refused { why } => self.fall_back(why),
            Report::Exited { worker, exit } => match self.lives.get_mut(&worker) {
                Some(Life::Awaited { .. }) => {
                    self.lives.remove(&worker);
                    self.push(LaunchEvent::Exited { worker, exit });
                }
                Some(life @ Life::Forked) => *life = Life::Reported(exit),
                // The pool knows already.
                _ => {}
            },
            Report::PreloadFailed { error } => {
                let bytes = error.and_then(|error| blob::read(error, ERROR_MAX).ok()).unwrap_or_default();
                // Without the bytes it still is an error, of the kind that says so.
                let error = decode_error(&bytes);
                self.close(error);
            }
        }
    }

    fn take_request(&mut self, worker: WorkerId) -> Option<Request> {
        let index = self.requests.iter().position(|request| request.worker == worker)?;
        Some(self.requests.remove(index))
    }

    /// From now on workers are spawned. The fork server stays for the workers that it has.
    fn fall_back(&mut self, why: String) {
        if matches!(self.route, Route::ForkServer) {
            self.route = Route::Spawn;
            self.push(LaunchEvent::FellBack { why });
        }
    }

    fn close(&mut self, error: TaskError) {
        if !matches!(self.route, Route::Closed) {
            self.route = Route::Closed;
            self.push(LaunchEvent::PreloadFailed { error });
        }
    }

    /// The fork server has ended, or must. Its workers live on; what it has not answered is asked again.
    fn bury_server(&mut self) {
        let Some(Server { socket, process, ready }) = self.server.take() else { return };
        let _ = self.poller.remove(&socket);
        let _ = self.poller.remove(&process.pidfd);
        drop(socket);
        let status = end(&process.pidfd);
        self.orphan_workers();
        if matches!(self.route, Route::Closed) {
            return;
        }
        self.push(LaunchEvent::ServerDied { status });
        if !ready || !self.requests.is_empty() {
            self.setbacks += 1;
        }
        for request in &mut self.requests {
            request.sent = false;
        }
        if self.setbacks < SETBACKS || matches!(self.route, Route::Spawn) {
            return;
        }
        if self.preload.is_some() && !ready {
            self.close(TaskError::new(TaskErrorKind::WorkerDied(Death::new(process.pid as u32, ending(status)))));
        } else {
            self.fall_back(format!("the fork server has ended {SETBACKS} times in a row, at last with {status}"));
        }
    }

    /// Nobody will report the ends of the workers that the fork server has left behind.
    fn orphan_workers(&mut self) {
        for life in self.lives.values_mut() {
            if matches!(life, Life::Forked) {
                *life = Life::Orphaned;
            }
        }
        let awaited = self.lives.iter().filter(|(_, life)| matches!(life, Life::Awaited { .. }));
        for worker in awaited.map(|(worker, _)| *worker).collect::<Vec<_>>() {
            let exit = self.give_up(worker);
            self.push(LaunchEvent::Exited { worker, exit });
        }
    }

    fn push(&mut self, event: LaunchEvent) {
        self.events.push(event);
        self.bell.ring();
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        if let Some(Server { socket, process, ready }) = self.server.take() {
            drop(socket);
            // One that is stopped would not see the end; one in a preload does not look.
            let told = pidfd::signal(&process.pidfd, rustix::process::Signal::CONT).is_ok();
            if told && ready {
                let _ = pidfd::wait_end(&process.pidfd, PATIENCE);
            }
            end(&process.pidfd);
        }
    }
}

/// Kills a child, if it still runs, and reaps it.
fn end(process: &OwnedFd) -> ExitReport {
    let _ = pidfd::kill(process);
    // A kill is as good as done, unless the kernel keeps the process in a call that cannot be interrupted.
    if pidfd::wait_end(process, PATIENCE).unwrap_or(false) {
        // What the preload has started.
        pidfd::kill_group(process.as_fd());
    }
    pidfd::reap_child(process.as_fd()).ok().flatten().map_or(ExitReport::Unknown, |exit| exit.report)
}

fn known_or_not(report: Option<ExitReport>) -> Exit {
    report.unwrap_or(ExitReport::Unknown).into()
}

fn ending(status: ExitReport) -> Ending {
    match status {
        ExitReport::Code(code) => Ending::Code(code),
        ExitReport::Signal { signal, core_dumped } => Ending::Signal { number: signal, core_dumped },
        ExitReport::Unknown => Ending::Unknown,
    }
}
