//! What the pool and its fork server say to each other: one message per packet, little-endian.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::SendFlags;

use super::{Ends, Exit, ExitReport, WorkerId};
use crate::sys::message::{self, Received};

/// From the pool to the fork server.
#[derive(Debug)]
pub(super) enum Request {
    /// The first message. With a preload, its argument follows as a blob.
    Begin { depth: u32, preload: Option<(u64, u64, OwnedFd)> },
    /// Fork one, which gets these ends. `None`: there was no room for the descriptors.
    Fork { worker: WorkerId, name: String, kind: Kind, ends: Option<Ends> },
}

/// What a fork becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Of a pool.
    Worker,
    /// A [`Process`](crate::Process).
    Process,
}

/// From the fork server to the pool.
#[derive(Debug)]
pub(crate) enum Report {
    /// The preload is done.
    Ready,
    /// The preload failed; the blob is the encoded error, if there was room for it. The fork server leaves.
    PreloadFailed { error: Option<OwnedFd> },
    /// The worker was forked, and waits until this message is under way.
    Started { worker: WorkerId, pid: i32, pidfd: OwnedFd },
    /// It could not be forked.
    Failed { worker: WorkerId, error: io::Error },
    /// It was not forked because that would not be safe; no later one will be.
    Refused { why: String },
    /// It has ended.
    Exited { worker: WorkerId, exit: Exit },
}

/// The longest message. Names and reasons are cut to fit.
const MAX: usize = 1024;
const TEXT_MAX: usize = MAX - 32;

const BEGIN: u8 = 1;
const FORK: u8 = 2;
const READY: u8 = 3;
const PRELOAD_FAILED: u8 = 4;
const STARTED: u8 = 5;
const FAILED: u8 = 6;
const REFUSED: u8 = 7;
const EXITED: u8 = 8;
const FORK_WITH_OUTPUT: u8 = 9;
const FORK_PROCESS: u8 = 10;

pub(crate) fn send_begin(socket: impl AsFd, depth: u32, preload: Option<(u64, u64, BorrowedFd<'_>)>) -> io::Result<()> {
    let mut bytes = vec![BEGIN];
    bytes.extend(depth.to_le_bytes());
    if let Some((trampoline, function, input)) = preload {
        bytes.extend(trampoline.to_le_bytes());
        bytes.extend(function.to_le_bytes());
        return message::send(socket, &bytes, &[input]);
    }
    message::send(socket, &bytes, &[])
}

pub(super) fn send_fork(socket: impl AsFd, worker: WorkerId, name: &str, ends: &Ends) -> io::Result<()> {
    let control = ends.control.as_fd();
    match &ends.output {
        None => message::send(socket, &with_text(FORK, worker.0, name), &[control]),
        Some([stdout, stderr]) => {
            let text = with_text(FORK_WITH_OUTPUT, worker.0, name);
            message::send(socket, &text, &[control, stdout.as_fd(), stderr.as_fd()])
        }
    }
}

/// Asks for a [`Process`](crate::Process).
pub(crate) fn send_fork_process(
    socket: impl AsFd,
    worker: WorkerId,
    name: &str,
    control: BorrowedFd<'_>,
) -> io::Result<()> {
    message::send(socket, &with_text(FORK_PROCESS, worker.0, name), &[control])
}

impl Report {
    pub(super) fn send(&self, socket: impl AsFd) -> io::Result<()> {
        self.send_with(socket, SendFlags::empty())
    }

    /// `false`: there is no room now, since nobody listens.
    pub(super) fn try_send(&self, socket: impl AsFd) -> io::Result<bool> {
        match self.send_with(socket, SendFlags::DONTWAIT) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            other => other.map(|()| true),
        }
    }

    fn send_with(&self, socket: impl AsFd, flags: SendFlags) -> io::Result<()> {
        let send = |bytes: &[u8], fds: &[BorrowedFd<'_>]| message::send_with(socket, bytes, fds, flags);
        match self {
            Self::Ready => send(&[READY], &[]),
            Self::PreloadFailed { error: Some(error) } => send(&[PRELOAD_FAILED], &[error.as_fd()]),
            Self::PreloadFailed { error: None } => send(&[PRELOAD_FAILED], &[]),
            Self::Started { worker, pid, pidfd } => send(&with_number(STARTED, worker.0, *pid, 0), &[pidfd.as_fd()]),
            Self::Failed { worker, error } => {
                let code = error.raw_os_error().unwrap_or(libc::EIO);
                send(&with_number(FAILED, worker.0, code, 0), &[])
            }
            Self::Refused { why } => send(&with_text(REFUSED, 0, why), &[]),
            Self::Exited { worker, exit } => {
                let (value, kind) = match exit.report {
                    ExitReport::Code(code) => (code, 0),
                    ExitReport::Signal { signal, core_dumped: false } => (signal, 1),
                    ExitReport::Signal { signal, core_dumped: true } => (signal, 2),
                    ExitReport::Unknown => (0, 3),
                };
                let mut bytes = with_number(EXITED, worker.0, value, kind);
                // Nobody has used nothing at all, so zero stands for what is not known.
                bytes.extend(exit.peak_memory.unwrap_or(0).to_le_bytes());
                send(&bytes, &[])
            }
        }
    }

    /// The next report; `None` at the end.
    ///
    /// # Errors
    ///
    /// `InvalidData` for what is no report; otherwise as [`message::receive`].
    pub(crate) fn receive(socket: impl AsFd) -> io::Result<Option<Self>> {
        let mut buffer = [0; MAX];
        let Some(Received { len, fds }) = message::receive(socket, &mut buffer)? else { return Ok(None) };
        Self::decode(&buffer[..len], fds).ok_or_else(garbled).map(Some)
    }

    fn decode(bytes: &[u8], fds: Vec<OwnedFd>) -> Option<Self> {
        let mut fields = Fields(bytes);
        let mut fds = fds.into_iter();
        let report = match fields.byte()? {
            READY => Self::Ready,
            PRELOAD_FAILED => Self::PreloadFailed { error: fds.next() },
            STARTED => {
                let (worker, pid, _) = fields.number()?;
                let pid = Some(pid).filter(|&pid| pid > 0)?;
                match fds.next() {
                    Some(pidfd) => Self::Started { worker, pid, pidfd },
                    // Nobody could watch it. It leaves when the pool closes its control socket.
                    None => Self::Failed { worker, error: no_room() },
                }
            }
            FAILED => {
                let (worker, code, _) = fields.number()?;
                Self::Failed { worker, error: io::Error::from_raw_os_error(code) }
            }
            REFUSED => {
                fields.word()?;
                Self::Refused { why: fields.text()? }
            }
            EXITED => {
                let (worker, value, kind) = fields.number()?;
                let report = match kind {
                    0 => ExitReport::Code(value),
                    1 => ExitReport::Signal { signal: value, core_dumped: false },
                    2 => ExitReport::Signal { signal: value, core_dumped: true },
                    3 => ExitReport::Unknown,
                    _ => return None,
                };
                let peak_memory = Some(fields.word()?).filter(|&peak| peak != 0);
                Self::Exited { worker, exit: Exit { report, peak_memory } }
            }
            _ => return None,
        };
        (fields.is_empty() && fds.next().is_none()).then_some(report)
    }
}

impl Request {
    /// The next request; `None` at the end. Errors as of [`Report::receive`].
    pub(super) fn receive(socket: impl AsFd) -> io::Result<Option<Self>> {
        let mut buffer = [0; MAX];
        let Some(Received { len, fds }) = message::receive(socket, &mut buffer)? else { return Ok(None) };
        Self::decode(&buffer[..len], fds).ok_or_else(garbled).map(Some)
    }

    fn decode(bytes: &[u8], fds: Vec<OwnedFd>) -> Option<Self> {
        let mut fields = Fields(bytes);
        let mut fds = fds.into_iter();
        let request = match fields.byte()? {
            BEGIN => {
                let depth = u32::from_le_bytes(fields.take()?);
                let preload = match fields.is_empty() {
                    true => None,
                    false => Some((fields.word()?, fields.word()?, fds.next()?)),
                };
                Self::Begin { depth, preload }
            }
            tag @ (FORK | FORK_WITH_OUTPUT | FORK_PROCESS) => {
                let worker = WorkerId(fields.word()?);
                let name = fields.text()?;
                let control = fds.next();
                let output = fds.next().zip(fds.next()).map(|(stdout, stderr)| [stdout, stderr]);
                // All of them or none: half a set of descriptors makes no worker.
                let complete = output.is_some() == (tag == FORK_WITH_OUTPUT);
                let ends = control.filter(|_| complete).map(|control| Ends { control, output });
                let kind = if tag == FORK_PROCESS { Kind::Process } else { Kind::Worker };
                Self::Fork { worker, name, kind, ends }
            }
            _ => return None,
        };
        (fields.is_empty() && fds.next().is_none()).then_some(request)
    }
}

fn with_text(kind: u8, word: u64, text: &str) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(word.to_le_bytes());
    bytes.extend(&text.as_bytes()[..text.floor_char_boundary(TEXT_MAX)]);
    bytes
}

fn with_number(kind: u8, word: u64, number: i32, detail: u8) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(word.to_le_bytes());
    bytes.extend(number.to_le_bytes());
    bytes.push(detail);
    bytes
}

/// What a receiver without room for a descriptor would have got from the kernel.
pub(super) fn no_room() -> io::Error {
    io::Error::from_raw_os_error(libc::EMFILE)
}

fn garbled() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not a message of the fork server's protocol")
}

/// What is left of a message.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take().map(|[byte]| byte)
    }

    fn word(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn number(&mut self) -> Option<(WorkerId, i32, u8)> {
        Some((WorkerId(self.word()?), i32::from_le_bytes(self.take()?), self.byte()?))
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(std::mem::take(&mut self.0).to_vec()).ok()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::socket::packet_pair;

    fn null() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn requests_arrive_as_they_were_sent() {
        let (pool, server) = packet_pair().unwrap();
        send_begin(&pool, 3, None).unwrap();
        send_begin(&pool, 2, Some((7, 8, null().as_fd()))).unwrap();
        let output = Some([null(), null()]);
        send_fork(&pool, WorkerId(9), "worker-é", &Ends { control: null(), output }).unwrap();
        send_fork(&pool, WorkerId(10), &"é".repeat(MAX), &Ends { control: null(), output: None }).unwrap();
        drop(pool);

        let next = || Request::receive(&server).unwrap();
        assert!(matches!(next(), Some(Request::Begin { depth: 3, preload: None })));
        assert!(matches!(next(), Some(Request::Begin { depth: 2, preload: Some((7, 8, _)) })));
        let Some(Request::Fork { worker: WorkerId(9), name, ends: Some(ends), kind: Kind::Worker }) = next() else {
            panic!("a fork request")
        };
        assert!(name == "worker-é" && ends.output.is_some());
        let Some(Request::Fork { worker: WorkerId(10), name, ends: Some(ends), .. }) = next() else {
            panic!("a fork request")
        };
        assert!(name.len() == TEXT_MAX && ends.output.is_none());
        assert!(next().is_none());
    }

    #[test]
    fn reports_arrive_as_they_were_sent() {
        let statuses = [
            ExitReport::Code(-1),
            ExitReport::Signal { signal: 9, core_dumped: false },
            ExitReport::Signal { signal: 11, core_dumped: true },
            ExitReport::Unknown,
        ];
        let worker = WorkerId(u64::MAX);
        let mut reports = vec![
            Report::Ready,
            Report::PreloadFailed { error: Some(null()) },
            Report::PreloadFailed { error: None },
            Report::Started { worker, pid: 77, pidfd: null() },
            Report::Failed { worker, error: io::Error::from_raw_os_error(libc::EAGAIN) },
            Report::Refused { why: "two threads".into() },
        ];
        reports.extend(statuses.map(|report| Report::Exited { worker, exit: report.into() }));
        reports.push(Report::Exited { worker, exit: Exit { peak_memory: Some(1 << 30), ..Exit::UNKNOWN } });
        let (server, pool) = packet_pair().unwrap();
        for report in reports {
            report.send(&server).unwrap();
            let arrived = Report::receive(&pool).unwrap().unwrap();
            // Descriptors get new numbers on the way.
            let shape = |report: &Report| format!("{report:?}").replace(|c: char| c.is_ascii_digit(), "");
            assert_eq!(shape(&arrived), shape(&report));
        }
    }

    #[test]
    fn a_descriptor_without_room_fails_that_worker_only() {
        let bytes = with_number(STARTED, 4, 77, 0);
        let report = Report::decode(&bytes, Vec::new());
        assert!(matches!(report, Some(Report::Failed { worker: WorkerId(4), .. })), "{report:?}");
        let request = Request::decode(&with_text(FORK, 4, "no socket"), Vec::new());
        assert!(matches!(request, Some(Request::Fork { worker: WorkerId(4), ends: None, .. })), "{request:?}");
        let request = Request::decode(&with_text(FORK_WITH_OUTPUT, 4, "no output"), vec![null(), null()]);
        assert!(matches!(request, Some(Request::Fork { worker: WorkerId(4), ends: None, .. })), "{request:?}");
    }

    #[test]
    fn garbled_messages_are_errors() {
        let worker = WorkerId(1);
        let mut exited = with_number(EXITED, worker.0, 0, 0);
        *exited.last_mut().unwrap() = 9;
        exited.extend([0; 8]);
        let garbled: [&[u8]; 5] = [b"x", &[READY, 0], &[STARTED], &exited, &[REFUSED, 1]];
        for bytes in garbled {
            assert!(Report::decode(bytes, Vec::new()).is_none(), "{bytes:?}");
        }
        assert!(Report::decode(&[READY], vec![null()]).is_none());
        assert!(Report::decode(&with_number(STARTED, 1, -1, 0), vec![null()]).is_none());
        for bytes in [&[BEGIN][..], &[BEGIN, 0, 0, 0, 0, 1], &[FORK, 0, 0]] {
            assert!(Request::decode(bytes, Vec::new()).is_none(), "{bytes:?}");
        }
        assert!(Request::decode(&[BEGIN, 0, 0, 0, 0], vec![null()]).is_none());
    }
}
