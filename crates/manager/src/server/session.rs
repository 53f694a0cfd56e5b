//! A connection as the server sees it: its thread, what it holds, and its one wait.

use super::State;
use super::machines::{Granted, Parcel, Request, Step};
use super::object::{Body, Object};
use super::requests;
use crate::wire::link::is_over;
use crate::wire::{Frame, Link, MAX_FDS, Op, Status, WAIT};
use concurrent_futures_core::attach::Attachment;
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

/// What the machines know of it.
#[derive(Debug)]
pub(crate) struct Session {
    id: u64,
    granted: Mutex<Option<Granted>>,
    /// Rings when there is a grant. Made for the first wait.
    bell: OnceLock<OwnedFd>,
}

/// What is sent back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: Status,
    pub(super) number: u64,
    pub(super) value: Vec<u8>,
    pub(super) content: Content,
}

/// What goes along.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) attachments: Vec<Attachment>,
    pub(super) references: Vec<Arc<Object>>,
}

impl Answer {
    pub(super) fn of(status: Status) -> Self {
        Answer { status, number: 0, value: Vec::new(), content: Content::default() }
    }

    pub(super) fn words(status: Status, words: impl ToString) -> Self {
        Answer { value: words.to_string().into_bytes(), ..Answer::of(status) }
    }

    pub(super) fn object(object: Arc<Object>) -> Self {
        let content = Content { references: vec![object], ..Content::default() };
        Answer { content, ..Answer::of(Status::Done) }
    }
}

impl Session {
    pub(crate) fn new(id: u64) -> Arc<Self> {
        Arc::new(Session { id, granted: Mutex::default(), bell: OnceLock::new() })
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// To be called once for each wait, under the mutex of the machine that has the waiter.
    pub(crate) fn grant(&self, granted: Granted) {
        *self.granted.lock() = Some(granted);
        if let Some(bell) = self.bell.get() {
            // It cannot fail: an eventfd that is read after each ring is far from full.
            let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
        }
    }

    pub(crate) fn take_grant(&self) -> Option<Granted> {
        self.granted.lock().take()
    }

    /// It must be there before a machine can have a waiter.
    fn make_bell(&self) -> io::Result<()> {
        if self.bell.get().is_none() {
            let _ = self.bell.set(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        }
        Ok(())
    }
}

/// Serves a connection to its end, and gives back what it holds then.
pub(super) fn serve(state: &Arc<State>, link: Link) {
    let session = Session::new(state.number());
    // However it ends, it has ended: there is nobody to whom an error could be said.
    let _end = Serving { state, link, session, held: HashMap::new(), lent: Vec::new() }.run();
}

struct Serving<'a> {
    state: &'a Arc<State>,
    link: Link,
    session: Arc<Session>,
    /// Objects of which the session has something that others wait for.
    held: HashMap<u64, Arc<Object>>,
    /// Objects of the last reply, for which the client makes its own tokens before its next request: where descriptors do not travel.
    lent: Vec<Arc<Object>>,
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        for object in std::mem::take(&mut self.held).into_values() {
            if let Some(machine) = object.machine() {
                machine.ended(self.session.id());
            }
        }
    }
}

/// The client has gone, or has broken the rules.
struct Gone;

impl From<io::Error> for Gone {
    fn from(_: io::Error) -> Self {
        Gone
    }
}

impl Serving<'_> {
    fn run(&mut self) -> Result<(), Gone> {
        while let Some(frame) = self.link.receive()? {
            let op = Op::of(frame.code).ok_or(Gone)?;
            // One that came too late is no request: the client is still busy with the reply.
            if op != Op::Cancel {
                self.lent.clear();
            }
            match requests::serve(self.state, op, frame) {
                requests::Outcome::Nothing => {}
                requests::Outcome::Answer(answer) => self.answer(answer)?,
                requests::Outcome::Machine(object, request) => self.ask(&object, request)?,
            }
        }
        Ok(())
    }

    fn ask(&mut self, object: &Arc<Object>, request: Request) -> Result<(), Gone> {
        let Some(machine) = object.machine() else {
            return self.answer(Answer::words(Status::WrongType, object.type_name()));
        };
        if request.may_wait
            && let Err(error) = self.session.make_bell()
        {
            return self.answer(Answer::words(Status::Scarce, error));
        }
        let op = request.op;
        let granted = match machine.request(&self.session, request) {
            Step::Answer(granted) => granted,
            Step::Wait => match self.wait(object) {
                Ok(granted) => granted,
                Err(Gone) => {
                    if !machine.leave(self.session.id())
                        && let Some(granted) = self.session.take_grant()
                    {
                        machine.undo(self.session.id(), op, granted);
                    }
                    return Err(Gone);
                }
            },
        };
        match machine.holds(self.session.id()) {
            true => drop(self.held.insert(object.id(), object.clone())),
            false => drop(self.held.remove(&object.id())),
        }
        if granted.status == Status::WrongType {
            return self.answer(Answer::words(Status::WrongType, object.type_name()));
        }
        self.deliver(object, op, granted)
    }

    /// Waits for the grant of what the session has just asked for.
    fn wait(&mut self, object: &Arc<Object>) -> Result<Granted, Gone> {
        let machine = object.machine().ok_or(Gone)?;
        loop {
            if let Some(granted) = self.session.take_grant() {
                return Ok(granted);
            }
            if !self.link.has_more() {
                let bell = self.session.bell.get().ok_or(Gone)?;
                let mut sources = [PollFd::new(&self.link, PollFlags::IN), PollFd::new(bell, PollFlags::IN)];
                match poll(&mut sources, None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(io::Error::from(error).into()),
                }
                let (heard, rung) = (!sources[0].revents().is_empty(), !sources[1].revents().is_empty());
                if rung {
                    let _ = rustix::io::read(bell, &mut [0; 8]);
                }
                if !heard {
                    continue;
                }
            }
            // Whoever waits can only give up, or go.
            let frame = self.link.receive()?.ok_or(Gone)?;
            if Op::of(frame.code) != Some(Op::Cancel) {
                return Err(Gone);
            }
            if let Some(granted) = machine.cancel(self.session.id()) {
                return Ok(granted);
            }
        }
    }

    /// Sends what was granted. If it cannot be sent it was not.
    fn deliver(&mut self, object: &Arc<Object>, op: Op, mut granted: Granted) -> Result<(), Gone> {
        if self.state.is_stopped() {
            // It was granted because others have lost their connections to a server that ends.
            return Err(Gone);
        }
        // The kernel takes what is sent by TCP though the client has gone; on a local socket it does not.
        if !self.link.is_local() && is_over(&self.link) {
            self.undo(object, op, granted);
            return Err(Gone);
        }
        let Some(item) = &mut granted.item else {
            let (status, number) = (granted.status, granted.number);
            return self
                .answer(Answer { number, ..Answer::of(status) })
                .inspect_err(|_| self.undo(object, op, granted));
        };
        let tokens = match self.tokens(&item.references) {
            Ok(tokens) => tokens,
            Err(error) => {
                self.undo(object, op, granted);
                return self.answer(Answer::words(Status::Scarce, error));
            }
        };
        let frame = Frame {
            code: granted.status as u8,
            number: granted.number,
            references: item.references.iter().map(|object| object.id()).collect(),
            value: std::mem::take(&mut item.value),
            ..Frame::default()
        };
        let descriptors: Vec<BorrowedFd<'_>> = item.descriptors.iter().chain(&tokens).map(|fd| fd.as_fd()).collect();
        if let Err(error) = self.link.send(&frame, &descriptors) {
            let too_much = self.too_much(!descriptors.is_empty());
            item.value = frame.value;
            self.undo(object, op, granted);
            return match error.kind() {
                io::ErrorKind::InvalidInput => self.answer(too_much),
                _ => Err(Gone),
            };
        }
        self.lend(granted.item.map(|item| item.references).unwrap_or_default());
        Ok(())
    }

    fn undo(&mut self, object: &Arc<Object>, op: Op, granted: Granted) {
        if let Some(machine) = object.machine() {
            machine.undo(self.session.id(), op, granted);
        }
    }

    fn answer(&mut self, answer: Answer) -> Result<(), Gone> {
        if self.state.is_stopped() {
            // A function may have come to it because its own connections, or names that it looks for, went with the server.
            return Err(Gone);
        }
        let Answer { status, number, value, content } = answer;
        if self.link.is_local() && content.attachments.len() + content.references.len() > MAX_FDS {
            // Before tokens are made for all of them.
            return self.answer(Answer::of(Status::TooLarge));
        }
        let tokens = match self.tokens(&content.references) {
            Ok(tokens) => tokens,
            Err(error) => return self.answer(Answer::words(Status::Scarce, error)),
        };
        let references = content.references.iter().map(|object| object.id()).collect();
        let frame = Frame { code: status as u8, number, references, value, ..Frame::default() };
        let attachments = content.attachments.iter().map(|attachment| attachment.as_fd());
        let descriptors: Vec<BorrowedFd<'_>> = attachments.chain(tokens.iter().map(|fd| fd.as_fd())).collect();
        match self.link.send(&frame, &descriptors) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                return self.answer(self.too_much(!descriptors.is_empty()));
            }
            other => other?,
        }
        self.lend(content.references);
        Ok(())
    }

    /// Instead of what this connection cannot carry.
    fn too_much(&self, has_descriptors: bool) -> Answer {
        if self.link.is_local() || !has_descriptors {
            Answer::of(Status::TooLarge)
        } else {
            Answer::words(Status::Codec, "it has descriptors, which do not travel over TCP")
        }
    }

    /// One for each.
    fn tokens(&self, references: &[Arc<Object>]) -> io::Result<Vec<OwnedFd>> {
        if !self.link.is_local() {
            return Ok(Vec::new());
        }
        references.iter().map(|object| self.state.tokens.mint(object)).collect()
    }

    fn lend(&mut self, references: Vec<Arc<Object>>) {
        if !self.link.is_local() {
            self.lent = references;
        }
    }
}

/// What a request for a machine brings along.
pub(super) fn request(op: Op, frame: Frame, references: Vec<Arc<Object>>) -> Request {
    let Frame { flags, number, value, descriptors, .. } = frame;
    Request {
        op,
        number,
        may_wait: flags & WAIT != 0,
        item: Parcel { value, descriptors, references, ..Parcel::default() },
    }
}

/// A new object that is no data.
pub(super) fn machine(state: &Arc<State>, body: Body) -> Answer {
    Answer::object(state.add(body))
}
