//! Nothing that a task of a scope borrows ends before the task does: not when the closure panics, not when tasks are
//! cancelled, not when handles are leaked; and a panic that nobody asked for resurfaces.

use crate::gate::{Gate, in_time};
use concurrent_futures_core::Executor;
use concurrent_futures_thread::ThreadPoolExecutor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// What tasks borrow; they panic when they find it gone.
struct Borrowed {
    alive: AtomicBool,
    uses: AtomicUsize,
}

impl Borrowed {
    fn new() -> Self {
        Borrowed { alive: AtomicBool::new(true), uses: AtomicUsize::new(0) }
    }

    fn use_it(&self) {
        assert!(self.alive.load(Ordering::SeqCst), "used after its end");
        self.uses.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        self.alive.store(false, Ordering::SeqCst);
    }
}

/// A value whose destructor uses what it borrows.
struct Late<'a>(&'a Borrowed);

impl Drop for Late<'_> {
    fn drop(&mut self) {
        self.0.use_it();
    }
}

fn message(outcome: Result<(), Box<dyn std::any::Any + Send>>) -> String {
    *outcome.unwrap_err().downcast::<String>().unwrap()
}

#[test]
fn a_panic_of_the_closure_waits_for_all_tasks() {
    let pool = ThreadPoolExecutor::new(2).unwrap();
    let gate = Gate::new();
    let opener = {
        let gate = gate.clone();
        thread::spawn(move || {
            gate.wait_for(2);
            gate.open();
        })
    };
    let borrowed = Borrowed::new();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        pool.borrow_scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| {
                    gate.pass();
                    borrowed.use_it();
                });
            }
            if borrowed.alive.load(Ordering::SeqCst) {
                panic!("out of the closure");
            }
        });
    }));
    assert_eq!(*outcome.unwrap_err().downcast::<&str>().unwrap(), "out of the closure");
    assert_eq!(borrowed.uses.load(Ordering::SeqCst), 10);
    opener.join().unwrap();
}

#[test]
fn values_of_tasks_are_dropped_before_the_end() {
    let pool = ThreadPoolExecutor::new(2).unwrap();
    let borrowed = Borrowed::new();
    pool.borrow_scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| Late(&borrowed)); // nobody takes it
        }
    });
    assert_eq!(borrowed.uses.load(Ordering::SeqCst), 50);
}

#[test]
fn what_cancelled_tasks_hold_is_dropped_before_the_end() {
    let pool = ThreadPoolExecutor::new(1).unwrap();
    let (gate, borrowed) = (Gate::new(), Borrowed::new());
    pool.borrow_scope(|scope| {
        scope.spawn(|| gate.pass());
        gate.wait_for(1);
        for _ in 0..10 {
            let late = Late(&borrowed);
            assert!(scope.spawn(move || drop(late)).cancel());
        }
        assert_eq!(borrowed.uses.load(Ordering::SeqCst), 10);
        gate.open();
    });
    assert_eq!(pool.stats().queued, 0);
}

#[test]
fn leaked_handles_do_no_harm() {
    let pool = ThreadPoolExecutor::new(2).unwrap();
    let borrowed = Borrowed::new();
    pool.borrow_scope(|scope| {
        for _ in 0..20 {
            std::mem::forget(scope.spawn(|| borrowed.use_it()));
            std::mem::forget(scope.map(|_: u8| borrowed.use_it(), 0..3));
        }
    });
    assert_eq!(borrowed.uses.load(Ordering::SeqCst), 80);
}

#[test]
fn a_task_of_another_scope_that_waits_in_place_is_waited_for() {
    in_time(|| {
        for _ in 0..100 {
            let pool = Arc::new(ThreadPoolExecutor::new(2).unwrap());
            let inner = pool.clone();
            let total = pool.spawn(move || {
                let borrowed = Borrowed::new();
                inner.borrow_scope(|scope| {
                    let first = scope.spawn(|| borrowed.use_it());
                    // Runs `first` in place, while its permission is still in the queue.
                    scope.spawn(move || first.result().unwrap());
                });
                borrowed.uses.load(Ordering::SeqCst)
            });
            assert_eq!(total.result().unwrap(), 1);
        }
    });
}

#[test]
fn a_panic_that_nobody_asked_for_resurfaces() {
    let pool = ThreadPoolExecutor::new(2).unwrap();
    let text = message(catch_unwind(|| {
        pool.borrow_scope(|scope| {
            scope.spawn(|| panic!("nobody listens"));
        })
    }));
    assert!(text.contains("nobody listens") && text.contains("scope_end.rs"), "{text}");
    let text = message(catch_unwind(|| {
        pool.borrow_scope(|scope| {
            for _ in 0..3 {
                std::mem::forget(scope.spawn(|| panic!("nobody listens")));
            }
        })
    }));
    assert!(text.starts_with("3 tasks"), "{text}");
}

#[test]
fn a_panic_that_somebody_got_does_not() {
    let pool = ThreadPoolExecutor::new(2).unwrap();
    pool.borrow_scope(|scope| {
        let future = scope.spawn(|| panic!("I listen"));
        let result: Result<(), _> = future.result();
        assert_eq!(result.unwrap_err().panic().unwrap().message(), "I listen");
        let mut results = scope.map(|x: u8| assert!(x > 0), 0..3);
        assert!(results.next().unwrap().is_err());
    });
}

#[test]
fn the_panic_of_the_closure_comes_first() {
    let pool = ThreadPoolExecutor::new(2).unwrap();
    let outcome = catch_unwind(|| {
        pool.borrow_scope(|scope| {
            scope.spawn(|| panic!("of a task"));
            panic!("of the closure");
        })
    });
    let _: () = match outcome {
        Ok(never) => never,
        Err(payload) => assert_eq!(*payload.downcast::<&str>().unwrap(), "of the closure"),
    };
}

#[test]
fn a_map_whose_input_panics_ends_well() {
    let pool = ThreadPoolExecutor::new(1).unwrap();
    let borrowed = Borrowed::new();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        pool.borrow_scope(|scope| {
            let items = (0..100).inspect(|x| assert!(*x < 50, "no more"));
            scope.map(|_: u8| borrowed.use_it(), items).count()
        })
    }));
    assert!(outcome.is_err());
    assert!(borrowed.uses.load(Ordering::SeqCst) <= 50);
}
