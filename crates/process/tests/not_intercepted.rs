//! Without the feature `boot`, a program that forgets `init()`: its workers run `main`, and there, at the first pool,
//! learn what is wrong. It ends with a clear error and not in a storm of processes.

#[cfg(feature = "boot")]
fn main() {
    // Nothing can be forgotten. `cargo nextest list` expects no output then.
}

#[cfg(not(feature = "boot"))]
fn main() {
    use concurrent_futures_core::ExecutorExt;
    use concurrent_futures_process::ProcessPoolExecutor;

    if std::env::args().any(|argument| argument == "--list") {
        if !std::env::args().any(|argument| argument == "--ignored") {
            println!("init_forgotten_in_main: test");
        }
        return;
    }
    let pool = match ProcessPoolExecutor::new(2) {
        Ok(pool) => pool,
        Err(error) => {
            assert!(std::env::var_os("CONCURRENT_FUTURES_BOOT").is_some(), "not a worker, but {error}");
            let text = error.to_string();
            assert!(text.contains("init()"), "{text}");
            eprintln!("{text}");
            std::process::exit(3);
        }
    };
    assert!(std::env::var_os("CONCURRENT_FUTURES_BOOT").is_none(), "a worker may have a pool");
    let error = pool.submit(|x: u64| x * x, 12).result().unwrap_err();
    assert!(error.is_refused(), "{error}");
    assert!(error.to_string().contains("code 3"), "{error}");
}
