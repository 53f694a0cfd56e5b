//! Wakers are the code of somebody's runtime: they panic, they own what they wake, and neither is the library's problem.

use crate::wire::Wire;
use concurrent_futures_core::{ExecutorExt, Future, Promise, SharedFuture, as_completed};
use futures::Stream;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

/// Longer than anything takes: a test that waits so long has failed.
const FOR_EVER: Duration = Duration::from_secs(60);

/// Wakes a task whose runtime is gone.
struct Bomb;

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        panic!("a waker of this test panics on purpose");
    }
}

impl Bomb {
    fn waker() -> Waker {
        Arc::new(Bomb).into()
    }
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn poll<F: std::future::Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// Runs `f` in a thread, and fails when it does not return.
fn in_time(f: impl FnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    let thread = thread::spawn(move || {
        f();
        done.send(()).unwrap();
    });
    if is_done.recv_timeout(FOR_EVER) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("it does not return");
    }
    thread.join().unwrap();
}

#[test]
fn a_waker_that_panics_costs_nobody_else_anything() {
    let (promise, future) = Promise::pair();
    let mut broken = future.shared();
    assert!(poll(&mut broken, &Bomb::waker()).is_pending(), "it is the first in the list");
    let mut awaited = broken.clone();
    let flag = Arc::new(Flag::default());
    assert!(poll(&mut awaited, &flag.clone().into()).is_pending());
    let mut completed = as_completed([broken.clone()]);
    let (tell, told) = mpsc::channel();
    broken.add_done_callback(move |outcome| tell.send(*outcome.as_ref().unwrap()).unwrap());
    let sleeper = thread::spawn({
        let future = broken.clone();
        move || future.wait_timeout(FOR_EVER)
    });

    promise.set_result(1).unwrap();

    assert!(flag.0.load(Ordering::SeqCst), "the other waker was woken");
    assert_eq!(*completed.next().unwrap().result().unwrap(), 1);
    assert_eq!(told.try_recv(), Ok(1), "the callback ran");
    assert!(sleeper.join().unwrap());
    assert_eq!(*broken.result().unwrap(), 1);
}

#[test]
fn a_stream_whose_waker_panics_costs_nobody_else_anything() {
    let (promise, future) = Promise::pair();
    let future = future.shared();
    let mut stream = pin!(as_completed([future.clone()]).into_stream());
    assert!(stream.as_mut().poll_next(&mut Context::from_waker(&Bomb::waker())).is_pending());
    let mut completed = as_completed([future.clone()]);
    promise.set_result(1).unwrap();
    assert!(completed.next().is_some());
    assert!(stream.poll_next(&mut Context::from_waker(Waker::noop())).is_ready(), "it has its item all the same");
}

#[test]
fn a_waker_that_panics_does_not_stop_a_cancellation() {
    let (promise, mut future) = Promise::<u8>::pair();
    assert!(poll(&mut future, &Bomb::waker()).is_pending());
    assert!(future.cancel() && future.cancelled());
    assert!(!promise.set_running_or_notify_cancel().unwrap());
}

#[test]
fn the_timer_outlives_a_waker_that_panics() {
    let ex = Wire::new();
    let tick = Duration::from_millis(1);
    for _ in 0..3 {
        let mut future = ex.task(|x: u8| x, 1).timeout(tick).submit();
        assert!(poll(&mut future, &Bomb::waker()).is_pending());
        // The worker has it, so the timer itself resolves it, and wakes.
        let sent = ex.take();
        assert!(sent.start());
        assert!(future.wait_timeout(FOR_EVER), "nobody is left to end it");
        assert!(future.exception().unwrap().is_timeout());
        let next = ex.task(|x: u8| x, 1).timeout(tick).submit();
        let sent_next = ex.take();
        assert!(sent_next.start() && next.wait_timeout(FOR_EVER), "the next one, too");
        ex.answer(sent);
        ex.answer(sent_next);
    }
}

/// A task of an async runtime: it owns the futures that it polls, and its wakers own it.
struct AsyncTask {
    _owns: Mutex<Option<SharedFuture<u8>>>,
}

impl Wake for AsyncTask {
    fn wake(self: Arc<Self>) {}
}

/// A waker that is the last owner of a task, which owns a handle to `future` that was polled itself.
fn last_owner(future: &SharedFuture<u8>) -> Waker {
    let mut owned = future.clone();
    assert!(poll(&mut owned, Waker::noop()).is_pending());
    Arc::new(AsyncTask { _owns: Mutex::new(Some(owned)) }).into()
}

fn polled_by_last_owner() -> (Promise<u8>, SharedFuture<u8>) {
    let (promise, future) = Promise::pair();
    let mut future: SharedFuture<u8> = future.shared();
    let waker = last_owner(&future);
    assert!(poll(&mut future, &waker).is_pending());
    (promise, future)
}

#[test]
fn a_waker_that_owns_a_handle_may_go_with_the_handle_that_was_polled() {
    in_time(|| {
        let (promise, future) = polled_by_last_owner();
        let other = future.clone();
        drop(future);
        promise.set_result(1).unwrap();
        assert_eq!(*other.result().unwrap(), 1);
    });
}

#[test]
fn a_waker_that_owns_a_handle_may_be_replaced() {
    in_time(|| {
        let (promise, mut future) = polled_by_last_owner();
        assert!(poll(&mut future, Waker::noop()).is_pending());
        promise.set_result(1).unwrap();
        assert!(poll(&mut future, Waker::noop()).is_ready());
    });
}

#[test]
fn a_waker_that_owns_a_handle_may_be_woken() {
    in_time(|| {
        let (promise, future) = polled_by_last_owner();
        promise.set_result(1).unwrap();
        assert_eq!(*future.result().unwrap(), 1);
    });
    in_time(|| {
        let (_promise, future) = polled_by_last_owner();
        assert!(future.cancel());
    });
    in_time(|| {
        let (promise, future) = polled_by_last_owner();
        drop(promise);
        assert!(future.exception().unwrap().is_abandoned());
    });
}

#[test]
fn a_waker_that_owns_the_stream_of_the_future_may_go_with_either() {
    /// Owns a handle, and a stream that waits for the same cell.
    struct Both {
        _owns: Mutex<concurrent_futures_core::AsCompletedStream<SharedFuture<u8>>>,
    }
    impl Wake for Both {
        fn wake(self: Arc<Self>) {}
    }
    in_time(|| {
        let (promise, future) = Promise::pair();
        let mut future: SharedFuture<u8> = future.shared();
        let stream = as_completed([future.clone()]).into_stream();
        let waker = Waker::from(Arc::new(Both { _owns: Mutex::new(stream) }));
        assert!(poll(&mut future, &waker).is_pending());
        drop(waker);
        drop(future);
        promise.set_result(1).unwrap();
    });
    in_time(|| {
        let (promise, future) = Promise::pair();
        let future: SharedFuture<u8> = future.shared();
        let waker = last_owner(&future);
        let mut stream = as_completed([future.clone()]).into_stream();
        assert!(Pin::new(&mut stream).poll_next(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        assert!(Pin::new(&mut stream).poll_next(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(stream);
        promise.set_result(1).unwrap();
        assert_eq!(*future.result().unwrap(), 1);
    });
}

#[test]
fn a_future_that_becomes_another_takes_its_waker_along() {
    in_time(|| {
        let (promise, mut future) = Promise::<u8>::pair();
        let flag = Arc::new(Flag::default());
        assert!(poll(&mut future, &flag.clone().into()).is_pending());
        let mapped: Future<u8> = future.map(|x| x + 1);
        assert_eq!(Arc::strong_count(&flag), 1, "nobody polls the old handle any more");
        promise.set_result(1).unwrap();
        assert_eq!(mapped.result().unwrap(), 2);
        assert!(!flag.0.load(Ordering::SeqCst));
    });
}
