//! What a task takes that waits in the queue of a thread pool, beside the rivals.
//!
//! ```text
//! cargo bench -p concurrent-futures-benches --bench memory
//! ```

#[path = "../threads/limit.rs"]
#[allow(dead_code, reason = "shared with the bench `threads`, which uses more of it")]
mod limit;
#[path = "../threads/pools.rs"]
#[allow(dead_code, reason = "shared with the bench `threads`, which uses more of it")]
mod pools;

use concurrent_futures_benches::Options;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, and what is allocated.
struct Counting;

static BLOCKS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

/// What the system's allocator takes for a block: its own word, and what is asked for rounded up.
const fn taken(size: usize) -> usize {
    let taken = (size + 8).next_multiple_of(16);
    if taken < 32 { 32 } else { taken }
}

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BLOCKS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(taken(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller vouches for it.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        BYTES.fetch_sub(taken(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller vouches for it.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let Some(options) = Options::from_args() else { return };
    let tasks = options.pick(20_000, 200_000);
    println!("# Memory of queued tasks\n");
    println!(
        "`u64 -> u64`, {tasks} tasks in the queue of a pool of one worker that is busy; their handles are kept in a"
    );
    println!("vector that is not counted. Bytes as glibc's allocator takes them.\n");
    println!("| pool                        | bytes per task | allocations per task |");
    println!("|-----------------------------|----------------|----------------------|");
    // SAFETY: there is no other thread yet.
    unsafe { std::env::set_var("BLOCKING_MAX_THREADS", "1") };
    for (name, contender) in pools::contenders(1) {
        let now = || (BYTES.load(Ordering::Relaxed), BLOCKS.load(Ordering::Relaxed));
        let mut looks = Vec::with_capacity(2);
        // Once for nothing: threads start, and pools keep what they have got.
        contender.queue(tasks / 100, &mut || ());
        contender.queue(tasks, &mut || looks.push(now()));
        let [before, after] = looks[..] else { unreachable!("it looks before and after") };
        let bytes = after.0.saturating_sub(before.0) as f64 / tasks as f64;
        let blocks = (after.1 - before.1) as f64 / tasks as f64;
        println!("| {name:27} | {bytes:14.1} | {blocks:20.2} |");
    }
}

/// The task that does nothing.
fn nothing(x: u64) -> u64 {
    x
}
