//! A function that runs in a process of its own.
//!
//! Shows: `start`, `join`, `pid`, `name`, `is_alive`, `terminate`, how a process has ended, and that
//! nothing that happens in it (a panic, a crash) happens here.
//!
//! ```text
//! cargo run --release --example process
//! ```

use concurrent_futures::multiprocessing::{Process, current_process, parent_process};
use std::process::ExitCode;
use std::time::Duration;

fn greet((name, parent): (String, u32)) {
    let me = current_process();
    let of = parent_process().expect("it has one");
    println!("hello, {name}: this is {}, started by {}", me.name(), of.name());
    assert!(me.pid() != parent && of.pid() == parent);
}

fn sleeps_for_ever(_: ()) {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// A target returns what `main` may return.
fn fails(code: u8) -> ExitCode {
    ExitCode::from(code)
}

fn crashes(_: ()) {
    std::process::abort();
}

fn main() -> std::io::Result<()> {
    let process = Process::start(greet, ("world".to_owned(), std::process::id()))?;
    println!("started: {} has a pid of its own: {}", process.name(), process.pid() != std::process::id());
    println!("joined: {}, {}", process.name(), process.join()?);

    let process = Process::target(sleeps_for_ever, ()).name("sleeper").start()?;
    println!("{} is alive: {}", process.name(), process.is_alive());
    println!("after 10 ms: {:?}", process.join_timeout(Duration::from_millis(10))?);
    process.terminate()?;
    println!("terminated: {}", process.join()?);
    println!("{} is alive: {}", process.name(), process.is_alive());

    println!("an exit code: {}", Process::start(fails, 3)?.join()?);
    println!("a crash: {}", Process::start(crashes, ())?.join()?);
    Ok(())
}
