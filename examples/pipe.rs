//! Two processes at the two ends of a pipe: what one sends the other receives, until it has closed its end.
//!
//! Shows: both directions of a connection, typed; the end of file; an end that travels over a connection; a process
//! that is killed, whose end of the pipe the kernel closes.
//!
//! ```text
//! cargo run --release --example pipe
//! ```

use concurrent_futures::multiprocessing::{Connection, Process, RecvError, Sender, one_way, pipe};
use std::error::Error;
use std::io;

/// Answers questions, and leaves at the end of file.
fn answer(questions: Connection<String, u64>) -> io::Result<()> {
    for question in &questions {
        let question = question?;
        questions.send(format!("{question} squared is {}", question * question))?;
    }
    println!("child: no more questions");
    Ok(())
}

/// Is given a pipe over a pipe, and writes into it for ever.
fn count(orders: Connection<(), Sender<u64>>) -> io::Result<()> {
    let sender = orders.recv()?;
    (0..).try_for_each(|n| Ok(sender.send(n)?))
}

fn main() -> Result<(), Box<dyn Error>> {
    let (ours, theirs) = pipe::<u64, String>()?;
    let child = Process::start(answer, theirs)?;
    for n in [3, 7, 12] {
        ours.send(n)?;
        println!("parent: {}", ours.recv()?);
    }
    drop(ours);
    println!("child: {}", child.join()?);

    let (orders, theirs) = pipe()?;
    let child = Process::start(count, theirs)?;
    let (sender, numbers) = one_way()?;
    orders.send(sender)?;
    let sum: u64 = numbers.iter().take(1000).sum::<Result<u64, _>>()?;
    println!("parent: the first thousand numbers make {sum}");
    assert_eq!(numbers.recv()?, 1000); // and so on
    child.kill()?;
    // What it had sent is there, however much that is; then comes the end.
    for (number, next) in numbers.iter().zip(1001..) {
        assert_eq!(number?, next);
    }
    match numbers.recv() {
        Err(RecvError::Ended) => println!("parent: end of file"),
        other => println!("parent: {other:?}"),
    }
    println!("child: {}", child.join()?);
    Ok(())
}
