//! The slot page: one word of memory per task in flight, shared by the parent and one worker.
//!
//! The worker takes a task by a swap from *queued* to *started*, the parent takes it back by a swap from *queued* to
//! *revoked*; the word decides, so that `running` is true only for what runs, `cancel` is exact, and after a death it is
//! known which task had started. A word is the sequence number of the slot's use above two bits of state, and both swaps
//! name the sequence number they mean: a late swap for an earlier use fails. The states are in `link/README.md`.
//!
//! The page also has room for the worker's last words (its panic message when panics abort).

use crate::sys::shared_page::SharedPage;
use crate::wire::Ticket;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// How many tasks one worker can have at a time.
pub(crate) const SLOTS: usize = 128;

// 0 is a slot that was never used.
const QUEUED: u64 = 1;
const STARTED: u64 = 2;
const REVOKED: u64 = 3;

const SIZE: usize = 4096;
/// Behind the slots: `len << 48 | slot << 32 | seq` of the last words; zero: none.
const LAST_WORDS: usize = SLOTS;
/// The worker's peak of memory when it began, in bytes; zero: not known.
const FIRST_PEAK: usize = LAST_WORDS + 1;
/// `1 << 63 | slot << 32 | seq` of the task that is asked to stop; zero: none was.
const STOP: usize = FIRST_PEAK + 1;
/// Bytes in use, and the limit, when an allocation had failed and the worker aborted; a limit of zero: it did not.
const MEMORY_USED: usize = STOP + 1;
const MEMORY_LIMIT: usize = MEMORY_USED + 1;
/// The limit of the stack, in bytes, when it has overflowed; zero: it has not.
const STACK_LIMIT: usize = MEMORY_LIMIT + 1;
const WORDS: usize = STACK_LIMIT + 1;
/// Behind that, to the end of the page: the text of the last words.
const TEXT_MAX: usize = SIZE - 8 * WORDS;
const _: () = assert!(TEXT_MAX < u16::MAX as usize);

/// What a slot says about its task when the worker is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The worker never touched it: it can go elsewhere.
    Untouched,
    /// It had started, or the word makes no sense: it must not run a second time.
    Started,
}

/// One side's view of the page.
#[derive(Debug)]
pub(crate) struct Page(SharedPage);

impl Page {
    /// A new page with all slots free.
    pub(crate) fn create() -> io::Result<Page> {
        SharedPage::create(WORDS, TEXT_MAX).map(Page)
    }

    /// The worker's view of what its parent created.
    pub(crate) fn open(fd: OwnedFd) -> io::Result<Page> {
        SharedPage::map(fd, WORDS, TEXT_MAX).map(Page)
    }

    /// What the worker opens.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.fd()
    }

    /// Parent: the slot is in use by this ticket. Everything the worker needs follows in a frame.
    pub(crate) fn offer(&self, ticket: Ticket) {
        self.word(ticket).store(value(ticket, QUEUED), Ordering::Release);
    }

    /// Parent: takes the task back. `false`: it has started.
    pub(crate) fn revoke(&self, ticket: Ticket) -> bool {
        self.swap(ticket, REVOKED)
    }

    /// Worker: takes the task. `false`: it has been revoked.
    pub(crate) fn start(&self, ticket: Ticket) -> bool {
        self.swap(ticket, STARTED)
    }

    /// Parent: whether the worker has taken the task.
    pub(crate) fn has_started(&self, ticket: Ticket) -> bool {
        self.word(ticket).load(Ordering::Acquire) == value(ticket, STARTED)
    }

    /// Parent: whether the worker has taken the task, now or so long ago that the slot has another.
    pub(crate) fn was_taken(&self, ticket: Ticket) -> bool {
        let word = self.word(ticket).load(Ordering::Acquire);
        word != value(ticket, QUEUED) && word != value(ticket, REVOKED)
    }

    /// Parent: whether the task was taken back. A worker that says so of another one is wrong.
    pub(crate) fn is_revoked(&self, ticket: Ticket) -> bool {
        self.word(ticket).load(Ordering::Acquire) == value(ticket, REVOKED)
    }

    /// Parent, when the worker is dead.
    pub(crate) fn judge(&self, ticket: Ticket) -> Fate {
        let word = self.word(ticket).load(Ordering::Acquire);
        if word == value(ticket, QUEUED) { Fate::Untouched } else { Fate::Started }
    }

    /// Worker: leaves a message for the parent, to be read when this process is dead.
    pub(crate) fn leave_words(&self, ticket: Ticket, text: &str) {
        let text = &text.as_bytes()[..text.floor_char_boundary(TEXT_MAX)];
        for (to, from) in self.text().iter().zip(text) {
            to.store(*from, Ordering::Relaxed);
        }
        let head = (text.len() as u64) << 48 | u64::from(ticket.slot) << 32 | u64::from(ticket.seq);
        self.0.words()[LAST_WORDS].store(head, Ordering::Release);
    }

    /// Parent: what the worker left about this task.
    pub(crate) fn last_words(&self, ticket: Ticket) -> Option<String> {
        let head = self.0.words()[LAST_WORDS].load(Ordering::Acquire);
        let len = (head >> 48) as usize;
        if len == 0 || head & 0xffff_ffff_ffff != u64::from(ticket.slot) << 32 | u64::from(ticket.seq) {
            return None;
        }
        let text: Vec<u8> = self.text().iter().take(len).map(|byte| byte.load(Ordering::Relaxed)).collect();
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    /// Parent: asks the task to return, if it runs. Of several asks the last one holds: a worker runs one task at a time.
    pub(crate) fn ask_to_stop(&self, ticket: Ticket) {
        self.0.words()[STOP].store(stop_value(ticket), Ordering::Release);
    }

    /// Worker: whether this task has been asked to return.
    pub(crate) fn is_asked_to_stop(&self, ticket: Ticket) -> bool {
        self.0.words()[STOP].load(Ordering::Acquire) == stop_value(ticket)
    }

    /// Worker: the most memory that the kernel says it has had, before it has done anything.
    pub(crate) fn begin_with_peak(&self, bytes: u64) {
        self.0.words()[FIRST_PEAK].store(bytes, Ordering::Release);
    }

    /// Parent: what the worker has had at most, by what the kernel said at its end. `None` where that says nothing: the
    /// kernel counts what a process had before its exec, which is the size of the program that spawned it.
    pub(crate) fn own_peak(&self, at_end: u64) -> Option<u64> {
        let first = self.0.words()[FIRST_PEAK].load(Ordering::Acquire);
        (at_end > first && first != 0).then_some(at_end)
    }

    /// Worker, in a signal handler: it aborts because it cannot have more memory.
    pub(crate) fn leave_memory(&self, used: u64, limit: u64) {
        self.0.words()[MEMORY_USED].store(used, Ordering::Release);
        self.0.words()[MEMORY_LIMIT].store(limit, Ordering::Release);
    }

    /// Parent: what was in use, and the limit, when the worker aborted because it could not have more.
    pub(crate) fn memory_left(&self) -> Option<(u64, u64)> {
        let limit = self.0.words()[MEMORY_LIMIT].load(Ordering::Acquire);
        (limit != 0).then(|| (self.0.words()[MEMORY_USED].load(Ordering::Acquire), limit))
    }

    /// Worker, in a signal handler: its stack has overflowed, which may have so much.
    pub(crate) fn leave_overflow(&self, limit: u64) {
        self.0.words()[STACK_LIMIT].store(limit.max(1), Ordering::Release);
    }

    /// Parent: the limit of the worker's stack, when that has overflowed.
    pub(crate) fn overflow_left(&self) -> Option<u64> {
        Some(self.0.words()[STACK_LIMIT].load(Ordering::Acquire)).filter(|&limit| limit != 0)
    }

    fn text(&self) -> &[AtomicU8] {
        self.0.bytes()
    }

    fn swap(&self, ticket: Ticket, to: u64) -> bool {
        let (from, to) = (value(ticket, QUEUED), value(ticket, to));
        self.word(ticket).compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn word(&self, ticket: Ticket) -> &AtomicU64 {
        &self.0.words()[usize::from(ticket.slot)]
    }
}

fn stop_value(ticket: Ticket) -> u64 {
    1 << 63 | u64::from(ticket.slot) << 32 | u64::from(ticket.seq)
}

fn value(ticket: Ticket, state: u64) -> u64 {
    u64::from(ticket.seq) << 2 | state
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    const T: Ticket = Ticket { slot: 3, seq: 9 };

    fn both_sides() -> (Page, Page) {
        let parent = Page::create().unwrap();
        let worker = Page::open(parent.fd().try_clone_to_owned().unwrap()).unwrap();
        (parent, worker)
    }

    #[test]
    fn one_side_wins() {
        let (parent, worker) = both_sides();
        parent.offer(T);
        assert!(worker.start(T));
        assert!(!parent.revoke(T));
        assert!(parent.has_started(T));
        assert_eq!(parent.judge(T), Fate::Started);
        let next = Ticket { seq: 10, ..T };
        parent.offer(next);
        assert_eq!(parent.judge(next), Fate::Untouched);
        assert!(parent.revoke(next));
        assert!(!worker.start(next));
        assert!(!parent.has_started(next));
    }

    #[test]
    fn an_earlier_use_of_the_slot_cannot_be_taken() {
        let (parent, worker) = both_sides();
        parent.offer(T);
        parent.offer(Ticket { seq: 10, ..T });
        assert!(!worker.start(T) && !parent.revoke(T) && !parent.has_started(T));
        assert_eq!(parent.judge(T), Fate::Started);
    }

    #[test]
    fn a_race_has_one_winner() {
        let (parent, worker) = both_sides();
        for seq in 0..2000 {
            let ticket = Ticket { slot: 0, seq };
            parent.offer(ticket);
            let line = Barrier::new(2);
            let (started, revoked) = std::thread::scope(|s| {
                let started = s.spawn(|| {
                    line.wait();
                    worker.start(ticket)
                });
                line.wait();
                let revoked = parent.revoke(ticket);
                (started.join().unwrap(), revoked)
            });
            assert!(started != revoked);
        }
    }

    #[test]
    fn a_peak_counts_when_it_has_grown() {
        let (parent, worker) = both_sides();
        assert_eq!(parent.own_peak(5), None);
        worker.begin_with_peak(100);
        assert_eq!((parent.own_peak(100), parent.own_peak(101)), (None, Some(101)));
    }

    #[test]
    fn only_the_task_that_is_meant_is_asked_to_stop() {
        let (parent, worker) = both_sides();
        assert!(!worker.is_asked_to_stop(Ticket { slot: 0, seq: 0 }));
        parent.ask_to_stop(T);
        assert!(worker.is_asked_to_stop(T) && !worker.is_asked_to_stop(Ticket { seq: 10, ..T }));
    }

    #[test]
    fn a_lack_of_memory_is_told() {
        let (parent, worker) = both_sides();
        assert_eq!(parent.memory_left(), None);
        worker.leave_memory(5, 10);
        assert_eq!(parent.memory_left(), Some((5, 10)));
    }

    #[test]
    fn last_words_belong_to_their_task() {
        let (parent, worker) = both_sides();
        assert_eq!(parent.last_words(Ticket { slot: 0, seq: 0 }), None);
        worker.leave_words(T, "panicked at x.rs:1:2: no");
        assert_eq!(parent.last_words(T).as_deref(), Some("panicked at x.rs:1:2: no"));
        assert_eq!(parent.last_words(Ticket { seq: 10, ..T }), None);
        worker.leave_words(T, &"é".repeat(TEXT_MAX));
        assert_eq!(parent.last_words(T).unwrap().len(), TEXT_MAX / 2 * 2);
    }
}
