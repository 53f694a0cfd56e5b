//! Two tasks cannot both have it to themselves.

use concurrent_futures_thread::ThreadPoolExecutor;

fn main() {
    let pool = ThreadPoolExecutor::new(2).unwrap();
    let mut numbers = vec![1, 2, 3];
    pool.borrow_scope(|scope| {
        scope.spawn(|| numbers.push(4));
        scope.spawn(|| numbers.push(5));
    });
}
