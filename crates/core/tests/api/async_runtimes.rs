//! Futures are futures: on any runtime, in `select` and `join`, dropped half-way, with wakers that change.

use crate::manual::Manual;
use crate::wire::Wire;
use concurrent_futures_core::{ExecutorExt, Future, Promise};
use futures::future::{self, Either};
use futures::{FutureExt, StreamExt};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

/// Each of these runs on each runtime.
macro_rules! on_every_runtime {
    ($($scenario:ident),+ $(,)?) => {
        mod block_on {
            $(#[test] fn $scenario() { futures::executor::block_on(super::$scenario()); })+
        }
        mod smol {
            $(#[test] fn $scenario() { smol::block_on(super::$scenario()); })+
        }
        mod tokio {
            $(#[test] fn $scenario() {
                let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
                runtime.block_on(async { tokio::spawn(super::$scenario()).await.unwrap() });
            })+
        }
        mod tokio_current_thread {
            $(#[test] fn $scenario() {
                tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(super::$scenario());
            })+
        }
    };
}

on_every_runtime!(
    what_is_there_is_given,
    what_comes_later_wakes,
    errors_and_cancellations_wake,
    a_losing_branch_of_select_is_as_good_as_before,
    a_dropped_branch_is_forgotten,
    many_at_once,
    chains_can_be_awaited,
    a_shared_future_wakes_every_task,
    streams_of_results,
);

async fn what_is_there_is_given() {
    assert_eq!(Future::ready(Ok(1)).await.unwrap(), 1);
    let ex = Manual::new();
    let future = ex.submit(|x: u8| 1 / x, 0);
    ex.run_all();
    assert!(future.await.unwrap_err().is_panic());
}

async fn what_comes_later_wakes() {
    let (promise, future) = Promise::pair();
    let completer = thread::spawn(move || promise.set_result("later").unwrap());
    assert_eq!(future.await.unwrap(), "later");
    completer.join().unwrap();
}

async fn errors_and_cancellations_wake() {
    let (promise, future) = Promise::<u8>::pair();
    let completer = thread::spawn(move || promise.set_exception("bad").unwrap());
    assert!(future.await.unwrap_err().is_failed());
    completer.join().unwrap();

    let (promise, future) = Promise::<u8>::pair();
    let dropper = thread::spawn(move || drop(promise));
    assert!(future.await.unwrap_err().is_abandoned());
    dropper.join().unwrap();

    let (_promise, future) = Promise::<u8>::pair();
    let future = future.shared();
    let canceller = future.clone();
    let canceller = thread::spawn(move || assert!(canceller.cancel()));
    assert!(future.await.unwrap_err().is_cancelled());
    canceller.join().unwrap();
}

async fn a_losing_branch_of_select_is_as_good_as_before() {
    let (slow, loser) = Promise::pair();
    let (fast, winner) = Promise::pair();
    fast.set_result("fast").unwrap();
    let Either::Right((first, loser)) = future::select(loser, winner).await else { panic!("the slow one cannot win") };
    assert_eq!(first.unwrap(), "fast");
    slow.set_result("slow").unwrap();
    assert_eq!(loser.await.unwrap(), "slow");

    // By reference: the loser is still a future, for threads as well.
    let (slow, mut loser) = Promise::pair();
    let (_, winner) = Promise::<u8>::pair();
    assert!(matches!(future::select(&mut loser, winner).await, Either::Right(_)));
    slow.set_result(3).unwrap();
    assert_eq!(loser.result().unwrap(), 3);
}

async fn a_dropped_branch_is_forgotten() {
    let ex = Manual::new();
    let mut dropped = ex.submit(|x: u8| x, 1);
    assert!((&mut dropped).now_or_never().is_none());
    drop(dropped);
    let guard = ex.submit(|x: u8| x, 2).cancel_on_drop();
    assert!(guard.now_or_never().is_none(), "its guard is dropped here");
    assert_eq!(ex.run_all(), 1, "a plain future does not cancel when it is dropped, a guard does");
}

async fn many_at_once() {
    let (promises, futures): (Vec<_>, Vec<_>) = (0..100).map(|_| Promise::pair()).unzip();
    let completer = thread::spawn(move || {
        for (i, promise) in promises.into_iter().enumerate().rev() {
            promise.set_result(i).unwrap();
        }
    });
    let values: Result<Vec<usize>, _> = future::join_all(futures).await.into_iter().collect();
    assert!(values.unwrap().into_iter().eq(0..100));
    completer.join().unwrap();
}

async fn chains_can_be_awaited() {
    let ex = Wire::new();
    let chain = ex.submit(|x: u32| x + 1, 1).map(|x| x * 10).and_then(|x| Future::ready(Ok(x + 1)));
    let worker = thread::spawn({
        let ex = ex.clone();
        move || ex.answer_all()
    });
    assert_eq!(chain.await.unwrap(), 21);
    worker.join().unwrap();
}

async fn a_shared_future_wakes_every_task() {
    let (promise, future) = Promise::pair();
    let future = future.shared();
    let completer = thread::spawn(move || promise.set_result(5).unwrap());
    let all = future::join_all((0..10).map(|_| future.clone())).await;
    assert!(all.into_iter().all(|value| value.unwrap() == 5));
    completer.join().unwrap();
}

async fn streams_of_results() {
    let ex = Manual::new();
    let results = ex.tasks(|x: u32| 6 / x, [1, 0, 2]).chunksize(2).map().into_stream();
    let runner = thread::spawn({
        let ex = ex.clone();
        move || ex.run_all()
    });
    let results: Vec<_> = results.map(Result::ok).collect().await;
    assert_eq!(results, [Some(6), None, Some(3)]);
    runner.join().unwrap();
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    fn new() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (count.clone(), count.into())
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn poll<F: std::future::Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

#[test]
fn only_the_last_waker_is_woken() {
    let (promise, mut future) = Promise::pair();
    let ((first, first_waker), (second, second_waker)) = (Count::new(), Count::new());
    assert!(poll(&mut future, &first_waker).is_pending());
    assert!(poll(&mut future, &second_waker).is_pending());
    assert!(poll(&mut future, &second_waker).is_pending());
    promise.set_result(1).unwrap();
    assert_eq!((first.get(), second.get()), (0, 1));
    let Poll::Ready(value) = poll(&mut future, &first_waker) else { panic!("it is there") };
    assert_eq!(value.unwrap(), 1);
    drop((promise, first_waker, second_waker));
    assert_eq!((Arc::strong_count(&first), Arc::strong_count(&second)), (1, 1), "no waker is kept");
}

#[test]
fn a_shared_handle_that_is_dropped_is_not_woken() {
    let (promise, future) = Promise::pair();
    let (mut first, mut second) = (future.shared(), None);
    second.get_or_insert_with(|| first.clone());
    let ((gone, gone_waker), (stays, waker)) = (Count::new(), Count::new());
    assert!(poll(&mut first, &gone_waker).is_pending());
    assert!(poll(second.as_mut().unwrap(), &waker).is_pending());
    drop(first);
    drop(gone_waker);
    assert_eq!(Arc::strong_count(&gone), 1, "its waker went with it");
    promise.set_result(1).unwrap();
    assert_eq!((gone.get(), stays.get()), (0, 1));
}

#[test]
fn it_is_ready_when_its_callbacks_have_run() {
    let (promise, mut future) = Promise::pair();
    let (count, waker) = Count::new();
    let (entered, is_entered) = std::sync::mpsc::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel();
    future.add_done_callback(move |_| {
        entered.send(()).unwrap();
        may_go_on.recv().unwrap();
    });
    assert!(poll(&mut future, &waker).is_pending());
    let completer = thread::spawn(move || promise.set_result(1).unwrap());
    is_entered.recv().unwrap();
    assert!(future.done());
    assert!(poll(&mut future, &waker).is_pending(), "a callback is running");
    go_on.send(()).unwrap();
    completer.join().unwrap();
    assert!(count.get() >= 1, "it was woken when they were finished");
    assert!(poll(&mut future, &waker).is_ready());
}

#[test]
fn an_answer_from_a_worker_wakes() {
    let ex = Wire::new();
    let mut future = ex.submit(|x: u8| x + 1, 1);
    let (count, waker) = Count::new();
    assert!(poll(&mut future, &waker).is_pending());
    ex.answer_all();
    assert_eq!(count.get(), 1);
    let Poll::Ready(value) = poll(&mut future, &waker) else { panic!("it is there") };
    assert_eq!(value.unwrap(), 2);
}

#[test]
fn a_stream_of_results_ends_at_the_maps_deadline() {
    let ex = Manual::new();
    let at = Instant::now() + Duration::from_millis(5);
    let results = ex.tasks(|x: u8| x, [1, 2, 3]).chunksize(2).deadline(at).map().into_stream();
    let results: Vec<_> = futures::executor::block_on(results.collect());
    assert!(results.iter().all(|result| result.as_ref().unwrap_err().is_timeout()));
    assert_eq!((results.len(), ex.run_all()), (3, 0));
}
