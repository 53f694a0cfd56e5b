//! A task in the pool, as bytes.

use super::seat::{Remains, Seat};
use super::stops::Stops;
use crate::attachments::packets;
use crate::blocks::Blocks;
use crate::handles::{Parcel, forget_parked};
use crate::image;
use crate::link::Bytes;
use crate::slots::Page;
use crate::wire::{Offsets, TaskHead, Ticket, describe_parts};
use concurrent_futures_core::attach::Attachment;
use concurrent_futures_core::codec::Parts;
use concurrent_futures_core::task::{Call, Context, Entry};
use concurrent_futures_core::{CodecError, CodecStep, Refusal, Task, TaskError, TaskErrorKind};
use std::cell::Cell;
use std::io;
use std::sync::Arc;

/// A task with what a worker needs to run it. Kept until the task is done: it may have to be sent again.
///
/// It moves from hand to hand, several times: what few tasks have is beside it.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) task: Task,
    pub(super) call: Offsets,
    pub(super) input: Bytes,
    /// Its place in the order of submission.
    pub(super) number: u64,
    /// Which attempt it was sent for the last time.
    pub(super) attempt: u32,
    /// How often a worker that had nothing else to do has not started it.
    pub(super) recalls: u32,
    pub(super) more: Option<Box<More>>,
}

const _: () = assert!(size_of::<Item>() <= 96);

/// What few tasks have.
#[derive(Debug, Default)]
pub(super) struct More {
    /// The large blocks of the input.
    pub(super) parts: Option<Arc<Parts>>,
    pub(super) context: Option<Box<Context>>,
    /// The offset of the task's `retry_if`.
    pub(super) judge: Option<u64>,
    /// Channel handles that belong to the input.
    pub(super) handles: Handles,
    /// Descriptors that belong to the input. They stay here, and go along each time that it is sent.
    pub(super) attachments: Vec<Attachment>,
    /// The workers that have died of it.
    pub(super) deaths: u32,
}

/// Handles can be sent once: a task that has any goes to a worker that has nothing else to do, and ends with that worker.
#[derive(Debug, Default)]
pub(super) enum Handles {
    #[default]
    None,
    Here(Parcel),
    Sent,
}

impl Item {
    /// Encodes a task, of whose work nothing else is left. Runs the user's `Serialize`; not to be called with a lock held. A task that cannot be sent fails.
    pub(super) fn encode(task: Task) -> Option<Item> {
        match Self::call_of(&task) {
            Ok((call, input, more)) => Some(Item { task, call, input, number: 0, attempt: 0, recalls: 0, more }),
            Err(error) => {
                task.fail(error);
                None
            }
        }
    }

    fn call_of(task: &Task) -> Result<(Offsets, Bytes, Option<Box<More>>), TaskError> {
        let mut attachments = Vec::new();
        // What was parked must leave this thread before anything else is encoded in it.
        let sent = task.send(Some(&Blocks), &mut attachments).inspect_err(|_| forget_parked())?;
        let Call { entry, mut input, parts, context, judge, handles } = sent;
        let handles = if handles { pack()? } else { Handles::None };
        let any = parts.is_some()
            || context.is_some()
            || judge.is_some()
            || !matches!(handles, Handles::None)
            || !attachments.is_empty();
        let more = if any {
            let judge = judge.map(offset).transpose()?;
            let parts = parts.map(|parts| {
                let mut described = std::mem::take(&mut input).into_vec();
                describe_parts(&parts, &mut described);
                input = described.into();
                Arc::from(parts)
            });
            Some(Box::new(More { parts, context, judge, handles, attachments, deaths: 0 }))
        } else {
            None
        };
        Ok((offsets(entry)?, Bytes::from(input), more))
    }

    /// How many packets of descriptors go with it, or may.
    pub(super) fn packets(&self) -> usize {
        self.more.as_ref().map_or(0, |more| {
            packets(&more.attachments) + more.context.as_ref().map_or(0, |context| packets(&context.attachments))
        })
    }

    /// Bytes of input.
    pub(super) fn size(&self) -> usize {
        self.input.len() + self.parts().map_or(0, |parts| parts.bytes())
    }

    pub(super) fn parts(&self) -> Option<&Arc<Parts>> {
        self.more.as_ref()?.parts.as_ref()
    }

    /// What the worker gets to know of the call, but for the ticket.
    pub(super) fn head(&self, ticket: Ticket, handles: bool) -> TaskHead {
        let more = self.more.as_deref();
        TaskHead {
            ticket,
            call: self.call,
            context: more.and_then(|more| more.context.as_ref()).map(|context| context.id),
            handles,
            announce: self.task.has_policy(),
            parts: self.parts().map_or(0, |parts| parts.len() as u16),
            len: self.input.len() as u64,
        }
    }

    /// Whether it may wait behind another task at a worker, from where it would have to be fetched if that takes long.
    pub(super) fn can_be_buffered(&self) -> bool {
        self.more.as_ref().is_none_or(|more| matches!(more.handles, Handles::None))
    }

    fn handles_are_sent(&self) -> bool {
        self.more.as_ref().is_some_and(|more| matches!(more.handles, Handles::Sent))
    }

    /// Another worker has died of it; gives how many now.
    pub(super) fn died(&mut self) -> u32 {
        let more = self.more.get_or_insert_default();
        more.deaths += 1;
        more.deaths
    }

    /// How many workers have died of it.
    pub(super) fn deaths(&self) -> u32 {
        self.more.as_ref().map_or(0, |more| more.deaths)
    }

    /// It is about to be sent, with this ticket, under which it is offered already. `false`: it is resolved; it must not be sent.
    ///
    /// Who resolves it while an attempt runs tells the worker of that attempt, and no later one. So core looks whether it is
    /// resolved when the task can be found at its new place.
    pub(super) fn place(&mut self, seat: &Arc<Seat>, ticket: Ticket) -> bool {
        if self.task.has_policy() {
            self.attempt = self.task.attempts() + 1;
        }
        self.task.set_remote(seat.clone(), ticket.mark())
    }

    /// Whether an attempt that has begun may be followed by another one.
    pub(super) fn can_be_sent_again(&self) -> bool {
        !self.handles_are_sent()
    }

    /// The attempt is over, and another one follows. `false`: it is resolved.
    pub(super) fn pause(&self, stops: &Arc<Stops>) -> bool {
        self.task.set_remote(stops.clone(), self.number)
    }

    /// Its worker has answered, or is dead, and it is about to be resolved. All the rest is dropped before anybody learns of the
    /// outcome: shared memory among it can be used again for the next task.
    pub(super) fn over(self) -> Task {
        self.task
    }

    /// To send it elsewhere. `false`: it has started or was cancelled.
    pub(super) fn take_back(&self, page: &Page, ticket: Ticket) -> bool {
        self.unlinked_if(page.revoke(ticket))
    }

    /// For good. `false`: it has started.
    pub(super) fn revoke(&self, page: &Page, seat: &Seat, ticket: Ticket) -> bool {
        self.unlinked_if(page.revoke(ticket) || seat.has_revoked(ticket))
    }

    /// What is at no worker any more can be cancelled without asking anybody.
    fn unlinked_if(&self, taken: bool) -> bool {
        if taken {
            self.task.clear_remote();
        }
        taken
    }

    /// Its worker is dead.
    pub(super) fn bury(&self, seat: &Seat, ticket: Ticket) -> Remains {
        match seat.judge(ticket) {
            // Its handles have gone with the worker.
            Remains::Unstarted if self.handles_are_sent() => Remains::Lost,
            remains => {
                self.unlinked_if(remains == Remains::Unstarted);
                remains
            }
        }
    }
}

/// The addresses of an entry, as offsets that hold in every process that runs this program.
pub(super) fn offsets(entry: Entry) -> Result<Offsets, TaskError> {
    thread_local! {
        /// The last one of this thread: many tasks in a row are calls of one function.
        static LAST: Cell<Option<(Entry, Offsets)>> = const { Cell::new(None) };
    }
    if let Some((_, offsets)) = LAST.get().filter(|(last, _)| *last == entry) {
        return Ok(offsets);
    }
    let offsets = Offsets { trampoline: offset(entry.trampoline)?, function: offset(entry.function)? };
    LAST.set(Some((entry, offsets)));
    Ok(offsets)
}

fn offset(address: usize) -> Result<u64, TaskError> {
    image::offset_of(address).map_err(|e| Refusal::Unsupported(e.to_string().into()).into())
}

fn pack() -> Result<Handles, TaskError> {
    match Parcel::pack() {
        Ok(Some(parcel)) => Ok(Handles::Here(parcel)),
        Ok(None) => Ok(Handles::None),
        Err(error) => Err(handles_error(CodecStep::EncodeArgument, &error)),
    }
}

/// Handles that could not travel.
pub(super) fn handles_error(step: CodecStep, error: &io::Error) -> TaskError {
    TaskErrorKind::Codec(CodecError::new(step, "ipc_channel", format!("its channel handles: {error}"))).into()
}

pub(super) fn descriptors_error(step: CodecStep, error: &io::Error) -> TaskError {
    TaskErrorKind::Codec(CodecError::new(step, "attached descriptors", format!("its descriptors: {error}"))).into()
}
