//! Queues: CPython's `_TestQueue` and `TestSimpleQueue`, what of them has a meaning here; and processes that are killed
//! at every instant of what they do with one.

use crate::process::end;
use concurrent_futures::multiprocessing::connection::wait;
use concurrent_futures::multiprocessing::{
    DoneError, GetError, JoinableQueue, Process, PutError, Queue, Receiver, Sender, SimpleQueue, one_way,
};
use concurrent_futures::{ExecutorExt, ProcessPoolExecutor};
use concurrent_futures_conformance::sweep::{Sweep, alone};
use concurrent_futures_conformance::{PATIENCE, Soon, until};
use std::cell::Cell;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(10);

#[test]
fn full_and_empty_between_processes() {
    fn takes((queue, go, done): (Queue<u32>, Receiver<()>, Sender<()>)) {
        go.recv().expect("a sign");
        for n in 1..=6 {
            assert_eq!(queue.get().expect("it is there"), n);
        }
        done.send(()).expect("somebody waits");
    }
    let queue = Queue::bounded(6).unwrap();
    let ((go, wait_for_it), (done, is_done)) = (one_way().unwrap(), one_way().unwrap());
    let process = Process::start(takes, (queue.clone(), wait_for_it, done)).unwrap();
    assert!(queue.is_empty() && !queue.is_full());
    queue.put(1).unwrap();
    queue.try_put(2).unwrap();
    queue.put_timeout(3, SHORT).unwrap();
    (4..=6).for_each(|n| queue.put(n).unwrap());
    assert!(queue.is_full() && queue.qsize() == 6);
    assert!(matches!(queue.try_put(7), Err(PutError::Full(7))));
    assert!(matches!(queue.put_timeout(7, SHORT), Err(PutError::TimedOut(7))));
    go.send(()).unwrap();
    is_done.recv_timeout(PATIENCE).unwrap();
    assert!(queue.is_empty());
    assert!(matches!(queue.try_get(), Err(GetError::Empty)));
    assert!(matches!(queue.get_timeout(SHORT), Err(GetError::TimedOut)));
    assert!(end(&process).success());
}

#[test]
fn what_was_put_before_and_after_comes_in_order() {
    fn goes_on(queue: Queue<u32>) {
        (10..20).for_each(|n| queue.put(n).expect("room"));
    }
    let queue = Queue::new().unwrap();
    (0..10).for_each(|n| queue.put(n).unwrap());
    let process = Process::start(goes_on, queue.clone()).unwrap();
    assert!(end(&process).success());
    // Its process is gone, and nothing of what it had put.
    assert_eq!(queue.qsize(), 20);
    for n in 0..20 {
        assert_eq!(queue.try_get().unwrap(), n);
    }
}

#[test]
fn many_processes_put_and_many_get() {
    fn puts((queue, from): (Queue<u64>, u64)) {
        (from..from + 2000).for_each(|n| queue.put(n).expect("room"));
    }
    fn gets(queue: Queue<u64>) -> u64 {
        queue.iter().map(|item| item.expect("a number")).sum()
    }
    let ex = ProcessPoolExecutor::new(6).unwrap();
    for queue in [Queue::new().unwrap(), Queue::bounded(3).unwrap()] {
        let getters: Vec<_> = (0..3).map(|_| ex.submit(gets, queue.clone())).collect();
        let putters: Vec<_> = (0..3).map(|n| ex.submit(puts, (queue.clone(), 2000 * n))).collect();
        putters.into_iter().for_each(|putter| putter.soon().unwrap());
        queue.close().unwrap();
        assert_eq!(getters.into_iter().map(|getter| getter.soon().unwrap()).sum::<u64>(), 6000 * 5999 / 2);
        assert!(queue.is_empty());
    }
}

#[test]
fn task_done_and_join() {
    fn works(queue: JoinableQueue<u32>) {
        for item in &*queue {
            item.expect("a number");
            std::thread::yield_now();
            queue.task_done().expect("one was got");
        }
    }
    let queue = JoinableQueue::new().unwrap();
    let workers: Vec<_> = (0..4).map(|_| Process::start(works, queue.clone()).unwrap()).collect();
    (0..100).for_each(|n| queue.put(n).unwrap());
    assert!(queue.join_timeout(PATIENCE).unwrap());
    queue.close().unwrap();
    workers.iter().for_each(|worker| assert!(end(worker).success()));
    assert!(matches!(queue.task_done(), Err(DoneError::TooMany)));
}

#[test]
fn closed_for_all() {
    let queue = Queue::<u32>::new().unwrap();
    fn waits(queue: Queue<u32>) {
        assert!(matches!(queue.get(), Err(GetError::Closed)));
        assert!(matches!(queue.put(1), Err(PutError::Closed(1))));
        assert!(queue.is_closed() && queue.is_empty());
        queue.close().expect("once more");
    }
    let processes: Vec<_> = (0..3).map(|_| Process::start(waits, queue.clone()).unwrap()).collect();
    queue.close().unwrap();
    processes.iter().for_each(|process| assert!(end(process).success()));
}

#[test]
fn a_simple_queue() {
    fn answers((questions, answers): (SimpleQueue<u32>, SimpleQueue<(bool, u32)>)) {
        let was_empty = questions.is_empty();
        answers.put((was_empty, questions.get().expect("a question") + 1)).expect("room");
    }
    let (questions, hear) = (SimpleQueue::new().unwrap(), SimpleQueue::new().unwrap());
    assert!(questions.is_empty());
    questions.put(41).unwrap();
    let process = Process::start(answers, (questions.clone(), hear.clone())).unwrap();
    assert_eq!(hear.get().unwrap(), (false, 42));
    assert!(end(&process).success());
    questions.close().unwrap();
    questions.close().unwrap();
    assert!(questions.is_empty());
}

#[test]
fn a_queue_in_a_queue_is_refused_in_words() {
    let queue = Queue::new().unwrap();
    let words = queue.put(Queue::<u32>::new().unwrap()).unwrap_err().to_string();
    assert!(words.contains("a Queue: it can only travel"), "{words}");
}

#[test]
fn queues_are_waited_for_with_processes() {
    fn puts_and_stays(queue: Queue<u32>) {
        queue.put(1).expect("room");
        crate::process::sleeps(());
    }
    let queue = Queue::new().unwrap();
    let process = Process::start(puts_and_stays, queue.clone()).unwrap();
    assert_eq!(wait(&[&process, &queue], Some(PATIENCE)).unwrap(), [1]);
    assert_eq!(queue.try_get().unwrap(), 1);
    assert_eq!(wait(&[&process, &queue], Some(SHORT)).unwrap(), []);
    process.kill().unwrap();
    assert_eq!(wait(&[&process, &queue], Some(PATIENCE)).unwrap(), [0]);
    end(&process);
}

/// Killed while it waits: Python's queue keeps its lock for ever then.
#[test]
fn a_getter_that_is_killed_keeps_nothing_from_others() {
    fn gets(queue: Queue<u32>) {
        let _ = queue.get();
    }
    let queue = Queue::new().unwrap();
    for n in 0..10 {
        let process = Process::start(gets, queue.clone()).unwrap();
        let second = Process::start(gets, queue.clone()).unwrap();
        process.kill().unwrap();
        end(&process);
        queue.put(n).unwrap();
        assert!(end(&second).success());
        assert!(queue.is_empty());
    }
}

/// It waits first, and would be woken.
#[test]
fn a_getter_that_is_stopped_keeps_nothing_from_others() {
    fn gets((queue, about_to): (Queue<u32>, Sender<()>)) {
        about_to.send(()).expect("somebody waits");
        assert_eq!(queue.get().expect("it is open"), 1);
    }
    let queue = Queue::new().unwrap();
    let asleep = || {
        let (about_to, is_about_to) = one_way().unwrap();
        let process = Process::start(gets, (queue.clone(), about_to)).unwrap();
        is_about_to.recv_timeout(PATIENCE).unwrap();
        // There is nothing else that it would sleep for.
        let stat = format!("/proc/{}/stat", process.pid());
        until("it sleeps", || std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") S ")));
        process
    };
    let stopped = asleep();
    // SAFETY: our own child, which nobody has waited for.
    assert_eq!(unsafe { libc::kill(stopped.pid() as i32, libc::SIGSTOP) }, 0);
    let other = asleep();
    queue.put(1).unwrap();
    assert!(end(&other).success());
    stopped.kill().unwrap();
    end(&stopped);
}

/// Takes items when it is told to, and says what it got.
fn gets_when_told((queue, told, got): (Queue<u32>, Receiver<()>, Sender<u32>)) {
    while told.recv().is_ok() {
        got.send(queue.get().expect("it is open")).expect("somebody wants it");
    }
}

/// After each kill the queue takes another item, and gives it, at most behind the one of the dead.
fn putter_killed_at_every_instant(queue: Queue<u32>) -> (u64, u64) {
    let (tell, told) = one_way().expect("a pipe");
    let (got, hear) = one_way().expect("a pipe");
    let getter = Process::start(gets_when_told, (queue.clone(), told, got)).expect("a process");
    let there = Cell::new(0);
    // The first item of a round finds a getter that sleeps, or is about to.
    tell.send(()).expect("it is there");
    let swept = Sweep::every(29).run(
        || queue.put(1).expect("it is open"),
        |_| {
            // If it is there, who sleeps has been woken.
            until("the item is taken", || queue.is_empty());
            queue.put_timeout(2, PATIENCE).expect("the queue is usable");
            match hear.recv_timeout(PATIENCE).expect("who sleeps has been woken") {
                1 => {
                    there.set(there.get() + 1);
                    assert_eq!(queue.get_timeout(PATIENCE).expect("the second one"), 2);
                }
                item => assert_eq!(item, 2),
            }
            assert!(queue.is_empty());
            tell.send(()).expect("it is there");
        },
    );
    getter.kill().expect("it is ours");
    getter.join().expect("it is ours");
    (swept.kills, there.get())
}

#[test]
fn sweep_of_a_put() {
    let (kills, there) = alone(putter_killed_at_every_instant, Queue::new().unwrap());
    assert!(0 < there && there < kills, "{there} of {kills}");
}

/// The item is still there, or went with the dead.
fn getter_killed_at_every_instant(queue: Queue<u32>) -> (u64, u64) {
    let lost = Cell::new(0);
    queue.put(1).expect("it is open");
    let swept = Sweep::every(19).run(
        || assert_eq!(queue.get().expect("it is there"), 1),
        |_| {
            queue.put_timeout(2, PATIENCE).expect("the queue is usable");
            match queue.get_timeout(PATIENCE).expect("an item") {
                1 => assert_eq!(queue.get_timeout(PATIENCE).expect("another one"), 2),
                item => {
                    assert_eq!(item, 2);
                    lost.set(lost.get() + 1);
                }
            }
            assert!(queue.is_empty());
            queue.put(1).expect("it is open");
        },
    );
    (swept.kills, lost.get())
}

#[test]
fn sweep_of_a_get() {
    let (kills, lost) = alone(getter_killed_at_every_instant, Queue::new().unwrap());
    assert!(0 < lost && lost < kills, "{lost} of {kills}");
}

/// It sleeps, somebody else wants an item, too, one item comes, and it is killed at every instant from then on: the
/// other one gets the item, unless the dead had taken it.
fn woken_getter_killed(queue: Queue<u32>) -> (u64, u64) {
    let (tell, told) = one_way().expect("a pipe");
    let (got, hear) = one_way().expect("a pipe");
    let other = Process::start(gets_when_told, (queue.clone(), told, got)).expect("a process");
    let (slept, lost) = (Cell::new(0_u64), Cell::new(0));
    let asked = Cell::new(false);
    let swept = Sweep::every(709)
        .when_blocked(|| {
            if !asked.replace(true) {
                slept.set(slept.get() + 1);
                tell.send(()).expect("it is there");
            }
            queue.put(1).expect("it is open");
        })
        .run(
            || assert!(queue.get().expect("an item") > 0),
            |_| {
                if !asked.replace(false) {
                    tell.send(()).expect("it is there");
                }
                // The other one has an item, or there is none: without a further word.
                until("the item is taken", || queue.is_empty() || hear.poll(Duration::ZERO).expect("it is there"));
                queue.put(2).expect("it is open");
                if hear.recv_timeout(PATIENCE).expect("the other one gets an item") == 2 {
                    lost.set(lost.get() + 1);
                }
                while queue.try_get().is_ok() {}
            },
        );
    other.kill().expect("it is ours");
    other.join().expect("it is ours");
    assert!(swept.kills > 1);
    (slept.get(), lost.get())
}

#[test]
fn sweep_of_a_get_that_is_woken() {
    let (slept, lost) = alone(woken_getter_killed, Queue::new().unwrap());
    assert!(slept > 0 && lost > 0, "{slept} slept, {lost} items were lost with the dead");
}

/// The same for one that waits for room.
fn woken_putter_killed(queue: Queue<u32>) -> u64 {
    queue.put(0).expect("room");
    let slept = Cell::new(0_u64);
    Sweep::every(719)
        .when_blocked(|| {
            slept.set(slept.get() + 1);
            let _ = queue.get().expect("an item");
        })
        .run(
            || queue.put(1).expect("it is open"),
            |_| {
                while queue.try_get().is_ok() {}
                queue.put_timeout(0, PATIENCE).expect("the queue is usable");
                assert!(matches!(queue.try_put(9), Err(PutError::Full(9))));
            },
        );
    slept.get()
}

#[test]
fn sweep_of_a_put_that_waits_for_room() {
    assert!(alone(woken_putter_killed, Queue::bounded(1).unwrap()) > 0);
}

fn task_done_killed_at_every_instant(queue: JoinableQueue<u32>) -> (u64, u64) {
    let counted = Cell::new(0);
    let swept = Sweep::every(7).run(
        || queue.task_done().expect("one is unfinished"),
        |_| match queue.unfinished() {
            0 => {
                counted.set(counted.get() + 1);
                assert!(queue.join_timeout(PATIENCE).expect("it is usable"));
                queue.put(1).expect("it is open");
                queue.get().expect("it is there");
            }
            unfinished => assert_eq!(unfinished, 1),
        },
    );
    (swept.kills, counted.get())
}

#[test]
fn sweep_of_task_done() {
    let queue = JoinableQueue::new().unwrap();
    queue.put(1).unwrap();
    queue.get().unwrap();
    let (kills, counted) = alone(task_done_killed_at_every_instant, queue);
    assert!(0 < counted && counted < kills, "{counted} of {kills}");
}
