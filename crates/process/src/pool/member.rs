//! One worker, as the pool's state knows it.

use super::item::{Handles, Item, descriptors_error, handles_error};
use super::seat::Seat;
use super::state::After;
use crate::attachments::{Attached, PACKETS_MAX, Tray};
use crate::handles::{Parcel, ParentLane, worker_is_gone};
use crate::launch::WorkerId;
use crate::link::{Bytes, Outbound, TOGETHER, Together};
use crate::notes::Notes;
use crate::slots::{Page, SLOTS};
use crate::wire::{Down, Ticket};
use concurrent_futures_core::attach::{Arrived, Attachment};
use concurrent_futures_core::task::{Context, Grace};
use concurrent_futures_core::{CodecStep, KilledBy, TaskError};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a worker that has just proved to be quick is given at a time.
const WINDOW_MAX: usize = SLOTS / 2;
/// What every worker is given at a time: one task to run, and one so that it need not wait for the next.
const WINDOW_MIN: usize = 2;
/// So much work it may have at a time, so that it need not wait for us.
const AHEAD_TIME: Duration = Duration::from_micros(500);
/// Not more than this is buffered at a worker behind the task that it runs: it would be sent twice if the worker died, and
/// takes long to send anyway.
const AHEAD: usize = 1 << 20;
/// So many contexts are kept in a worker.
const CONTEXTS: usize = 16;

/// Where a worker is in its life. The table is in `README.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Asked for; not ready yet.
    Starting,
    /// Takes tasks.
    Ready,
    /// Told to leave, or broken; gets no more tasks.
    Leaving,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: WorkerId,
    pub(super) stage: Stage,
    /// It has been ready for tasks.
    pub(super) was_ready: bool,
    pub(super) process: Option<Process>,
    /// What of ours ended it, or is about to.
    pub(super) killed_by: KilledBy,
    /// It has not started what it could have, and has not answered since.
    pub(super) takes_nothing: bool,
    /// What it has not started at the last look, and since when.
    pub(super) suspicion: Option<(Ticket, Instant)>,
    /// Since when it has owed a word, though it has no task.
    pub(super) silent_since: Option<Instant>,
    /// It has been told to leave.
    pub(super) dismissed: bool,
    /// Since when it has had nothing to do, where that matters.
    pub(super) idle_since: Option<Instant>,
    outbound: Arc<dyn Outbound>,
    pub(super) seat: Arc<Seat>,
    page: Arc<Page>,
    /// The task that it runs is to end; until then it gets no other.
    pub(super) stopping: Option<Ticket>,
    /// For channel handles, which cannot be bytes.
    lane: ParentLane,
    /// For other descriptors.
    tray: Tray,
    /// Packets in it that the worker may not have read.
    packets: usize,
    /// What came for the result that comes next.
    arrived: Option<Arrived>,
    /// What was sent and not answered, in the order of sending, which is the order of the answers.
    flights: VecDeque<Flight>,
    /// So many of the last flights are not posted. Only while the pool's lock is held, as the next.
    unposted: usize,
    /// A task was sent and is not on its way.
    undelivered: bool,
    /// Flights that still have their task.
    live: usize,
    /// Bytes of input among them.
    bytes: usize,
    /// Flights ever; gives the tickets.
    sent: u64,
    /// Tickets that were given and not sent. None is used again: somebody may have it still.
    skipped: u32,
    /// Tasks that have run.
    served: usize,
    window: usize,
    /// Since when it has had something to do without a break, as far as known; its last answers count from there.
    busy_since: Option<Instant>,
    /// It is given one task at a time, whatever its window: what it prints is that task's.
    alone: bool,
    /// The contexts that it has, the one used last at the end.
    contexts: VecDeque<u64>,
}

/// The process of a worker; by its descriptor, so that no signal can reach another process.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) pidfd: Arc<OwnedFd>,
}

#[derive(Debug)]
struct Flight {
    ticket: Ticket,
    /// Packets of descriptors that were sent with it.
    packets: usize,
    /// `None`: taken back; the worker will say that it has met it.
    item: Option<Item>,
}

/// A task that was not sent.
#[derive(Debug)]
pub(super) enum Unsent {
    /// It has been resolved meanwhile, or core is at it.
    Resolved(Box<Item>),
    Failed(Box<Item>, TaskError),
}

/// An answer that does not fit what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Misfit;

impl Member {
    pub(super) fn new(outbound: Arc<dyn Outbound>, tray: Tray, page: Arc<Page>, seat: Seat) -> Self {
        Member {
            id: seat.worker,
            stage: Stage::Starting,
            was_ready: false,
            process: None,
            killed_by: KilledBy::Nobody,
            takes_nothing: false,
            suspicion: None,
            silent_since: None,
            dismissed: false,
            idle_since: None,
            outbound,
            seat: Arc::new(seat),
            page,
            stopping: None,
            lane: ParentLane::default(),
            tray,
            packets: 0,
            arrived: None,
            flights: VecDeque::new(),
            unposted: 0,
            undelivered: false,
            live: 0,
            bytes: 0,
            sent: 0,
            skipped: 0,
            served: 0,
            window: WINDOW_MIN,
            busy_since: None,
            alone: false,
            contexts: VecDeque::new(),
        }
    }

    /// With one task at a time.
    pub(super) fn alone(self, alone: bool) -> Self {
        Member { alone, ..self }
    }

    /// We are about to end it, for this reason unless there was one before.
    pub(super) fn blame(&mut self, why: KilledBy) {
        if self.killed_by == KilledBy::Nobody {
            self.killed_by = why;
        }
    }

    /// Has nothing to do.
    pub(super) fn is_idle(&self) -> bool {
        self.stage == Stage::Ready && self.live == 0
    }

    pub(super) fn live(&self) -> usize {
        self.live
    }

    pub(super) fn served(&self) -> usize {
        self.served
    }

    /// Whether it can take `item` now, being given at most `share` tasks at a time and `limit` in its life.
    pub(super) fn has_room_for(&self, item: &Item, share: usize, limit: Option<usize>) -> bool {
        if self.stage != Stage::Ready
            || self.flights.len() == SLOTS
            || self.stopping.is_some()
            || self.takes_nothing
            || limit.is_some_and(|n| self.served + self.live >= n)
            || self.packets > 0 && self.packets + item.packets() > PACKETS_MAX
        {
            return false;
        }
        self.live == 0
            || !self.alone
                && self.live < self.window.min(share)
                && self.bytes + item.size() <= AHEAD
                && item.can_be_buffered()
    }

    #[cfg(test)]
    pub(super) fn has_room_for_another(&self) -> bool {
        self.stage == Stage::Ready && self.flights.len() < SLOTS && self.stopping.is_none() && !self.takes_nothing
    }

    /// Sends a task, with the next [`deliver`](Self::deliver).
    pub(super) fn send(&mut self, mut item: Item) -> Result<(), Unsent> {
        debug_assert!(self.flights.len() < SLOTS);
        let seq = ((self.sent / SLOTS as u64) as u32).wrapping_add(self.skipped);
        let ticket = Ticket { slot: (self.sent % SLOTS as u64) as u16, seq };
        self.page.offer(ticket);
        if !item.place(&self.seat, ticket) {
            self.skipped = self.skipped.wrapping_add(1);
            return Err(Unsent::Resolved(Box::new(item)));
        }
        let packets = item.packets();
        let is_plain = item.more.is_none() && item.input.len() <= TOGETHER && !item.task.has_policy();
        if !is_plain {
            self.post_those_before();
            match self.send_ahead(ticket, &mut item) {
                Ok(handles) => {
                    let head = Down::Task(item.head(ticket, handles));
                    self.outbound.post_with_parts(head, Some(&item.input), item.parts());
                }
                Err(error) => {
                    // The worker has not heard of it: unless core has taken it back, it is ours, whatever the page says.
                    let item = Box::new(item);
                    self.skipped = self.skipped.wrapping_add(1);
                    let taken = item.take_back(&self.page, ticket);
                    let revoked = !taken && self.seat.has_revoked(ticket);
                    self.seat.met_revoked(ticket);
                    return Err(if revoked { Unsent::Resolved(item) } else { Unsent::Failed(item, error) });
                }
            }
        }
        self.sent += 1;
        self.live += 1;
        self.bytes += item.size();
        self.packets += packets;
        self.flights.push_back(Flight { ticket, packets, item: Some(item) });
        self.undelivered = true;
        if is_plain {
            self.unposted += 1;
        }
        Ok(())
    }

    /// What goes before a task's own frame. Gives whether channel handles have been sent for it.
    fn send_ahead(&mut self, ticket: Ticket, item: &mut Item) -> Result<bool, TaskError> {
        let mut handles = false;
        if let Some(more) = &mut item.more {
            if let Some(context) = &more.context {
                let provided = self.provide(context);
                provided.map_err(|error| descriptors_error(CodecStep::EncodeArgument, &error))?;
            }
            match std::mem::replace(&mut more.handles, Handles::Sent) {
                Handles::None => more.handles = Handles::None,
                Handles::Here(parcel) => {
                    let sent = self.lane.send(ticket, parcel);
                    sent.map_err(|error| handles_error(CodecStep::EncodeArgument, &error))?;
                    handles = true;
                }
                Handles::Sent => unreachable!("a task whose handles have been sent stays with its worker"),
            }
            // The last that can fail: what it announces is for the task's frame, and for no other.
            let attached = self.attach(&more.attachments);
            attached.map_err(|error| descriptors_error(CodecStep::EncodeArgument, &error))?;
        }
        if let Some(notes) = Notes::on(&item.task, item.more.as_ref().and_then(|more| more.judge)) {
            let notes = Bytes::from(notes.encode());
            self.outbound.post(Down::Notes { len: notes.len() as u64 }, Some(&notes));
        }
        Ok(handles)
    }

    /// Has the tasks that were sent on their way when the pool's lock is released; to be called before that.
    pub(super) fn deliver(&mut self, after: &mut After) {
        if std::mem::take(&mut self.undelivered) {
            self.post_those_before();
            after.flush(&self.outbound);
        }
    }

    /// Posts the tasks that were sent and are not posted, together.
    fn post_those_before(&mut self) {
        let count = std::mem::take(&mut self.unposted);
        if count == 0 {
            return;
        }
        let new = self.flights.range(self.flights.len() - count..);
        let mut frames = Together::new();
        for (ticket, item) in new.filter_map(|flight| Some((flight.ticket, flight.item.as_ref()?))) {
            let post = |frames: &[u8]| self.outbound.post_frames(frames);
            frames.push(Down::Task(item.head(ticket, false)), &item.input, post);
        }
        self.outbound.post_frames(frames.bytes());
    }

    /// Says something that is no task.
    pub(super) fn say(&mut self, head: Down, after: &mut After) {
        self.post_those_before();
        self.outbound.post(head, None);
        after.flush(&self.outbound);
    }

    /// The worker waits for its lane.
    pub(super) fn open_lane(&mut self, control: BorrowedFd<'_>) -> io::Result<()> {
        self.lane.open(control)
    }

    /// The handles of a result.
    pub(super) fn receive_handles(&mut self, ticket: Ticket) -> io::Result<Parcel> {
        self.lane.receive(ticket)
    }

    /// Sends descriptors for the frame that is posted next.
    pub(super) fn attach(&mut self, attachments: &[Attachment]) -> io::Result<()> {
        if attachments.is_empty() {
            return Ok(());
        }
        debug_assert_eq!(self.unposted, 0, "what is announced is for the frame that is posted next");
        match self.tray.send(attachments) {
            Ok(attached) => self.outbound.post(Down::Attached(attached), None),
            // Its death decides what becomes of the task.
            Err(error) if worker_is_gone(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// What the worker announces for its next result. `Err` says what is wrong with it.
    pub(super) fn announced_descriptors(&mut self, attached: Attached) -> io::Result<()> {
        let arrived = self.tray.receive(attached)?;
        match self.arrived.replace(arrived) {
            None => Ok(()),
            Some(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "announced descriptors twice for one result")),
        }
    }

    /// The descriptors of the result that has come.
    pub(super) fn take_descriptors(&mut self) -> Option<Arrived> {
        self.arrived.take()
    }

    /// The worker has `context` before what is posted next, and forgets what it has not used for longest.
    fn provide(&mut self, context: &Context) -> io::Result<()> {
        if self.contexts.back() == Some(&context.id) {
            return Ok(());
        }
        match self.contexts.iter().position(|id| *id == context.id) {
            Some(at) => {
                self.contexts.remove(at);
            }
            None => {
                if self.contexts.len() == CONTEXTS
                    && let Some(id) = self.contexts.pop_front()
                {
                    self.outbound.post(Down::Forget { id }, None);
                }
                self.attach(&context.attachments)?;
                let bytes = Bytes::Slice(context.bytes.clone());
                self.outbound.post(Down::Context { id: context.id, len: bytes.len() as u64 }, Some(&bytes));
            }
        }
        self.contexts.push_back(context.id);
        Ok(())
    }

    /// The task that `ticket` names, if it is the one that the worker must be at.
    pub(super) fn current(&self, ticket: Ticket) -> Option<&Item> {
        self.flights.front().filter(|flight| flight.ticket == ticket)?.item.as_ref()
    }

    /// The worker has answered with a result.
    pub(super) fn finished(&mut self, ticket: Ticket) -> Result<Item, Misfit> {
        // Nor is it done before it was started.
        if !self.page.has_started(ticket) {
            return Err(Misfit);
        }
        let item = self.answered(ticket)?.ok_or(Misfit)?;
        self.served += 1;
        Ok(item)
    }

    /// The worker has met a task that was revoked. Gives the item if it was core that revoked it.
    pub(super) fn met_revoked(&mut self, ticket: Ticket) -> Result<Option<Item>, Misfit> {
        // What the page says, the worker could have written: nobody would resolve a task that core has not revoked.
        let is_live = |item: &Item| !item.task.is_done() && !self.seat.has_revoked(ticket);
        if !self.page.is_revoked(ticket) || self.current(ticket).is_some_and(is_live) {
            return Err(Misfit);
        }
        let answered = self.answered(ticket)?;
        self.seat.met_revoked(ticket);
        Ok(answered)
    }

    fn answered(&mut self, ticket: Ticket) -> Result<Option<Item>, Misfit> {
        if self.flights.front().is_none_or(|flight| flight.ticket != ticket) {
            return Err(Misfit);
        }
        let item = self.flights.pop_front().and_then(|flight| {
            // It takes them also for a task that was revoked.
            self.packets -= flight.packets;
            flight.item
        });
        self.stopping.take_if(|stopping| *stopping == ticket);
        self.takes_nothing = false;
        if let Some(item) = &item {
            self.live -= 1;
            self.bytes -= item.size();
        }
        Ok(item)
    }

    /// How many of its tasks another worker could start sooner.
    pub(super) fn waiting(&self) -> usize {
        self.live.saturating_sub(1)
    }

    /// The number of the oldest task that another worker could start sooner.
    pub(super) fn oldest_waiting(&self) -> Option<u64> {
        self.flights.iter().filter_map(|flight| flight.item.as_ref()).nth(1).map(|item| item.number)
    }

    /// How many tasks it may have at a time.
    pub(super) fn window(&self) -> usize {
        self.window
    }

    /// Its tasks are so short that it is given many at a time.
    pub(super) fn is_quick(&self) -> bool {
        self.window > WINDOW_MIN
    }

    /// Takes back up to `count` tasks that wait behind the one it runs, the oldest first.
    pub(super) fn give_up(&mut self, count: usize) -> Vec<Item> {
        let mut items = Vec::new();
        let waiting = self.flights.iter_mut().filter(|flight| flight.item.is_some()).skip(1);
        for flight in waiting {
            if items.len() == count {
                break;
            }
            let (page, ticket) = (&self.page, flight.ticket);
            items.extend(flight.item.take_if(|item| item.can_be_buffered() && item.take_back(page, ticket)));
        }
        self.removed(&items);
        if !items.is_empty() {
            self.window = (self.window / 2).max(WINDOW_MIN);
        }
        items
    }

    /// The task that `ticket` names is to end. `None`: it is not here, or another attempt is meant. `Err`: it had not started
    /// and never will.
    pub(super) fn stop(&mut self, ticket: Ticket, attempt: u32) -> Option<Result<Grace, Item>> {
        let flight = self.flights.iter_mut().find(|flight| flight.ticket == ticket)?;
        let item = flight.item.as_ref().filter(|item| item.attempt == attempt || item.task.is_done())?;
        // An attempt of a task that goes on has begun. If the page says otherwise now, the worker has written that.
        let is_over = item.task.is_done() || self.seat.has_revoked(ticket);
        if !is_over || !item.revoke(&self.page, &self.seat, ticket) {
            self.stopping = Some(ticket);
            return Some(Ok(item.task.grace()));
        }
        let item = flight.item.take()?;
        self.removed(std::slice::from_ref(&item));
        Some(Err(item))
    }

    /// It has started what comes after this task: it is done with it, and the answer is on its way.
    pub(super) fn is_past(&self, ticket: Ticket) -> bool {
        let after = self.flights.iter().skip_while(|flight| flight.ticket != ticket).skip(1);
        after.filter(|flight| flight.item.is_some()).any(|flight| self.page.has_started(flight.ticket))
    }

    /// The tasks that it has, and whether it has started them.
    pub(super) fn items(&self) -> impl Iterator<Item = (&Item, bool)> {
        self.flights.iter().filter_map(|flight| Some((flight.item.as_ref()?, self.page.has_started(flight.ticket))))
    }

    /// Whether it has taken the task.
    pub(super) fn has_started(&self, ticket: Ticket) -> bool {
        self.page.has_started(ticket)
    }

    /// The first of its tasks, if it has not started that.
    pub(super) fn next_unstarted(&self) -> Option<(Ticket, &Item)> {
        let (ticket, item) = self.flights.iter().find_map(|flight| Some((flight.ticket, flight.item.as_ref()?)))?;
        (!self.page.has_started(ticket)).then_some((ticket, item))
    }

    /// Takes back everything that it has not started. It gets nothing more before it has answered.
    pub(super) fn recall_all(&mut self) -> Vec<Item> {
        let mut items = Vec::new();
        for flight in &mut self.flights {
            let (page, ticket) = (&self.page, flight.ticket);
            items.extend(flight.item.take_if(|item| item.can_be_buffered() && item.take_back(page, ticket)));
        }
        self.removed(&items);
        self.takes_nothing |= !items.is_empty();
        items.iter_mut().for_each(|item| item.recalls += 1);
        items
    }

    /// Takes out what core has taken back and the worker has not met. It gets nothing more before it has answered.
    pub(super) fn forget_revoked(&mut self) -> Vec<Item> {
        let mut items = Vec::new();
        for flight in &mut self.flights {
            let (page, seat, ticket) = (&self.page, &self.seat, flight.ticket);
            let is_revoked = |item: &mut Item| item.task.is_done() || seat.has_revoked(ticket);
            items.extend(flight.item.take_if(|item| !page.has_started(ticket) && is_revoked(item)));
        }
        self.removed(&items);
        self.takes_nothing |= !items.is_empty();
        items
    }

    /// Takes out everything that has not started, for good.
    pub(super) fn revoke_all(&mut self) -> Vec<Item> {
        let (page, seat) = (&self.page, &self.seat);
        let revoked = |flight: &mut Flight| flight.item.take_if(|item| item.revoke(page, seat, flight.ticket));
        let items: Vec<Item> = self.flights.iter_mut().filter_map(revoked).collect();
        self.removed(&items);
        items
    }

    fn removed(&mut self, items: &[Item]) {
        debug_assert_eq!(self.unposted, 0, "a worker is to hear of what is taken back from it");
        self.live -= items.len();
        self.bytes -= items.iter().map(Item::size).sum::<usize>();
    }

    /// It has given `done` answers since it was asked last, and it is `now`: it is given as many tasks at a time as it does in
    /// [`AHEAD_TIME`], by what it has just shown.
    pub(super) fn has_done(&mut self, done: usize, now: Instant) {
        let since = self.busy_since.replace(now);
        // What it has had to wait for tells nothing of its tasks.
        let Some(since) = since else { return };
        let each = now.saturating_duration_since(since).as_nanos() / done as u128;
        let window = usize::try_from(AHEAD_TIME.as_nanos() / each.max(1)).unwrap_or(WINDOW_MAX);
        self.window = window.min(2 * self.window).clamp(WINDOW_MIN, WINDOW_MAX);
    }

    /// It has nothing to do, and there is nothing for it.
    pub(super) fn rests(&mut self) {
        self.busy_since = None;
    }

    /// It is dead: what it had, in the order of sending, with the tickets.
    pub(super) fn take_flights(&mut self) -> Vec<(Ticket, Item)> {
        self.live = 0;
        self.bytes = 0;
        self.packets = 0;
        self.flights.drain(..).filter_map(|flight| Some((flight.ticket, flight.item?))).collect()
    }
}
