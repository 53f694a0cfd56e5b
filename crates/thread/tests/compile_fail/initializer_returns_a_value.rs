//! Nobody would get what an initializer returns.

use concurrent_futures_thread::ThreadPoolExecutor;

fn main() {
    let _ = ThreadPoolExecutor::builder().initializer(|x: u32| x + 1, 1).build();
}
