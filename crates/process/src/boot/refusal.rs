//! Why a process does not become a worker, or must not start any.

use std::error::Error;
use std::fmt;
use std::io;

/// Why this process does not become a worker, or cannot have any.
#[derive(Debug)]
pub(crate) enum BootRefusal {
    RaisedPrivileges,
    /// The kernel would take a worker for a program with raised privileges.
    TwoUsers,
    OutsideMainImage,
    ForeignLoader,
    NotTheParent {
        peer: i32,
        parent: i32,
    },
    /// Between start and check; nobody is there who could be told.
    ParentEnded,
    AnotherUser {
        peer: u32,
        own: u32,
    },
    NoControlSocket(io::Error),
    /// Workers would run `main`, as far as anybody can see.
    #[cfg_attr(feature = "boot", allow(dead_code, reason = "a constructor is not forgotten"))]
    NotInitialised,
    NotIntercepted,
    TooDeep {
        limit: u32,
    },
    /// Whether this program can start itself again cannot be found out.
    ProgramUnknown(io::Error),
    /// In a process that was started as a worker.
    System(io::Error),
}

impl fmt::Display for BootRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RaisedPrivileges => f.write_str(
                "this program runs with raised privileges (set-user-id, set-group-id or file capabilities): it does not \
                 start itself again as a worker process",
            ),
            Self::TwoUsers => f.write_str(
                "the real and the effective user (or group) of this process differ, so a worker process would be taken for a \
                 program with raised privileges; change both (setresuid, setresgid)",
            ),
            Self::OutsideMainImage => f.write_str(
                "concurrent-futures is part of a shared library and not of the program itself: running the program again \
                 would not give a worker process",
            ),
            Self::ForeignLoader => f.write_str(
                "this program was started through a loader or an emulator, so running /proc/self/exe again would not \
                 give a worker process; start the program itself",
            ),
            Self::NotTheParent { peer, parent } => write!(
                f,
                "a worker's control socket must come from its parent, but it comes from process {peer}, and the \
                 parent is {parent} (1 or another reaper where the real parent has ended meanwhile)"
            ),
            Self::ParentEnded => f.write_str("the process that has started this one as a worker has ended"),
            Self::AnotherUser { peer, own } => {
                write!(f, "a worker's control socket must come from its own user {own}, but it comes from user {peer}")
            }
            Self::NoControlSocket(error) => {
                write!(f, "this process was started as a worker, but its standard input is no control socket: {error}")
            }
            Self::NotInitialised => f.write_str(
                "the feature `boot` of concurrent-futures is off, so a worker process would run `main` once more: call \
                 `concurrent_futures::init()` first in `main`, whatever its arguments are",
            ),
            Self::NotIntercepted => f.write_str(
                "this process was started as a worker, but runs `main`: the feature `boot` of concurrent-futures is off, \
                 so call `concurrent_futures::init()` first in `main`",
            ),
            Self::TooDeep { limit } => write!(
                f,
                "process pools are nested {limit} deep, each started by a task of the one before: this one is refused, as a \
                 pool that starts itself would never end"
            ),
            Self::ProgramUnknown(error) => {
                write!(f, "worker processes need /proc, where this process cannot read its own auxv: {error}")
            }
            Self::System(error) => write!(f, "this process cannot become a worker: {error}"),
        }
    }
}

impl Error for BootRefusal {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NoControlSocket(error) | Self::ProgramUnknown(error) | Self::System(error) => Some(error),
            _ => None,
        }
    }
}

impl From<BootRefusal> for io::Error {
    fn from(refusal: BootRefusal) -> Self {
        let kind = match &refusal {
            BootRefusal::ProgramUnknown(error) | BootRefusal::System(error) => error.kind(),
            _ => io::ErrorKind::Unsupported,
        };
        io::Error::new(kind, refusal)
    }
}

impl From<io::Error> for BootRefusal {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}
