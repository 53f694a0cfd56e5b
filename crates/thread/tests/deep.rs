//! A task that waits for a task that waits for a task, thousands deep, on one worker: they run in place, each inside the one
//! before, and yet must not fill the stack.

use concurrent_futures_core::{Executor, ExecutorExt, Handle};
use concurrent_futures_thread::ThreadPoolExecutor;
use std::sync::OnceLock;

const LEVELS: u32 = 5_000;

#[test]
fn result_as_deep_as_it_likes() {
    static POOL: OnceLock<Handle> = OnceLock::new();
    fn levels(left: u32) -> u32 {
        if left == 0 { 0 } else { POOL.get().unwrap().submit(levels, left - 1).result().unwrap() + 1 }
    }
    let pool = ThreadPoolExecutor::new(1).unwrap();
    POOL.get_or_init(|| pool.handle());
    assert_eq!(pool.submit(levels, LEVELS).result().unwrap(), LEVELS);
}

#[test]
fn a_panic_at_the_bottom_comes_all_the_way_up() {
    static POOL: OnceLock<Handle> = OnceLock::new();
    fn fall(left: u32) {
        assert_ne!(left, 0, "the bottom");
        let error = POOL.get().unwrap().submit(fall, left - 1).result().unwrap_err();
        panic!("{}", error.panic().unwrap().message());
    }
    let pool = ThreadPoolExecutor::new(1).unwrap();
    POOL.get_or_init(|| pool.handle());
    // Several times as deep as one stack goes.
    let error = pool.submit(fall, LEVELS / 10).result().unwrap_err();
    assert!(error.panic().unwrap().message().contains("the bottom"), "{error}");
}
