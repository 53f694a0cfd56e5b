//! Whether this process has been forked: then what it has may be another one's, too. Not for users of the library.

#![cfg_attr(concurrent_futures_loom, allow(dead_code, reason = "connections are left out"))]

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread::LocalKey;

/// One more than the forks between this process and the one in which they were counted first: one more in each child. Zero: they are
/// not counted, or not yet.
static GENERATION: AtomicU32 = AtomicU32::new(0);
/// The forks of this process: all, and those that are not by [`own`].
static ALL: Forks = Forks::new();
static FOREIGN: Forks = Forks::new();

thread_local! {
    /// What this thread is about: a fork of ours, and a drop of what goes on in a child.
    static FORKING: Cell<bool> = const { Cell::new(false) };
    static GIVING: Cell<bool> = const { Cell::new(false) };
}

/// Tells this process from those that it was forked off: what has noted this number, and finds another one later, is a copy in a
/// child. It costs no system call.
///
/// What is executed by `posix_spawn`, or by a fork server, is no copy of this process and does not count.
#[inline]
pub(crate) fn generation() -> u32 {
    match GENERATION.load(Relaxed) {
        0 => first_generation(),
        generation => generation,
    }
}

#[cold]
fn first_generation() -> u32 {
    if are_counted() { GENERATION.load(Relaxed) } else { std::process::id() }
}

/// When something was made: in which process, and after how many forks of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Made {
    generation: u32,
    /// All forks, and the foreign ones. `None`: they cannot be counted.
    forks: Option<(u32, u32)>,
}

impl Made {
    pub(crate) fn now() -> Made {
        Made { generation: generation(), forks: are_counted().then(|| (ALL.ended(), FOREIGN.ended())) }
    }

    /// Whether that was in this process.
    pub(crate) fn was_here(self) -> bool {
        self.generation == generation()
    }

    /// Whether no other process can have got a copy of it by a fork, of whatever kind.
    pub(crate) fn is_the_only_one(self) -> bool {
        self.was_here() && self.forks.is_some_and(|(all, _)| all == ALL.begun())
    }

    /// Whether no other process can go on with a copy of it: where there is one by [`own`], that leaves it to this process.
    pub(crate) fn is_left_to_this(self) -> bool {
        self.was_here() && self.forks.is_some_and(|(_, foreign)| foreign == FOREIGN.begun())
    }
}

/// How many there are. To be noted is how many have ended, and to be compared with it how many have begun: so one that goes on
/// at either moment, in another thread, counts, whether the child is there already or not yet.
struct Forks {
    begun: AtomicU32,
    ended: AtomicU32,
}

impl Forks {
    const fn new() -> Forks {
        Forks { begun: AtomicU32::new(0), ended: AtomicU32::new(0) }
    }

    fn begun(&self) -> u32 {
        self.begun.load(Relaxed)
    }

    fn ended(&self) -> u32 {
        self.ended.load(Relaxed)
    }

    fn begin(&self) {
        self.begun.fetch_add(1, Relaxed);
    }

    fn end(&self) {
        self.ended.fetch_add(1, Relaxed);
    }

    /// In a child, which has none of the threads that may have been about to fork.
    fn settle(&self) {
        self.ended.store(self.begun(), Relaxed);
    }
}

fn are_counted() -> bool {
    static COUNTED: OnceLock<bool> = OnceLock::new();
    *COUNTED.get_or_init(|| {
        // SAFETY: functions that may be called before a fork, and between it and whatever follows, for they change atomics and no
        // more; they are a part of the program as long as that lives.
        let counted = unsafe { libc::pthread_atfork(Some(before), Some(in_the_parent), Some(in_the_child)) == 0 };
        if counted {
            // Who asks before waits for this; so nobody has noted a number that a child has, too.
            GENERATION.fetch_add(1, Relaxed);
        }
        counted
    })
}

extern "C" fn before() {
    ALL.begin();
    if !is(&FORKING) {
        FOREIGN.begin();
    }
}

/// Also if there is no child.
extern "C" fn in_the_parent() {
    ALL.end();
    if !is(&FORKING) {
        FOREIGN.end();
    }
}

extern "C" fn in_the_child() {
    ALL.settle();
    FOREIGN.settle();
    GENERATION.fetch_add(1, Relaxed);
}

/// Forks, by `fork`, which gives 0 in the child. The parent goes on with all that it has, but for what it [gives away](give).
pub fn own(fork: impl FnOnce() -> i32) -> i32 {
    // So that it is counted.
    are_counted();
    during(&FORKING, fork)
}

/// Drops what a child of this process goes on with, which has a copy of it by [`own`].
pub fn give<T>(value: T) {
    during(&GIVING, || drop(value));
}

/// Whether what is dropped goes on in a child.
pub(crate) fn is_giving() -> bool {
    is(&GIVING)
}

type Mark = LocalKey<Cell<bool>>;

/// Whether this thread has that mark. At its end it has none.
fn is(mark: &'static Mark) -> bool {
    mark.try_with(Cell::get).unwrap_or(false)
}

/// Calls `f` in this thread with that mark.
fn during<R>(mark: &'static Mark, f: impl FnOnce() -> R) -> R {
    struct End(&'static Mark, bool);
    impl Drop for End {
        fn drop(&mut self) {
            self.0.set(self.1);
        }
    }
    let _end = End(mark, mark.replace(true));
    f()
}
