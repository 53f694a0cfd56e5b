//! Which of many futures are done: each tells the set once, at a cost that does not depend on how many there are.

use crate::sync::{Mutex, Thread, current, park_until};
use crate::{panics, worker};
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// A queue of the numbers of futures that are done. Many futures put, one owner takes.
pub(crate) struct CompletionSet {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    done: VecDeque<usize>,
    /// The owner, while it sleeps.
    thread: Option<Thread>,
    waker: Option<Waker>,
}

impl CompletionSet {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(CompletionSet { state: Mutex::new(State::default()) })
    }

    /// Future `key` is done.
    pub(crate) fn completed(&self, key: usize) {
        let (thread, waker) = {
            let mut state = self.state.lock();
            state.done.push_back(key);
            (state.thread.take(), state.waker.take())
        };
        if let Some(thread) = thread {
            thread.unpark();
        }
        if let Some(waker) = waker {
            // The runtime's code: its panic is not that of whoever completes a task.
            let _ = panics::contain(|| waker.wake());
        }
    }

    /// The next number, waited for until `deadline` at most.
    pub(crate) fn next(&self, deadline: Option<Instant>) -> Option<usize> {
        if let Some(key) = self.state.lock().done.pop_front() {
            return Some(key);
        }
        if deadline.is_some_and(|at| Instant::now() >= at) {
            return None;
        }
        worker::blocking(|| self.sleep(deadline))
    }

    fn sleep(&self, deadline: Option<Instant>) -> Option<usize> {
        loop {
            let mut state = self.state.lock();
            if let Some(key) = state.done.pop_front() {
                state.thread = None;
                return Some(key);
            }
            if deadline.is_some_and(|at| Instant::now() >= at) {
                state.thread = None;
                return None;
            }
            // Put in under the lock under which a completion looks for it: none can come between.
            state.thread = Some(current());
            drop(state);
            park_until(deadline);
        }
    }

    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<usize> {
        let waker = cx.waker().clone();
        let mut state = self.state.lock();
        match state.done.pop_front() {
            Some(key) => Poll::Ready(key),
            None => {
                let old = state.waker.replace(waker);
                // Its destructor is the runtime's.
                drop(state);
                drop(old);
                Poll::Pending
            }
        }
    }
}
