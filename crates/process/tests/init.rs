//! A program that calls `init()` first: its workers are made there when the feature `boot` is off, and before `main`
//! when it is on.

use concurrent_futures_core::ExecutorExt;
use concurrent_futures_process::{Process, ProcessPoolExecutor, StartMethod, parent_process};

fn main() {
    concurrent_futures_process::init();
    assert!(std::env::var_os("CONCURRENT_FUTURES_BOOT").is_none(), "a worker came out of init()");
    // Asked for by `cargo nextest list`.
    if std::env::args().any(|argument| argument == "--list") {
        if !std::env::args().any(|argument| argument == "--ignored") {
            println!("init_first_in_main: test");
        }
        return;
    }
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let pool = ProcessPoolExecutor::builder().max_workers(2).start_method(method).build().unwrap();
        let squares = pool.map(|x: u64| x * x, 0..5).collect::<Result<Vec<_>, _>>();
        assert_eq!(squares.unwrap(), [0, 1, 4, 9, 16]);
        let pid = pool.submit(|()| std::process::id(), ()).result().unwrap();
        assert_ne!(pid, std::process::id());
        let below = |()| ProcessPoolExecutor::new(1).unwrap().submit(|x: u64| x + 1, 1).result().unwrap();
        assert_eq!(pool.submit(below, ()).result().unwrap(), 2, "a worker has pools, too");
        let target = |parent| assert_eq!(parent_process().expect("it has one").pid(), parent);
        let process = Process::target(target, std::process::id()).start_method(method).start().unwrap();
        assert!(process.join().unwrap().success());
    }
}
