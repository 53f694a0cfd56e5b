//! Pools that grow with the work, shrink without, and are given another size while they live.

use crate::gate::{Gate, in_time, until};
use concurrent_futures_core::{Executor, ExecutorExt, Shutdown};
use concurrent_futures_thread::{ThreadPoolBuilder, ThreadPoolExecutor};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

fn elastic(min: usize, max: usize, idle: Duration) -> ThreadPoolBuilder {
    ThreadPoolExecutor::builder().min_workers(min).max_workers(max).idle_timeout(idle)
}

/// Has `n` tasks run at once.
fn burst(pool: &ThreadPoolExecutor, n: usize) {
    let gate = Gate::new();
    let tasks: Vec<_> = (0..n)
        .map(|_| {
            let gate = gate.clone();
            pool.spawn(move || gate.pass())
        })
        .collect();
    gate.wait_for(n);
    gate.open();
    for task in tasks {
        task.result().unwrap();
    }
}

#[test]
fn those_to_keep_are_there_from_the_start() {
    let pool = ThreadPoolExecutor::builder().min_workers(3).max_workers(5).build().unwrap();
    assert_eq!(pool.stats().workers, 3);
    until(|| pool.stats().idle == 3);
    // Without a word of the largest number, there are as many at least.
    let pool = ThreadPoolExecutor::builder().min_workers(40).build().unwrap();
    assert_eq!((pool.num_workers(), pool.stats().workers), (40, 40));
}

#[test]
fn a_burst_is_followed_by_rest() {
    let pool = elastic(2, 6, Duration::from_millis(1)).build().unwrap();
    for _ in 0..5 {
        burst(&pool, 6);
        until(|| pool.stats().workers == 2);
        until(|| pool.stats().idle == 2);
        assert_eq!(pool.num_workers(), 6);
    }
    // Those that are kept do not end, however long nothing comes.
    thread::sleep(Duration::from_millis(20));
    assert_eq!(pool.stats().workers, 2);
}

#[test]
fn without_a_limit_idle_threads_stay() {
    let pool = ThreadPoolExecutor::new(4).unwrap();
    burst(&pool, 4);
    until(|| pool.stats().idle == 4);
    thread::sleep(Duration::from_millis(20));
    assert_eq!(pool.stats().workers, 4);
}

#[test]
fn a_limit_that_no_clock_can_tell_is_none() {
    let pool = elastic(0, 2, Duration::MAX).build().unwrap();
    burst(&pool, 2);
    until(|| pool.stats().idle == 2);
    assert_eq!(pool.submit(|x: u8| x, 1).result().unwrap(), 1);
    assert_eq!(pool.stats().workers, 2);
}

#[test]
fn the_end_of_an_idle_thread_loses_no_task() {
    in_time(|| {
        for min in 0..=1 {
            // They end as soon as they sleep, which is while the next task comes.
            let pool = elastic(min, 2, Duration::ZERO).build().unwrap();
            for i in 0..2_000_u32 {
                assert_eq!(pool.submit(|x: u32| x + 1, i).result().unwrap(), i + 1);
                if i % 8 == 0 {
                    until(|| pool.stats().workers == min);
                }
            }
        }
    });
}

#[test]
fn work_that_one_thread_can_do_keeps_one_thread() {
    // Who slept last is called first: the others have their rest, and end.
    let pool = elastic(0, 4, Duration::from_millis(100)).build().unwrap();
    burst(&pool, 4);
    until(|| {
        pool.submit(|x: u8| x, 1).wait();
        pool.stats().workers == 1
    });
}

#[test]
fn a_larger_pool_takes_up_what_is_queued() {
    let pool = ThreadPoolExecutor::new(1).unwrap();
    let gate = Gate::new();
    for _ in 0..4 {
        let gate = gate.clone();
        pool.spawn(move || gate.pass());
    }
    gate.wait_for(1);
    pool.resize(4).unwrap();
    gate.wait_for(4);
    assert_eq!((pool.num_workers(), pool.handle().num_workers(), pool.stats().workers), (4, 4, 4));
    gate.open();
}

#[test]
fn a_smaller_pool_finishes_what_runs_and_takes_less() {
    let pool = Arc::new(ThreadPoolExecutor::new(4).unwrap());
    let gate = Gate::new();
    let first: Vec<_> = (0..4)
        .map(|_| {
            let gate = gate.clone();
            pool.spawn(move || gate.pass())
        })
        .collect();
    gate.wait_for(4);
    pool.resize(1).unwrap();
    assert_eq!((pool.num_workers(), pool.stats().workers), (1, 4));
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let second: Vec<_> = (0..50)
        .map(|_| {
            let (now, most) = (now.clone(), most.clone());
            pool.spawn(move || {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::yield_now();
                now.fetch_sub(1, Ordering::SeqCst);
            })
        })
        .collect();
    gate.open();
    for task in first.into_iter().chain(second) {
        task.result().unwrap();
    }
    assert_eq!(most.load(Ordering::SeqCst), 1);
    until(|| pool.stats().workers == 1);
}

#[test]
fn idle_threads_end_when_the_pool_is_made_smaller() {
    let pool = ThreadPoolExecutor::builder().max_workers(6).min_workers(4).build().unwrap();
    burst(&pool, 6);
    until(|| pool.stats().idle == 6);
    pool.resize(2).unwrap();
    until(|| pool.stats().workers == 2);
    burst(&pool, 2);
    // Again as many are kept as were asked for, and started at once.
    pool.resize(5).unwrap();
    assert_eq!(pool.stats().workers, 4);
    burst(&pool, 5);
}

#[test]
fn sizes_that_make_no_sense_are_refused() {
    let pool = ThreadPoolExecutor::new(2).unwrap();
    assert!(pool.resize(0).unwrap_err().to_string().contains("max_workers"));
    assert_eq!(pool.num_workers(), 2);
    let error = ThreadPoolExecutor::builder().min_workers(3).max_workers(2).build().unwrap_err().to_string();
    assert!(error.contains("min_workers") && error.contains("3 > 2"), "{error}");
}

#[test]
fn nothing_is_lost_while_the_size_changes() {
    in_time(|| {
        let pool = elastic(1, 4, Duration::ZERO).build().unwrap();
        let done = AtomicBool::new(false);
        thread::scope(|s| {
            s.spawn(|| {
                for size in (1..=6).cycle() {
                    pool.resize(size).unwrap();
                    pool.warm_up().unwrap();
                    thread::yield_now();
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
            let submitters: Vec<_> = (0..2_u64)
                .map(|_| {
                    s.spawn(|| {
                        for i in 0..500 {
                            assert_eq!(pool.submit(|x: u64| x * x, i).result().unwrap(), i * i);
                        }
                        pool.map(|x: u64| x, 0..500).sum::<Result<u64, _>>().unwrap()
                    })
                })
                .collect();
            let sums: Vec<_> = submitters.into_iter().map(thread::ScopedJoinHandle::join).collect();
            done.store(true, Ordering::Relaxed);
            assert!(sums.into_iter().all(|sum| sum.unwrap() == 124_750));
        });
        pool.resize(1).unwrap();
        until(|| pool.stats().workers == 1);
    });
}

#[test]
fn waits_in_tasks_and_a_smaller_pool() {
    in_time(|| {
        let pool = Arc::new(elastic(0, 3, Duration::ZERO).build().unwrap());
        for round in 0..50 {
            pool.resize(1 + round % 3).unwrap();
            let outer: Vec<_> = (0..4_u32)
                .map(|x| {
                    let inner = Arc::clone(&pool);
                    pool.spawn(move || {
                        let others = inner.submit_all(|x: u32| x, 0..3);
                        x + others.into_iter().map(|other| other.result().unwrap()).sum::<u32>()
                    })
                })
                .collect();
            assert_eq!(outer.into_iter().map(|task| task.result().unwrap()).sum::<u32>(), 18);
        }
    });
}

#[test]
fn warm_up_waits_for_the_initializers() {
    static READY: AtomicUsize = AtomicUsize::new(0);
    fn slow(time: Duration) {
        thread::sleep(time);
        READY.fetch_add(1, Ordering::SeqCst);
    }
    let pool = ThreadPoolExecutor::builder().max_workers(3).initializer(slow, Duration::from_millis(20));
    let pool = pool.build().unwrap();
    assert_eq!(pool.stats().workers, 0);
    pool.warm_up().unwrap();
    assert_eq!((READY.load(Ordering::SeqCst), pool.stats().workers), (3, 3));
    // Again there is nothing to do.
    pool.warm_up().unwrap();
    assert_eq!(pool.stats().workers, 3);
}

#[test]
fn warm_up_of_what_is_over_says_so() {
    let pool = ThreadPoolExecutor::new(2).unwrap();
    pool.shutdown(Shutdown::WAIT);
    assert!(pool.warm_up().unwrap_err().to_string().contains("shut down"));
    // There is nobody left to call: the number alone changes.
    pool.resize(3).unwrap();
    assert_eq!(pool.stats().workers, 0);

    fn fails(why: String) -> Result<(), String> {
        Err(why)
    }
    let pool = ThreadPoolExecutor::builder().initializer(fails, "no licence".to_owned()).build().unwrap();
    assert!(pool.warm_up().unwrap_err().to_string().contains("no licence"));
}

#[test]
fn warm_up_in_a_task_of_the_same_pool_does_not_wait() {
    in_time(|| {
        let pool = Arc::new(ThreadPoolExecutor::new(2).unwrap());
        let inner = Arc::clone(&pool);
        pool.spawn(move || inner.warm_up()).result().unwrap().unwrap();
        assert_eq!(pool.stats().workers, 2);
    });
}

/// Waits at a gate when it is dropped, and lets go of the pool then.
struct LastOwner(Gate, Option<Arc<ThreadPoolExecutor>>);

impl Drop for LastOwner {
    fn drop(&mut self) {
        self.0.pass();
        drop(self.1.take());
    }
}

#[test]
fn a_thread_that_has_ended_and_owns_its_pool_is_no_obstacle() {
    thread_local! {
        static OWNER: std::cell::RefCell<Option<LastOwner>> = const { std::cell::RefCell::new(None) };
    }
    in_time(|| {
        let pool = Arc::new(elastic(0, 2, Duration::ZERO).build().unwrap());
        let (handle, at_end, busy) = (pool.handle(), Gate::new(), Gate::new());
        let owner = LastOwner(at_end.clone(), Some(Arc::clone(&pool)));
        pool.spawn(move || OWNER.set(Some(owner))).result().unwrap();
        at_end.wait_for(1);
        // One has ended, but for its thread-locals. The other one has to start a third, and meets what is left of the first.
        let (inner, at_work) = (handle.clone(), busy.clone());
        let task = pool.spawn(move || {
            at_work.pass();
            inner.submit(|x: u8| x, 1).result()
        });
        drop(pool);
        busy.wait_for(1);
        busy.open();
        until(|| handle.stats().workers == 2 || task.done());
        at_end.open();
        assert_eq!(task.result().unwrap().unwrap(), 1);
    });
}

#[test]
fn the_end_of_the_pool_meets_the_end_of_idle_threads() {
    in_time(|| {
        for round in 0..300_u32 {
            let pool = elastic(round as usize % 2, 3, Duration::ZERO).build().unwrap();
            let futures = pool.submit_all(|x: u32| x, 0..round % 5);
            pool.shutdown(if round % 3 == 0 { Shutdown::NO_WAIT } else { Shutdown::WAIT });
            for (future, x) in futures.into_iter().zip(0..) {
                assert_eq!(future.result().unwrap(), x);
            }
            until(|| pool.stats().workers == 0);
        }
    });
}
