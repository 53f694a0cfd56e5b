//! A task runs on another thread.

use concurrent_futures_thread::ThreadPoolExecutor;
use std::rc::Rc;

fn main() {
    let pool = ThreadPoolExecutor::new(1).unwrap();
    let rc = Rc::new(1);
    pool.spawn(move || *rc);
}
