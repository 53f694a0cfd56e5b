//! The word that says where a task is, and how many references there are to its cell. The table is in `README.md`.

/// The low bits: one of the phases below.
pub(crate) const PHASE: u32 = 0b111;
/// Queued; may be claimed, cancelled or resolved.
pub(crate) const PENDING: u32 = 0;
/// Claimed by a runner of this process, who owns the work.
pub(crate) const RUNNING: u32 = 1;
/// Somebody won the right to write the outcome and is writing it.
pub(crate) const WRITING: u32 = 2;
/// The outcome is there as bytes; nobody has decoded it yet.
pub(crate) const ENCODED: u32 = 3;
/// One thread decodes the outcome or runs callbacks; it alone may touch the outcome, others may read it if `READY`.
pub(crate) const SETTLING: u32 = 4;
/// The outcome is there, all callbacks have run.
pub(crate) const DONE: u32 = 5;

/// The executor reads the work (to encode it) or takes it away; whoever resolves meanwhile leaves the work to it.
pub(crate) const BUSY: u32 = 1 << 3;
/// Somebody may be in the list of listeners: the completer must look.
pub(crate) const LISTENED: u32 = 1 << 4;
/// The outcome is a cancellation.
pub(crate) const CANCELLED: u32 = 1 << 5;
/// The outcome is an error (or bytes that say so).
pub(crate) const FAILED: u32 = 1 << 6;
/// The outcome can be read as a `Result`.
pub(crate) const READY: u32 = 1 << 7;
/// Somebody has begun to run the task.
pub(crate) const STARTED: u32 = 1 << 9;
/// Somebody has looked at the error.
pub(crate) const OBSERVED: u32 = 1 << 8;
/// The storage is the work's: it is there, or its runner is at it. An outcome from somebody else goes beside the storage.
pub(crate) const WORK: u32 = 1 << 10;
/// The outcome is beside the storage.
pub(crate) const ASIDE: u32 = 1 << 11;

/// Somebody knows better where the task is: there is, or was, a `Remote` in the list.
pub(crate) const AWAY: u32 = 1 << 12;

/// The number of references to the cell is above the flags, in the same word.
pub(crate) const ONE: u64 = 1 << 16;

/// The number of references.
pub(crate) const fn count(word: u64) -> u64 {
    word / ONE
}

/// The same word in another phase, with more flags and without some.
pub(crate) const fn moved(word: u64, to: u32, more: u32, less: u32) -> u64 {
    word & !((PHASE | less) as u64) | (to | more) as u64
}

pub(crate) const fn phase(state: u32) -> u32 {
    state & PHASE
}

/// Whether a future in this state counts as done: it has its outcome, decoded or not. A cancellation counts from the moment
/// at which it is decided, so that whoever is told of it, or cancels a second time, sees it.
pub(crate) const fn is_done(state: u32) -> bool {
    phase(state) >= ENCODED || phase(state) == WRITING && state & CANCELLED != 0
}

/// The word for `Debug`, in Python's spelling.
pub(crate) const fn name(state: u32) -> &'static str {
    match phase(state) {
        PENDING => "pending",
        _ if state & CANCELLED != 0 => "cancelled",
        RUNNING | WRITING => "running",
        _ if state & FAILED != 0 => "failed",
        _ => "finished",
    }
}
