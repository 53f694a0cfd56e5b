//! The result comes from another thread.

use concurrent_futures_thread::ThreadPoolExecutor;
use std::rc::Rc;

fn main() {
    let pool = ThreadPoolExecutor::new(1).unwrap();
    pool.borrow_scope(|scope| scope.spawn(|| Rc::new(1)).result().map(drop)).unwrap();
}
