//! What tasks do, seen by the test that submitted them, in whatever thread or process they run.

use crate::patience::PATIENCE;
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

/// The test's side: hears what tasks say, in the order in which they say it, and lets them go on.
///
/// ```
/// use concurrent_futures::ExecutorExt;
/// use concurrent_futures_conformance::{Kind, Soon, Stage, Ticket};
///
/// fn task((ticket, number): (Ticket, u32)) -> u32 {
///     ticket.enter(number); // returns when the test releases it
///     number
/// }
///
/// let (ex, stage) = (Kind::Thread.pool(2), Stage::new());
/// let future = ex.submit(task, (stage.ticket(), 7));
/// let arrival = stage.next();
/// assert_eq!(arrival.words(), "7");
/// assert!(future.running());
/// arrival.release();
/// assert_eq!(future.soon().unwrap(), 7);
/// ```
#[derive(Debug)]
pub struct Stage {
    name: String,
    arrivals: Receiver<Arrival>,
    door: Option<JoinHandle<()>>,
}

/// The task's side; travels as an argument.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ticket {
    stage: String,
}

/// A task that said something. Dropping it lets the task go on, since that closes the connection that it listens to.
#[derive(Debug)]
pub struct Arrival {
    pid: u32,
    thread: String,
    words: String,
    connection: UnixStream,
}

/// What the stage says to its own door.
const MARK: &str = "mark";
const CLOSE: &str = "close";

const YES: &[u8; 1] = b"y";

impl Stage {
    /// An empty stage.
    pub fn new() -> Self {
        static STAGES: AtomicU32 = AtomicU32::new(0);
        let number = STAGES.fetch_add(1, Ordering::Relaxed);
        let name = format!("concurrent-futures-conformance-{}-{number}", std::process::id());
        let listener = UnixListener::bind_addr(&address(&name)).expect("a socket to hear tasks at");
        let (hear, arrivals) = mpsc::channel();
        let door = thread::spawn(move || keep(&listener, &hear));
        Stage { name, arrivals, door: Some(door) }
    }

    /// What a task needs to be heard.
    pub fn ticket(&self) -> Ticket {
        Ticket { stage: self.name.clone() }
    }

    /// By which a program of the suite finds it; see [`Ticket::of`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The next task that says something.
    ///
    /// # Panics
    /// When none does.
    pub fn next(&self) -> Arrival {
        self.arrivals.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no task was heard in {PATIENCE:?}"))
    }

    /// The next so many.
    ///
    /// # Panics
    /// When fewer come.
    pub fn wait_for(&self, count: usize) -> Vec<Arrival> {
        (0..count).map(|_| self.next()).collect()
    }

    /// All that said something until now and have not been taken.
    pub fn heard(&self) -> Vec<Arrival> {
        // Arrivals come in the order in which they were made: this one is the last.
        say(&self.name, MARK, "");
        std::iter::repeat_with(|| self.next()).take_while(|arrival| arrival.thread != MARK).collect()
    }

    /// All that was said until now and has not been taken; the tasks go on.
    pub fn said(&self) -> Vec<String> {
        self.heard().into_iter().map(|arrival| arrival.words).collect()
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        say(&self.name, CLOSE, "");
        if let Some(door) = self.door.take()
            && door.join().is_err()
            && !thread::panicking()
        {
            panic!("the thread that hears tasks has panicked");
        }
    }
}

impl Ticket {
    /// A ticket of the stage of this name, which may be that of another process.
    pub fn of(name: impl Into<String>) -> Self {
        Ticket { stage: name.into() }
    }

    /// Says something and waits until the test releases this task (or is gone).
    pub fn enter(&self, words: impl Display) {
        self.ask(words);
    }

    /// Asks the test: yes when it says so, no when it only lets the task go on.
    pub fn ask(&self, words: impl Display) -> bool {
        let mut answer = [0];
        let heard = self.say(words).is_some_and(|mut connection| connection.read(&mut answer).is_ok());
        heard && answer == *YES
    }

    /// Says something and goes on.
    pub fn tell(&self, words: impl Display) {
        self.say(words);
    }

    fn say(&self, words: impl Display) -> Option<UnixStream> {
        let current = thread::current();
        say(&self.stage, current.name().unwrap_or("unnamed"), words)
    }
}

impl Arrival {
    /// What it said.
    pub fn words(&self) -> &str {
        &self.words
    }

    /// The process that it runs in.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The name of the thread that it runs in.
    pub fn thread(&self) -> &str {
        &self.thread
    }

    /// Lets the task go on.
    pub fn release(self) {}

    /// Answers a task that [asked](Ticket::ask), and lets it go on.
    pub fn say_yes(mut self) {
        // The task may be gone.
        let _ = self.connection.write_all(YES);
    }
}

fn address(name: &str) -> SocketAddr {
    SocketAddr::from_abstract_name(name).expect("a short name")
}

/// `None` when the stage is gone.
fn say(stage: &str, thread: &str, words: impl Display) -> Option<UnixStream> {
    let mut connection = UnixStream::connect_addr(&address(stage)).ok()?;
    let line = format!("{}\t{thread}\t{words}\n", std::process::id());
    connection.write_all(line.as_bytes()).ok()?;
    Some(connection)
}

/// Hears one after the other, until the stage says that it is over.
fn keep(listener: &UnixListener, hear: &Sender<Arrival>) {
    for connection in listener.incoming() {
        let connection = connection.expect("a connection of a task");
        let Some(arrival) = read(connection) else { continue };
        if arrival.thread == CLOSE || hear.send(arrival).is_err() {
            return;
        }
    }
}

/// `None` for a task that was killed while it spoke.
fn read(connection: UnixStream) -> Option<Arrival> {
    let mut line = String::new();
    BufReader::new(&connection).read_line(&mut line).ok()?;
    let mut parts = line.strip_suffix('\n')?.splitn(3, '\t');
    let mut part = || parts.next().map(str::to_owned);
    let (pid, thread, words) = (part()?.parse().ok()?, part()?, part()?);
    Some(Arrival { pid, thread, words, connection })
}
