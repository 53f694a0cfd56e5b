//! Tasks run on after the closure has returned: they cannot borrow what ends with it.

use concurrent_futures_thread::ThreadPoolExecutor;

fn main() {
    let pool = ThreadPoolExecutor::new(1).unwrap();
    pool.borrow_scope(|scope| {
        let local = String::from("gone at the end of the closure");
        scope.spawn(|| println!("{local}"));
    });
}
