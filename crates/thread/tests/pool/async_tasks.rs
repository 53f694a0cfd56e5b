//! Async tasks: they wait without a worker, and are work of the pool.

use crate::gate::Gate;
use concurrent_futures_core::{Executor, ExecutorExt, Future, OnDrop, Promise, Shutdown, gather, task};
use concurrent_futures_thread::ThreadPoolExecutor;
use std::future::{pending, poll_fn};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

fn pool(workers: usize) -> ThreadPoolExecutor {
    ThreadPoolExecutor::new(workers).unwrap()
}

fn until(mut is: impl FnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < limit, "it does not come true");
        thread::yield_now();
    }
}

fn soon<T>(future: Future<T>) -> Result<T, concurrent_futures_core::TaskError> {
    future.result_timeout(PATIENCE).unwrap_or_else(|_| panic!("no outcome in {PATIENCE:?}"))
}

/// Counts its drops.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A task that waits, once this returns.
fn waiting(pool: &ThreadPoolExecutor) -> (Future<()>, Arc<AtomicUsize>) {
    let drops = Arc::new(AtomicUsize::new(0));
    let (counted, (tell, told)) = (Counted(drops.clone()), mpsc::channel());
    let future = pool.spawn_async(async move {
        let _counted = counted;
        tell.send(()).unwrap();
        pending().await
    });
    told.recv_timeout(PATIENCE).unwrap();
    // The poll that has told it is over, too.
    soon(pool.spawn(|| ())).unwrap();
    (future, drops)
}

#[test]
fn thousands_wait_on_two_threads() {
    let pool = pool(2);
    let (promises, answers): (Vec<_>, Vec<_>) = (0..10_000).map(|_| Promise::<u64>::pair()).unzip();
    let started = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = answers
        .into_iter()
        .map(|answer| {
            let started = started.clone();
            pool.spawn_async(async move {
                started.fetch_add(1, Ordering::Relaxed);
                answer.await.unwrap() + 1
            })
        })
        .collect();
    until(|| started.load(Ordering::Relaxed) == 10_000);
    assert!(tasks.iter().all(|task| task.running() && !task.done()));
    assert_eq!(soon(pool.submit(|x: u64| x, 3)).unwrap(), 3, "the threads are free");
    for (x, promise) in (0..).zip(promises) {
        promise.set_result(x).unwrap();
    }
    assert!(soon(gather(tasks)).unwrap().into_iter().eq(1..=10_000));
    until(|| pool.stats().finished == 10_001);
    assert_eq!(pool.stats().workers, 2);
}

#[test]
fn wakes_from_anywhere_and_at_any_time_are_not_lost() {
    let pool = pool(2);
    let hops: Vec<_> = (0..50)
        .map(|_| {
            pool.spawn_async(async {
                for hop in 0..100_u32 {
                    let mut is_woken = false;
                    poll_fn(|cx| {
                        if std::mem::replace(&mut is_woken, true) {
                            return Poll::Ready(());
                        }
                        let waker = cx.waker().clone();
                        match hop % 4 {
                            0 => waker.wake(),
                            1 => drop(thread::spawn(move || waker.wake())),
                            2 => (0..3).for_each(|_| waker.wake_by_ref()),
                            _ => drop(thread::spawn(move || (0..3).for_each(|_| waker.wake_by_ref()))),
                        }
                        Poll::Pending
                    })
                    .await;
                }
            })
        })
        .collect();
    soon(gather(hops)).unwrap();
}

#[test]
fn cancel_drops_what_waits_where_it_waits() {
    let pool = pool(1);
    let (future, drops) = waiting(&pool);
    assert!(future.running() && drops.load(Ordering::SeqCst) == 0);
    assert!(future.cancel() && future.cancelled());
    assert_eq!(drops.load(Ordering::SeqCst), 1, "before `cancel` returns");
    assert!(soon(future).unwrap_err().is_cancelled());
    pool.shutdown(Shutdown::WAIT);
}

#[test]
fn what_is_being_polled_cannot_be_cancelled_but_aborted() {
    let (pool, gate) = (pool(1), Gate::new());
    let at_gate = gate.clone();
    let drops = Arc::new(AtomicUsize::new(0));
    let counted = Counted(drops.clone());
    let future = pool.spawn_async(async move {
        let _counted = counted;
        at_gate.pass();
        pending::<()>().await
    });
    gate.wait_for(1);
    assert!(!future.cancel() && future.running());
    assert!(future.abort() && drops.load(Ordering::SeqCst) == 0);
    assert!(soon(future).unwrap_err().is_aborted());
    gate.open();
    until(|| drops.load(Ordering::SeqCst) == 1);
}

#[test]
fn a_timeout_ends_what_waits() {
    let pool = pool(1);
    let future = pool.task(|()| pending::<()>(), ()).timeout(Duration::from_millis(20)).submit_async();
    assert!(soon(future).unwrap_err().is_timeout());
    let deadline = pool.task(|()| pending::<()>(), ()).deadline(Instant::now() + Duration::from_millis(20));
    assert!(soon(deadline.submit_async()).unwrap_err().is_timeout());
    pool.shutdown(Shutdown::WAIT);
}

#[test]
fn attempts_follow_each_other_and_their_pauses_have_no_worker() {
    async fn third_time_lucky(fails: String) -> u32 {
        let attempt = task::current().attempt();
        assert_eq!(task::current().name().as_deref(), Some("lucky"));
        match fails.as_str() {
            _ if attempt >= 3 => attempt,
            "panics" => panic!("not yet"),
            _ => pending().await,
        }
    }
    let pool = pool(1);
    let backoff = concurrent_futures_core::Backoff::fixed(Duration::from_millis(5));
    for fails in ["panics", "hangs"] {
        let task = pool.task(third_time_lucky, fails.into()).name("lucky").retries(u32::MAX).backoff(backoff);
        let future = task.timeout(Duration::from_millis(50)).submit_async();
        assert!(future.wait_timeout(PATIENCE));
        // On a busy machine, one that is ready at once may be too late as well.
        let attempts = future.attempts();
        assert!(attempts >= 3 && soon(future).unwrap() == attempts);
    }
    let unlucky = pool.task(third_time_lucky, "panics".into()).name("lucky").retries(1).submit_async();
    assert!(soon(unlucky).unwrap_err().is_panic());
    let judged = pool.task(|x: u32| async move { x }, 1).retries(1).retry_if(|_| true).submit_async();
    assert!(soon(judged).unwrap_err().is_refused());
}

#[test]
fn a_panic_in_any_poll_is_the_tasks_error() {
    let pool = pool(1);
    let (promise, answer) = Promise::<u32>::pair();
    let future = pool.spawn_async(async move {
        let _ = answer.await;
        panic!("in the second poll")
    });
    promise.set_result(1).unwrap();
    let error = soon::<()>(future).unwrap_err();
    assert_eq!(error.panic().unwrap().message(), "in the second poll");
    assert!(error.panic().unwrap().location().unwrap().contains("async_tasks.rs"));
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in a destructor");
        }
    }
    let (future, _) = waiting(&pool);
    let bomb = pool.spawn_async(async {
        let _bomb = Bomb;
        pending::<()>().await
    });
    until(|| bomb.running() && bomb.cancel());
    assert!(future.cancel());
    assert_eq!(soon(pool.submit(|x: u32| x, 1)).unwrap(), 1);
}

#[test]
fn the_current_task_is_the_same_in_every_poll() {
    let pool = pool(2);
    let named = pool.task(
        |()| async {
            let mut names = Vec::new();
            for _ in 0..10 {
                names.push(task::current().name());
                let mut is_woken = false;
                poll_fn(|cx| {
                    if std::mem::replace(&mut is_woken, true) {
                        return Poll::Ready(());
                    }
                    let waker = cx.waker().clone();
                    thread::spawn(move || waker.wake());
                    Poll::Pending
                })
                .await;
            }
            names
        },
        (),
    );
    let names = soon(named.name("me").submit_async()).unwrap();
    assert!(names.len() == 10 && names.iter().all(|name| name.as_deref() == Some("me")));
}

#[test]
fn a_task_may_wait_for_async_tasks_of_its_own_pool() {
    let pool = Arc::new(pool(1));
    let inner = pool.clone();
    let outer = pool.spawn(move || {
        let (promise, answer) = Promise::<u32>::pair();
        let waiter = inner.spawn_async(async move { answer.await.unwrap() });
        let setter = inner.spawn(move || promise.set_result(5).unwrap());
        let five = waiter.result().unwrap();
        setter.result().unwrap();
        five
    });
    assert_eq!(soon(outer).unwrap(), 5);
    let inner = pool.clone();
    let awaits = pool.spawn_async(async move {
        let both = gather([1, 2].map(|x| inner.submit(|x: u32| x * 10, x)));
        both.await.unwrap()
    });
    assert_eq!(soon(awaits).unwrap(), [10, 20]);
}

#[test]
fn a_shutdown_waits_for_what_waits() {
    let pool = pool(1);
    let (promise, answer) = Promise::<u32>::pair();
    let future = pool.task(|()| async { 1 }, ()).name("quick").submit_async();
    assert_eq!(soon(future).unwrap(), 1);
    let waits = pool.spawn_async(async move { answer.await.unwrap() });
    until(|| waits.running());
    soon(pool.spawn(|| ())).unwrap();
    let left = pool.shutdown_timeout(Shutdown::WAIT, Duration::from_millis(20)).unwrap_err();
    assert_eq!(left.tasks().len(), 1);
    assert!(left.tasks()[0].running && left.tasks()[0].id == waits.id());
    assert!(soon(pool.spawn_async(async {})).unwrap_err().is_refused());
    let setter = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        promise.set_result(3).unwrap();
    });
    pool.shutdown(Shutdown::WAIT);
    assert!(waits.done());
    assert_eq!(waits.result().unwrap(), 3);
    assert_eq!(pool.stats().workers, 0);
    setter.join().unwrap();
}

#[test]
fn a_shutdown_can_cancel_what_waits() {
    let pool = pool(1);
    let (future, drops) = waiting(&pool);
    pool.shutdown(Shutdown::WAIT.cancel_futures());
    assert!(future.cancelled() && drops.load(Ordering::SeqCst) == 1);
    for what in [OnDrop::CancelPending, OnDrop::Kill] {
        let pool = ThreadPoolExecutor::builder().max_workers(1).on_drop(what).build().unwrap();
        let (future, _) = waiting(&pool);
        drop(pool);
        assert!(future.cancelled());
    }
}

#[test]
fn workers_that_have_ended_are_started_again_for_what_is_woken() {
    let pool = ThreadPoolExecutor::builder().max_workers(2).idle_timeout(Duration::from_millis(1)).build().unwrap();
    let (promise, answer) = Promise::<u32>::pair();
    let future = pool.spawn_async(async move { answer.await.unwrap() });
    until(|| future.running() && pool.stats().workers == 0);
    // Also after a shutdown.
    pool.shutdown(Shutdown::NO_WAIT);
    promise.set_result(7).unwrap();
    assert_eq!(soon(future).unwrap(), 7);
    pool.shutdown(Shutdown::WAIT);
}

#[test]
fn it_is_cancelled_or_it_is_done() {
    let pool = pool(2);
    let (mut cancelled, mut done) = (0, 0);
    for round in 0..500_u64 {
        let (promise, answer) = Promise::<u64>::pair();
        let drops = Arc::new(AtomicUsize::new(0));
        let counted = Counted(drops.clone());
        let future = pool.spawn_async(async move {
            let _counted = counted;
            answer.await.unwrap()
        });
        let setter = pool.spawn(move || promise.set_result(round).unwrap());
        for _ in 0..round % 30 {
            thread::yield_now();
        }
        if future.cancel() {
            cancelled += 1;
            assert!(soon(future).unwrap_err().is_cancelled());
        } else {
            done += 1;
            assert_eq!(soon(future).unwrap(), round);
        }
        soon(setter).unwrap();
        until(|| drops.load(Ordering::SeqCst) == 1);
    }
    assert_eq!(cancelled + done, 500);
}

#[test]
fn priorities_hold_for_every_poll() {
    let pool = ThreadPoolExecutor::builder().max_workers(1).priority_queue(true).build().unwrap();
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (promises, answers): (Vec<_>, Vec<_>) = (0..3).map(|_| Promise::<()>::pair()).unzip();
    static ANSWERS: std::sync::Mutex<Vec<Option<Future<()>>>> = std::sync::Mutex::new(Vec::new());
    *ANSWERS.lock().unwrap() = answers.into_iter().map(Some).collect();
    async fn wait(n: i32) -> i32 {
        let answer = ANSWERS.lock().unwrap()[usize::try_from(n).unwrap()].take().unwrap();
        answer.await.unwrap();
        n
    }
    let tasks: Vec<_> = (0..3).map(|n| pool.task(wait, n).priority(n).submit_async()).collect();
    for task in &tasks {
        let order = order.clone();
        task.add_done_callback(move |n| order.lock().unwrap().push(*n.as_ref().unwrap()));
    }
    until(|| tasks.iter().all(Future::running));
    let gate = Gate::new();
    let at_gate = gate.clone();
    let busy = pool.spawn(move || at_gate.pass());
    gate.wait_for(1);
    for promise in promises {
        promise.set_result(()).unwrap();
    }
    gate.open();
    soon(busy).unwrap();
    soon(gather(tasks)).unwrap();
    assert_eq!(*order.lock().unwrap(), [2, 1, 0]);
}
