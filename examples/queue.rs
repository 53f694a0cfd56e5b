//! A process that writes into a queue, and one that reads from it in a loop without end, until it is terminated.
//!
//! Shows: what a writer has put in is there when the writer has ended; a reader that is terminated while it waits,
//! which in Python may leave the queue unusable, takes nothing with it; and a queue that is closed, which ends its
//! readers by itself.
//!
//! ```text
//! cargo run --release --example queue
//! ```

use concurrent_futures::multiprocessing::{JoinableQueue, Process, Queue, SimpleQueue};
use std::error::Error;
use std::io;

fn write(queue: Queue<String>) {
    for value in ["A", "B", "C"] {
        println!("put {value}");
        queue.put(value.to_owned()).expect("nobody closes it");
    }
}

/// Knows no end.
fn read((queue, seen): (Queue<String>, JoinableQueue<String>)) {
    loop {
        let value = queue.get().expect("nobody closes it");
        println!("got {value}");
        seen.task_done().expect("as many as were written");
    }
}

fn count((queue, results): (Queue<String>, SimpleQueue<usize>)) -> io::Result<()> {
    // Ends when the queue is closed, and empty.
    results.put(queue.iter().map_while(Result::ok).count())?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let queue = Queue::new()?;
    let seen = JoinableQueue::new()?;
    let writer = Process::start(write, queue.clone())?;
    println!("writer: {}", writer.join()?);
    println!("in the queue: {}", queue.qsize());

    (0..3).try_for_each(|_| seen.put("to be seen".to_owned()))?;
    let reader = Process::start(read, (queue.clone(), seen.clone()))?;
    seen.join()?;
    reader.terminate()?;
    println!("reader: {}", reader.join()?);

    // It was waiting for an item when it was terminated, and the queue is as good as new.
    let results = SimpleQueue::new()?;
    let readers: Vec<_> =
        (0..3).map(|_| Process::start(count, (queue.clone(), results.clone()))).collect::<io::Result<_>>()?;
    for n in 0..1000 {
        queue.put(n.to_string())?;
    }
    queue.close()?;
    for reader in &readers {
        assert!(reader.join()?.success());
    }
    let sum = (0..3).map(|_| results.get()).sum::<Result<usize, _>>()?;
    println!("three readers have got {sum}");
    Ok(())
}
