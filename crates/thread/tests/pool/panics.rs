//! A panic costs its task, not its worker.

use concurrent_futures_core::{Executor, ExecutorExt};
use concurrent_futures_thread::ThreadPoolExecutor;
use std::task::{Context, Wake, Waker};
use std::{future::Future, pin::pin, sync::Arc, thread};

#[test]
fn a_panic_comes_back_with_message_location_and_payload() {
    let pool = ThreadPoolExecutor::new(1).unwrap();
    let error = pool.submit(|x: u32| assert!(x > 3, "{x} is too small"), 2).result().unwrap_err();
    let panic = error.panic().unwrap();
    assert_eq!(panic.message(), "2 is too small");
    assert!(panic.location().unwrap().contains("panics.rs"));
    assert_eq!(*panic.take_payload().unwrap().downcast::<String>().unwrap(), "2 is too small");
}

#[test]
fn the_thread_lives_on() {
    let pool = ThreadPoolExecutor::new(1).unwrap();
    let before = pool.spawn(|| thread::current().id()).result().unwrap();
    for _ in 0..10 {
        assert!(pool.spawn(|| panic!("again")).result().unwrap_err().is_panic());
    }
    assert_eq!(pool.spawn(|| thread::current().id()).result().unwrap(), before);
    assert_eq!(pool.stats().workers, 1);
}

#[test]
fn so_it_does_after_a_callback_that_panics() {
    let pool = ThreadPoolExecutor::new(1).unwrap();
    let gate = crate::gate::Gate::new();
    let held = gate.clone();
    let future = pool.spawn(move || held.pass());
    future.add_done_callback(|_| panic!("in a callback"));
    gate.open();
    future.result().unwrap();
    assert_eq!(pool.submit(|x: u8| x, 1).result().unwrap(), 1);
}

#[test]
fn so_it_does_after_a_foreign_waker_that_panics() {
    struct Bad;
    impl Wake for Bad {
        fn wake(self: Arc<Self>) {
            panic!("in a waker");
        }
    }
    let pool = ThreadPoolExecutor::new(1).unwrap();
    let gate = crate::gate::Gate::new();
    let held = gate.clone();
    let mut future = pin!(pool.spawn(move || held.pass()));
    assert!(future.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::new(Bad)))).is_pending());
    gate.open();
    assert_eq!(pool.submit(|x: u8| x, 1).result().unwrap(), 1);
}
