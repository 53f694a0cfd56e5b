//! Models of async tasks, checked by loom over all interleavings; see `cell/models.rs`.

use super::host::{AsyncTask, Host, Poll as Leave};
use super::suspended::Suspended;
use crate::TaskId;
use crate::cell::{Place, Ref, Until};
use crate::error::TaskErrorKind;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// A pool of one worker, which is whoever calls `work`.
struct Pool {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    polls: Vec<Leave>,
    waiting: usize,
    ended: usize,
}

impl Pool {
    fn new() -> Arc<Self> {
        Arc::new(Pool { state: Mutex::new(State::default()), changed: Condvar::new() })
    }

    /// Polls until the task that waits has ended.
    fn work(&self) {
        loop {
            let mut state = self.state.lock().unwrap();
            let poll = loop {
                if let Some(poll) = state.polls.pop() {
                    break poll;
                }
                if state.ended == state.waiting {
                    return;
                }
                state = self.changed.wait(state).unwrap();
            };
            drop(state);
            poll.run();
        }
    }
}

impl Host for Pool {
    fn wait(self: Arc<Self>, _task: AsyncTask) {
        self.state.lock().unwrap().waiting += 1;
    }

    fn poll(self: Arc<Self>, poll: Leave) {
        let mut state = self.state.lock().unwrap();
        state.polls.push(poll);
        assert_eq!(state.polls.len(), 1, "a task is queued once");
        drop(state);
        self.changed.notify_one();
    }

    fn end(self: Arc<Self>, _id: TaskId) {
        self.state.lock().unwrap().ended += 1;
        self.changed.notify_one();
    }
}

/// What the task waits for.
struct Event {
    is_set: AtomicBool,
    waker: Mutex<Option<Waker>>,
    drops: AtomicUsize,
}

impl Event {
    fn new() -> Arc<Self> {
        let (is_set, drops) = (AtomicBool::new(false), AtomicUsize::new(0));
        Arc::new(Event { is_set, waker: Mutex::new(None), drops })
    }

    fn set(&self) {
        self.is_set.store(true, Ordering::Release);
        let waker = self.waker.lock().unwrap().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

struct Wait(Arc<Event>);

impl Future for Wait {
    type Output = Result<u32, TaskErrorKind>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        *self.0.waker.lock().unwrap() = Some(cx.waker().clone());
        if self.0.is_set.load(Ordering::Acquire) { Poll::Ready(Ok(7)) } else { Poll::Pending }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.0.drops.fetch_add(1, Ordering::Relaxed);
        let waker = self.0.waker.lock().unwrap().take();
        drop(waker);
    }
}

/// A claimed cell without work, and its future's side.
fn running() -> (Ref, Ref) {
    let (task, future) = Ref::empty::<u32>();
    assert!(task.claim());
    (task, future)
}

fn begin(cell: Ref, pool: &Arc<Pool>, event: &Arc<Event>) {
    // SAFETY: the cell is of a `u32`.
    unsafe { Suspended::begin(cell, pool.clone(), Wait(event.clone())) };
}

fn result(cell: &Ref) -> Result<u32, crate::TaskError> {
    assert!(cell.wait_until(Until::Settled, None));
    // SAFETY: the cells of these models hold a `u32`, and each has one taker.
    unsafe { cell.take() }
}

/// With two preemptions: the host's own locks are many steps, and add nothing to what can happen to the task.
fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(f);
}

#[test]
fn loom_a_wake_at_any_time_is_not_lost() {
    model(|| {
        let ((task, future), pool, event) = (running(), Pool::new(), Event::new());
        let setter = {
            let event = event.clone();
            thread::spawn(move || event.set())
        };
        begin(task, &pool, &event);
        pool.work();
        assert_eq!(result(&future).unwrap(), 7);
        assert_eq!(event.drops.load(Ordering::Relaxed), 1);
        setter.join().unwrap();
    });
}

#[test]
fn loom_an_async_task_is_cancelled_or_done() {
    model(|| {
        let ((task, future), pool, event) = (running(), Pool::new(), Event::new());
        begin(task, &pool, &event);
        let canceller = {
            let future = future.clone();
            thread::spawn(move || future.cancel(Place::Here))
        };
        event.set();
        pool.work();
        let cancelled = canceller.join().unwrap();
        let outcome = result(&future);
        assert_eq!(outcome.is_err(), cancelled);
        assert_eq!(event.drops.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn loom_an_aborted_async_task_ends_whatever_its_worker_does() {
    model(|| {
        let ((task, future), pool, event) = (running(), Pool::new(), Event::new());
        let aborter = {
            let future = future.clone();
            thread::spawn(move || future.abort(Place::Here))
        };
        begin(task, &pool, &event);
        // It is never set: only the abort ends it.
        pool.work();
        assert!(aborter.join().unwrap());
        assert!(result(&future).is_err());
        assert_eq!(event.drops.load(Ordering::Relaxed), 1);
    });
}
