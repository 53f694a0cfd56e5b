//! Without the feature `boot`, a program that forgets `init()` is told so by its first pool, before there is any process. One
//! that calls it only sometimes has workers that run `main`, and there, at the first pool, learn what is wrong: it ends with a
//! clear error and not in a storm of processes.

#[cfg(feature = "boot")]
fn main() {
    // Nothing can be forgotten. `cargo nextest list` expects no output then.
}

#[cfg(not(feature = "boot"))]
fn main() {
    use concurrent_futures_core::ExecutorExt;
    use concurrent_futures_process::{Process, ProcessPoolExecutor};

    if std::env::args().any(|argument| argument == "--list") {
        if !std::env::args().any(|argument| argument == "--ignored") {
            println!("init_forgotten_in_main: test");
        }
        return;
    }
    let is_worker = std::env::var_os("CONCURRENT_FUTURES_BOOT").is_some();
    let error = ProcessPoolExecutor::new(2).map(drop).expect_err("init() was not called").to_string();
    assert!(error.contains("init()"), "{error}");
    if is_worker {
        eprintln!("{error}");
        std::process::exit(3);
    }
    let error = Process::start(drop, ()).map(drop).expect_err("init() was not called").to_string();
    assert!(error.contains("init()"), "{error}");

    // Here and not in a worker: too late.
    concurrent_futures_process::init();
    let pool = ProcessPoolExecutor::new(2).expect("init() was called");
    let error = pool.submit(|x: u64| x * x, 12).result().unwrap_err();
    assert!(error.is_refused(), "{error}");
    assert!(error.to_string().contains("code 3"), "{error}");
}
