//! No task can be started in a scope that has ended.

use concurrent_futures_thread::ThreadPoolExecutor;

fn main() {
    let pool = ThreadPoolExecutor::new(1).unwrap();
    let mut kept = None;
    pool.borrow_scope(|scope| kept = Some(scope));
    kept.unwrap().spawn(|| 1);
}
