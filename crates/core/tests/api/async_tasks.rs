//! Async tasks where no pool is their host: the thread that runs one waits with it.

use concurrent_futures_core::task::{self, spawned};
use concurrent_futures_core::{
    Executor, ExecutorExt, Handle, Promise, Refusal, Shutdown, Task, TaskErrorKind, block_on,
};
use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// Each task has a thread of its own.
#[derive(Clone, Debug)]
struct Threads;

impl Executor for Threads {
    fn submit_task(&self, task: Task) {
        thread::spawn(move || task.run());
    }

    fn try_submit_task(&self, task: Task) -> Result<(), (Task, Refusal)> {
        self.submit_task(task);
        Ok(())
    }

    fn num_workers(&self) -> usize {
        usize::MAX
    }

    fn shutdown(&self, _how: Shutdown) {}

    fn handle(&self) -> Handle {
        Handle::new(self.clone())
    }
}

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn it_waits_for_whoever_wakes_it() {
    let (promise, answer) = Promise::<u32>::pair();
    let (task, future) = spawned(async move { answer.await.unwrap() + 1 });
    let runner = thread::spawn(move || task.run());
    assert!(future.result_timeout(Duration::from_millis(20)).is_err_and(|late| {
        promise.set_result(1).unwrap();
        late.0.result().unwrap() == 2
    }));
    assert!(runner.join().unwrap());
}

#[test]
fn whoever_ends_it_ends_the_wait_of_its_thread() {
    for cancel in [true, false] {
        let drops = Arc::new(AtomicUsize::new(0));
        let (counted, (tell, told)) = (Counted(drops.clone()), mpsc::channel());
        let (task, future) = spawned(async move {
            let _counted = counted;
            tell.send(()).unwrap();
            pending::<()>().await
        });
        let runner = thread::spawn(move || task.run());
        told.recv_timeout(PATIENCE).unwrap();
        // It may be in its first poll still, in which it can only be aborted.
        if cancel {
            while !future.cancel() {
                thread::yield_now();
            }
        } else {
            assert!(future.abort());
        }
        assert!(runner.join().unwrap());
        assert_eq!(drops.load(Ordering::SeqCst), 1);
        let error = future.result().unwrap_err();
        assert!(error.is_cancelled() || !cancel && error.is_aborted());
    }
}

#[test]
fn a_task_that_is_never_run_is_abandoned_or_cancelled_with_its_future() {
    let drops = Arc::new(AtomicUsize::new(0));
    let counted = Counted(drops.clone());
    let (task, future) = spawned(async move { drop(counted) });
    drop(task);
    assert!(matches!(future.result().unwrap_err().kind(), TaskErrorKind::Abandoned));
    assert_eq!(drops.load(Ordering::SeqCst), 1);
    let (task, future) = spawned(async {});
    assert!(future.cancel() && !task.run());
}

#[test]
fn limits_and_attempts_hold_on_any_executor() {
    async fn hangs_twice((): ()) -> u32 {
        let attempt = task::current().attempt();
        if attempt >= 3 { attempt } else { pending().await }
    }
    let limit = Duration::from_millis(20);
    let task = || Threads.task(hangs_twice, ()).timeout(limit);
    // On a busy machine, one that is ready at once may be too late as well.
    assert!(task().retries(u32::MAX).submit_async().result().unwrap() >= 3);
    let error = task().retries(1).submit_async().result().unwrap_err();
    assert_eq!((error.timeout(), error.attempts()), (Some(limit), 2));
}

#[test]
fn block_on_is_woken_by_any_thread_and_by_itself() {
    let mut polls = 0;
    let value = block_on(poll_fn(|cx| {
        polls += 1;
        let waker = cx.waker().clone();
        match polls {
            1 => waker.wake_by_ref(),
            2 => drop(thread::spawn(move || waker.wake())),
            3 => {
                // The parking of the thread is the future's to use.
                thread::current().unpark();
                thread::park();
                drop(thread::spawn(move || (0..3).for_each(|_| waker.wake_by_ref())));
            }
            polls => return Poll::Ready(polls),
        }
        Poll::Pending
    }));
    assert!(value >= 4);
}
