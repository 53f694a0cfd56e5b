//! The fork server: a process with one thread, which forks the workers of one pool, or the processes of one program.

use std::collections::{HashMap, VecDeque};
use std::io::{self, PipeReader, Read, Write};
use std::ops::ControlFlow::{self, Break, Continue};
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, read, retry_on_intr};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use super::protocol::{self, Kind, Report, Request};
use super::{Born, Ends, Exit, WorkerId, preload};
use crate::boot;
use crate::process::life;
use crate::sys::title::Arguments;
use crate::sys::wait::{self, Child};
use crate::sys::{blob, children, pidfd, procfs, signals, socket, stdio, title};
use crate::worker;

/// Serves the pool at the other end of `control` until it is gone, then ends everything that descends from
/// here. In a forked worker this goes on as the worker.
pub(crate) fn main(control: OwnedFd) -> ! {
    match serve(control) {
        Ok(Some(newborn)) => newborn.live(),
        Ok(None) => leave(0),
        // The pool has ended while it was being told something.
        Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => leave(0),
        Err(error) => {
            eprintln!("concurrent-futures: the fork server ends: {error}");
            leave(1)
        }
    }
}

/// The name of the fork server in `ps`. Padded, because workers write their own names over it.
pub(crate) fn padded_name() -> String {
    format!("{NAME:<ROOM_FOR_NAMES$}")
}

const NAME: &str = "concurrent-futures fork server";
const ROOM_FOR_NAMES: usize = 128;

/// A worker just after the fork, when everything of the fork server is closed.
struct Newborn {
    name: String,
    kind: Kind,
    /// Where the name goes.
    arguments: Arguments,
    ends: Ends,
    /// One byte comes when the pool is sure to learn of this worker; the end when it never will.
    go: PipeReader,
}

impl Newborn {
    fn live(self) -> ! {
        let Self { name, kind, arguments, ends: Ends { control, output }, go } = self;
        match (prepare(&name, kind, arguments, output, go), kind) {
            (Ok(true), Kind::Worker) => worker::main(control, Born::Forked),
            (Ok(true), Kind::Process) => life::main(control, Born::Forked),
            (Ok(false), Kind::Worker) => stdio::exit_now(0),
            // Somebody may know of it after all, and must not take this for the end of its target.
            (Ok(false), Kind::Process) => stdio::exit_now(life::CANNOT_BEGIN),
            (Err(error), _) => {
                eprintln!("concurrent-futures: the process {name:?} cannot start: {error}");
                stdio::exit_now(life::CANNOT_BEGIN)
            }
        }
    }
}

/// Makes a forked process ready for what it is to be. `false`: nobody wants it.
fn prepare(
    name: &str,
    kind: Kind,
    arguments: Arguments,
    output: Option<[OwnedFd; 2]>,
    mut go: PipeReader,
) -> io::Result<bool> {
    // As `spawn` does it, and before any signal can come through. The other kind joins the group of its parent.
    if kind == Kind::Worker {
        wait::lead_group()?;
    }
    signals::unblock_all()?;
    match go.read_exact(&mut [0]) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        other => other?,
    }
    if let Some([stdout, stderr]) = output {
        stdio::redirect(stdout, stderr)?;
    }
    title::set_thread_name(name)?;
    // SAFETY: a fork of the fork server, which has found them. That has one thread, so its child has one too, and keeps no
    // argument strings.
    unsafe { arguments.overwrite(name) };
    // As in `boot`: only to wake a stopped worker. It comes when the fork server ends.
    set_parent_process_death_signal(Some(Signal::CONT))?;
    Ok(true)
}

/// `Some` in a worker, `None` at the end of the pool.
fn serve(control: OwnedFd) -> io::Result<Option<Newborn>> {
    title::set_thread_name(NAME)?;
    let arguments = Arguments::find()?;
    // SAFETY: this process has found them. Constructors may have started threads, but nothing looks at the arguments before
    // `main`, which does not come; Rust's own copy is made on request.
    unsafe { arguments.overwrite(NAME) };
    let Some(Request::Begin { depth, preload }) = Request::receive(&control)? else { return Ok(None) };
    // The preload's own pools, if it has any, are below the pool that started this.
    boot::set_depth(depth);
    children::adopt_orphans()?;
    if let Some((trampoline, function, input)) = preload {
        let input = blob::read(input, isize::MAX as u64)?;
        if let Err(error) = call_preload(&control, trampoline, function, &input)? {
            let _ = Report::PreloadFailed { error: blob::write(&error).ok() }.send(&control);
            return Ok(None);
        }
    }
    let mut server = Server::new(control, arguments)?;
    Report::Ready.send(&server.control)?;
    loop {
        if let Break(end) = server.turn()? {
            return Ok(end);
        }
    }
}

/// While the user's code runs here nobody looks at the control socket, so the end of the pool must end it.
/// There are no workers yet that could be left behind.
fn call_preload(control: &OwnedFd, trampoline: u64, function: u64, input: &[u8]) -> io::Result<Result<(), Vec<u8>>> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid().map_or(0, |pid| pid.as_raw_nonzero().get()) != socket::peer(control)?.pid {
        return Err(io::Error::other("the pool has ended"));
    }
    let outcome = preload::call(trampoline, function, input)?;
    set_parent_process_death_signal(Some(Signal::CONT))?;
    Ok(outcome)
}

struct Server {
    control: OwnedFd,
    /// Workers write their names there.
    arguments: Arguments,
    /// Readable when a child has ended.
    deaths: OwnedFd,
    workers: HashMap<i32, (WorkerId, Kind)>,
    /// What is still to be said of those that have ended. A program listens only when it starts a process, or waits for one: until then all
    /// are reaped that end, however many there are.
    unsaid: VecDeque<Report>,
    /// Once it has refused to fork it always does: the pool starts what is open by other means.
    refuses: bool,
}

impl Server {
    fn new(control: OwnedFd, arguments: Arguments) -> io::Result<Self> {
        // The preload may have left anything here.
        signals::set_default(libc::SIGCHLD)?;
        signals::block(libc::SIGCHLD)?;
        // Ctrl-C does not come here, but somebody may send the signal to everything that bears the program's name.
        signals::block(libc::SIGINT)?;
        let deaths = signals::descriptor(libc::SIGCHLD)?;
        Ok(Self { control, arguments, deaths, workers: HashMap::new(), unsaid: VecDeque::new(), refuses: false })
    }

    /// Waits for something to do and does it. Breaks at the end of the pool, and in a worker.
    fn turn(&mut self) -> io::Result<ControlFlow<Option<Newborn>>> {
        let room = if self.unsaid.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        let mut sources = [PollFd::new(&self.control, PollFlags::IN | room), PollFd::new(&self.deaths, PollFlags::IN)];
        match poll(&mut sources, None) {
            Err(Errno::INTR) => return Ok(Continue(())),
            other => other?,
        };
        let [asked, died] = sources.map(|source| !source.revents().difference(PollFlags::OUT).is_empty());
        if died {
            self.reap()?;
        }
        self.say()?;
        if !asked {
            return Ok(Continue(()));
        }
        match Request::receive(&self.control)? {
            None => Ok(Break(None)),
            Some(Request::Fork { worker, name, kind, ends: Some(ends) }) => self.fork(worker, name, kind, ends),
            Some(Request::Fork { worker, ends: None, .. }) => {
                Report::Failed { worker, error: protocol::no_room() }.send(&self.control)?;
                Ok(Continue(()))
            }
            Some(Request::Begin { .. }) => Err(io::Error::other("a second beginning")),
        }
    }

    /// Reaps every child that has ended, and notes what is to be said of those that were workers.
    fn reap(&mut self) -> io::Result<()> {
        let mut info = [0; size_of::<libc::signalfd_siginfo>()];
        match retry_on_intr(|| read(&self.deaths, &mut info)) {
            Ok(_) | Err(Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
        while let Some(pid) = no_child_is_none(wait::look(Child::Any))? {
            let worker = self.workers.remove(&pid);
            if matches!(worker, Some((_, Kind::Worker))) {
                // What its tasks have started ends with it. It is not reaped yet, so the number is this group's.
                wait::kill_group_of_unreaped(pid);
            }
            let exit = no_child_is_none(wait::reap(Child::Pid(pid)))?.unwrap_or(Exit::UNKNOWN);
            if let Some((worker, _)) = worker {
                self.unsaid.push_back(Report::Exited { worker, exit });
            }
        }
        Ok(())
    }

    /// As much as there is room for.
    fn say(&mut self) -> io::Result<()> {
        while let Some(report) = self.unsaid.front()
            && report.try_send(&self.control)?
        {
            self.unsaid.pop_front();
        }
        Ok(())
    }

    fn fork(
        &mut self,
        worker: WorkerId,
        name: String,
        kind: Kind,
        ends: Ends,
    ) -> io::Result<ControlFlow<Option<Newborn>>> {
        self.refuses |= procfs::thread_count()? != 1;
        if self.refuses {
            let why = "the fork server has more than one thread (the preload or a constructor has started some), and a \
                       fork takes along only one of them";
            Report::Refused { why: why.into() }.send(&self.control)?;
            return Ok(Continue(()));
        }
        let (go, mut say_go) = match io::pipe() {
            Ok(ends) => ends,
            Err(error) => {
                Report::Failed { worker, error }.send(&self.control)?;
                return Ok(Continue(()));
            }
        };
        // What is buffered would be written by the child too.
        stdio::flush();
        // SAFETY: there is one thread, so the child has everything that this process has, in a consistent state.
        let pid = match unsafe { libc::fork() } {
            0 => return Ok(Break(Some(Newborn { name, kind, arguments: self.arguments, ends, go }))),
            -1 => {
                let error = io::Error::last_os_error();
                Report::Failed { worker, error }.send(&self.control)?;
                return Ok(Continue(()));
            }
            pid => pid,
        };
        drop(ends);
        // Not reaped yet, so the pid is this child.
        match pidfd::open_child(pid) {
            Ok(pidfd) => {
                self.workers.insert(pid, (worker, kind));
                Report::Started { worker, pid, pidfd }.send(&self.control)?;
                // A child that is dead already is reported like any other.
                let _ = say_go.write_all(&[1]);
            }
            Err(error) => {
                // Without the word to go the child leaves.
                drop(say_go);
                Report::Failed { worker, error }.send(&self.control)?;
            }
        }
        Ok(Continue(()))
    }
}

/// To have no children (any more) is no error.
fn no_child_is_none<T>(waited: io::Result<Option<T>>) -> io::Result<Option<T>> {
    match waited {
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        other => other,
    }
}

fn leave(code: i32) -> ! {
    if let Err(error) = children::kill_all() {
        eprintln!("concurrent-futures: the fork server could not end all its descendants: {error}");
    }
    // Shared memory whose name they had, and whose trackers were among them.
    if let Err(error) = concurrent_futures_ipc::named::scavenge() {
        eprintln!("concurrent-futures: names of shared memory may be left: {error}");
    }
    stdio::flush_and_exit(code)
}
