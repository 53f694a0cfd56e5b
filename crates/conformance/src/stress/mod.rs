//! All primitives at once, used by processes that are killed at random instants.
//!
//! [`run`] starts *actors*, processes that do one random thing after the other with what they share (`world`: a queue, locks, a
//! semaphore, an event, a condition, a barrier, values, arrays, a list, named memory, a manager), and *couples*, two processes with a pipe between
//! them. Now and then one is killed by SIGKILL, whatever it is doing, and another one takes its place. Actors check what they see, and
//! panic when it is wrong or does not come within a minute; in the end it is counted whether anything was lost that no kill can
//! explain, and whether anything is left.

mod actor;
mod couple;
mod random;
mod world;

use crate::{PATIENCE, descendants};
use concurrent_futures::multiprocessing::{ExitStatus, Manager, Process, scavenge};
use random::Random;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};
use world::{Deed, World};

/// How long, and with how many.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// So long processes are started and killed.
    pub time: Duration,
    /// Processes that use everything.
    pub actors: usize,
    /// Pairs with a pipe between them.
    pub couples: usize,
    /// A kill each so often, on average.
    pub kill_every: Duration,
    /// Of all that is left to chance. (What the kernel makes of it is another matter.)
    pub seed: u64,
}

/// What was done, and what was wrong.
#[derive(Clone, Debug)]
pub struct Report {
    /// How often each thing was done.
    pub deeds: Vec<(&'static str, u64)>,
    /// Processes that were started.
    pub started: u64,
    /// Processes that were killed.
    pub kills: u64,
    /// How often somebody has found a dead owner's work half done, and has repaired it.
    pub repairs: u64,
    /// What must not be.
    pub complaints: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} processes, {} kills, {} repairs;", self.started, self.kills, self.repairs)?;
        self.deeds.iter().try_for_each(|(deed, times)| write!(f, " {deed} {times}"))?;
        self.complaints.iter().try_for_each(|complaint| write!(f, "\nCOMPLAINT: {complaint}"))
    }
}

/// If no process has done something for so long, nobody can any more.
const HANGS: Duration = PATIENCE;

/// Does it; `look` is called about once a second with how far it is. Nobody else in this program may start processes meanwhile:
/// in the end, whatever descends from it and did not before is a process that was left.
///
/// # Errors
/// What is shared cannot be made, or a process cannot be started.
pub fn run(options: Options, mut look: impl FnMut(&Report)) -> io::Result<Report> {
    let mut crowd = Crowd::new(options)?;
    let end = Instant::now() + options.time;
    let mut next_look = Instant::now() + Duration::from_secs(1);
    let mut progress = Progress::of(&crowd.world);
    while Instant::now() < end && crowd.report.complaints.is_empty() {
        let pause = options.kill_every.mul_f64(2.0 * crowd.random.part());
        let until = Instant::now() + pause;
        while Instant::now() < until.min(end) {
            crowd.world.tick();
            crowd.replace_the_dead()?;
            std::thread::sleep(Duration::from_millis(2));
        }
        crowd.kill_one()?;
        if Instant::now() >= next_look {
            next_look = Instant::now() + Duration::from_secs(1);
            crowd.count();
            crowd.report.complaints.extend(progress.complaint(&crowd.world));
            look(&crowd.report);
        }
    }
    crowd.end()
}

/// The processes.
struct Crowd {
    manager: Manager,
    world: World,
    random: Random,
    /// Each with the place that it has in the world.
    actors: Vec<Process>,
    couples: Vec<[Process; 2]>,
    report: Report,
    /// What else descends from this process: it was there before.
    before: Vec<u32>,
}

impl Crowd {
    fn new(options: Options) -> io::Result<Crowd> {
        // The first process starts the fork server, which stays.
        Process::start(|()| (), ())?.join()?;
        let before = descendants(std::process::id());
        let random = Random::new(options.seed);
        let report = Report { deeds: Vec::new(), started: 0, kills: 0, repairs: 0, complaints: Vec::new() };
        let manager = Manager::new().map_err(io::Error::other)?;
        let world = World::new(&manager)?;
        let mut crowd = Crowd { manager, world, random, actors: Vec::new(), couples: Vec::new(), report, before };
        for _ in 0..options.actors {
            let actor = crowd.start_actor()?;
            crowd.actors.push(actor);
        }
        for _ in 0..options.couples {
            let couple = crowd.start_couple()?;
            crowd.couples.push(couple);
        }
        Ok(crowd)
    }

    fn start_actor(&mut self) -> io::Result<Process> {
        self.report.started += 1;
        Process::target(actor::act, (self.world.clone(), self.report.started, self.random.next())).daemon(true).start()
    }

    fn start_couple(&mut self) -> io::Result<[Process; 2]> {
        self.report.started += 2;
        couple::start(&self.world, self.random.next())
    }

    /// One of them, whatever it is doing; and whoever goes with it.
    fn kill_one(&mut self) -> io::Result<()> {
        let victim = self.random.below(self.actors.len() + 2 * self.couples.len());
        if victim < self.actors.len() {
            self.bury(self.actors[victim].clone())?;
            self.actors[victim] = self.start_actor()?;
        } else {
            let (couple, one) = ((victim - self.actors.len()) / 2, (victim - self.actors.len()) % 2);
            self.bury(self.couples[couple][one].clone())?;
            // The other one is told by the end of the pipe.
            let other = self.couples[couple][1 - one].clone();
            self.expect_end(&other, "a process whose pipe has ended")?;
            self.couples[couple] = self.start_couple()?;
        }
        Ok(())
    }

    fn bury(&mut self, process: Process) -> io::Result<()> {
        process.kill()?;
        let status = process.join()?;
        self.note_end(&process, status);
        Ok(())
    }

    /// Actors kill themselves, too; to end otherwise is wrong.
    fn note_end(&mut self, process: &Process, status: ExitStatus) {
        match status.signal() {
            Some(libc::SIGKILL) => self.report.kills += 1,
            _ => self.report.complaints.push(format!("{} has ended by itself: {status}", process.name())),
        }
    }

    fn replace_the_dead(&mut self) -> io::Result<()> {
        for place in 0..self.actors.len() {
            let actor = self.actors[place].clone();
            if let Some(status) = actor.exit_status() {
                self.note_end(&actor, status);
                self.actors[place] = self.start_actor()?;
            }
        }
        for process in self.couples.iter().flatten() {
            if let Some(status) = process.exit_status() {
                self.report.complaints.push(format!("{} has ended by itself: {status}", process.name()));
            }
        }
        Ok(())
    }

    /// Waits until it has ended, well.
    fn expect_end(&mut self, process: &Process, who: &str) -> io::Result<()> {
        match process.join_timeout(PATIENCE)? {
            Some(status) if status.success() => {}
            Some(status) => self.report.complaints.push(format!("{who}, {}, has failed: {status}", process.name())),
            None => {
                self.report.complaints.push(format!("{who}, {} ({}), does not end", process.name(), process.pid()));
                process.kill()?;
                process.join()?;
            }
        }
        Ok(())
    }

    fn count(&mut self) {
        self.report.deeds = Deed::ALL.iter().map(|deed| (deed.name(), self.world.times(*deed))).collect();
        self.report.repairs = self.world.repairs();
    }

    fn end(mut self) -> io::Result<Report> {
        self.world.stop();
        // They may wait for what is done here.
        let limit = Instant::now() + PATIENCE;
        let all = |crowd: &Self| crowd.actors.iter().chain(crowd.couples.iter().flatten()).cloned().collect::<Vec<_>>();
        while all(&self).iter().any(Process::is_alive) && Instant::now() < limit {
            self.world.tick();
            std::thread::sleep(Duration::from_millis(1));
        }
        for process in all(&self) {
            match process.exit_status() {
                Some(status) if status.signal() == Some(libc::SIGKILL) => self.note_end(&process, status),
                _ => self.expect_end(&process, "a process that was told to end")?,
            }
        }
        self.count();
        self.report.complaints.extend(self.world.complaints(self.report.kills)?);
        let Crowd { manager, world, mut report, before, .. } = self;
        let mark = world.mark().to_owned();
        drop(world);
        manager.shutdown().map_err(io::Error::other)?;
        report.complaints.extend(left_behind(&mark, &before)?);
        Ok(report)
    }
}

/// Names and processes that should be gone, after some time.
fn left_behind(mark: &str, before: &[u32]) -> io::Result<Vec<String>> {
    let limit = Instant::now() + PATIENCE;
    loop {
        scavenge()?;
        let mut left: Vec<String> = std::fs::read_dir("/dev/shm")?
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.contains(mark))
            .map(|name| format!("{name} is left in /dev/shm"))
            .collect();
        let processes = descendants(std::process::id());
        let what = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let new = processes.iter().filter(|pid| !before.contains(pid));
        left.extend(new.map(|pid| format!("a process is left: {}", what(pid))));
        if left.is_empty() || Instant::now() > limit {
            return Ok(left);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether everything goes on.
struct Progress {
    /// How often each thing was done when that was new, and when.
    seen: Vec<(u64, Instant)>,
}

impl Progress {
    fn of(world: &World) -> Progress {
        Progress { seen: Deed::ALL.iter().map(|deed| (world.times(*deed), Instant::now())).collect() }
    }

    fn complaint(&mut self, world: &World) -> Option<String> {
        for (deed, seen) in Deed::ALL.iter().zip(&mut self.seen) {
            match world.times(*deed) {
                times if times != seen.0 => *seen = (times, Instant::now()),
                times if seen.1.elapsed() > HANGS => {
                    return Some(format!("nothing moves: {} was done {times} times {HANGS:?} ago", deed.name()));
                }
                _ => {}
            }
        }
        None
    }
}
