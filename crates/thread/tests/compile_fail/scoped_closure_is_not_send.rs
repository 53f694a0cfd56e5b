//! A task runs on another thread: what it borrows must be shareable, what it takes along must be sendable.

use concurrent_futures_thread::ThreadPoolExecutor;
use std::cell::Cell;
use std::rc::Rc;

fn main() {
    let pool = ThreadPoolExecutor::new(1).unwrap();
    let (cell, rc) = (Cell::new(1), Rc::new(1));
    pool.borrow_scope(|scope| {
        scope.spawn(|| cell.set(2));
        scope.spawn(move || drop(rc));
    });
}
