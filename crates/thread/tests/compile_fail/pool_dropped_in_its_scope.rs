//! The pool outlives its scopes.

use concurrent_futures_thread::ThreadPoolExecutor;

fn main() {
    let pool = ThreadPoolExecutor::new(1).unwrap();
    pool.borrow_scope(|scope| {
        scope.spawn(|| 1);
        drop(pool);
    });
}
