//! The function of a borrowing `map` is called on several threads at once.

use concurrent_futures_thread::ThreadPoolExecutor;
use std::cell::Cell;

fn main() {
    let pool = ThreadPoolExecutor::new(2).unwrap();
    let sum = Cell::new(0);
    pool.borrow_scope(|scope| scope.map(|x: u32| sum.set(sum.get() + x), 0..10).count());
}
