//! What can be said of a process before it is started.

use super::Process;
use super::call::{self, Call};
use super::child::{Child, Newborn};
use super::current::current_process;
use super::environment::Environment;
use super::orders::{self, Kit, Orders, ParentIs};
use super::server::{self, Failed};
use super::stdio::{self, Pipes, Stdio, Theirs};
use super::{fork, table};
use crate::boot;
use crate::boot::variable::Role;
use crate::launch::StartMethod;
use crate::launch::spawn::{self, Spawned};
use crate::sys::{socket, wait};
use concurrent_futures_core::Portable;
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Termination;

/// A process that is not started yet; from [`Process::target`].
///
/// ```
/// use concurrent_futures_process::{Process, current_process};
///
/// fn target(name: String) {
///     assert_eq!(current_process().name(), name);
///     assert!(current_process().daemon());
///     assert_eq!(std::env::var("LANGUAGE").as_deref(), Ok("fr"));
/// }
///
/// let process = Process::target(target, "reader".to_owned()).name("reader").daemon(true).env("LANGUAGE", "fr").start()?;
/// assert!(process.join()?.success());
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "nothing happens before `start`"]
pub struct ProcessBuilder<A, R> {
    function: fn(A) -> R,
    argument: A,
    settings: Settings,
}

/// What has no type.
#[derive(Debug)]
pub(super) struct Settings {
    method: StartMethod,
    name: Option<String>,
    daemon: bool,
    outlives: bool,
    directory: Option<PathBuf>,
    environment: Environment,
    stdio: [Stdio; 3],
}

impl<A, R: Termination + 'static> ProcessBuilder<A, R> {
    pub(super) fn new(function: fn(A) -> R, argument: A) -> Self {
        let settings = Settings {
            method: StartMethod::default(),
            name: None,
            daemon: false,
            outlives: false,
            directory: None,
            environment: Environment::default(),
            stdio: [Stdio::null(), Stdio::inherit(), Stdio::inherit()],
        };
        ProcessBuilder { function, argument, settings }
    }

    /// What people see in `ps`, in [`Process::name`] and in [`current_process`]. Otherwise it is `Process-1` and so on.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = Some(name.into());
        self
    }

    /// A daemon does not keep this process from ending: it is sent SIGTERM then, and SIGKILL after five seconds. It may not have
    /// children: it could not wait for them. (Its pools are ended with it.)
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.settings.daemon = daemon;
        self
    }

    /// Lets it go on when this process ends, in whatever way; at the end of the program nobody waits for it. It is spawned,
    /// whatever the start method, for the fork server takes all that it has started along.
    ///
    /// Otherwise a process, with all that descends from it, ends at once when its parent does: nothing is left behind.
    ///
    /// ```
    /// use concurrent_futures_process::{Process, parent_process};
    ///
    /// fn caretaker(seconds: u64) -> std::io::Result<()> {
    ///     let parent = parent_process().expect("it has one");
    ///     if parent.join_timeout(std::time::Duration::from_secs(seconds))? {
    ///         println!("{} has ended; now its files can be removed", parent.name());
    ///     }
    ///     Ok(())
    /// }
    ///
    /// let caretaker = Process::target(caretaker, 0).outlive_parent(true).start()?;
    /// # caretaker.join()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn outlive_parent(mut self, outlive: bool) -> Self {
        self.settings.outlives = outlive;
        self
    }

    /// Its working directory; otherwise that of this process.
    ///
    /// ```
    /// use concurrent_futures_process::Process;
    ///
    /// let process = Process::target(|()| assert_eq!(std::env::current_dir().unwrap().to_str(), Some("/")), ());
    /// assert!(process.current_dir("/").start()?.join()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.settings.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// Sets a variable in its environment, which is otherwise that of this process.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.settings.environment.set(key.as_ref(), value.as_ref());
        self
    }

    /// Removes a variable from its environment.
    pub fn env_remove(mut self, key: impl AsRef<OsStr>) -> Self {
        self.settings.environment.remove(key.as_ref());
        self
    }

    /// Begins its environment anew, with nothing.
    pub fn env_clear(mut self) -> Self {
        self.settings.environment.clear();
        self
    }

    /// Its standard input; otherwise `/dev/null`.
    ///
    /// ```
    /// use concurrent_futures_process::{Process, Stdio};
    /// use std::io::{Write, read_to_string, stdin};
    ///
    /// let process = Process::target(|()| assert_eq!(read_to_string(stdin()).unwrap(), "a line"), ());
    /// let process = process.stdin(Stdio::piped()).start()?;
    /// process.take_stdin().expect("it is piped").write_all(b"a line")?; // and it is closed
    /// assert!(process.join()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.settings.stdio[0] = stdin.into();
        self
    }

    /// Its standard output; otherwise that of this process.
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.settings.stdio[1] = stdout.into();
        self
    }

    /// Its standard error; otherwise that of this process.
    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.settings.stdio[2] = stderr.into();
        self
    }

    /// How it is started. By default it is forked by the fork server, which is the quickest, and spawned if it may outlive this
    /// process.
    ///
    /// One that is spawned is a child of this process in the eyes of the system, too: `getppid` gives this process. One that is
    /// forked by the fork server has that as its parent; [`parent_process`](super::parent_process) is right for both.
    ///
    /// The fork server is started with the first process that needs it. A program that changes its users or groups after that
    /// (a server that gives up its privileges) has its processes spawned from then on, so that they have the new ones.
    /// Should somebody stop it (SIGSTOP), a start waits ten seconds for it, then kills it, and goes on with another one; all others, who
    /// join a process or wait for something else, do not wait for it. (Before Linux 6.15 it can take five seconds until it is clear
    /// that how a process has ended is not known.)
    ///
    /// ```
    /// use concurrent_futures_process::{Process, StartMethod};
    ///
    /// let process = Process::target(|parent| assert_eq!(std::os::unix::process::parent_id(), parent), std::process::id());
    /// assert!(process.start_method(StartMethod::Spawn).start()?.join()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.settings.method = method;
        self
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// As of [`Process::start`]; the directory is none, or a variable's name or value cannot be one.
    pub fn start(self) -> io::Result<Process>
    where
        A: Portable,
    {
        let ProcessBuilder { function, argument, settings } = self;
        let call = Call::new(function, &argument)?;
        drop(argument);
        settings.start(&call)
    }

    /// Starts it as a copy of this process, by `fork`, as Python's start method of that name and `os.fork` do.
    ///
    /// The child has all that this process has at this moment: memory, open descriptors, the argument as it is, for nothing is
    /// encoded. It has one thread, the copy of the one that calls this. At its end it leaves by `_exit`: handlers that others
    /// have given to `atexit` belong to the original.
    ///
    /// # Safety
    ///
    /// A lock that another thread holds at this moment is held for ever in the child, where that thread is not; and what it
    /// protects may be half done. So either this process has one thread, or no other thread is inside of anything that the target
    /// uses: the allocator and the functions of the system's C library are safe with the usual ones, `println!` and whatever has
    /// locks of its own are not. Test runners, pools, and whatever is awaited with this library have threads.
    ///
    /// What this process has open is shared with the child; each end of a pipe that the child does not close is one more that keeps it open.
    /// What a thread of this process has locked between processes stays its own: guards and permits in the child are copies, whose drop
    /// changes nothing.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use concurrent_futures_process::Process;
    ///
    /// // SAFETY: this program has one thread.
    /// let child = unsafe { Process::target(|parent| println!("a child of {parent}"), std::process::id()).start_fork() }?;
    /// child.join()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The process cannot be started (no process, memory or descriptor is left); this process is a daemon, which may not have
    /// children; the directory is none, or a variable's name or value cannot be one.
    pub unsafe fn start_fork(self) -> io::Result<Process> {
        let ProcessBuilder { function, argument, settings } = self;
        let outlives = settings.outlives;
        let outfit = settings.outfit()?;
        // SAFETY: the caller vouches for it.
        unsafe { fork::fork(outfit, outlives, move || call::call(function, argument)) }
    }
}

/// So deep may processes be nested: one that starts itself would never end.
const NESTED_MAX: usize = 64;

impl Settings {
    fn start(self, call: &Call) -> io::Result<Process> {
        boot::check_program()?;
        let outlives = self.outlives;
        let method = if outlives { StartMethod::Spawn } else { self.method };
        let Outfit { name, identity, daemon, environment, streams, pipes, directory, this, is } = self.outfit()?;
        let (ours, theirs) = socket::packet_pair()?;

        let mut orders = Orders::new(name.clone(), identity, is, call);
        orders.daemon = daemon;
        orders.outlives = outlives;
        orders.depth = boot::depth();
        if method == StartMethod::ForkServer {
            orders.group = wait::own_group();
            orders.environment = Some(environment.whole());
        }
        let kit = Kit {
            parent: Some(this.as_fd()),
            directory: directory.as_ref().map(|directory| directory.as_fd()),
            stdio: streams.each_ref().map(|stream| Some(stream.as_fd())),
            handles: call.handles.as_ref().map(|handles| handles.as_fd()),
        };
        orders::send(&ours, &orders, kit, &call.argument, &call.attachments)?;
        let control = (!outlives).then_some(ours);
        let newborn = match method {
            StartMethod::ForkServer => match server::fork(&name, theirs.as_fd()) {
                Ok((pid, process, forked)) => Newborn { pid, process, forked: Some(forked), control },
                Err(Failed::Refused) => spawn(&name, &environment, theirs, control)?,
                Err(Failed::Error(error)) => return Err(error),
            },
            StartMethod::Spawn => spawn(&name, &environment, theirs, control)?,
        };
        Ok(Process::of(Child::register(newborn, name, daemon, pipes)))
    }

    /// Makes what a process needs, however it is started.
    pub(super) fn outfit(self) -> io::Result<Outfit> {
        let parent = current_process();
        if parent.daemon() {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "this process is a daemon, which may not have children: nobody would wait for them or end them",
            ));
        }
        self.environment.check()?;
        // Whoever has ended meanwhile must not stay a zombie because nobody asks.
        drop(table::alive());
        let identity = table::next_identity();
        if identity.len() > NESTED_MAX {
            let words =
                format!("processes are nested {NESTED_MAX} deep, each started by the one before: this one is refused");
            return Err(io::Error::new(io::ErrorKind::Unsupported, words));
        }
        let (streams, pipes) = stdio::prepare(self.stdio)?;
        let path = self.directory.as_deref().unwrap_or(Path::new("."));
        let directory = open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let directory = directory.map_err(|error| {
            let error = io::Error::from(error);
            io::Error::new(error.kind(), format!("the directory {path:?} cannot be that of a process: {error}"))
        });
        // A process in a directory that it may not look up can have children all the same: they are where it is.
        let directory = if self.directory.is_some() { Some(directory?) } else { directory.ok() };
        Ok(Outfit {
            name: self.name.unwrap_or_else(|| name_of(&identity)),
            identity,
            daemon: self.daemon,
            environment: self.environment,
            streams,
            pipes,
            directory,
            this: pidfd_open(getpid(), PidfdFlags::empty())?,
            is: ParentIs { pid: std::process::id(), name: parent.name().to_owned() },
        })
    }
}

/// What a process needs, however it is started.
#[derive(Debug)]
pub(super) struct Outfit {
    pub(super) name: String,
    pub(super) identity: Vec<u32>,
    pub(super) daemon: bool,
    pub(super) environment: Environment,
    pub(super) streams: [Theirs; 3],
    pub(super) pipes: Pipes,
    pub(super) directory: Option<OwnedFd>,
    /// This process, as its parent.
    pub(super) this: OwnedFd,
    pub(super) is: ParentIs,
}

fn spawn(name: &str, environment: &Environment, theirs: OwnedFd, control: Option<OwnedFd>) -> io::Result<Newborn> {
    let Spawned { pid, pidfd: process } = spawn::spawn_with(Role::Process, name, |command| {
        environment.apply(command);
        command.stdin(theirs);
    })?;
    Ok(Newborn { pid: pid.cast_unsigned(), process, forked: None, control })
}

fn name_of(identity: &[u32]) -> String {
    let numbers: Vec<_> = identity.iter().map(u32::to_string).collect();
    format!("Process-{}", numbers.join(":"))
}

impl<A: fmt::Debug, R> fmt::Debug for ProcessBuilder<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessBuilder")
            .field("argument", &self.argument)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_whose_child_it_is() {
        assert_eq!(name_of(&[3]), "Process-3");
        assert_eq!(name_of(&[1, 2, 1]), "Process-1:2:1");
    }
}
