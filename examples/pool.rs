//! Python's `multiprocessing.Pool`, name by name.
//!
//! Shows: `map`, `apply`, `apply_async` with `get` and callbacks, `starmap`, `imap`, `close`, `join`,
//! `terminate`, and what becomes of a job whose worker dies.
//!
//! ```text
//! cargo run --release --example pool
//! ```

use concurrent_futures::multiprocessing::Pool;
use std::time::Duration;

fn square(x: u64) -> u64 {
    x * x
}

fn invert(x: u32) -> u32 {
    100 / x
}

fn crash(_: ()) {
    std::process::abort();
}

fn sleeps_for_ever(_: ()) {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // As many workers as there are CPUs: `Pool::new(None)`.
    let pool = Pool::new(4)?;
    println!("map: {:?}", pool.map(square, 1..=5)?);
    println!("apply: {}", pool.apply(square, 12)?);
    println!("starmap: {:?}", pool.starmap(u64::pow, [(2, 10), (10, 3)])?);

    let result = pool.apply_async(square, 9).callback(|value| println!("callback: {value}"));
    println!("apply_async: {}", result.get()?);

    let failed = pool
        .apply_async(invert, 0)
        .callback(|value| println!("never called: {value}"))
        .error_callback(|error| println!("error callback: {}", error.panic().expect("a panic").message()));
    println!("successful: {:?}", {
        failed.wait();
        failed.successful()
    });

    let halves: Vec<String> = pool
        .imap(invert, [1, 0, 4])
        .map(|result| result.map_or_else(|_| "none".to_owned(), |value| value.to_string()))
        .collect();
    println!("imap: {}", halves.join(", "));

    // The job of a dead worker is an error; the worker is replaced, and nothing else is disturbed.
    let error = pool.apply(crash, ()).expect_err("it crashes");
    println!("a crash: {}", error.death().and_then(|death| death.signal()).unwrap_or("?"));
    println!("afterwards: {}", pool.apply(square, 3)?);

    let last = pool.map_async(square, 1..=3);
    pool.close();
    println!("closed: {}", pool.apply(square, 1).expect_err("it takes nothing more"));
    pool.join()?;
    println!("joined: {:?}", last.get()?);

    let pool = Pool::new(1)?;
    let endless = pool.apply_async(sleeps_for_ever, ());
    println!("after 50 ms: {}", if endless.wait_timeout(Duration::from_millis(50)) { "done" } else { "not done" });
    pool.terminate();
    println!("terminated: {}", if endless.get().is_err() { "its result is an error" } else { "done" });
    pool.join()?;
    Ok(())
}
