//! `os.fork()`: from one line to the next there are two processes.
//!
//! Shows: the fork start method, by which a process is a copy of this one, with all its memory; the
//! pids on both sides. It is `unsafe` since a copy of a program with threads has only one of them.
//!
//! ```text
//! cargo run --release --example fork
//! ```

use concurrent_futures::multiprocessing::Process;
use std::io::{self, PipeWriter, Read, Write};
use std::os::unix::process::parent_id;

/// Python's `os.fork()` gives 0 here.
fn child((greeting, mut to_parent): (&str, PipeWriter)) -> io::Result<()> {
    println!("child: I am {}, and my parent is {}", std::process::id(), parent_id());
    write!(to_parent, "{greeting} from {}", std::process::id())
}

fn main() -> io::Result<()> {
    println!("parent: I am {}", std::process::id());
    let (mut from_child, to_parent) = io::pipe()?;
    let greeting = "hello"; // borrowed: nothing is sent, the child has it already

    let process = Process::target(child, (greeting, to_parent));
    // SAFETY: this program has one thread.
    let process = unsafe { process.start_fork() }?;

    // And the child's pid here.
    println!("parent: my child is {}", process.pid());
    let mut words = String::new();
    from_child.read_to_string(&mut words)?;
    println!("parent: it said: {words}");
    println!("parent: it ended with {}", process.join()?);
    Ok(())
}
