//! The worker's loop: take a frame, do it, answer.

use super::limits::Fences;
use super::running::Running;
use super::{is_end, last_words};
use crate::attachments::Tray;
use crate::blocks::{self, Blocks};
use crate::handles::{Parcel, WorkerLane};
use crate::image;
use crate::link::WorkerEnd;
use crate::notes::Notes;
use crate::slots::Page;
use crate::sys::{abort, resources, stdio};
use crate::wire::{Down, Offsets, Step, TaskHead, Ticket, Up, describe_parts};
use concurrent_futures_core::attach::{self, Arrived, Attachment};
use concurrent_futures_core::codec::{Content, Message, Parts};
use concurrent_futures_core::task::{
    Entry, Served, Status, StoredContext, WorkerEnv, encode_error, serve, with_running,
};
use concurrent_futures_core::{CodecError, CodecStep, TaskErrorKind};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

/// A buffer that one large result has made this big is not kept.
const KEEP: usize = 1 << 20;

/// Why a worker leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// The pool knows.
    Told,
    /// There is no pool any more.
    Gone,
}

#[derive(Debug)]
pub(super) struct Server {
    link: Box<dyn WorkerEnd>,
    page: Arc<Page>,
    calls: Calls,
    fences: Fences,
    /// It leaves after a task that leaves more than this resident.
    max_memory: Option<u64>,
    /// On the task that comes next.
    notes: Option<Notes>,
    lane: WorkerLane,
    tray: Tray,
    /// The descriptors of what comes next.
    arrived: Arrived,
}

/// What calls need, and leave.
#[derive(Debug)]
struct Calls {
    contexts: HashMap<u64, StoredContext>,
    /// Used again for every result.
    output: Message,
    /// The last call, and where it is in this process.
    last: Option<(Offsets, Entry)>,
}

impl Server {
    pub(super) fn new(
        link: Box<dyn WorkerEnd>,
        page: Arc<Page>,
        lane: WorkerLane,
        tray: Tray,
        fences: Fences,
        max_memory: Option<u64>,
    ) -> Self {
        let calls = Calls { contexts: HashMap::new(), output: fresh_output(), last: None };
        Server { link, page, calls, fences, max_memory, notes: None, lane, tray, arrived: Arrived::default() }
    }

    /// Works until the pool says that it is enough.
    pub(super) fn run(mut self) -> io::Result<Leave> {
        while let Some((head, body)) = self.link.receive()? {
            match head {
                Down::Setup { step, call, .. } => {
                    if !self.set_up(step, call, body)? {
                        return Ok(Leave::Told);
                    }
                }
                Down::Begin => {
                    self.link.send(Up::Ready, &[])?;
                }
                Down::Context { id, .. } => {
                    let arrived = std::mem::take(&mut self.arrived);
                    self.calls.contexts.insert(id, StoredContext::with_attachments(body.stream, arrived));
                }
                Down::Forget { id } => {
                    self.calls.contexts.remove(&id);
                }
                Down::Notes { .. } => {
                    self.notes = Some(Notes::decode(&body.stream)?);
                }
                Down::Attached(attached) => {
                    self.arrived = self.tray.receive(attached)?;
                }
                Down::Task(task) => {
                    if self.task(task, body)? {
                        self.link.flush()?;
                        return Ok(Leave::Told);
                    }
                }
                Down::End => {
                    self.link.flush()?;
                    return Ok(Leave::Told);
                }
            }
        }
        Ok(Leave::Gone)
    }

    /// `false`: it failed, and the pool knows.
    fn set_up(&mut self, step: Step, call: Offsets, mut input: Content) -> io::Result<bool> {
        let beside = Beside { handles: Handles::None, arrived: std::mem::take(&mut self.arrived) };
        let (served, _) = self.calls.call(call, None, None, beside, &mut input)?;
        if served.status == Status::Value {
            return Ok(true);
        }
        let words = &self.calls.output.stream;
        self.link.send(Up::SetupFailed { step, len: words.len() as u64 }, words)?;
        self.link.flush()?;
        Ok(false)
    }

    /// `true`: the worker is to leave, and the pool knows.
    fn task(&mut self, task: TaskHead, mut input: Content) -> io::Result<bool> {
        // Also those of a revoked task, and what is in the lane for it.
        let noted = self.notes.take();
        let notes = noted.as_ref().unwrap_or(&Notes::NONE);
        let handles = if task.handles { Handles::of(self.receive_handles(task.ticket)) } else { Handles::None };
        let beside = Beside { handles, arrived: std::mem::take(&mut self.arrived) };
        if !self.page.start(task.ticket) {
            self.link.send(Up::Revoked(task.ticket), &[])?;
            return Ok(false);
        }
        if task.announce {
            self.link.send(Up::Started(task.ticket), &[])?;
        }
        // The task may take long: whoever waits for what is done already must not wait for it.
        self.link.flush()?;
        last_words::of(task.ticket);
        let largest = input.parts.iter().map(|part| part.len()).max().unwrap_or(0);
        if notes.limits.memory.is_some() {
            // It would count as the task's.
            blocks::give_back();
        }
        self.fences.set(&notes.limits)?;
        abort::forget_errors();
        let running = Running::new(notes, &self.page, task.ticket);
        let (served, attachments) =
            with_running(&running, || self.calls.call(task.call, task.context, notes.judge, beside, &mut input))?;
        self.fences.put_back(&notes.limits)?;
        drop(input);
        blocks::task_is_done(largest);
        let mut failed = served.status == Status::Error;
        let mut handles = false;
        if served.handles {
            match Parcel::pack().and_then(|parcel| self.send_handles(task.ticket, parcel)) {
                Ok(sent) => handles = sent,
                Err(error) => failed = self.cannot_send("channel handles", &error),
            }
        }
        // An error has none, whatever its value would have had.
        if !attachments.is_empty()
            && !failed
            && let Err(error) = self.attach(&attachments)
        {
            if is_end(error.kind()) {
                return Err(error);
            }
            failed = self.cannot_send("descriptors", &error);
        }
        let retire = self.max_memory.is_some_and(|max| resources::resident_size().is_ok_and(|size| size > max));
        let Message { stream, parts } = &mut self.calls.output;
        let number = describe_parts(parts, stream);
        let len = stream.len() as u64;
        let head = Up::Result { ticket: task.ticket, failed, again: served.again, retire, handles, parts: number, len };
        #[cfg(feature = "chaos")]
        crate::chaos::befall(&mut *self.link, &self.page, task.ticket, (head, stream, parts))?;
        self.link.send_with_parts(head, stream, parts)?;
        // A result that has lent its blocks ends here.
        self.calls.clear_output();
        Ok(retire)
    }

    /// Makes an error of a result of which something could not be sent beside the bytes.
    fn cannot_send(&mut self, what: &str, error: &io::Error) -> bool {
        let error = CodecError::new(CodecStep::EncodeResult, what, format!("its {what} could not be sent: {error}"));
        self.calls.clear_output();
        encode_error(&TaskErrorKind::Codec(error), &mut self.calls.output.stream);
        true
    }

    /// Sends the descriptors of a result, and announces them.
    fn attach(&mut self, attachments: &[Attachment]) -> io::Result<()> {
        // Otherwise the parent could wait for these frames, and this worker for room in the tray.
        self.link.flush()?;
        let attached = self.tray.send(attachments)?;
        self.link.send(Up::Attached(attached), &[])
    }

    fn receive_handles(&mut self, ticket: Ticket) -> io::Result<Parcel> {
        let link = &mut *self.link;
        self.lane.receive(ticket, &mut || ask_for_lane(link))
    }

    /// Sends the handles of a result, if there are any after all.
    fn send_handles(&mut self, ticket: Ticket, parcel: Option<Parcel>) -> io::Result<bool> {
        let Some(parcel) = parcel else { return Ok(false) };
        // Otherwise the parent could wait for these frames, and this worker for room in the lane.
        self.link.flush()?;
        let link = &mut *self.link;
        self.lane.send(ticket, parcel, &mut || ask_for_lane(link))?;
        Ok(true)
    }
}

impl Calls {
    /// Makes a call; what it returned is in `output`, with these descriptors.
    fn call(
        &mut self,
        call: Offsets,
        context: Option<u64>,
        judge: Option<u64>,
        beside: Beside,
        input: &mut Content,
    ) -> io::Result<(Served, Vec<Attachment>)> {
        let entry = match self.last {
            Some((last, entry)) if last == call => entry,
            _ => Entry { trampoline: address(call.trampoline)?, function: address(call.function)? },
        };
        self.last = Some((call, entry));
        let judge = judge.map(address).transpose()?;
        self.clear_output();
        let context = context.and_then(|id| self.contexts.get_mut(&id));
        let mut env = Env { context, judge, beside, attachments: Vec::new() };
        // SAFETY: the offsets come from the pool, which runs this very program (the boot has made sure of that) and took them
        // from a call that it made; all lie in the code of this image.
        let served = unsafe { serve(entry, input, &mut env, &mut self.output) };
        // What the task has printed is seen before its result, and is not lost if the next one ends the process.
        stdio::flush_printed();
        Ok((served, env.attachments))
    }

    fn clear_output(&mut self) {
        let Message { stream, parts } = &mut self.output;
        if !parts.is_empty() {
            parts.clear();
        }
        stream.clear();
        if stream.capacity() > KEEP {
            *stream = Vec::new();
        }
    }
}

fn address(offset: u64) -> io::Result<usize> {
    image::address_of(offset).map_err(io::Error::other)
}

fn fresh_output() -> Message {
    Message { stream: Vec::new(), parts: Parts::new(Some(&Blocks)) }
}

/// The pool answers over the control socket.
fn ask_for_lane(link: &mut dyn WorkerEnd) -> io::Result<()> {
    link.send(Up::Lane, &[])?;
    link.flush()
}

/// What came beside the bytes of a task's argument.
#[derive(Debug)]
struct Beside {
    handles: Handles,
    arrived: Arrived,
}

/// The channel handles of a task's argument.
#[derive(Debug)]
enum Handles {
    /// There are none.
    None,
    Here(Parcel),
    /// There should be some.
    Lost,
}

impl Handles {
    fn of(received: io::Result<Parcel>) -> Self {
        received.map_or(Handles::Lost, Handles::Here)
    }
}

/// What a call may ask for.
struct Env<'a> {
    context: Option<&'a mut StoredContext>,
    judge: Option<usize>,
    beside: Beside,
    /// The descriptors of its result.
    attachments: Vec<Attachment>,
}

impl WorkerEnv for Env<'_> {
    fn context(&mut self) -> Option<&mut StoredContext> {
        self.context.as_deref_mut()
    }

    fn judge(&self) -> Option<usize> {
        self.judge
    }

    fn decode(&mut self, decode: &mut dyn FnMut()) {
        let Beside { handles, arrived } = &mut self.beside;
        let mut decode = || match handles {
            Handles::None => decode(),
            // If `decode` is not called, core says that the handles did not arrive.
            Handles::Here(parcel) => drop(parcel.unpack(decode)),
            Handles::Lost => {}
        };
        if arrived.is_empty() { decode() } else { attach::provide(std::mem::take(arrived), decode) }
    }

    fn encode(&mut self, encode: &mut dyn FnMut()) {
        attach::collect(&mut self.attachments, encode);
    }
}
