//! Killing a process at every instant of what it does.
//!
//! What processes share must be right when one of them is killed, whenever that is. A [`Sweep`] looks at that: it forks off a
//! child that runs a function, lets it execute so many machine instructions, one at a time (`ptrace`), kills it with SIGKILL at
//! just that point, and has the test look at what is left; then the same with another child that gets a little further, until
//! one comes to its end. So each instant is met, always the same ones, and a test that fails says which.
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
//! - A debug build takes some thousand instructions for one operation, a step some microseconds, and the way to the n-th has n
//!   of them: up to 3,000 instructions [`Sweep::every`] one is fine, and for more a step that is prime (97, say) misses
//!   no place in a loop for long. A sweep should be over in a few seconds.
//!
//! # Where `ptrace` is forbidden
//!
//! Some containers forbid it. Then children are killed at random instants of about the time that the body takes, and a line on standard
//! error says so, with the seed; `SWEEP_SEED` in the environment repeats it as far as time can be repeated.
//!
//! On processors that do atomic operations by load-linked and store-conditional (Arm before 8.1) a step never gets past one;
//! the sweep fails there, after many steps, and says so.

use crate::PATIENCE;
use concurrent_futures::process::ProcessPoolExecutor;
use concurrent_futures::{ExecutorExt, Portable};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, waitpid};
use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Runs `f` in a process of its own, with nothing but the thread that does it.
///
/// # Panics
///
/// If `f` does, or its process dies, or there is no outcome within some minutes.
pub fn alone<A: Portable, R: Portable>(f: fn(A) -> R, argument: A) -> R {
    let pool = ProcessPoolExecutor::new(1).expect("a process pool");
    let outcome = pool.submit(f, argument).result_timeout(3 * PATIENCE);
    outcome.unwrap_or_else(|late| panic!("no end of the sweep: {:?}", late.0)).unwrap_or_else(|error| panic!("{error}"))
}

/// Kills at one instant after the other; see [the module](self).
pub struct Sweep<'a> {
    step: u64,
    first: u64,
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
    /// After none, after `step` instructions, after twice as many, and so on.
    pub fn every(step: u64) -> Sweep<'a> {
        assert!(step > 0, "it would never end");
        Sweep { step, first: 0, when_blocked: Box::new(|| {}) }
    }

    /// Begins after so many instructions: to look into a failure, or to share a sweep between tests.
    pub fn from(self, first: u64) -> Sweep<'a> {
        Sweep { first, ..self }
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
        let _pinned = Pinned::here();
        let mut kills = 0;
        let mut instructions = self.first;
        loop {
            let Some(child) = Child::traced(&body) else { return self.run_at_random(body, check) };
            let place = Place(Cell::new(Moment { instructions, blocked: false, ended: false }));
            let moment = child.go(instructions, &mut self.when_blocked, &place);
            place.0.set(moment);
            child.kill();
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
        let whole = Child::free(&body).wait_for_end(&mut self.when_blocked);
        let ended = Moment { instructions: 0, blocked: false, ended: true };
        check(ended);
        for _ in 0..KILLS {
            let child = Child::free(&body);
            let limit = Instant::now() + whole.mul_f64(1.2 * random.part());
            while Instant::now() < limit {
                std::hint::spin_loop();
            }
            child.kill();
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

/// A child that is killed, if it is not before.
struct Child(Pid);

/// What has become of a child that was told to go one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Done,
    /// It has stopped by itself, which it does at both ends of the body.
    Edge,
    /// It sleeps in the kernel.
    Asleep,
    /// A signal is about to reach it.
    Signal(i32),
}

const FORBIDDEN: i32 = 120;

impl Child {
    /// One that waits to be stepped through `body`; `None` if that is forbidden.
    fn traced(body: &impl Fn()) -> Option<Child> {
        let child = Child::fork(|| {
            trace_me();
            stop_here();
            body();
            stop_here();
        });
        match child.wait(WaitOptions::UNTRACED) {
            Some(status) if status.stopped() => {}
            Some(status) if status.exit_status() == Some(FORBIDDEN) => {
                std::mem::forget(child);
                return None;
            }
            status => panic!("a child did not stop where it should: {status:?}"),
        }
        // Nor does it outlive this process.
        child.request(libc::PTRACE_SETOPTIONS, libc::PTRACE_O_EXITKILL as usize).expect("an option of our own child");
        Some(child)
    }

    /// One that runs `body` as it likes.
    fn free(body: &impl Fn()) -> Child {
        Child::fork(body)
    }

    fn fork(run: impl FnOnce()) -> Child {
        let parent = std::process::id();
        // SAFETY: the child has this one thread, and libc sees to it that it can allocate. That nobody else in this process
        // has a lock that the child needs is what `alone` is for.
        match unsafe { libc::fork() } {
            0 => {
                let died_with_it = die_with(parent);
                let ended = died_with_it.is_ok() && catch_unwind(AssertUnwindSafe(run)).is_ok();
                // SAFETY: nothing of this process's parent is cleaned up by its copy.
                unsafe { libc::_exit(if ended { 0 } else { 101 }) }
            }
            pid => Child(
                Pid::from_raw(pid)
                    .filter(|_| pid > 0)
                    .unwrap_or_else(|| panic!("a child to kill: {}", io::Error::last_os_error())),
            ),
        }
    }

    /// Steps through so many instructions, or to the end of the body. Where the last one is one that sleeps, it still does.
    fn go(&self, instructions: u64, when_blocked: &mut dyn FnMut(), place: &Place) -> Moment {
        assert!(
            instructions < MOST,
            "no end of the body, or a processor on which steps never get past an atomic operation"
        );
        let mut signal = 0;
        for done in 0..instructions {
            self.request(libc::PTRACE_SINGLESTEP, signal as usize).expect("a child that can be stepped");
            signal = 0;
            let moment = Moment { instructions: done, blocked: false, ended: false };
            let mut step = self.stepped();
            if step == Step::Asleep {
                let moment = Moment { blocked: true, ..moment };
                if done + 1 == instructions {
                    return moment;
                }
                place.0.set(moment);
                when_blocked();
                let limit = Instant::now() + PATIENCE;
                while step == Step::Asleep {
                    assert!(Instant::now() < limit, "the child sleeps, and nobody wakes it");
                    std::thread::sleep(Duration::from_micros(50));
                    step = self.stepped();
                }
            }
            match step {
                Step::Done => {}
                Step::Edge => return Moment { ended: true, ..moment },
                Step::Signal(number) => signal = number,
                Step::Asleep => unreachable!("it has been waited for"),
            }
        }
        Moment { instructions, blocked: false, ended: false }
    }

    fn stepped(&self) -> Step {
        // Far more than a step takes; then it is worth asking what it does.
        const LOOKS: u32 = 200;
        loop {
            for _ in 0..LOOKS {
                match self.wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
                    Some(status) => return self.step_of(status),
                    None => std::thread::yield_now(),
                }
            }
            if self.is_asleep() {
                return Step::Asleep;
            }
        }
    }

    fn step_of(&self, status: WaitStatus) -> Step {
        match status.stopping_signal() {
            Some(libc::SIGTRAP) => Step::Done,
            Some(libc::SIGSTOP) => Step::Edge,
            Some(signal) => Step::Signal(signal),
            None => panic!("the body did not come to its end: {status:?}"),
        }
    }

    /// Whether it waits in the kernel for something other than its tracer.
    fn is_asleep(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.as_raw_nonzero())).expect("our own child");
        // Behind its name, which is in brackets and may have any in it.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'))
    }

    /// How long it took.
    fn wait_for_end(self, when_blocked: &mut dyn FnMut()) -> Duration {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.wait(WaitOptions::NOHANG) {
                std::mem::forget(self);
                assert!(status.exit_status() == Some(0), "the body did not come to its end: {status:?}");
                return begun.elapsed();
            }
            if self.is_asleep() {
                when_blocked();
            }
            std::thread::yield_now();
        }
        panic!("the child sleeps, and nobody wakes it")
    }

    fn wait(&self, options: WaitOptions) -> Option<WaitStatus> {
        loop {
            match waitpid(Some(self.0), options) {
                Ok(status) => return status.map(|(_, status)| status),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("our own child: {error}"),
            }
        }
    }

    fn request(&self, request: libc::c_uint, data: usize) -> io::Result<()> {
        let (pid, nowhere) = (self.0.as_raw_nonzero().get(), std::ptr::null_mut::<libc::c_void>());
        // SAFETY: these requests take a number, and change nothing in this process.
        let outcome = unsafe { libc::ptrace(request, pid, nowhere, data) };
        if outcome == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// It is gone when this returns.
    fn kill(self) {}
}

impl Drop for Child {
    fn drop(&mut self) {
        kill_process(self.0, Signal::KILL).expect("our own child, which nobody else waits for");
        while self.wait(WaitOptions::empty()).is_some_and(|status| status.stopped()) {}
    }
}

fn trace_me() {
    let nowhere = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: a request without arguments.
    if unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, nowhere, nowhere) } == -1 {
        // SAFETY: as in `fork`.
        unsafe { libc::_exit(FORBIDDEN) }
    }
}

fn stop_here() {
    // SAFETY: a number.
    unsafe { libc::raise(libc::SIGSTOP) };
}

fn die_with(parent: u32) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let is_there = rustix::process::getppid().is_some_and(|pid| pid.as_raw_nonzero().get().cast_unsigned() == parent);
    if is_there { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// One processor for this thread and its children: then a step has no wake-up from one to the other.
struct Pinned(Option<rustix::thread::CpuSet>);

impl Pinned {
    /// Without it all is the same, only slower.
    fn here() -> Pinned {
        let before = rustix::thread::sched_getaffinity(None).ok();
        let mut here = rustix::thread::CpuSet::new();
        here.set(rustix::thread::sched_getcpu());
        Pinned(before.filter(|_| rustix::thread::sched_setaffinity(None, &here).is_ok()))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // As above.
            let _ = rustix::thread::sched_setaffinity(None, before);
        }
    }
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
