//! Whether this process has been forked: then what it has may be another one's, too. Not for users of the library.

#![cfg_attr(concurrent_futures_loom, allow(dead_code, reason = "connections are left out"))]

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// One more than the forks between this process and the one in which they were counted first: one more in each child. Zero: they are
/// not counted, or not yet.
static GENERATION: AtomicU32 = AtomicU32::new(0);
/// How many children this process has forked off, and how many of them by [`own`].
static CHILDREN: AtomicU32 = AtomicU32::new(0);
static OWN: AtomicU32 = AtomicU32::new(0);

thread_local! {
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

/// What changes with each `fork` of this process, in both that come of it; but with [`own`] only in the child. `None`: that
/// cannot be known.
pub(crate) fn count() -> Option<u32> {
    are_counted().then(|| generation().wrapping_add(CHILDREN.load(Relaxed)).wrapping_sub(OWN.load(Relaxed)))
}

/// When something was made: in which process, and after how many forks of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Made {
    generation: u32,
    /// `None`: that cannot be known.
    children: Option<u32>,
}

impl Made {
    pub(crate) fn now() -> Made {
        Made { generation: generation(), children: are_counted().then(|| CHILDREN.load(Relaxed)) }
    }

    /// Whether that was in this process.
    pub(crate) fn was_here(self) -> bool {
        self.generation == generation()
    }

    /// Whether no other process can have got a copy of it by a fork, of whatever kind.
    pub(crate) fn is_the_only_one(self) -> bool {
        self.was_here() && self.children.is_some_and(|children| children == CHILDREN.load(Relaxed))
    }
}

fn are_counted() -> bool {
    static COUNTED: OnceLock<bool> = OnceLock::new();
    *COUNTED.get_or_init(|| {
        // SAFETY: functions that may be called between fork and whatever follows, for each changes one atomic; they are a part of
        // the program as long as that lives.
        let counted = unsafe { libc::pthread_atfork(None, Some(one_more_child), Some(one_generation_more)) == 0 };
        if counted {
            // Who asks before waits for this; so nobody has noted a number that a child has, too.
            GENERATION.fetch_add(1, Relaxed);
        }
        counted
    })
}

extern "C" fn one_more_child() {
    CHILDREN.fetch_add(1, Relaxed);
}

extern "C" fn one_generation_more() {
    GENERATION.fetch_add(1, Relaxed);
}

/// Forks, by `fork`, which gives 0 in the child. The parent goes on with all that it has, but for what it [gives away](give).
pub fn own(fork: impl FnOnce() -> i32) -> i32 {
    let counted = are_counted();
    let pid = fork();
    if pid > 0 && counted {
        OWN.fetch_add(1, Relaxed);
    }
    pid
}

/// Drops what a child of this process goes on with, which has a copy of it by [`own`].
pub fn give<T>(value: T) {
    struct End(bool);
    impl Drop for End {
        fn drop(&mut self) {
            GIVING.set(self.0);
        }
    }
    let _end = End(GIVING.replace(true));
    drop(value);
}

/// Whether what is dropped goes on in a child.
pub(crate) fn is_giving() -> bool {
    GIVING.try_with(Cell::get).unwrap_or(false)
}
