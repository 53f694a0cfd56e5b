//! What is counted. Nothing here starts a process: under valgrind this program cannot start itself again.

use concurrent_futures::prelude::*;
use concurrent_futures::{Executor, Handle, Refusal, Shutdown};
use concurrent_futures_core::Task;
use concurrent_futures_core::codec::Message;
use concurrent_futures_core::task::{Reply, WorkerEnv, serve};
use concurrent_futures_ipc::SharedMemory;
use concurrent_futures_ipc::ring::{Consumer, Place, Producer, size};
use std::hint::black_box;
use std::sync::{Arc, Condvar, Mutex};

/// Tasks, items or frames in each count.
pub const COUNT: u64 = 1_000;

/// What there is to count.
pub const NAMES: [&str; 5] = ["serial_submit", "serial_map", "thread_submit", "encoded_task", "ring_frame"];

/// Does it twice, so that the second time everything is there that is made once, and ends the program. Valgrind knows where the
/// second time begins by the name of the function.
pub fn count(name: &str) -> ! {
    match name {
        "serial_submit" => twice(SerialExecutor::new(), count_serial_submit),
        "serial_map" => twice(SerialExecutor::new(), count_serial_map),
        "thread_submit" => twice(ThreadPoolExecutor::new(1).expect("a thread"), count_thread_submit),
        "encoded_task" => twice(Wire, count_encoded_task),
        "ring_frame" => twice(Ring::new(), count_ring_frame),
        _ => panic!("there is no count {name}"),
    }
}

fn twice<T>(mut with: T, count: fn(&mut T)) -> ! {
    for _ in 0..2 {
        count(&mut with);
    }
    std::process::exit(0)
}

fn nothing(x: u64) -> u64 {
    black_box(x)
}

#[inline(never)]
fn count_serial_submit(ex: &mut SerialExecutor) {
    for x in 0..COUNT {
        assert_eq!(ex.submit(nothing, x).result().ok(), Some(x));
    }
}

#[inline(never)]
fn count_serial_map(ex: &mut SerialExecutor) {
    // Chunks that the clock decides upon are others on a busy machine.
    let items = ex.tasks(nothing, 0..COUNT).chunksize(100).map();
    let sum: u64 = items.map(|x| x.expect("the task returns")).sum();
    assert_eq!(sum, (0..COUNT).sum());
}

static GATE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

fn wait_at_the_gate(_: u64) {
    let gate = GATE.0.lock().expect("nobody panics with it");
    drop(GATE.1.wait_while(gate, |open| !*open));
}

fn set_gate(open: bool) {
    *GATE.0.lock().expect("nobody panics with it") = open;
    GATE.1.notify_all();
}

/// The worker stands at a gate while the tasks are submitted and has all of them done before the first result is taken: who
/// wakes whom, and when, is the same each time.
#[inline(never)]
fn count_thread_submit(ex: &mut ThreadPoolExecutor) {
    set_gate(false);
    let gate = ex.submit(wait_at_the_gate, 0);
    let futures: Vec<_> = (0..COUNT).map(|x| ex.submit(nothing, x)).collect();
    set_gate(true);
    gate.result().expect("the gate opens");
    let mut sum = 0;
    for future in futures.into_iter().rev() {
        sum += future.result().expect("the task returns");
    }
    assert_eq!(sum, (0..COUNT).sum());
}

/// Has tasks make the whole way of a pool of processes but for the way itself: argument and result become bytes and values
/// again.
#[derive(Clone, Debug)]
struct Wire;

struct Plain;

impl WorkerEnv for Plain {}

impl Executor for Wire {
    fn submit_task(&self, task: Task) {
        let call = task.send(None, &mut Vec::new()).expect("a number is encoded");
        let mut out = Message::default();
        // SAFETY: this very program has made the call, and its addresses are those of this process.
        let served = unsafe { serve(call.entry, &mut call.input.into(), &mut Plain, &mut out) };
        let (bytes, parts) = (out.stream.into(), Vec::new());
        task.complete(Reply { status: served.status, bytes, parts, again: served.again, handles: None });
    }

    fn try_submit_task(&self, task: Task) -> Result<(), (Task, Refusal)> {
        self.submit_task(task);
        Ok(())
    }

    fn num_workers(&self) -> usize {
        1
    }

    fn shutdown(&self, _how: Shutdown) {}

    fn handle(&self) -> Handle {
        Handle::new(self.clone())
    }
}

#[inline(never)]
fn count_encoded_task(ex: &mut Wire) {
    for x in 0..COUNT {
        assert_eq!(ex.submit(nothing, x).result().ok(), Some(x));
    }
}

/// Both ends of a ring, in this process.
struct Ring {
    producer: Producer,
    consumer: Consumer,
    taken: Vec<u8>,
}

impl Ring {
    fn new() -> Ring {
        const CAPACITY: usize = 1 << 16;
        let memory = Arc::new(SharedMemory::create(size(CAPACITY)).expect("some memory"));
        // SAFETY: the memory is new, and there are one producer and one consumer.
        let place = || unsafe { Place::new(memory.clone(), 0, CAPACITY, None) };
        Ring { producer: Producer::new(place()), consumer: Consumer::new(place()), taken: Vec::with_capacity(64) }
    }
}

/// A frame as small tasks have it, published and taken alone.
#[inline(never)]
fn count_ring_frame(ring: &mut Ring) {
    let frame = [7; 40];
    for _ in 0..COUNT {
        assert_eq!(ring.producer.write(&frame).ok(), Some(frame.len()));
        ring.producer.publish();
        ring.taken.clear();
        assert_eq!(ring.consumer.read(&mut ring.taken, usize::MAX).ok(), Some(frame.len()));
    }
}
