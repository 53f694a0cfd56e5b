//! A task in the pool, as bytes.

use super::placement::{Placement, Remains};
use super::stops::Seat;
use crate::attachments::packets;
use crate::blocks::Blocks;
use crate::handles::{Parcel, forget_parked};
use crate::image;
use crate::link::Bytes;
use crate::wire::{Offsets, Ticket, describe_parts};
use concurrent_futures_core::attach::{self, Attachment};
use concurrent_futures_core::codec::Parts;
use concurrent_futures_core::task::{Call, Context, Entry, Remote};
use concurrent_futures_core::{CodecError, CodecStep, Refusal, Task, TaskError, TaskErrorKind};
use std::io;
use std::sync::Arc;

/// A task with what a worker needs to run it. Kept until the task is done: it may have to be sent again.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) task: Task,
    pub(super) call: Offsets,
    pub(super) input: Bytes,
    /// The large blocks of the input.
    pub(super) parts: Option<Arc<Parts>>,
    pub(super) context: Option<Context>,
    /// The offset of the task's `retry_if`.
    pub(super) judge: Option<u64>,
    /// Channel handles that belong to the input.
    pub(super) handles: Handles,
    /// Descriptors that belong to the input. They stay here, and go along each time that it is sent.
    pub(super) attachments: Vec<Attachment>,
    /// Its place in the order of submission.
    pub(super) number: u64,
    /// Which attempt it was sent for the last time.
    pub(super) attempt: u32,
    /// How often a worker that had nothing else to do has not started it.
    pub(super) recalls: u32,
    /// The workers that have died of it.
    pub(super) deaths: u32,
    /// Made when the task is sent for the first time.
    placement: Option<Arc<Placement>>,
}

/// Handles can be sent once: a task that has any goes to a worker that has nothing else to do, and ends with that worker.
#[derive(Debug)]
pub(super) enum Handles {
    None,
    Here(Parcel),
    Sent,
}

impl Item {
    /// Encodes a task, of whose work nothing else is left. Runs the user's `Serialize`; not to be called with a lock held. A task that cannot be sent fails.
    pub(super) fn encode(task: Task) -> Option<Item> {
        // What was parked must leave this thread before anything else is encoded in it.
        let mut attachments = Vec::new();
        let encoded = match attach::collect(&mut attachments, || task.send(Some(&Blocks))) {
            Ok(call) if call.handles => pack().map(|handles| (call, handles)),
            Ok(call) => Ok((call, Handles::None)),
            Err(error) => {
                forget_parked();
                Err(error)
            }
        };
        let prepared = encoded.and_then(|(Call { entry, mut input, parts, context, judge, .. }, handles)| {
            let judge = judge.map(offset).transpose()?;
            describe_parts(&parts, &mut input);
            let parts = (!parts.is_empty()).then(|| Arc::new(parts));
            Ok((offsets(entry)?, Bytes::from(input), parts, context, judge, handles))
        });
        match prepared {
            Ok((call, input, parts, context, judge, handles)) => Some(Item {
                task,
                call,
                input,
                parts,
                context,
                judge,
                handles,
                attachments,
                number: 0,
                attempt: 0,
                recalls: 0,
                deaths: 0,
                placement: None,
            }),
            Err(error) => {
                task.fail(error);
                None
            }
        }
    }

    /// How many packets of descriptors go with it, or may.
    pub(super) fn packets(&self) -> usize {
        packets(&self.attachments) + self.context.as_ref().map_or(0, |context| packets(&context.attachments))
    }

    /// Bytes of input.
    pub(super) fn size(&self) -> usize {
        self.input.len() + self.parts.as_ref().map_or(0, |parts| parts.bytes())
    }

    /// Whether it may wait behind another task at a worker, from where it would have to be fetched if that takes long.
    pub(super) fn can_be_buffered(&self) -> bool {
        matches!(self.handles, Handles::None)
    }

    /// Offers the task in a slot. `false`: it is resolved, or core is about to resolve it; it must not be sent.
    pub(super) fn place(&mut self, seat: &Arc<Seat>, ticket: Ticket) -> bool {
        if self.task.has_policy() {
            self.attempt = self.task.attempts() + 1;
        }
        if let Some(placement) = &self.placement {
            if !placement.send(seat, ticket) {
                return false;
            }
            // Who resolves it while an attempt runs tells the worker of that attempt, and no later one. So the look comes
            // after the task can be found at its new place.
            if self.task.is_done() {
                placement.take_back();
                return false;
            }
            return true;
        }
        let placement = Arc::new(Placement::sent(seat, ticket));
        self.placement = Some(placement.clone());
        self.task.set_remote(placement)
    }

    /// Whether an attempt that has begun may be followed by another one.
    pub(super) fn can_be_sent_again(&self) -> bool {
        !matches!(self.handles, Handles::Sent)
    }

    /// The attempt is over, and another one follows.
    pub(super) fn pause(&self) {
        if let Some(placement) = &self.placement {
            placement.pause();
        }
    }

    /// Its worker has answered, or is dead, and it is about to be resolved. All the rest is dropped before anybody learns of the
    /// outcome: shared memory among it can be used again for the next task.
    pub(super) fn over(self) -> Task {
        if let Some(placement) = &self.placement {
            placement.over();
        }
        self.task
    }

    /// To send it elsewhere. `false`: it has started or was cancelled.
    pub(super) fn take_back(&self) -> bool {
        self.placement.as_ref().is_some_and(|placement| placement.take_back())
    }

    /// For good. `false`: it has started.
    pub(super) fn revoke(&self) -> bool {
        self.placement.as_ref().is_none_or(|placement| placement.try_revoke())
    }

    /// Nobody wants it any more.
    pub(super) fn is_revoked(&self) -> bool {
        self.task.is_done() || self.placement.as_ref().is_some_and(|placement| placement.is_revoked())
    }

    /// Whether a worker has started it.
    pub(super) fn has_started(&self) -> bool {
        self.placement.as_ref().is_some_and(|placement| placement.started())
    }

    /// Its worker is dead.
    pub(super) fn bury(&self) -> Remains {
        match self.placement.as_ref().map_or(Remains::Unstarted, |placement| placement.bury()) {
            // Its handles have gone with the worker.
            Remains::Unstarted if matches!(self.handles, Handles::Sent) => Remains::Lost,
            remains => remains,
        }
    }
}

/// The addresses of an entry, as offsets that hold in every process that runs this program.
pub(super) fn offsets(entry: Entry) -> Result<Offsets, TaskError> {
    Ok(Offsets { trampoline: offset(entry.trampoline)?, function: offset(entry.function)? })
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
