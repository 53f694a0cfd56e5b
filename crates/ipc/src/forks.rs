//! Whether this process has been forked: then what it has may be another one's, too. Not for users of the library.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

static FORKS: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static GIVING: Cell<bool> = const { Cell::new(false) };
}

/// What changes with each `fork` of this process, in both that come of it; but with [`own`] only in the child. `None`: that
/// cannot be known.
///
/// What is executed by `posix_spawn`, or by a fork server, is no copy of this process and does not count.
pub(crate) fn count() -> Option<u32> {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    let known = KNOWN.get_or_init(|| {
        // SAFETY: a function that may be called between fork and whatever follows, for it changes one atomic; it is a part of
        // the program as long as that lives.
        unsafe { libc::pthread_atfork(None, Some(count_one), Some(count_one)) == 0 }
    });
    known.then(|| FORKS.load(Ordering::Relaxed))
}

extern "C" fn count_one() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// Forks, by `fork`, which gives 0 in the child. The parent goes on with all that it has, but for what it [gives away](give).
pub fn own(fork: impl FnOnce() -> i32) -> i32 {
    let before = count();
    let pid = fork();
    if pid > 0 && before.is_some() {
        FORKS.fetch_sub(1, Ordering::Relaxed);
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
