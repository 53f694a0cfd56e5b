//! Killing a process at every instant of what it does.
//!
//! What processes share must be right when one of them is killed, whenever that is. A [`Sweep`] looks at that: it forks off a
//! child that runs a function, lets it execute so many machine instructions, kills it with SIGKILL at just that point, and has
//! the test look at what is left; then the same with another child that gets a little further, until one comes to its end. So
//! each instant is met, always the same ones, and a test that fails says which.
//!
//! The child counts by itself: with the trap flag of the processor set, there is a SIGTRAP after each instruction, and its handler
//! counts, and kills. That needs no right to trace (which containers often do not give), and no switch to another process:
//! one or two microseconds for each instruction, however busy the machine is. (A system call and the instruction behind it
//! count as one.)
//!
//! ```
//! use concurrent_futures::multiprocessing::Lock;
//! use concurrent_futures_conformance::sweep::{Sweep, alone};
//! use std::time::Duration;
//!
//! fn sweep(lock: Lock) -> u64 {
//!     let swept = Sweep::every(97).run(
//!         || drop(lock.lock()),
//!         |_| drop(lock.lock_timeout(Duration::from_secs(10)).or_else(|error| match error {
//!             concurrent_futures::multiprocessing::TryLockError::OwnerDied(died) => Ok(died.into_guard()),
//!             late => Err(late),
//!         }).unwrap()),
//!     );
//!     swept.kills
//! }
//!
//! assert!(alone(sweep, Lock::new().unwrap()) > 1);
//! ```
//!
//! # How to write one
//!
//! - The sweep runs in a process of its own, by [`alone`], since it forks, and children of a process with many threads must not do
//!   much. What it needs (locks, queues) is made outside and goes there as the argument, or is made inside. In `check`
//!   threads may be started, if they are joined there.
//! - `body` runs in a child that has a copy of all that there is, and shares what is shared between processes. Nothing of it
//!   returns; if it panics, the sweep does.
//! - `check` runs after each kill, and leaves things such that the next child finds what the first one has found. It must not wait
//!   without a limit: "nobody blocks for ever" is what is to be shown.
//! - A body that waits for somebody gets an answer from [`Sweep::when_blocked`]: it is called when the child sleeps in the kernel. The
//!   child is also killed while it sleeps there.
//! - A debug build takes some thousand instructions for one operation, and the way to the n-th has n of them: up to
//!   2,000 instructions [`Sweep::every`] one is fine. For more give a larger step, best a prime number, which misses no place in a
//!   loop for long. A sweep should be over in a few seconds.
//!
//! # On other processors than x86-64
//!
//! There children are killed at random instants of about the time that the body takes, and a line on standard error says so, with the
//! seed; `SWEEP_SEED` in the environment repeats it as far as time can be repeated.

use crate::PATIENCE;
use concurrent_futures::process::ProcessPoolExecutor;
use concurrent_futures::{ExecutorExt, Portable};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, waitpid};
use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Runs `f` in a process of its own, with nothing but the thread that does it.
///
/// # Panics
///
/// If `f` does, or its process dies, or there is no outcome within some minutes.
pub fn alone<A: Portable, R: Portable>(f: fn(A) -> R, argument: A) -> R {
    let pool = ProcessPoolExecutor::new(1).expect("a process pool");
    // A sweep takes up to twenty seconds of CPU time, and there are others beside it.
    let patience = if asked_step().is_some() { 60 * PATIENCE } else { 10 * PATIENCE };
    let outcome = pool.submit(f, argument).result_timeout(patience);
    outcome.unwrap_or_else(|late| panic!("no end of the sweep: {:?}", late.0)).unwrap_or_else(|error| panic!("{error}"))
}

/// What `SWEEP_STEP` says.
fn asked_step() -> Option<u64> {
    std::env::var("SWEEP_STEP").ok()?.parse().ok()
}

/// Kills at one instant after the other; see [the module](self).
pub struct Sweep<'a> {
    step: u64,
    first: u64,
    prepare: Box<dyn Fn() + 'a>,
    when_blocked: Box<dyn FnMut() + 'a>,
}

/// Where a child was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// After so many instructions of the body.
    pub instructions: u64,
    /// It slept in the kernel.
    pub blocked: bool,
    /// It had reached the end of the body: this is the last one.
    pub ended: bool,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Swept {
    /// So many children were killed.
    pub kills: u64,
    /// The body took so many instructions, the last time. 0 if nobody could count them.
    pub instructions: u64,
}

/// So many instructions are no operation of ours.
const MOST: u64 = 5_000_000;

impl<'a> Sweep<'a> {
    /// After none, after `step` instructions, after twice as many, and so on. `SWEEP_STEP` in the environment takes the place
    /// of `step`: with 1 really every instant is met, which may take minutes.
    pub fn every(step: u64) -> Sweep<'a> {
        let step = asked_step().unwrap_or(step);
        assert!(step > 0, "it would never end");
        Sweep { step, first: 0, prepare: Box::new(|| {}), when_blocked: Box::new(|| {}) }
    }

    /// Begins after so many instructions: to look into a failure, or to share a sweep between tests.
    pub fn from(self, first: u64) -> Sweep<'a> {
        Sweep { first, ..self }
    }

    /// Each child does this first, at its full speed and without being killed: what would take long, and is not what is swept over.
    /// Where ptrace is forbidden, it is killed there as well.
    pub fn after(self, prepare: impl Fn() + 'a) -> Sweep<'a> {
        Sweep { prepare: Box::new(prepare), ..self }
    }

    /// Does this in the sweeping process when the child sleeps in the kernel, each time it does.
    pub fn when_blocked(self, act: impl FnMut() + 'a) -> Sweep<'a> {
        Sweep { when_blocked: Box::new(act), ..self }
    }

    /// Sweeps over `body`, with a `check` after each kill.
    ///
    /// # Panics
    ///
    /// If `body` does, or ends its process, or sleeps for long; with whatever `check` panics with. Standard error says at which
    /// instant.
    pub fn run(mut self, body: impl Fn(), mut check: impl FnMut(Moment)) -> Swept {
        if !cfg!(target_arch = "x86_64") {
            return self.run_at_random(body, check);
        }
        let counter = Counter::new();
        let mut kills = 0;
        let mut instructions = self.first;
        loop {
            assert!(instructions < MOST, "no end of the body");
            let place = Place(Cell::new(Moment { instructions, blocked: false, ended: false }));
            counter.reset(instructions);
            let child = Child::fork(|| {
                (self.prepare)();
                counter.begin();
                body();
                counter.end();
            });
            let moment = child.go(&counter, &mut self.when_blocked, &place);
            place.0.set(moment);
            drop(child);
            kills += 1;
            check(moment);
            if moment.ended {
                return Swept { kills, instructions: moment.instructions };
            }
            instructions += self.step;
        }
    }

    fn run_at_random(mut self, body: impl Fn(), mut check: impl FnMut(Moment)) -> Swept {
        const KILLS: u64 = 400;
        let seed = std::env::var("SWEEP_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()));
        eprintln!(
            "PTRACE IS FORBIDDEN HERE: kills at {KILLS} random instants instead of at each one; SWEEP_SEED={seed}"
        );
        let mut random = Random(seed);
        let prepare = self.prepare;
        let body = || {
            prepare();
            body();
        };
        let whole = Child::fork(body).wait_for_end(&mut self.when_blocked);
        let ended = Moment { instructions: 0, blocked: false, ended: true };
        check(ended);
        for _ in 0..KILLS {
            let child = Child::fork(body);
            let limit = Instant::now() + whole.mul_f64(1.2 * random.part());
            while Instant::now() < limit {
                std::hint::spin_loop();
            }
            drop(child);
            check(Moment { ended: false, ..ended });
        }
        Swept { kills: KILLS, instructions: 0 }
    }
}

impl std::fmt::Debug for Sweep<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sweep").field("step", &self.step).field("first", &self.first).finish_non_exhaustive()
    }
}

/// Says where it was when what was begun ends by a panic.
struct Place(Cell<Moment>);

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the sweep failed at {:?}", self.0.get());
        }
    }
}

/// What child and parent see of the instructions.
struct Counter(NonNull<Counts>);

#[repr(C)]
struct Counts {
    /// So many have been executed.
    done: AtomicU64,
    /// After so many it is over.
    limit: AtomicU64,
    /// 1: the body has ended before.
    ended: AtomicU64,
}

const PAGE: usize = 4096;

/// Where the handler of the child finds it.
static COUNTS: AtomicPtr<Counts> = AtomicPtr::new(std::ptr::null_mut());

impl Counter {
    fn new() -> Counter {
        // SAFETY: new memory, at an address of the kernel's choice.
        let page =
            unsafe { mmap_anonymous(std::ptr::null_mut(), PAGE, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED) };
        Counter(NonNull::new(page.expect("a page of memory").cast()).expect("not at the address 0"))
    }

    fn counts(&self) -> &Counts {
        // SAFETY: mapped as long as this value, zero at first, and atomics may have any value.
        unsafe { self.0.as_ref() }
    }

    fn reset(&self, limit: u64) {
        let Counts { done, limit: after, ended } = self.counts();
        done.store(0, SeqCst);
        after.store(limit, SeqCst);
        ended.store(0, SeqCst);
    }

    /// In the child: from here on its instructions are counted.
    fn begin(&self) {
        COUNTS.store(self.0.as_ptr(), SeqCst);
        // SAFETY: these are integers and a pointer that may be null.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = on_trap as extern "C" fn(i32) as libc::sighandler_t;
        // SAFETY: the handler does nothing but atomic operations and a system call.
        let code = unsafe { libc::sigaction(libc::SIGTRAP, &raw const action, std::ptr::null_mut()) };
        assert!(code == 0, "{}", io::Error::last_os_error());
        if self.counts().limit.load(SeqCst) == 0 {
            die();
        }
        set_trap_flag(true);
    }

    fn end(&self) {
        set_trap_flag(false);
        self.counts().ended.store(1, SeqCst);
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        // SAFETY: it is our own, and nobody has borrowed it any more.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), PAGE) };
    }
}

/// After each instruction. The flag is not set in here: the kernel sets it again when this returns.
extern "C" fn on_trap(_: i32) {
    // SAFETY: `begin` has put there what is mapped as long as this process lives.
    let Some(counts) = (unsafe { COUNTS.load(SeqCst).as_ref() }) else { return };
    if counts.done.fetch_add(1, SeqCst) + 1 == counts.limit.load(SeqCst) {
        die();
    }
}

fn die() -> ! {
    // A system call, and no memory is touched on the way: this is a signal handler.
    let myself = rustix::process::getpid();
    loop {
        let _ = kill_process(myself, Signal::KILL);
    }
}

#[cfg(target_arch = "x86_64")]
fn set_trap_flag(on: bool) {
    const TRAP: u64 = 1 << 8;
    let flags: u64;
    // SAFETY: pushes and pops as much, and only reads.
    unsafe { std::arch::asm!("pushfq", "pop {}", out(reg) flags) };
    let flags = if on { flags | TRAP } else { flags & !TRAP };
    // SAFETY: the flags are as they were but for this one, for which there is a handler.
    unsafe { std::arch::asm!("push {}", "popfq", in(reg) flags) };
}

#[cfg(not(target_arch = "x86_64"))]
fn set_trap_flag(_: bool) {
    unreachable!("kills are at random there")
}

/// A child that is killed, if it is not dead before.
struct Child {
    pid: Pid,
    fd: OwnedFd,
}

impl Child {
    fn fork(run: impl FnOnce()) -> Child {
        let parent = std::process::id();
        // SAFETY: the child has this one thread, and libc sees to it that it can allocate. That nobody else in this process
        // has a lock that the child needs is what `alone` is for.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let died_with_it = die_with(parent);
            let ended = died_with_it.is_ok() && catch_unwind(AssertUnwindSafe(run)).is_ok();
            // SAFETY: nothing of this process's parent is cleaned up by its copy.
            unsafe { libc::_exit(if ended { 0 } else { 101 }) }
        }
        let pid = Pid::from_raw(pid).filter(|_| pid > 0);
        let pid = pid.unwrap_or_else(|| panic!("a child to kill: {}", io::Error::last_os_error()));
        Child { pid, fd: pidfd_open(pid, PidfdFlags::empty()).expect("our own child") }
    }

    /// Until it has killed itself, or has come to its end. Where the last instruction is one that sleeps, it still does.
    fn go(&self, counter: &Counter, when_blocked: &mut dyn FnMut(), place: &Place) -> Moment {
        let Counts { done, limit, ended } = counter.counts();
        let mut sleeps_at = None;
        let begun = Instant::now();
        while !self.is_dead_soon() {
            assert!(begun.elapsed() < 2 * PATIENCE, "no end of the body, or nobody wakes it");
            let now = done.load(SeqCst);
            if !self.is_asleep() || done.load(SeqCst) != now {
                continue;
            }
            let moment = Moment { instructions: now, blocked: true, ended: false };
            if now + 1 == limit.load(SeqCst) {
                return moment;
            }
            // Once for each sleep.
            if sleeps_at.replace(now) != Some(now) {
                place.0.set(moment);
                when_blocked();
            }
        }
        let ended = ended.load(SeqCst) == 1;
        let killed = done.load(SeqCst) == limit.load(SeqCst);
        assert!(ended || killed, "the body did not come to its end");
        Moment { instructions: done.load(SeqCst), blocked: false, ended }
    }

    /// Whether it is dead, or is within a millisecond.
    fn is_dead_soon(&self) -> bool {
        let mut asked = [PollFd::new(&self.fd, PollFlags::IN)];
        let soon = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        poll(&mut asked, Some(&soon)).is_ok_and(|ready| ready > 0)
    }

    /// Whether it waits in the kernel.
    fn is_asleep(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid.as_raw_nonzero())).expect("our own child");
        // Behind its name, which is in brackets and may have any in it.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'))
    }

    /// How long it took.
    fn wait_for_end(self, when_blocked: &mut dyn FnMut()) -> Duration {
        let begun = Instant::now();
        while !self.is_dead_soon() {
            assert!(begun.elapsed() < PATIENCE, "the child sleeps, and nobody wakes it");
            if self.is_asleep() {
                when_blocked();
            }
        }
        begun.elapsed()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        kill_process(self.pid, Signal::KILL).expect("our own child, which nobody else waits for");
        while matches!(waitpid(Some(self.pid), WaitOptions::empty()), Err(rustix::io::Errno::INTR)) {}
    }
}

fn die_with(parent: u32) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let is_there = rustix::process::getppid().is_some_and(|pid| pid.as_raw_nonzero().get().cast_unsigned() == parent);
    if is_there { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// Marsaglia's xorshift: for instants, not for secrets.
struct Random(u64);

impl Random {
    /// From 0 to 1.
    fn part(&mut self) -> f64 {
        self.0 |= 1;
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}
