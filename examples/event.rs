//! A process that writes a file, and another one that reads it as soon as it is there: `Event`.
//!
//! ```text
//! cargo run --release --example event
//! ```

use concurrent_futures::multiprocessing::{Event, Process};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

fn writes((file, wanted, written): (PathBuf, Event, Event)) -> std::io::Result<()> {
    wanted.wait();
    fs::write(&file, "the numbers from 1 to 5: 1 2 3 4 5\n")?;
    // What was done before is seen by whoever finds it set.
    written.set();
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::temp_dir().join(format!("event-{}.txt", std::process::id()));
    let (wanted, written) = (Event::new()?, Event::new()?);
    println!("written: {}", written.is_set());

    let process = Process::start(writes, (file.clone(), wanted.clone(), written.clone()))?;
    println!("after 1 ms: {}", written.wait_timeout(Duration::from_millis(1)));
    wanted.set();
    written.wait();
    print!("read: {}", fs::read_to_string(&file)?);
    println!("written: {}", written.is_set());
    println!("the writer: {}", process.join()?);

    written.clear();
    println!("cleared: {}", !written.is_set());
    fs::remove_file(&file)?;
    Ok(())
}
