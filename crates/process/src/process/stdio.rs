//! What a new process has as standard input, output and error.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys::stdio::standard;

/// What a new process has as its standard input, output or error; as [`std::process::Stdio`].
///
/// ```
/// use concurrent_futures_process::{Process, Stdio};
/// use std::io::Read;
///
/// let process = Process::target(|name: String| print!("hello, {name}"), "world".to_owned()).stdout(Stdio::piped()).start()?;
/// let mut text = String::new();
/// process.take_stdout().expect("it is piped").read_to_string(&mut text)?;
/// process.join()?;
/// assert_eq!(text, "hello, world");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Stdio(Kind);

#[derive(Debug)]
enum Kind {
    Inherit,
    Null,
    Piped,
    Given(OwnedFd),
}

impl Stdio {
    /// That of this process: what output and error are by default.
    pub fn inherit() -> Self {
        Stdio(Kind::Inherit)
    }

    /// `/dev/null`: what input is by default.
    pub fn null() -> Self {
        Stdio(Kind::Null)
    }

    /// A pipe, whose other end the [`Process`](super::Process) has.
    pub fn piped() -> Self {
        Stdio(Kind::Piped)
    }
}

impl From<OwnedFd> for Stdio {
    fn from(descriptor: OwnedFd) -> Self {
        Stdio(Kind::Given(descriptor))
    }
}

impl From<File> for Stdio {
    fn from(file: File) -> Self {
        Stdio::from(OwnedFd::from(file))
    }
}

impl From<PipeReader> for Stdio {
    fn from(pipe: PipeReader) -> Self {
        Stdio::from(OwnedFd::from(pipe))
    }
}

impl From<PipeWriter> for Stdio {
    fn from(pipe: PipeWriter) -> Self {
        Stdio::from(OwnedFd::from(pipe))
    }
}

/// This process's ends of the pipes.
#[derive(Debug, Default)]
pub(super) struct Pipes {
    pub(super) stdin: Option<PipeWriter>,
    pub(super) stdout: Option<PipeReader>,
    pub(super) stderr: Option<PipeReader>,
}

/// What the process gets. One that this process has closed itself is `/dev/null` there.
#[derive(Debug)]
pub(super) enum Theirs {
    Inherited(BorrowedFd<'static>),
    Own(OwnedFd),
}

impl AsFd for Theirs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Theirs::Inherited(descriptor) => *descriptor,
            Theirs::Own(descriptor) => descriptor.as_fd(),
        }
    }
}

/// Makes what is asked for, of standard input, output and error.
pub(super) fn prepare(wishes: [Stdio; 3]) -> io::Result<([Theirs; 3], Pipes)> {
    let [stdin, stdout, stderr] = wishes;
    let (stdin, to_stdin) = match stdin.0 {
        Kind::Piped => io::pipe().map(|(theirs, ours)| (Theirs::Own(theirs.into()), Some(ours)))?,
        other => (given(other, 0)?, None),
    };
    let output = |wish: Stdio, number| match wish.0 {
        Kind::Piped => io::pipe().map(|(ours, theirs)| (Theirs::Own(theirs.into()), Some(ours))),
        other => Ok((given(other, number)?, None)),
    };
    let (stdout, from_stdout) = output(stdout, 1)?;
    let (stderr, from_stderr) = output(stderr, 2)?;
    Ok(([stdin, stdout, stderr], Pipes { stdin: to_stdin, stdout: from_stdout, stderr: from_stderr }))
}

fn given(kind: Kind, number: i32) -> io::Result<Theirs> {
    match kind {
        Kind::Given(descriptor) => Ok(Theirs::Own(descriptor)),
        Kind::Inherit if rustix::io::fcntl_getfd(standard(number)).is_ok() => Ok(Theirs::Inherited(standard(number))),
        _ => crate::sys::stdio::null().map(Theirs::Own),
    }
}
