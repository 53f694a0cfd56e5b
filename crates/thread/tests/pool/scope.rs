//! Tasks that borrow.

use crate::gate::{FOR_EVER, Gate, in_time};
use concurrent_futures_core::{Executor, ExecutorExt, Refusal, ReturnWhen, Shutdown, as_completed, wait};
use concurrent_futures_thread::ThreadPoolExecutor;
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

fn pool(workers: usize) -> ThreadPoolExecutor {
    ThreadPoolExecutor::new(workers).unwrap()
}

#[test]
fn tasks_borrow_shared_and_exclusively() {
    let pool = pool(2);
    let text = String::from("shared");
    let (mut a, mut b) = (vec![3, 1, 2], 0);
    let length = pool.borrow_scope(|scope| {
        scope.spawn(|| a.sort());
        scope.spawn(|| b = text.len());
        scope.spawn(|| text.len()).result().unwrap()
    });
    assert_eq!((a, b, length), (vec![1, 2, 3], 6, 6));
}

#[test]
fn results_may_borrow() {
    let pool = pool(2);
    let text = String::from("one two");
    let words = pool.borrow_scope(|scope| scope.spawn(|| text.split(' ').collect::<Vec<_>>()).result().unwrap());
    assert_eq!(words, ["one", "two"]);
}

#[test]
fn the_end_waits_for_tasks_that_nobody_waited_for() {
    let pool = pool(3);
    let count = AtomicUsize::new(0);
    for round in 1..=50 {
        pool.borrow_scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| count.fetch_add(1, Ordering::Relaxed));
            }
        });
        assert_eq!(count.load(Ordering::Relaxed), round * 20);
    }
}

#[test]
fn tasks_may_start_tasks() {
    let pool = pool(2);
    let count = AtomicUsize::new(0);
    pool.borrow_scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                for _ in 0..10 {
                    scope.spawn(|| count.fetch_add(1, Ordering::Relaxed));
                }
            });
        }
    });
    assert_eq!(count.into_inner(), 100);
}

#[test]
fn scopes_nest() {
    let pool = pool(2);
    let numbers = [1, 2, 3];
    let sum = pool.borrow_scope(|outer| {
        let doubled: Vec<_> = numbers.iter().map(|x| outer.spawn(move || x * 2)).collect();
        let inner: i32 = pool.borrow_scope(|inner| {
            let futures: Vec<_> =
                doubled.into_iter().map(|x| inner.spawn(|| x.result().unwrap() + numbers[0])).collect();
            futures.into_iter().map(|x| x.result().unwrap()).sum()
        });
        inner
    });
    assert_eq!(sum, 15);
}

#[test]
fn a_handle_may_move_into_another_task() {
    in_time(|| {
        for workers in [1, 2] {
            let pool = pool(workers);
            let base = Cell::new(3);
            let base = base.get();
            let total = pool.borrow_scope(|scope| {
                let first = scope.spawn(|| base);
                let second = scope.spawn(move || first.result().unwrap() + base);
                scope.spawn(move || second.result().unwrap() + base).result().unwrap()
            });
            assert_eq!(total, 9);
        }
    });
}

#[test]
fn a_handle_may_be_the_result_of_a_task() {
    let pool = pool(2);
    let value = pool.borrow_scope(|scope| scope.spawn(|| scope.spawn(|| 5)).result().unwrap().result().unwrap());
    assert_eq!(value, 5);
}

#[test]
fn handles_go_into_wait_and_as_completed_with_their_keys() {
    let pool = pool(2);
    let words = [String::from("a"), String::from("bcd")];
    pool.borrow_scope(|scope| {
        let mut seen: Vec<_> = as_completed(words.iter().map(|word| (word, scope.spawn(|| word.len()))))
            .map(|(word, length)| (word.as_str(), length.result().unwrap()))
            .collect();
        seen.sort();
        assert_eq!(seen, [("a", 1), ("bcd", 3)]);
        let futures: Vec<_> = words.iter().map(|word| scope.spawn(|| word.len())).collect();
        let (done, not_done) = wait(&futures, None, ReturnWhen::AllCompleted);
        assert_eq!((done.len(), not_done.len()), (2, 0));
    });
}

#[test]
fn a_panic_ends_a_wait_for_the_first_exception() {
    let pool = pool(2);
    let gate = Gate::new();
    pool.borrow_scope(|scope| {
        let futures = [scope.spawn(|| gate.pass()), scope.spawn(|| panic!("no"))];
        let (mut done, not_done) = wait(futures, FOR_EVER, ReturnWhen::FirstException);
        assert_eq!((done.len(), not_done.len()), (1, 1));
        assert!(done.pop().unwrap().result().unwrap_err().is_panic());
        gate.open();
    });
}

#[test]
fn what_a_handle_tells() {
    let pool = pool(1);
    let gate = Gate::new();
    pool.borrow_scope(|scope| {
        let running = scope.spawn(|| gate.pass());
        gate.wait_for(1);
        let queued = scope.spawn(|| unreachable!());
        assert!(running.running() && !running.done() && !running.cancel());
        assert!(!queued.running() && !queued.done() && !queued.cancelled());
        assert!(queued.cancel() && queued.cancelled() && queued.done());
        assert!(format!("{queued:?}").contains("cancelled"));
        assert!(!running.wait_timeout(std::time::Duration::ZERO));
        let result: Result<(), _> = queued.result();
        assert!(result.unwrap_err().is_cancelled());
        gate.open();
        running.wait();
        assert!(running.done());
    });
}

#[test]
fn map_borrows_its_function_its_items_and_its_results() {
    let pool = pool(2);
    let text = String::from("one two three");
    let sizes = Mutex::new(vec![]);
    let words: Vec<&str> = pool.borrow_scope(|scope| {
        let upper = scope.map(
            |word: &str| {
                sizes.lock().unwrap().push(word.len());
                &text[..word.len()]
            },
            text.split(' '),
        );
        upper.map(Result::unwrap).collect()
    });
    assert_eq!(words, ["one", "one", "one t"]);
    let mut sizes = sizes.into_inner().unwrap();
    sizes.sort();
    assert_eq!(sizes, [3, 3, 5]);
}

#[test]
fn map_keeps_the_order_and_one_result_each() {
    let pool = pool(3);
    let limit = 500;
    pool.borrow_scope(|scope| {
        let results: Vec<_> = scope.map(|x: u32| if x == limit { panic!("{x}") } else { x * 2 }, 0..10_000).collect();
        assert_eq!(results.len(), 10_000);
        for (x, result) in (0..).zip(results) {
            match result {
                Ok(doubled) => assert_eq!(doubled, x * 2),
                Err(error) => assert_eq!((x, error.panic().unwrap().message()), (limit, "500")),
            }
        }
    });
}

#[test]
fn a_map_that_is_dropped_cancels_what_has_not_started() {
    let pool = pool(1);
    let (gate, ran) = (Gate::new(), AtomicUsize::new(0));
    pool.borrow_scope(|scope| {
        scope.spawn(|| gate.pass());
        gate.wait_for(1);
        drop(scope.map(|_: u32| ran.fetch_add(1, Ordering::Relaxed), 0..100));
        gate.open();
    });
    assert_eq!(ran.into_inner(), 0);
}

#[test]
fn a_scope_in_a_task_of_the_same_pool() {
    for workers in [1, 2, 4] {
        let sum = in_time(move || {
            let pool = Arc::new(pool(workers));
            let tasks: Vec<_> = (0..8_u64)
                .map(|i| {
                    let inner = pool.clone();
                    pool.spawn(move || {
                        let numbers: Vec<u64> = (0..10).map(|x| x + i).collect();
                        let total = AtomicUsize::new(0);
                        inner.borrow_scope(|scope| {
                            for n in &numbers {
                                scope.spawn(|| total.fetch_add(*n as usize, Ordering::Relaxed));
                            }
                        });
                        total.into_inner()
                    })
                })
                .collect();
            tasks.into_iter().map(|task| task.result().unwrap()).sum::<usize>()
        });
        assert_eq!(sum, 8 * 45 + 10 * 28);
    }
}

#[test]
fn scopes_in_scopes_in_tasks_as_deep_as_they_like() {
    fn sum(pool: &ThreadPoolExecutor, numbers: &[u64]) -> u64 {
        if numbers.len() < 4 {
            return numbers.iter().sum();
        }
        let (left, right) = numbers.split_at(numbers.len() / 2);
        pool.borrow_scope(|scope| {
            let left = scope.spawn(|| sum(pool, left));
            let right = sum(pool, right);
            left.result().unwrap() + right
        })
    }
    for workers in [1, 3] {
        let total = in_time(move || sum(&pool(workers), &(0..2_000).collect::<Vec<_>>()));
        assert_eq!(total, 1_999_000);
    }
}

#[test]
fn a_pool_that_was_shut_down_refuses() {
    let pool = pool(1);
    let borrowed = 3;
    pool.borrow_scope(|scope| {
        assert_eq!(scope.spawn(|| borrowed).result().unwrap(), 3);
        pool.shutdown(Shutdown::NO_WAIT);
        let refused = scope.spawn(|| borrowed).result().unwrap_err();
        assert_eq!(refused.refusal(), Some(&Refusal::ShutDown));
        let mut map = scope.map(|x: u8| x + borrowed, 0..3);
        assert_eq!(map.len(), 3);
        assert!(map.all(|result| result.unwrap_err().is_refused()));
    });
}

#[test]
fn the_end_of_the_pool_cancels_tasks_of_scopes_too() {
    let pool = pool(1);
    let (gate, borrowed) = (Gate::new(), 3);
    pool.borrow_scope(|scope| {
        scope.spawn(|| gate.pass());
        gate.wait_for(1);
        let queued: Vec<_> = (0..5).map(|_| scope.spawn(|| borrowed)).collect();
        pool.handle().shutdown(Shutdown::NO_WAIT.cancel_futures());
        assert!(queued.iter().all(|future| future.cancelled()));
        gate.open();
    });
    assert_eq!(pool.submit(|x: u8| x, 1).result().unwrap_err().refusal(), Some(&Refusal::ShutDown));
}

#[test]
fn a_bounded_queue_holds_back_a_scope_but_not_its_own_workers() {
    in_time(|| {
        let pool = ThreadPoolExecutor::builder().max_workers(2).queue_bound(1).build().unwrap();
        let count = AtomicUsize::new(0);
        pool.borrow_scope(|scope| {
            for _ in 0..50 {
                scope.spawn(|| scope.spawn(|| count.fetch_add(1, Ordering::Relaxed)));
            }
        });
        assert_eq!(count.into_inner(), 50);
    });
}
