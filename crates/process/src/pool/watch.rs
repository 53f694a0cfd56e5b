//! How closely the supervisor looks at links that it is not told of by the kernel.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How long the supervisor is away at most while it is on patrol.
pub(super) const ROUND: Duration = Duration::from_micros(100);
/// As long as threads that wait take answers in, and with them those of others.
pub(super) const LONG_ROUND: Duration = Duration::from_micros(500);
/// So many answers since the last round are worth another one.
const BUSY: u64 = 8;

/// Whether the supervisor comes by by itself, for answers that nobody rings for.
///
/// A ring of the bell costs a worker a system call, and the parent a thread that wakes up: more than many a task. So when
/// answers come thick and fast, workers do not ring, and the supervisor looks at all of them each [`ROUND`]. Threads that wait
/// for an answer take it in themselves, meanwhile as always.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Answers taken in, by whomever.
    answers: AtomicU64,
    patrol: AtomicBool,
}

impl Watch {
    pub(super) fn count(&self, answers: u64) {
        self.answers.fetch_add(answers, Ordering::Relaxed);
    }

    /// The supervisor will come by soon: nobody has to be told that nobody looks.
    ///
    /// When it ends its patrol it says so first and then lets every worker ring. So whoever has a link's lock and finds it
    /// on patrol may leave that link as it is: the supervisor comes to it later.
    pub(super) fn is_on_patrol(&self) -> bool {
        self.patrol.load(Ordering::Acquire)
    }

    /// The supervisor, before it sleeps: how soon it is to come by again, if it is. `seen` is what it has counted last, `own` how
    /// many answers it has taken in itself since then.
    pub(super) fn decide(&self, seen: &mut u64, own: u64) -> Option<Duration> {
        let answers = self.answers.load(Ordering::Relaxed);
        let since = answers - std::mem::replace(seen, answers);
        self.patrol.store(since >= BUSY, Ordering::Release);
        (since >= BUSY).then_some(if since.saturating_sub(own) >= BUSY { LONG_ROUND } else { ROUND })
    }
}
