//! What the frames of a worker mean: for the state, for the tasks that are done, and for the supervisor.

use super::inner::Inner;
use super::item::{Item, handles_error};
use super::state::{After, State};
use crate::attachments::Beside;
use crate::launch::WorkerId;
use crate::link::Frame;
use crate::wire::{Step, Up};
use concurrent_futures_core::codec::{Content, Stream};
use concurrent_futures_core::task::{Reply, Status};
use concurrent_futures_core::{CodecStep, KilledBy, TaskError, TaskOutput};
use std::time::Instant;

/// What frames mean for others than the state.
#[derive(Debug, Default)]
pub(super) struct News {
    after: After,
    done: Vec<(Item, Result<Reply, TaskError>)>,
    pub(super) ready: bool,
    pub(super) setup_failed: Option<(Step, Stream)>,
    /// Of the task that is done.
    pub(super) output: Option<TaskOutput>,
    /// The worker waits for its lane.
    pub(super) lane: bool,
}

impl News {
    /// Takes frames into the state and gives the worker new work, before anything is completed: it need not wait for that.
    /// `Err` says what was wrong. In any case, [`settle`](Self::settle) is to follow.
    pub(super) fn take(
        &mut self,
        pool: &Inner,
        id: WorkerId,
        frames: impl Iterator<Item = Frame<Up>>,
    ) -> Result<(), String> {
        let now = Instant::now();
        let mut state = pool.lock();
        let (before, owed) = (self.done.len(), self.owed());
        let sense = { frames }.try_for_each(|(head, body)| self.digest(&mut state, id, head, body));
        if sense.is_ok() {
            state.employ(id, self.done.len() - before, now, &mut self.after);
        }
        // While the lock is held: what is over for the state is not over for the pool before it is settled.
        pool.settling.begin(self.owed() - owed);
        sense
    }

    /// Does what was left to do when the state had been changed: sends new work, and completes what is done. Gives how many
    /// tasks that were.
    pub(super) fn settle(&mut self, pool: &Inner) -> u64 {
        let owed = self.owed();
        pool.finish(std::mem::take(&mut self.after));
        let done = self.done.len() as u64;
        pool.watch.count(done);
        for (item, outcome) in self.done.drain(..) {
            pool.settle_answer(item, outcome);
        }
        if pool.settling.end(owed) && pool.is_closed() {
            // The supervisor may be waiting for nothing else.
            pool.bell.ring();
        }
        done
    }

    /// How many tasks are still to be settled.
    fn owed(&self) -> usize {
        self.done.len() + self.after.unresolved()
    }

    fn digest(&mut self, state: &mut State, id: WorkerId, head: Up, content: Content) -> Result<(), String> {
        let unexpected = |what: &str| format!("an unexpected frame: {what}");
        match head {
            Up::Ready => {
                self.ready = true;
                if state.ready(id, &mut self.after) { Ok(()) } else { Err(unexpected("ready twice")) }
            }
            Up::SetupFailed { .. } if state.was_ready(id) => Err(unexpected("a set-up that fails late")),
            Up::SetupFailed { step, .. } => {
                state.suspend(id, KilledBy::Nobody);
                self.setup_failed = Some((step, content.stream));
                Ok(())
            }
            Up::Started(ticket) => state.announced(id, ticket).map_err(|_| unexpected("the start of another task")),
            Up::Result { ticket, failed, again, retire, handles, .. } => {
                let finished = state.finished(id, ticket);
                let (item, arrived) = finished.map_err(|_| unexpected("the result of another task"))?;
                if let Some(output) = self.output.take() {
                    item.task.attach_output(output);
                }
                let status = if failed { Status::Error } else { Status::Value };
                if retire {
                    state.retire(id);
                }
                let mut reply = Reply { status, bytes: content.stream, parts: content.parts, again, handles: None };
                if handles || arrived.is_some() {
                    let arrived = arrived.unwrap_or_default();
                    let parcel = if handles { state.receive_handles(id, ticket).map(Some) } else { Ok(None) };
                    match parcel {
                        Ok(handles) => reply.handles = Some(Box::new(Beside { handles, arrived })),
                        Err(error) => {
                            self.done.push((item, Err(handles_error(CodecStep::DecodeResult, &error))));
                            return Ok(());
                        }
                    }
                }
                self.done.push((item, Ok(reply)));
                Ok(())
            }
            Up::Revoked(ticket) => {
                let met = state.met_revoked(id, ticket, &mut self.after);
                met.map_err(|_| unexpected("another task as revoked"))
            }
            Up::Lane => {
                self.lane = true;
                Ok(())
            }
            Up::Attached(attached) => state
                .announced_descriptors(id, attached)
                .map_err(|error| format!("frames that do not fit its descriptors: it {error}")),
        }
    }
}
