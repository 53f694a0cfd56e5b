//! What to do when a result is there, without waiting for it.
//!
//! Shows: callbacks, which get the outcome whether it is a value or an error, in the order in which
//! they were added; one that comes late; and `map`, which makes a future of a future.
//!
//! ```text
//! cargo run --release --example callbacks
//! ```

use std::sync::mpsc;

use concurrent_futures::prelude::*;

fn divide((a, b): (u32, u32)) -> u32 {
    a / b
}

/// Takes `&dyn Executor`, so that the caller decides what the tasks run on.
fn watch(executor: &dyn Executor) -> Result<(), Box<dyn std::error::Error>> {
    let (sender, seen) = mpsc::channel();
    for divisor in [4, 0, 2] {
        let sender = sender.clone();
        // the handle is dropped at once: that neither cancels the task nor its callbacks
        executor.submit(divide, (100, divisor)).add_done_callback(move |outcome| {
            let told = match outcome {
                Ok(quotient) => format!("100 / {divisor} = {quotient}"),
                Err(error) => match error.panic() {
                    Some(panic) => format!("100 / {divisor}: {}", panic.message()),
                    None => format!("100 / {divisor}: {error}"),
                },
            };
            sender.send(told).expect("main still listens");
        });
    }
    drop(sender);
    let mut lines: Vec<String> = seen.iter().collect(); // ends when the last callback has run
    lines.sort();
    for line in lines {
        println!("{line}");
    }

    let words = executor.submit(divide, (42, 2)).map(|half| format!("half of 42 is {half}"));
    words.add_done_callback(|outcome| println!("first: {outcome:?}"));
    words.add_done_callback(|_| println!("second, because it was added second"));
    words.wait();
    words.add_done_callback(|_| println!("third, although the result was there before it"));
    println!("{}", words.result()?); // hands the value out when the callbacks are through
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("-- threads");
    watch(&ThreadPoolExecutor::new(2)?)?;
    println!("-- processes");
    watch(&ProcessPoolExecutor::new(2)?)
}
