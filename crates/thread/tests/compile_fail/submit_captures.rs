//! A task of `submit` is a plain function: what it needs is its argument, so that it runs on every executor.

use concurrent_futures_core::ExecutorExt;
use concurrent_futures_thread::ThreadPoolExecutor;

fn main() {
    let pool = ThreadPoolExecutor::new(1).unwrap();
    let factor = 3;
    pool.submit(move |x: u32| x * factor, 1);
}
