//! Async functions as tasks, on every executor.

use crate::tasks::{occupy, square};
use concurrent_futures::{
    Executor, ExecutorExt, Future, Shutdown, as_completed, block_on, gather, gather_results, task,
};
use concurrent_futures_conformance::{Kind, PATIENCE, Soon, Stage, Ticket, tests};
use std::future::{pending, poll_fn};
use std::sync::LazyLock;
use std::task::Poll;
use std::time::{Duration, Instant};

/// Waits so often, each time woken by another thread.
async fn hop(times: u32) {
    for _ in 0..times {
        let mut is_woken = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut is_woken, true) {
                return Poll::Ready(());
            }
            let waker = cx.waker().clone();
            std::thread::spawn(move || waker.wake());
            Poll::Pending
        })
        .await;
    }
}

async fn square_slowly(x: u64) -> u64 {
    hop(3).await;
    x * x
}

async fn invert(x: u64) -> Result<u64, String> {
    hop(1).await;
    60_u64.checked_div(x).ok_or_else(|| format!("{x} has no inverse"))
}

fn gives_what_its_future_gives(kind: Kind) {
    let ex = kind.pool(2);
    let futures: Vec<_> = (0..20).map(|x| ex.submit_async(square_slowly, x)).collect();
    assert!(gather(futures).soon().unwrap().into_iter().eq((0..20).map(square)));
    assert_eq!(ex.submit_async(|(a, b): (u64, u64)| async move { a + b }, (1, 2)).soon().unwrap(), 3);
}

fn an_error_is_a_value_or_the_tasks_own(kind: Kind) {
    let ex = kind.pool(1);
    assert_eq!(ex.submit_async(invert, 2).soon().unwrap(), Ok(30));
    assert!(ex.submit_async(invert, 0).soon().unwrap().is_err());
    assert_eq!(ex.submit_async_fallible(invert, 2).soon().unwrap(), 30);
    let error = ex.submit_async_fallible(invert, 0).soon().unwrap_err();
    assert_eq!(error.failure().unwrap().message(), "0 has no inverse");
}

fn a_panic_is_its_error(kind: Kind) {
    async fn panics(hops: u32) -> u32 {
        hop(hops).await;
        panic!("after {hops}")
    }
    let ex = kind.pool(1);
    for hops in [0, 1, 2] {
        let error = ex.submit_async(panics, hops).soon().unwrap_err();
        assert_eq!(error.panic().unwrap().message(), format!("after {hops}"));
        assert!(error.panic().unwrap().location().unwrap().contains("async_tasks.rs"));
    }
    assert_eq!(ex.submit_async(square_slowly, 3).soon().unwrap(), 9);
}

fn knows_itself_after_every_wait(kind: Kind) {
    async fn look(hops: u32) -> (Option<String>, u32, bool) {
        hop(hops).await;
        (task::current().name(), task::current().attempt(), task::current().remaining().is_some())
    }
    let future = kind.pool(1).task(look, 3).name("it").timeout(PATIENCE).submit_async();
    assert_eq!(future.soon().unwrap(), (Some("it".into()), 1, true));
}

fn is_tried_again(kind: Kind) {
    async fn flaky(fails: u32) -> u32 {
        hop(2).await;
        assert!(task::current().attempt() > fails, "not yet");
        task::current().attempt()
    }
    let ex = kind.pool(1);
    assert_eq!(ex.task(flaky, 2).retries(3).submit_async().soon().unwrap(), 3);
    assert!(ex.task(flaky, 5).retries(1).submit_async().soon().unwrap_err().is_panic());
}

fn a_timeout_ends_it(kind: Kind) {
    let ex = kind.pool(1);
    let limited = ex.task(|()| pending::<()>(), ()).timeout(Duration::from_millis(50)).submit_async();
    assert!(limited.soon().unwrap_err().is_timeout());
    let late = ex.task(|()| pending::<()>(), ()).deadline(Instant::now() + Duration::from_millis(50)).submit_async();
    assert!(late.soon().unwrap_err().is_timeout());
    assert_eq!(ex.submit(square, 3).soon().unwrap(), 9);
}

async fn enter_and_wait(ticket: Ticket) {
    ticket.enter("");
    pending().await
}

fn an_abort_ends_it(kind: Kind) {
    let (ex, stage) = (kind.pool(1), Stage::new());
    let future = ex.submit_async(enter_and_wait, stage.ticket());
    stage.next().release();
    assert!(future.running());
    assert!(future.abort());
    let error = future.soon().unwrap_err();
    assert!(error.is_aborted() || error.is_cancelled());
    assert_eq!(ex.submit(square, 3).soon().unwrap(), 9);
}

fn what_has_not_begun_is_cancelled_and_never_begins(kind: Kind) {
    async fn tell(ticket: Ticket) {
        ticket.tell("it ran");
    }
    let (ex, stage) = (kind.pool(1), Stage::new());
    let (running, arrivals) = occupy(&ex, &stage, 1);
    let future = ex.submit_async(tell, stage.ticket());
    assert!(!future.running());
    assert!(future.cancel() && future.cancelled());
    drop(arrivals);
    ex.shutdown(Shutdown::WAIT);
    assert!(stage.said().is_empty());
    assert!(running.into_iter().all(|future| future.soon().is_ok()));
}

fn gathers_with_others(kind: Kind) {
    let ex = kind.pool(2);
    let mixed = [ex.submit_async(square_slowly, 2), ex.submit(square, 3)];
    assert_eq!(gather(mixed).soon().unwrap(), [4, 9]);
    let all = [0, 1].map(|x| ex.submit_async_fallible(invert, x));
    let outcomes = gather_results(all).soon().unwrap();
    assert!(outcomes[0].is_err() && outcomes[1].is_ok());
    let first = gather([0, 1].map(|x| ex.submit_async_fallible(invert, x)));
    assert!(first.soon().unwrap_err().is_failed());
    assert_eq!(as_completed((0..5).map(|x| ex.submit_async(square_slowly, x))).filter(Future::done).count(), 5);
}

fn a_shutdown_waits_for_it(kind: Kind) {
    let ex = kind.pool(2);
    let futures: Vec<Future<u64>> = (0..10).map(|x| ex.submit_async(square_slowly, x)).collect();
    ex.shutdown(Shutdown::WAIT);
    assert!(futures.iter().all(Future::done));
    assert!(futures.into_iter().map(|future| future.soon().unwrap()).eq((0..10).map(square)));
    assert!(ex.submit_async(square_slowly, 1).soon().unwrap_err().is_refused());
}

fn awaits_tasks_of_an_executor_of_its_own(kind: Kind) {
    async fn outer(x: u64) -> u64 {
        let inner = Kind::Thread.pool(1);
        let squares = gather((0..x).map(|x| inner.submit(square, x)).collect::<Vec<_>>()).await;
        squares.unwrap().into_iter().sum()
    }
    let ex = kind.pool(1);
    assert_eq!(ex.submit_async(outer, 4).soon().unwrap(), 14);
    assert_eq!(block_on(async { ex.submit_async(outer, 3).await.unwrap() + 1 }), 6);
}

static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
});

/// A runtime of the user's: its context is entered by the workers' initializer, and its own thread drives its timers and IO.
fn runs_in_the_context_of_a_runtime_of_the_users_choice(kind: Kind) {
    async fn nap(ms: u64) -> u64 {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        tokio::spawn(async move { ms }).await.unwrap()
    }
    let ex = kind.pool_with_initializer(1, |()| std::mem::forget(RUNTIME.enter()), ());
    let naps = gather([30, 1, 10].map(|ms| ex.submit_async(nap, ms)));
    assert_eq!(naps.soon().unwrap(), [30, 1, 10]);
}

tests! {
    all {
        gives_what_its_future_gives,
        an_error_is_a_value_or_the_tasks_own,
        a_panic_is_its_error,
        knows_itself_after_every_wait,
        is_tried_again,
        a_timeout_ends_it,
        gathers_with_others,
        a_shutdown_waits_for_it,
        awaits_tasks_of_an_executor_of_its_own,
    }
    parallel {
        an_abort_ends_it,
        what_has_not_begun_is_cancelled_and_never_begins,
        runs_in_the_context_of_a_runtime_of_the_users_choice,
    }
}
