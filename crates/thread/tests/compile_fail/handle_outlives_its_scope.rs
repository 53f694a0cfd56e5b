//! The handle of a task that borrows is of no use after the scope: what the result borrows may be gone.

use concurrent_futures_thread::ThreadPoolExecutor;

fn main() {
    let pool = ThreadPoolExecutor::new(1).unwrap();
    let text = String::from("borrowed");
    let future = pool.borrow_scope(|scope| scope.spawn(|| text.as_str()));
    drop(text);
    println!("{}", future.result().unwrap());
}
