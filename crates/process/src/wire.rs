//! Frames: what parent and worker say to each other.
//!
//! On the data path every frame is a head of fixed size, followed by as many body bytes as the head says; all numbers
//! are little-endian. The two directions have different heads, [`Down`] (parent to worker) and [`Up`] (worker to parent).
//! On the control socket there is one message, [`Boot`], with the worker's descriptors beside it; both sides are the same
//! program, and the version in it guards against two versions of this crate inside one program.
//!
//! Decoding trusts nothing: a kind, flag, slot or length that does not exist, or a reserved byte that is set, is
//! [`Garbled`]. A head is copied out before it is looked at and holds no reference into memory that the other side may
//! write, so the same code serves a data path through shared memory.

mod boot;

pub(crate) use boot::Boot;

use crate::attachments::Attached;
use crate::slots::SLOTS;
use concurrent_futures_core::attach;
use concurrent_futures_core::codec::{Buffer, PARTS_MAX, Parts};
use std::fmt;

/// Changes with every change of a frame or of the slot page.
pub(crate) const VERSION: u32 = 7;

/// The longest body that is believed. Nothing this long fits into memory; it keeps the arithmetic from overflowing.
pub(crate) const MAX_BODY: u64 = 1 << 40;

/// One use of one slot: the slot's place in the page, and how often it has been used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ticket {
    pub slot: u16,
    pub seq: u32,
}

impl Ticket {
    /// For core, which knows a task at a worker by this.
    pub(crate) fn mark(self) -> u64 {
        u64::from(self.slot) << 32 | u64::from(self.seq)
    }

    /// The ticket that has this mark.
    pub(crate) fn of_mark(mark: u64) -> Self {
        Ticket { slot: (mark >> 32) as u16, seq: mark as u32 }
    }
}

/// A function and its trampoline, as offsets in the image that both sides run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offsets {
    pub trampoline: u64,
    pub function: u64,
}

/// The head of a frame from the parent to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Down {
    /// A call to make before the first task; the body is its encoded argument.
    Setup { step: Step, call: Offsets, len: u64 },
    /// There are no more of those: tasks may come, as soon as the worker has answered [`Up::Ready`].
    Begin,
    /// A value that tasks name by `id`; the body is its encoding.
    Context { id: u64, len: u64 },
    /// No later task names this context.
    Forget { id: u64 },
    /// What is to be known about the task that comes next; the body is an encoded [`Notes`](crate::notes::Notes).
    Notes { len: u64 },
    /// Descriptors have been sent for the set-up call, the context or the task that comes next.
    Attached(Attached),
    /// A task; the body is its encoded argument.
    Task(TaskHead),
    /// No more frames: leave when everything before this is done.
    End,
}

/// What a worker does before its first task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// What the fork server would have done for it, had it been forked.
    Preload,
    Initializer,
    /// Only in an answer: it could not keep to its [`Rules`]; the body is a text.
    Limits,
}

/// What a [`Down::Task`] says about its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskHead {
    pub ticket: Ticket,
    pub call: Offsets,
    pub context: Option<u64>,
    /// The argument came with ipc-channel handles, over the handle lane.
    pub handles: bool,
    /// Answer with [`Up::Started`] when the task starts.
    pub announce: bool,
    /// How many parts follow the body.
    pub parts: u16,
    pub len: u64,
}

/// The head of a frame from a worker to its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Up {
    /// What was to be done before the first task is done.
    Ready,
    /// It failed; the body is the encoded error. The worker leaves.
    SetupFailed { step: Step, len: u64 },
    /// A task that was to be announced has started.
    Started(Ticket),
    /// A task is done; the body is its encoded value or error. `again`: its `retry_if` is not content with the value.
    /// `retire`: it has left so much memory in use that the worker leaves, and starts nothing more.
    /// `parts`: as many follow the body.
    Result { ticket: Ticket, failed: bool, again: bool, retire: bool, handles: bool, parts: u16, len: u64 },
    /// The worker met a task that the parent had revoked; the slot may be used again.
    Revoked(Ticket),
    /// The worker waits for the lane on which handles travel; its end comes over the control socket.
    Lane,
    /// Descriptors have been sent for the result that comes next.
    Attached(Attached),
}

/// A frame that no peer of this version sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Garbled {
    Kind(u8),
    Flags(u8),
    Slot(u16),
    Length(u64),
    Count(u32),
    /// A part of which the length or the kind of numbers cannot be.
    Part(u64),
    /// More parts than are allowed, or than the body describes.
    Parts(u16),
    Reserved,
}

impl fmt::Display for Garbled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Garbled::Kind(kind) => write!(f, "a frame of the unknown kind {kind}"),
            Garbled::Flags(flags) => write!(f, "a frame with the unknown flags {flags:#04x}"),
            Garbled::Slot(slot) => write!(f, "a frame for slot {slot} of {SLOTS}"),
            Garbled::Length(len) => write!(f, "a frame that claims {len} bytes"),
            Garbled::Count(count) => write!(f, "a frame that claims {count} descriptors"),
            Garbled::Part(word) => write!(f, "a part described by {word:#x}"),
            Garbled::Parts(parts) => write!(f, "a frame that claims {parts} parts"),
            Garbled::Reserved => f.write_str("a frame with a reserved byte set"),
        }
    }
}

impl std::error::Error for Garbled {}

/// The encoding of a head; `N` bytes, always.
pub(crate) trait Head<const N: usize>: Sized {
    fn encode(&self) -> [u8; N];
    fn decode(bytes: &[u8; N]) -> Result<Self, Garbled>;
    /// How many bytes of body follow.
    fn body(&self) -> u64;
    /// How many parts follow that. The last bytes of the body describe them, each in a word ([`describe_part`]).
    fn parts(&self) -> u16;
}

/// What describes a part: its length, and above that, the size of the numbers that it is made of.
pub(crate) fn describe_part(len: usize, unit: usize) -> [u8; PART] {
    (len as u64 | (unit as u64) << UNIT_AT).to_le_bytes()
}

/// Appends to a body what describes the parts that will follow it; gives their number.
pub(crate) fn describe_parts(parts: &Parts, body: &mut Vec<u8>) -> u16 {
    parts.iter().for_each(|(bytes, unit)| body.extend_from_slice(&describe_part(bytes.len(), unit)));
    u16::try_from(parts.len()).expect("there are no more than `PARTS_MAX`")
}

/// The length of a part, and an empty buffer of the right kind.
pub(crate) fn read_part(word: [u8; PART]) -> Result<(usize, Buffer), Garbled> {
    let word = u64::from_le_bytes(word);
    let garbled = || Garbled::Part(word);
    let len = word & ((1 << UNIT_AT) - 1);
    if len > MAX_BODY {
        return Err(garbled());
    }
    let unit = usize::try_from(word >> UNIT_AT).ok().and_then(Buffer::new).ok_or_else(garbled)?;
    Ok((usize::try_from(len).map_err(|_| garbled())?, unit))
}

/// How many bytes describe a part.
pub(crate) const PART: usize = 8;
const UNIT_AT: u32 = 48;

pub(crate) const DOWN: usize = 40;
pub(crate) const UP: usize = 16;

const SETUP: u8 = 1;
const BEGIN: u8 = 2;
const CONTEXT: u8 = 3;
const FORGET: u8 = 4;
const TASK: u8 = 5;
const END: u8 = 6;
const NOTES: u8 = 7;
/// In both directions.
const ATTACHED: u8 = 9;

const PRELOAD: u8 = 8;
const LIMITS: u8 = 16;
const WITH_HANDLES: u8 = 1;
const WITH_CONTEXT: u8 = 2;
const ANNOUNCE: u8 = 4;

impl Head<DOWN> for Down {
    fn encode(&self) -> [u8; DOWN] {
        let mut out = Fields::new();
        match *self {
            Down::Setup { step, call, len } => {
                out.kind(SETUP, step.flag()).u64(8, len).u64(16, call.trampoline).u64(24, call.function);
            }
            Down::Begin => {
                out.kind(BEGIN, 0);
            }
            Down::Context { id, len } => {
                out.kind(CONTEXT, 0).u64(8, len).u64(32, id);
            }
            Down::Forget { id } => {
                out.kind(FORGET, 0).u64(32, id);
            }
            Down::Notes { len } => {
                out.kind(NOTES, 0).u64(8, len);
            }
            Down::Attached(attached) => {
                out.kind(ATTACHED, 0).attached(attached);
            }
            Down::Task(task) => {
                let flags =
                    [(task.handles, WITH_HANDLES), (task.context.is_some(), WITH_CONTEXT), (task.announce, ANNOUNCE)];
                out.kind(TASK, flags.iter().filter(|(on, _)| *on).map(|(_, bit)| bit).sum());
                out.ticket(task.ticket).len(task.parts, task.len).u64(16, task.call.trampoline);
                out.u64(24, task.call.function).u64(32, task.context.unwrap_or(0));
            }
            Down::End => {
                out.kind(END, 0);
            }
        }
        out.0
    }

    fn decode(bytes: &[u8; DOWN]) -> Result<Self, Garbled> {
        let fields = Fields(*bytes);
        let flags = bytes[1];
        let call = Offsets { trampoline: fields.read_u64(16), function: fields.read_u64(24) };
        let context = fields.read_u64(32);
        let head = match bytes[0] {
            SETUP => Down::Setup { step: Step::of(flags)?, call, len: fields.read_len()? },
            BEGIN => Down::Begin,
            CONTEXT => Down::Context { id: context, len: fields.read_len()? },
            FORGET => Down::Forget { id: context },
            TASK => {
                known(flags, WITH_HANDLES | WITH_CONTEXT | ANNOUNCE)?;
                let (parts, len) = fields.read_parts_and_len()?;
                if flags & WITH_CONTEXT == 0 && context != 0 {
                    return Err(Garbled::Reserved);
                }
                // All else is used: it is canonical.
                return Ok(Down::Task(TaskHead {
                    ticket: fields.read_ticket()?,
                    call,
                    context: (flags & WITH_CONTEXT != 0).then_some(context),
                    handles: flags & WITH_HANDLES != 0,
                    announce: flags & ANNOUNCE != 0,
                    parts,
                    len,
                }));
            }
            END => Down::End,
            NOTES => Down::Notes { len: fields.read_len()? },
            ATTACHED => Down::Attached(fields.read_attached()?),
            kind => return Err(Garbled::Kind(kind)),
        };
        canonical(head, bytes)
    }

    fn body(&self) -> u64 {
        match *self {
            Down::Setup { len, .. } | Down::Context { len, .. } | Down::Notes { len } => len,
            Down::Task(task) => task.len,
            Down::Begin | Down::Forget { .. } | Down::Attached(_) | Down::End => 0,
        }
    }

    fn parts(&self) -> u16 {
        match self {
            Down::Task(task) => task.parts,
            _ => 0,
        }
    }
}

const READY: u8 = 1;
const SETUP_FAILED: u8 = 2;
const STARTED: u8 = 3;
const RESULT: u8 = 4;
const REVOKED: u8 = 5;
const LANE: u8 = 6;

const FAILED: u8 = 2;
const AGAIN: u8 = 4;
const RETIRE: u8 = 8;

impl Head<UP> for Up {
    fn encode(&self) -> [u8; UP] {
        let mut out = Fields::new();
        match *self {
            Up::Ready => out.kind(READY, 0),
            Up::SetupFailed { step, len } => out.kind(SETUP_FAILED, step.flag()).u64(8, len),
            Up::Started(ticket) => out.kind(STARTED, 0).ticket(ticket),
            Up::Result { ticket, failed, again, retire, handles, parts, len } => {
                let flags = [(failed, FAILED), (again, AGAIN), (retire, RETIRE), (handles, WITH_HANDLES)];
                let flags = flags.iter().filter(|(on, _)| *on).map(|(_, bit)| bit).sum();
                out.kind(RESULT, flags).ticket(ticket).len(parts, len)
            }
            Up::Revoked(ticket) => out.kind(REVOKED, 0).ticket(ticket),
            Up::Lane => out.kind(LANE, 0),
            Up::Attached(attached) => out.kind(ATTACHED, 0).attached(attached),
        };
        out.0
    }

    fn decode(bytes: &[u8; UP]) -> Result<Self, Garbled> {
        let fields = Fields(*bytes);
        let flags = bytes[1];
        let head = match bytes[0] {
            READY => Up::Ready,
            SETUP_FAILED => Up::SetupFailed { step: Step::of(flags)?, len: fields.read_len()? },
            STARTED => Up::Started(fields.read_ticket()?),
            RESULT => {
                known(flags, FAILED | AGAIN | RETIRE | WITH_HANDLES)?;
                let (parts, len) = fields.read_parts_and_len()?;
                // Each byte is used: it is canonical.
                return Ok(Up::Result {
                    ticket: fields.read_ticket()?,
                    failed: flags & FAILED != 0,
                    again: flags & AGAIN != 0,
                    retire: flags & RETIRE != 0,
                    handles: flags & WITH_HANDLES != 0,
                    parts,
                    len,
                });
            }
            REVOKED => Up::Revoked(fields.read_ticket()?),
            LANE => Up::Lane,
            ATTACHED => Up::Attached(fields.read_attached()?),
            kind => return Err(Garbled::Kind(kind)),
        };
        canonical(head, bytes)
    }

    fn body(&self) -> u64 {
        match *self {
            Up::SetupFailed { len, .. } | Up::Result { len, .. } => len,
            Up::Ready | Up::Started(_) | Up::Revoked(_) | Up::Lane | Up::Attached(_) => 0,
        }
    }

    fn parts(&self) -> u16 {
        match self {
            Up::Result { parts, .. } => *parts,
            _ => 0,
        }
    }
}

impl Step {
    fn flag(self) -> u8 {
        match self {
            Step::Initializer => 0,
            Step::Preload => PRELOAD,
            Step::Limits => LIMITS,
        }
    }

    fn of(flags: u8) -> Result<Self, Garbled> {
        [Step::Initializer, Step::Preload, Step::Limits]
            .into_iter()
            .find(|step| step.flag() == flags)
            .ok_or(Garbled::Flags(flags))
    }
}

const PARTS_AT: u32 = 48;

/// A head under construction or under inspection.
struct Fields<const N: usize>([u8; N]);

impl<const N: usize> Fields<N> {
    fn new() -> Self {
        Fields([0; N])
    }

    fn kind(&mut self, kind: u8, flags: u8) -> &mut Self {
        self.0[0] = kind;
        self.0[1] = flags;
        self
    }

    fn ticket(&mut self, ticket: Ticket) -> &mut Self {
        self.0[2..4].copy_from_slice(&ticket.slot.to_le_bytes());
        self.0[4..8].copy_from_slice(&ticket.seq.to_le_bytes());
        self
    }

    fn u64(&mut self, at: usize, value: u64) -> &mut Self {
        self.0[at..at + 8].copy_from_slice(&value.to_le_bytes());
        self
    }

    fn attached(&mut self, attached: Attached) -> &mut Self {
        self.u64(8, u64::from(attached.count) << 32 | u64::from(attached.number))
    }

    /// The length of the body, and above it the number of the parts.
    fn len(&mut self, parts: u16, len: u64) -> &mut Self {
        self.u64(8, len | u64::from(parts) << PARTS_AT)
    }

    fn read_u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.0[at..at + 8].try_into().expect("eight bytes"))
    }

    fn read_ticket(&self) -> Result<Ticket, Garbled> {
        let slot = u16::from_le_bytes([self.0[2], self.0[3]]);
        let seq = u32::from_le_bytes(self.0[4..8].try_into().expect("four bytes"));
        if usize::from(slot) < SLOTS { Ok(Ticket { slot, seq }) } else { Err(Garbled::Slot(slot)) }
    }

    fn read_parts_and_len(&self) -> Result<(u16, u64), Garbled> {
        let word = self.read_u64(8);
        let (parts, len) = ((word >> PARTS_AT) as u16, word & ((1 << PARTS_AT) - 1));
        if usize::from(parts) > PARTS_MAX || (len as usize) / PART < usize::from(parts) {
            return Err(Garbled::Parts(parts));
        }
        if len <= MAX_BODY { Ok((parts, len)) } else { Err(Garbled::Length(len)) }
    }

    fn read_len(&self) -> Result<u64, Garbled> {
        let len = self.read_u64(8);
        if len <= MAX_BODY { Ok(len) } else { Err(Garbled::Length(len)) }
    }

    fn read_attached(&self) -> Result<Attached, Garbled> {
        let (number, count) = (self.read_u64(8) as u32, (self.read_u64(8) >> 32) as u32);
        let possible = (1..=attach::MAX as u32).contains(&count);
        if possible { Ok(Attached { number, count }) } else { Err(Garbled::Count(count)) }
    }
}

fn known(flags: u8, all: u8) -> Result<(), Garbled> {
    if flags & !all == 0 { Ok(()) } else { Err(Garbled::Flags(flags)) }
}

/// A head has exactly one encoding: what a kind does not use is zero.
fn canonical<const N: usize, H: Head<N>>(head: H, bytes: &[u8; N]) -> Result<H, Garbled> {
    if head.encode() == *bytes { Ok(head) } else { Err(Garbled::Reserved) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ticket() -> impl Strategy<Value = Ticket> {
        (0..SLOTS as u16, any::<u32>()).prop_map(|(slot, seq)| Ticket { slot, seq })
    }

    fn offsets() -> impl Strategy<Value = Offsets> {
        any::<(u64, u64)>().prop_map(|(trampoline, function)| Offsets { trampoline, function })
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![Just(Step::Preload), Just(Step::Initializer), Just(Step::Limits)]
    }

    fn attached() -> impl Strategy<Value = Attached> {
        (any::<u32>(), 1..=attach::MAX as u32).prop_map(|(number, count)| Attached { number, count })
    }

    fn parts_and_len() -> impl Strategy<Value = (u16, u64)> {
        (0..=PARTS_MAX as u16, 0..=MAX_BODY).prop_map(|(parts, len)| (parts, len.max(u64::from(parts) * PART as u64)))
    }

    fn down() -> impl Strategy<Value = Down> {
        let len = 0..=MAX_BODY;
        prop_oneof![
            (step(), offsets(), len.clone()).prop_map(|(step, call, len)| Down::Setup { step, call, len }),
            Just(Down::Begin),
            attached().prop_map(Down::Attached),
            (any::<u64>(), len.clone()).prop_map(|(id, len)| Down::Context { id, len }),
            any::<u64>().prop_map(|id| Down::Forget { id }),
            len.clone().prop_map(|len| Down::Notes { len }),
            (ticket(), offsets(), proptest::option::of(any::<u64>()), any::<(bool, bool)>(), parts_and_len()).prop_map(
                |(ticket, call, context, (handles, announce), (parts, len))| {
                    Down::Task(TaskHead { ticket, call, context, handles, announce, parts, len })
                }
            ),
            Just(Down::End),
        ]
    }

    fn up() -> impl Strategy<Value = Up> {
        let len = 0..=MAX_BODY;
        prop_oneof![
            Just(Up::Ready),
            (step(), len.clone()).prop_map(|(step, len)| Up::SetupFailed { step, len }),
            ticket().prop_map(Up::Started),
            (ticket(), any::<[bool; 4]>(), parts_and_len()).prop_map(
                |(ticket, [failed, again, retire, handles], (parts, len))| {
                    Up::Result { ticket, failed, again, retire, handles, parts, len }
                }
            ),
            ticket().prop_map(Up::Revoked),
            Just(Up::Lane),
            attached().prop_map(Up::Attached),
        ]
    }

    /// Bytes that often have a plausible kind, so that the later checks are reached as well.
    fn noise<const N: usize>() -> impl Strategy<Value = [u8; N]> {
        (0..11u8, 0..16u8, proptest::collection::vec(any::<u8>(), N)).prop_map(|(kind, flags, bytes)| {
            let mut out: [u8; N] = bytes.try_into().expect("N bytes were asked for");
            (out[0], out[1]) = (kind, flags);
            out
        })
    }

    proptest! {
        #[test]
        fn every_frame_down_comes_back(head in down()) {
            prop_assert_eq!(Down::decode(&head.encode()), Ok(head));
        }

        #[test]
        fn every_frame_up_comes_back(head in up()) {
            prop_assert_eq!(Up::decode(&head.encode()), Ok(head));
        }

        #[test]
        fn noise_down_is_refused_or_means_itself(bytes in noise::<DOWN>()) {
            if let Ok(head) = Down::decode(&bytes) {
                prop_assert_eq!(head.encode(), bytes);
                prop_assert!(head.body() <= MAX_BODY);
            }
        }

        #[test]
        fn noise_up_is_refused_or_means_itself(bytes in noise::<UP>()) {
            if let Ok(head) = Up::decode(&bytes) {
                prop_assert_eq!(head.encode(), bytes);
                prop_assert!(head.body() <= MAX_BODY);
            }
        }

    }

    #[test]
    fn what_is_wrong_is_named() {
        let ticket = Ticket { slot: 1, seq: 7 };
        let flags = (false, false, false, false);
        let (failed, again, retire, handles) = flags;
        let result = Up::Result { ticket, failed, again, retire, handles, parts: 0, len: 3 }.encode();
        let with = |at: usize, byte: u8| {
            let mut bytes = result;
            bytes[at] = byte;
            Up::decode(&bytes).unwrap_err()
        };
        assert_eq!(with(0, 99), Garbled::Kind(99));
        assert_eq!(with(1, 0x80), Garbled::Flags(0x80));
        assert!(matches!(with(3, 0xff), Garbled::Slot(_)));
        assert!(matches!(with(13, 0xff), Garbled::Length(_)));
        assert!(matches!(with(15, 0xff), Garbled::Parts(_)));
        assert_eq!(with(14, 1), Garbled::Parts(1), "a body that is too short to describe it");
        let mut ready = Up::Ready.encode();
        ready[9] = 1;
        assert_eq!(Up::decode(&ready), Err(Garbled::Reserved));
    }

    #[test]
    fn a_part_is_described_by_its_length_and_its_numbers() {
        for (len, unit) in [(0, 1), (7, 1), (1 << 30, 4), (24, 8)] {
            let (back, buffer) = read_part(describe_part(len, unit)).unwrap();
            assert_eq!((back, buffer.unit(), buffer.capacity()), (len, unit, 0));
        }
        for word in [1, 2 << UNIT_AT, u64::MAX, 1 << UNIT_AT | (MAX_BODY + 1)] {
            assert_eq!(read_part(word.to_le_bytes()), Err(Garbled::Part(word)));
        }
    }
}
