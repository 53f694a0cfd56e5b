//! What can be said of a process before it is started.

use super::Process;
use super::call::Call;
use super::child::{Child, Newborn};
use super::current::current_process;
use super::orders::{self, Kit, Orders, ParentIs};
use super::stdio::{self, Stdio};
use super::table;
use crate::boot;
use crate::boot::variable::Role;
use crate::launch::spawn::{self, Spawned};
use crate::sys::socket;
use concurrent_futures_core::Portable;
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Termination};

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
struct Settings {
    name: Option<String>,
    daemon: bool,
    outlives: bool,
    directory: Option<PathBuf>,
    environment: Environment,
    stdio: [Stdio; 3],
}

/// How its environment differs from this process's.
#[derive(Debug, Default)]
struct Environment {
    clear: bool,
    /// `None` removes it. Later ones win.
    changes: Vec<(OsString, Option<OsString>)>,
}

impl<A: Portable, R: Termination + 'static> ProcessBuilder<A, R> {
    pub(super) fn new(function: fn(A) -> R, argument: A) -> Self {
        let settings = Settings {
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

    /// A daemon does not keep the program from ending: it is sent SIGTERM then, and SIGKILL after five seconds. It may not have
    /// children, as nobody would end those.
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.settings.daemon = daemon;
        self
    }

    /// Lets it go on when this process ends: by a signal, say, or before [`main`'s end has waited for it](Process#who-ends-when).
    /// Otherwise a process and all that descends from it end at once when its parent does, so nothing is left behind.
    pub fn outlive_parent(mut self, outlive: bool) -> Self {
        self.settings.outlives = outlive;
        self
    }

    /// Its working directory; otherwise that of this process.
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.settings.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// Sets a variable in its environment, which is otherwise that of this process.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.settings.environment.changes.push((key.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    /// Removes a variable from its environment.
    pub fn env_remove(mut self, key: impl AsRef<OsStr>) -> Self {
        self.settings.environment.changes.push((key.as_ref().to_owned(), None));
        self
    }

    /// Begins its environment anew, with nothing.
    pub fn env_clear(mut self) -> Self {
        self.settings.environment = Environment { clear: true, changes: Vec::new() };
        self
    }

    /// Its standard input; otherwise `/dev/null`.
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

    /// Starts it.
    ///
    /// # Errors
    ///
    /// As of [`Process::start`]; the directory is none, or a variable's name or value cannot be one.
    pub fn start(self) -> io::Result<Process> {
        let ProcessBuilder { function, argument, settings } = self;
        let call = Call::new(function, &argument)?;
        drop(argument);
        settings.start(&call)
    }
}

/// So deep may processes be nested: one that starts itself would never end.
const NESTED_MAX: usize = 64;

impl Settings {
    fn start(self, call: &Call) -> io::Result<Process> {
        boot::check_program().map_err(|refusal| io::Error::new(io::ErrorKind::Unsupported, refusal))?;
        let parent = current_process();
        if parent.daemon() {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "this process is a daemon, which may not have children: nobody would wait for them or end them",
            ));
        }
        // Whoever has ended meanwhile must not stay a zombie because nobody asks.
        drop(table::alive());
        let identity = table::next_identity();
        if identity.len() > NESTED_MAX {
            let words =
                format!("processes are nested {NESTED_MAX} deep, each started by the one before: this one is refused");
            return Err(io::Error::new(io::ErrorKind::Unsupported, words));
        }
        let name = self.name.unwrap_or_else(|| name_of(&identity));
        let (streams, pipes) = stdio::prepare(self.stdio)?;
        let directory =
            self.directory.map(|path| open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()));
        let directory = directory.transpose()?;
        let this = pidfd_open(getpid(), PidfdFlags::empty())?;
        let (ours, theirs) = socket::packet_pair()?;

        let is = ParentIs { pid: std::process::id(), name: parent.name().to_owned() };
        let mut orders = Orders::new(name.clone(), identity, is, call);
        orders.daemon = self.daemon;
        orders.outlives = self.outlives;
        orders.depth = boot::depth();
        let kit = Kit {
            parent: Some(this.as_fd()),
            directory: directory.as_ref().map(|directory| directory.as_fd()),
            stdio: streams.each_ref().map(|stream| Some(stream.as_fd())),
            handles: call.handles.as_ref().map(|handles| handles.as_fd()),
        };
        orders::send(&ours, &orders, kit, &call.argument, &call.attachments)?;
        let Spawned { pid, pidfd } = spawn::spawn_with(Role::Process, &name, |command| {
            self.environment.apply(command);
            command.stdin(theirs);
        })?;
        let newborn =
            Newborn { pid: pid.cast_unsigned(), process: pidfd, control: Some(ours).filter(|_| !self.outlives) };
        Ok(Process::of(Child::register(newborn, name, self.daemon, pipes)))
    }
}

impl Environment {
    fn apply(self, command: &mut Command) {
        if self.clear {
            command.env_clear();
        }
        for (key, value) in self.changes {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
    }
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
