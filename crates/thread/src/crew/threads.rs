//! Starting and joining the threads of a pool.

use super::state::State;
use super::{Crew, worker};
use concurrent_futures_core::Refusal;
use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// A worker's thread that nobody has joined yet.
pub(crate) struct Hand {
    thread: JoinHandle<()>,
    /// It has left its last destructor: to join it takes no time.
    is_gone: Arc<AtomicBool>,
}

/// Says that its thread is gone.
struct LastAct(Arc<AtomicBool>);

impl Drop for LastAct {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

thread_local! {
    /// Thread-locals are destroyed in the order opposite to their first use, so this one comes last. (Where it does not, who
    /// joins the thread may have to wait for the others.)
    static LAST_ACT: RefCell<Option<LastAct>> = const { RefCell::new(None) };
}

impl Crew {
    /// Starts the worker that was counted as `number` under the lock.
    ///
    /// # Errors
    /// The system's. The worker is not counted any more, and nothing waits for it.
    pub(super) fn start(self: &Arc<Self>, number: usize) -> io::Result<()> {
        let crew = Arc::clone(self);
        let is_gone = Arc::new(AtomicBool::new(false));
        let last_act = LastAct(is_gone.clone());
        let spawned = self.settings.thread(number).spawn(move || {
            LAST_ACT.set(Some(last_act));
            worker::serve(&crew, number);
        });
        match spawned {
            Ok(thread) => {
                let mut state = self.lock();
                state.spawning -= 1;
                let retired = state.hands.extract_if(.., |other| other.is_gone.load(Ordering::Acquire)).collect();
                state.hands.push(Hand { thread, is_gone });
                self.ended.notify_all();
                drop(state);
                join(retired);
                Ok(())
            }
            Err(error) => {
                self.start_failed(number, &error);
                Err(error)
            }
        }
    }

    /// A worker that was started is at the queue (or never will be).
    pub(super) fn arrive(&self, state: &mut State) {
        state.arrive();
        if state.waiting_for_start > 0 && !state.is_starting() {
            self.arrived.notify_all();
        }
    }

    /// Worker `number` is done, or was never started. Gives how many there still are.
    pub(super) fn release(&self, state: &mut State, number: usize) -> usize {
        let left = state.release(number);
        if left == 0 {
            self.ended.notify_all();
        }
        left
    }

    /// Others go on with what is queued. When there are none, the queue fails; a later job tries anew.
    fn start_failed(&self, number: usize, error: &io::Error) {
        let mut state = self.lock();
        state.spawning -= 1;
        self.arrive(&mut state);
        let orphans = if self.release(&mut state, number) == 0 { self.drain(&mut state) } else { Vec::new() };
        self.ended.notify_all();
        drop(state);
        for orphan in orphans {
            orphan.refuse(Refusal::NoWorker(format!("no worker thread could be started: {error}").into()));
        }
    }

    /// Waits until all workers have ended, but for the calling thread.
    pub(crate) fn join(&self) {
        let me = thread::current().id();
        let mut state = self.lock();
        loop {
            let others: Vec<_> = state.hands.extract_if(.., |hand| hand.thread.thread().id() != me).collect();
            if !others.is_empty() {
                state.joining += 1;
                drop(state);
                join(others);
                state = self.lock();
                state.joining -= 1;
                self.ended.notify_all();
            } else if state.spawning > 0 || state.joining > 0 || state.has_waiting() {
                state.wait(&self.ended);
            } else {
                return;
            }
        }
    }

    /// The same if there are none left at `until`; whether it was so. (What they have in thread-locals is waited for beyond
    /// that.)
    pub(super) fn join_until(&self, until: Instant) -> bool {
        let mut state = self.lock();
        while state.threads() > 0 || state.has_waiting() {
            if state.wait_until(&self.ended, until) && (state.threads() > 0 || state.has_waiting()) {
                return false;
            }
        }
        drop(state);
        self.join();
        true
    }
}

fn join(hands: Vec<Hand>) {
    for hand in hands {
        let ended = hand.thread.join();
        debug_assert!(ended.is_ok(), "a worker contains every panic");
    }
}
