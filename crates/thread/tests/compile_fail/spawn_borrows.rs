//! Nobody waits for a task of `spawn`: it owns what it uses. (`borrow_scope` waits.)

use concurrent_futures_thread::ThreadPoolExecutor;

fn main() {
    let pool = ThreadPoolExecutor::new(1).unwrap();
    let text = String::from("borrowed");
    let length = pool.spawn(|| text.len());
    println!("{}", length.result().unwrap());
}
