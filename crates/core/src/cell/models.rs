//! Models of the cell's protocol, checked by loom over all interleavings:
//! `RUSTFLAGS="--cfg concurrent_futures_loom" cargo test -p concurrent-futures-core --release --lib loom_`.

use super::{Link, Place, Ref, Until, Work};
use crate::error::TaskErrorKind;
use crate::task::{Reply, Status};
use crate::wait::CompletionSet;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use std::task::{Context, Poll, Wake as StdWake, Waker};

/// Work that gives 7 and counts its runs and its drops.
struct Seven {
    runs: Arc<AtomicUsize>,
    drops: Arc<AtomicUsize>,
}

impl Work for Seven {
    type Out = Box<u32>;

    fn run(self, _cell: &Ref) -> Result<Box<u32>, TaskErrorKind> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(7))
    }
}

impl Drop for Seven {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::Relaxed);
    }
}

fn seven() -> (Ref, Ref, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let (runs, drops) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (task, future) = Ref::of_work(Seven { runs: runs.clone(), drops: drops.clone() }, None);
    (task, future, runs, drops)
}

fn empty() -> (Ref, Ref) {
    Ref::empty::<Box<u32>>()
}

fn set(cell: &Ref, value: u32) -> bool {
    // SAFETY: the cells of these models hold a `Box<u32>`.
    unsafe { cell.set(Ok(Box::new(value)), Place::Here) }.is_ok()
}

fn result(cell: &Ref) -> Result<Box<u32>, crate::TaskError> {
    assert!(cell.wait_until(Until::Settled, None));
    // SAFETY: the cells of these models hold a `Box<u32>`, and each has one taker.
    unsafe { cell.take() }
}

#[test]
fn loom_cancel_against_start() {
    loom::model(|| {
        let (task, future, runs, drops) = seven();
        let runner = thread::spawn(move || task.run());
        let cancelled = future.cancel(Place::Here);
        let ran = runner.join().unwrap();
        assert_ne!(cancelled, ran);
        assert_eq!(runs.load(Ordering::Relaxed), usize::from(ran));
        assert_eq!(drops.load(Ordering::Relaxed), 1);
        let outcome = result(&future);
        assert_eq!(outcome.is_ok(), ran);
    });
}

#[test]
fn loom_completion_against_callback_registration() {
    loom::model(|| {
        let (promise, future) = empty();
        let calls = Arc::new(AtomicUsize::new(0));
        let completer = thread::spawn(move || assert!(set(&promise, 1)));
        for _ in 0..2 {
            let calls = calls.clone();
            future.add_callback(Box::new(move |_| {
                calls.fetch_add(1, Ordering::Relaxed);
            }));
        }
        let value = result(&future).unwrap();
        // `result` comes after all callbacks that were added before it.
        assert_eq!((*value, calls.load(Ordering::Relaxed)), (1, 2));
        completer.join().unwrap();
    });
}

#[test]
fn loom_late_callbacks_do_not_overlap() {
    loom::model(|| {
        let (promise, future) = empty();
        assert!(set(&promise, 1));
        let future = Arc::new(future);
        let inside = Arc::new(AtomicUsize::new(0));
        let calls = Arc::new(AtomicUsize::new(0));
        let add = move |future: &Ref, inside: &Arc<AtomicUsize>, calls: &Arc<AtomicUsize>| {
            let (inside, calls) = (inside.clone(), calls.clone());
            future.add_callback(Box::new(move |_| {
                assert_eq!(inside.fetch_add(1, Ordering::AcqRel), 0);
                calls.fetch_add(1, Ordering::Relaxed);
                inside.fetch_sub(1, Ordering::AcqRel);
            }));
        };
        let other = {
            let (future, inside, calls) = (future.clone(), inside.clone(), calls.clone());
            thread::spawn(move || add(&future, &inside, &calls))
        };
        add(&future, &inside, &calls);
        other.join().unwrap();
        assert!(future.wait_until(Until::Settled, None));
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn loom_completion_against_waiter_registration() {
    loom::model(|| {
        let (promise, future) = empty();
        let completer = thread::spawn(move || assert!(set(&promise, 3)));
        assert_eq!(*result(&future).unwrap(), 3);
        completer.join().unwrap();
    });
}

#[test]
fn loom_completion_against_two_waiters() {
    loom::model(|| {
        let (promise, future) = empty();
        let future = Arc::new(future);
        let other = {
            let future = future.clone();
            thread::spawn(move || assert!(future.wait_until(Until::Done, None)))
        };
        let completer = thread::spawn(move || assert!(set(&promise, 3)));
        assert!(future.wait_until(Until::Ready, None));
        completer.join().unwrap();
        other.join().unwrap();
    });
}

struct Flag(AtomicUsize);

impl StdWake for Flag {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

#[test]
fn loom_completion_against_waker_registration() {
    loom::model(|| {
        let (promise, future) = empty();
        let completer = thread::spawn(move || assert!(set(&promise, 3)));
        let flag = std::sync::Arc::new(Flag(AtomicUsize::new(0)));
        let waker = Waker::from(flag.clone());
        let polled = future.poll_until(Until::Settled, 0, &mut Context::from_waker(&waker));
        completer.join().unwrap();
        // Pending means that the waker was, or will have been, called.
        if polled == Poll::Pending {
            assert_eq!(flag.0.load(Ordering::Acquire), 1);
        }
        assert_eq!(*result(&future).unwrap(), 3);
    });
}

#[test]
fn loom_completion_against_completion_set() {
    loom::model(|| {
        let (promise, future) = empty();
        let set_of_one = CompletionSet::new();
        let completer = thread::spawn(move || assert!(set(&promise, 3)));
        if !future.join_set(&set_of_one, 5) {
            assert_eq!(set_of_one.next(None), Some(5));
        }
        assert!(future.is_done());
        completer.join().unwrap();
    });
}

#[test]
fn loom_the_taker_frees_or_the_runner_does() {
    loom::model(|| {
        let (task, future, runs, drops) = seven();
        let runner = thread::spawn(move || assert!(task.run_and_release()));
        if future.is_done() {
            assert_eq!(*result(&future).unwrap(), 7);
        }
        drop(future);
        runner.join().unwrap();
        assert_eq!((runs.load(Ordering::Relaxed), drops.load(Ordering::Relaxed)), (1, 1));
    });
}

#[test]
fn loom_two_completers_one_wins() {
    loom::model(|| {
        let (promise, future) = empty();
        let promise = Arc::new(promise);
        let other = {
            let promise = promise.clone();
            thread::spawn(move || set(&promise, 1))
        };
        let mine = set(&promise, 2);
        let theirs = other.join().unwrap();
        assert_ne!(mine, theirs);
        assert_eq!(*result(&future).unwrap(), if mine { 2 } else { 1 });
    });
}

#[test]
fn loom_timeout_against_the_runner() {
    loom::model(|| {
        let (task, future, runs, drops) = seven();
        let late = future.clone();
        let timer = thread::spawn(move || {
            let why = crate::TaskError::new(TaskErrorKind::TimedOut(std::time::Duration::ZERO));
            late.fail(why, true, Place::Here).is_ok()
        });
        task.run();
        let timed_out = timer.join().unwrap();
        assert_eq!(result(&future).is_err(), timed_out);
        assert_eq!(drops.load(Ordering::Relaxed), 1);
        assert!(runs.load(Ordering::Relaxed) == 1 || timed_out);
    });
}

#[test]
fn loom_encoding_against_cancel() {
    loom::model(|| {
        let (task, future, runs, drops) = seven();
        let executor = thread::spawn(move || {
            // This work cannot be encoded; what counts is who drops it.
            let _ = task.encode();
            task.release_work();
        });
        future.cancel(Place::Here);
        executor.join().unwrap();
        assert!(future.is_done());
        assert_eq!((runs.load(Ordering::Relaxed), drops.load(Ordering::Relaxed)), (0, 1));
    });
}

#[test]
fn loom_sending_against_cancel() {
    loom::model(|| {
        let (task, future, runs, drops) = seven();
        let executor = thread::spawn(move || {
            // As above: it is refused, and the work ends here or where it is cancelled.
            let _ = task.send(None, &mut Vec::new());
        });
        future.cancel(Place::Here);
        executor.join().unwrap();
        assert!(future.is_done());
        assert_eq!((runs.load(Ordering::Relaxed), drops.load(Ordering::Relaxed)), (0, 1));
    });
}

/// Work whose outcome comes as bytes; counts how often it is decoded.
struct Remote;

impl Work for Remote {
    type Out = Box<u32>;

    fn run(self, _cell: &Ref) -> Result<Box<u32>, TaskErrorKind> {
        Ok(Box::new(0))
    }

    fn decode(reply: Reply) -> Result<Box<u32>, TaskErrorKind> {
        Ok(Box::new(u32::from(reply.bytes[0])))
    }
}

fn reply(byte: u8) -> Reply {
    Reply { status: Status::Value, bytes: vec![byte].into(), parts: vec![], again: false, handles: None }
}

#[test]
fn loom_bytes_are_decoded_by_one_of_two_waiters() {
    // Three threads with many steps: with three preemptions it takes many minutes.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.map(|most| most.min(2));
    model.check(|| {
        let (task, future) = Ref::of_work(Remote, None);
        task.release_work();
        // Who makes the extras is seen elsewhere (`loom_completion_against_two_waiters`); here it would only take long.
        future.extras_or_new();
        let future = Arc::new(future);
        let other = {
            let future = future.clone();
            thread::spawn(move || assert!(future.wait_until(Until::Ready, None)))
        };
        let completer = thread::spawn(move || task.complete(reply(9)));
        assert!(future.wait_until(Until::Ready, None));
        other.join().unwrap();
        completer.join().unwrap();
        assert_eq!(*result(&future).unwrap(), 9);
    });
}

#[test]
fn loom_late_callback_against_the_decoding_waiter() {
    loom::model(|| {
        let (task, future) = Ref::of_work(Remote, None);
        task.complete(reply(9));
        let future = Arc::new(future);
        let calls = Arc::new(AtomicUsize::new(0));
        let waiter = {
            let future = future.clone();
            thread::spawn(move || assert!(future.wait_until(Until::Ready, None)))
        };
        // Found as bytes, being decoded, or decoded: in each case the callback runs once. (What is registered before the
        // bytes arrive goes to the callback service, whose threads loom does not know.)
        let count = calls.clone();
        if future.state() & super::state::READY != 0 {
            future.add_callback(Box::new(move |_| {
                count.fetch_add(1, Ordering::Relaxed);
            }));
            assert_eq!(*result(&future).unwrap(), 9);
            assert_eq!(calls.load(Ordering::Relaxed), 1);
        }
        waiter.join().unwrap();
    });
}

#[test]
fn loom_cancel_against_a_remote_start() {
    loom::model(|| {
        let (task, future) = Ref::of_work(Remote, None);
        let word = SlotWord::new();
        assert!(task.set_remote(Link::only(word.clone())));
        let worker = thread::spawn(move || {
            let started = word.start();
            if started {
                task.complete(reply(4));
            }
            started
        });
        let cancelled = future.cancel(Place::Here);
        let started = worker.join().unwrap();
        assert_ne!(cancelled, started);
        assert_eq!(result(&future).is_ok(), started);
    });
}

/// The slot word of a worker: 0 queued, 1 started, 2 revoked; and how often it was told to stop.
struct SlotWord(AtomicUsize, std::sync::atomic::AtomicUsize);

impl SlotWord {
    fn new() -> std::sync::Arc<Self> {
        std::sync::Arc::new(SlotWord(AtomicUsize::new(0), 0.into()))
    }

    fn start(&self) -> bool {
        self.0.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl crate::task::Remote for SlotWord {
    fn try_revoke(&self, _mark: u64) -> bool {
        self.0.compare_exchange(0, 2, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn started(&self, _mark: u64) -> bool {
        self.0.load(Ordering::Acquire) == 1
    }

    fn stop(&self, _mark: u64, _why: crate::task::Stop, _attempt: u32) {
        self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn loom_abort_against_an_answer() {
    loom::model(|| {
        let (task, future) = Ref::of_work(Remote, None);
        let word = SlotWord::new();
        assert!(task.set_remote(Link::only(word.clone())));
        let worker = {
            let word = word.clone();
            thread::spawn(move || {
                let started = word.start();
                if started {
                    task.complete(reply(4));
                }
                started
            })
        };
        let aborted = future.abort(Place::Here);
        let started = worker.join().unwrap();
        // What never started is cancelled; what started is aborted, and told so once, or has its value.
        let stops = word.1.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(stops, usize::from(started && aborted));
        match result(&future) {
            Ok(value) => assert!(*value == 4 && started && !aborted),
            Err(error) => assert!(aborted && error.is_aborted() == started && error.is_cancelled() != started),
        }
    });
}

#[test]
fn loom_abort_against_a_runner() {
    loom::model(|| {
        let (task, future, runs, drops) = seven();
        let runner = thread::spawn(move || task.run());
        let aborted = future.abort(Place::Here);
        let ran = runner.join().unwrap();
        assert_eq!(runs.load(Ordering::Relaxed), usize::from(ran));
        assert_eq!(drops.load(Ordering::Relaxed), 1);
        match result(&future) {
            Ok(_) => assert!(ran && !aborted),
            Err(error) => assert!(aborted && error.is_aborted() == ran),
        }
    });
}

#[test]
fn loom_cancel_against_sending_away() {
    loom::model(|| {
        let (task, future) = Ref::of_work(Remote, None);
        let sender = thread::spawn(move || {
            let word = SlotWord::new();
            let started = task.set_remote(Link::only(word.clone())) && word.start();
            if started {
                task.complete(reply(4));
            }
            started
        });
        let cancelled = future.cancel(Place::Here);
        let started = sender.join().unwrap();
        assert_ne!(cancelled, started);
        assert_eq!(result(&future).is_ok(), started);
    });
}

/// The slot words of two workers, by marks.
struct SlotWords([std::sync::Arc<SlotWord>; 2]);

impl crate::task::Remote for SlotWords {
    fn try_revoke(&self, mark: u64) -> bool {
        let word = &self.0[mark as usize];
        crate::task::Remote::try_revoke(&**word, 0) || word.0.load(Ordering::Acquire) == 2
    }

    fn started(&self, mark: u64) -> bool {
        crate::task::Remote::started(&*self.0[mark as usize], 0)
    }
}

#[test]
fn loom_cancel_against_sending_elsewhere() {
    loom::model(|| {
        let (task, future) = Ref::of_work(Remote, None);
        let words = std::sync::Arc::new(SlotWords([SlotWord::new(), SlotWord::new()]));
        assert!(task.set_remote(Link::new(words.clone(), 0)));
        let pool = thread::spawn(move || {
            // Taken back from the one who has not started it, and sent to another.
            let [first, second] = &words.0;
            if !crate::task::Remote::try_revoke(&**first, 0) {
                return false;
            }
            task.clear_remote();
            let started = task.set_remote(Link::new(words.clone(), 1)) && second.start();
            if started {
                task.complete(reply(4));
            }
            started
        });
        let cancelled = future.cancel(Place::Here);
        let started = pool.join().unwrap();
        assert_ne!(cancelled, started);
        assert_eq!(result(&future).is_ok(), started);
    });
}

/// Where a thread may sleep, as at a worker's ring: whether one is asleep.
#[derive(Clone, Default)]
struct Berth(std::sync::Arc<(loom::sync::Mutex<bool>, loom::sync::Condvar)>);

impl crate::task::Remote for Berth {
    fn try_revoke(&self, _mark: u64) -> bool {
        false
    }

    fn started(&self, _mark: u64) -> bool {
        true
    }

    fn collector(&self) -> Option<std::sync::Arc<dyn crate::task::Collector>> {
        Some(std::sync::Arc::new(self.clone()))
    }
}

impl crate::task::Collector for Berth {
    fn collect(&self) {}

    fn leave(&self) {}

    fn claim(&self) -> bool {
        true
    }

    fn sleep(&self, _deadline: Option<std::time::Instant>, wanted: &dyn Fn() -> bool) {
        *self.0.0.lock().unwrap() = true;
        if wanted() {
            let mut asleep = self.0.0.lock().unwrap();
            while *asleep {
                asleep = self.0.1.wait(asleep).unwrap();
            }
        }
    }

    fn wake(&self) {
        *self.0.0.lock().unwrap() = false;
        self.0.1.notify_all();
    }
}

#[test]
fn loom_a_thread_that_sleeps_where_its_answer_arrives_is_woken() {
    loom::model(|| {
        let (task, future) = Ref::of_work(Remote, None);
        assert!(task.set_remote(Link::only(std::sync::Arc::new(Berth::default()))));
        let completer = thread::spawn(move || task.complete(reply(9)));
        assert!(future.wait_until(Until::Ready, None));
        completer.join().unwrap();
        assert_eq!(*result(&future).unwrap(), 9);
    });
}

#[test]
fn loom_who_is_told_of_a_cancellation_sees_it() {
    loom::model(|| {
        let (promise, future) = empty();
        let future = Arc::new(future);
        let other = {
            let future = future.clone();
            thread::spawn(move || assert!(future.cancel(Place::Here) && future.is_cancelled() && future.is_done()))
        };
        assert!(future.cancel(Place::Here) && future.is_cancelled() && future.is_done());
        assert!(!promise.claim() && promise.is_cancelled());
        other.join().unwrap();
    });
}

#[test]
fn loom_either_side_may_be_dropped_first() {
    loom::model(|| {
        let (task, future, _, drops) = seven();
        let runner = thread::spawn(move || {
            task.run_and_release();
        });
        drop(future);
        runner.join().unwrap();
        assert_eq!(drops.load(Ordering::Relaxed), 1);

        let (promise, future) = empty();
        let completer = thread::spawn(move || {
            set(&promise, 1);
        });
        drop(future);
        completer.join().unwrap();
    });
}
