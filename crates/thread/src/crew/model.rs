//! Every order of events in small pools: the rules of `State` are driven by actors that take turns in all possible ways, each
//! turn being one hold of the lock (or one wake-up between two). No job may be left behind, and nobody asleep who is needed.

use super::job::Job;
use super::parker::Parker;
use super::queue::Queue;
use super::size::Size;
use super::state::{Help, Next, State};
use concurrent_futures_core::TaskId;
use concurrent_futures_core::task::closure;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// What a job does.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Plain,
    /// It sleeps until another job is done (and its future cannot be run in place).
    WaitFor(usize),
    /// It goes on until another job is done, which the pool is not told: the two must run at once.
    WorkUntil(usize),
}

#[derive(Default)]
struct Scenario {
    max_workers: usize,
    /// So many are kept; more than that end when they have been idle for long, if this is not `max_workers`.
    min_workers: Option<usize>,
    /// Somebody gives the pool these sizes, one after the other.
    sizes: Vec<usize>,
    /// Somebody starts all the workers that there may be, at some time.
    warms_up: bool,
    /// For each submitter the jobs that it puts in, one after the other.
    submitters: Vec<Vec<Kind>>,
    /// Somebody shuts the pool down at some time.
    closes: bool,
}

/// Longer than a worker is kept that is one too many.
const IDLE: Duration = Duration::from_secs(60);

/// Where an actor is. Each but the last three can take a turn.
enum At {
    /// A submitter, before its next job.
    Submit(VecDeque<usize>),
    /// Somebody calls help, and goes on there.
    CallHelp(Box<At>),
    /// Somebody wakes these, one a turn, and goes on there.
    Wake(Vec<Arc<Parker>>, Box<At>),
    Arrive(usize),
    Search(usize),
    Run(usize, usize),
    /// Back from a job.
    Finish(usize),
    Unblock(usize, usize),
    Close,
    /// Before the pool is given its next size.
    Resize(VecDeque<usize>),
    /// Somebody sees to it that there are the workers that are kept, and goes on there.
    Keep(Box<At>),
    WarmUp,
    /// Workers are started one by one, so many at most, and so that there are no more than the second number.
    Start(usize, usize, Box<At>),
    /// A worker asleep for want of work; for how long, if not for ever.
    Parked(usize, Arc<Parker>, Option<Duration>),
    /// A worker's time was up, but somebody is about to wake it.
    Woken(usize, Arc<Parker>),
    /// In a wait for a job.
    Asleep(usize, usize, usize),
    Over,
}

struct World {
    /// As it was built.
    size: Size,
    state: State,
    actors: Vec<At>,
    kinds: Vec<Kind>,
    jobs: HashMap<TaskId, usize>,
    queued: VecDeque<usize>,
    done: Vec<bool>,
    /// Neither refused nor lost.
    accepted: Vec<bool>,
}

impl World {
    fn new(scenario: &Scenario) -> Self {
        let kinds: Vec<_> = scenario.submitters.iter().flatten().copied().collect();
        let mut next = 0..;
        let submitter = |jobs: &Vec<Kind>| At::Submit(next.by_ref().take(jobs.len()).collect());
        let mut actors: Vec<_> = scenario.submitters.iter().map(submitter).collect();
        if scenario.closes {
            actors.push(At::Close);
        }
        if !scenario.sizes.is_empty() {
            actors.push(At::Resize(scenario.sizes.iter().copied().collect()));
        }
        if scenario.warms_up {
            actors.push(At::WarmUp);
        }
        if scenario.min_workers.is_some_and(|least| least > 0) {
            actors.push(At::Keep(Box::new(At::Over)));
        }
        let size = Size {
            max_workers: scenario.max_workers,
            min_workers: scenario.min_workers.unwrap_or(0),
            idle_timeout: scenario.min_workers.map(|_| IDLE),
        };
        World {
            state: State::new(Queue::new(false), &size, usize::MAX),
            size,
            actors,
            done: vec![false; kinds.len()],
            accepted: vec![false; kinds.len()],
            kinds,
            jobs: HashMap::new(),
            queued: VecDeque::new(),
        }
    }

    /// Which turns are possible: the actor, and whether its time is up.
    fn turns(&self) -> Vec<(usize, bool)> {
        let mut turns = Vec::new();
        for (i, actor) in self.actors.iter().enumerate() {
            match actor {
                At::Over => {}
                At::Submit(jobs) if jobs.is_empty() => {}
                At::Resize(sizes) if sizes.is_empty() => {}
                At::Asleep(_, _, on) if !self.done[*on] => {}
                At::Run(_, job) if matches!(self.kinds[*job], Kind::WorkUntil(on) if !self.done[on]) => {}
                At::Parked(_, parker, timed) => {
                    if parker.is_woken() {
                        turns.push((i, false));
                    } else if timed.is_some() {
                        turns.push((i, true));
                    }
                }
                At::Woken(_, parker) if !parker.is_woken() => {}
                _ => turns.push((i, false)),
            }
        }
        turns
    }

    fn turn(&mut self, i: usize, time_is_up: bool) {
        let actor = std::mem::replace(&mut self.actors[i], At::Over);
        self.actors[i] = match actor {
            At::Submit(mut jobs) => match jobs.pop_front() {
                Some(job) => self.submit(job, At::Submit(jobs)),
                None => At::Over,
            },
            At::CallHelp(then) => self.call_help(then),
            At::Wake(mut parkers, then) => {
                if let Some(parker) = parkers.pop() {
                    parker.wake();
                }
                if parkers.is_empty() { *then } else { At::Wake(parkers, then) }
            }
            At::Arrive(number) => {
                self.state.arrive();
                self.at_queue(number, false)
            }
            At::Search(number) => {
                self.state.end_search();
                self.at_queue(number, true)
            }
            At::Run(number, job) => match self.kinds[job] {
                Kind::WaitFor(other) if !self.done[other] => {
                    self.state.block();
                    self.help_then(At::Asleep(number, job, other))
                }
                _ => self.finish(number, job),
            },
            At::Asleep(number, job, _) => At::Unblock(number, job),
            At::Unblock(number, job) => {
                self.state.unblock();
                self.finish(number, job)
            }
            At::Finish(number) => {
                self.state.finished += 1;
                self.at_queue(number, false)
            }
            At::Close => {
                self.state.close();
                let parkers = self.state.wake_all();
                wake_then(parkers, At::Over)
            }
            At::Resize(mut sizes) => match sizes.pop_front() {
                Some(size) => {
                    let parkers = self.state.resize(&self.size.resized(size));
                    let then = At::Keep(Box::new(At::Resize(sizes)));
                    wake_then(parkers, At::CallHelp(Box::new(then)))
                }
                None => At::Over,
            },
            At::Keep(then) => self.start_up_to(self.state.min_workers(), then),
            At::WarmUp => self.start_up_to(self.state.max_workers(), Box::new(At::Over)),
            At::Start(missing, least, then) => match self.state.reserve_up_to(least) {
                Some(number) => {
                    self.state.spawning -= 1;
                    self.actors.push(At::Arrive(number));
                    if missing > 1 { At::Start(missing - 1, least, then) } else { *then }
                }
                None => *then,
            },
            At::Parked(number, parker, slept) if time_is_up => {
                if !self.state.unpark(&parker) {
                    At::Woken(number, parker)
                } else if self.state.is_expendable(slept.expect("its time is up")) {
                    self.end(number)
                } else {
                    self.at_queue(number, true)
                }
            }
            At::Parked(number, parker, _) | At::Woken(number, parker) => {
                assert!(parker.park(None));
                self.state.end_search();
                self.at_queue(number, false)
            }
            At::Over => unreachable!("it takes no turns"),
        };
    }

    fn submit(&mut self, job: usize, then: At) -> At {
        if self.state.refusal().is_some() {
            return then;
        }
        let (task, _) = closure(|| ());
        self.jobs.insert(task.id(), job);
        self.state.queue.push(Job::Task(task));
        self.queued.push_back(job);
        self.accepted[job] = true;
        self.help_then(then)
    }

    fn help_then(&self, then: At) -> At {
        if self.state.help() == Help::None { then } else { At::CallHelp(Box::new(then)) }
    }

    fn call_help(&mut self, then: Box<At>) -> At {
        match self.state.help() {
            Help::None => *then,
            Help::Wake => At::Wake(self.state.wake_one().into_iter().collect(), then),
            Help::Start => {
                let number = self.state.reserve();
                self.state.spawning -= 1;
                self.actors.push(At::Arrive(number));
                *then
            }
        }
    }

    fn start_up_to(&self, least: usize, then: Box<At>) -> At {
        let missing = self.state.missing(least);
        if missing > 0 { At::Start(missing, least, then) } else { *then }
    }

    fn at_queue(&mut self, number: usize, has_searched: bool) -> At {
        match self.state.next(has_searched) {
            Next::Run(Job::Task(task)) => {
                let job = self.jobs[&task.id()];
                assert_eq!(self.queued.pop_front(), Some(job));
                self.help_then(At::Run(number, job))
            }
            Next::Run(Job::Scoped(_) | Job::Poll(_)) => unreachable!("there are none here"),
            Next::Search => At::Search(number),
            Next::Park => {
                let parker = Arc::new(Parker::new());
                self.state.park(&parker);
                At::Parked(number, parker, self.state.patience())
            }
            Next::End => self.end(number),
        }
    }

    fn finish(&mut self, number: usize, job: usize) -> At {
        assert!(!self.done[job], "a job runs once");
        self.done[job] = true;
        At::Finish(number)
    }

    fn end(&mut self, number: usize) -> At {
        self.state.release(number);
        At::Over
    }

    /// Holds when nothing goes on but starts of threads, which may be as slow as their initializers: who could take a job has
    /// been called.
    fn check_pause(&self) {
        let parked = self.state.parked().len();
        let [threads, _, blocked, _, max_workers] = self.state.counts();
        let is_staffed = threads - blocked - parked >= max_workers;
        assert!(self.queued.is_empty() || parked == 0 || is_staffed, "a job waits, and so does a worker");
    }

    /// Holds when nothing goes on.
    fn check_end(&self) {
        assert!(self.queued.is_empty(), "a job was left behind");
        assert_eq!(self.accepted, self.done, "an accepted job did not run");
        if self.state.is_over() {
            assert_eq!(self.state.threads(), 0, "a worker was left behind");
        } else {
            assert!(self.state.threads() >= self.state.min_workers(), "a worker ended that was to be kept");
        }
        assert_eq!(self.state.idle(), self.state.threads());
    }

    /// Holds when nothing goes on and nobody sleeps for a time only.
    fn check_rest(&self) {
        let most = self.size.idle_timeout.map_or(self.state.max_workers(), |_| self.state.min_workers());
        assert!(self.state.threads() <= most, "a worker sleeps for ever that was to end");
    }

    /// All that the future depends on.
    fn fingerprint(&self) -> String {
        let parked: Vec<_> = self.state.parked().iter().map(|parker| self.owner(parker)).collect();
        let actors: Vec<_> = self.actors.iter().map(|actor| self.describe(actor)).collect();
        let (queued, done, accepted) = (&self.queued, &self.done, &self.accepted);
        format!("{queued:?} {done:?} {accepted:?} {:?} {parked:?} {actors:?}", self.state.counts())
    }

    fn describe(&self, actor: &At) -> String {
        match actor {
            At::Submit(jobs) => format!("submit {jobs:?}"),
            At::CallHelp(then) => format!("help, {}", self.describe(then)),
            At::Wake(parkers, then) => {
                let whom: Vec<_> = parkers.iter().map(|parker| self.owner(parker)).collect();
                format!("wake {whom:?}, {}", self.describe(then))
            }
            At::Arrive(n) => format!("{n} arrives"),
            At::Search(n) => format!("{n} searches"),
            At::Run(n, job) => format!("{n} runs {job}"),
            At::Finish(n) => format!("{n} finishes"),
            At::Unblock(n, job) => format!("{n} wakes in {job}"),
            At::Close => "close".into(),
            At::Resize(sizes) => format!("resize {sizes:?}"),
            At::Keep(then) => format!("keep, {}", self.describe(then)),
            At::WarmUp => "warm up".into(),
            At::Start(missing, least, then) => format!("start {missing} up to {least}, {}", self.describe(then)),
            At::Parked(n, parker, slept) => format!("{n} parked {} {slept:?}", parker.is_woken()),
            At::Woken(n, parker) => format!("{n} woken {}", parker.is_woken()),
            At::Asleep(n, job, _) => format!("{n} asleep in {job}"),
            At::Over => "over".into(),
        }
    }

    /// The actor that sleeps there.
    fn owner(&self, sleeps_in: &Arc<Parker>) -> usize {
        let is_it = |actor: &At| match actor {
            At::Parked(_, parker, _) | At::Woken(_, parker) => Arc::ptr_eq(parker, sleeps_in),
            _ => false,
        };
        self.actors.iter().position(is_it).expect("who is to be woken sleeps")
    }
}

fn wake_then(parkers: Vec<Arc<Parker>>, then: At) -> At {
    if parkers.is_empty() { then } else { At::Wake(parkers, Box::new(then)) }
}

/// Has all actors take turns in every order; gives how many different situations there are.
fn explore(scenario: &Scenario) -> usize {
    let mut seen = HashSet::new();
    let mut open = vec![Vec::new()];
    while let Some(turns) = open.pop() {
        let mut world = World::new(scenario);
        for (actor, time_is_up) in &turns {
            world.turn(*actor, *time_is_up);
        }
        if !seen.insert(world.fingerprint()) {
            continue;
        }
        let next = world.turns();
        // Those whose time may be up sleep as long as they like, and all others sleep for ever.
        let goes_on = |(actor, time_is_up): &(usize, bool)| (!time_is_up).then(|| &world.actors[*actor]);
        if next.iter().filter_map(goes_on).all(|actor| matches!(actor, At::Arrive(_))) {
            world.check_pause();
        }
        if next.iter().filter_map(goes_on).next().is_none() {
            world.check_end();
        }
        if next.is_empty() {
            world.check_rest();
        }
        open.extend(next.into_iter().map(|turn| turns.iter().copied().chain([turn]).collect()));
    }
    seen.len()
}

use Kind::{Plain, WaitFor, WorkUntil};

#[test]
fn one_worker_and_two_submitters() {
    let jobs = vec![vec![Plain, Plain], vec![Plain, Plain]];
    assert!(explore(&Scenario { max_workers: 1, submitters: jobs, ..Scenario::default() }) > 100);
}

#[test]
fn two_workers_and_two_submitters() {
    let jobs = vec![vec![Plain, Plain], vec![Plain, Plain]];
    assert!(explore(&Scenario { max_workers: 2, submitters: jobs, ..Scenario::default() }) > 1_000);
}

#[test]
fn three_workers_and_one_submitter() {
    let jobs = vec![vec![Plain; 4]];
    assert!(explore(&Scenario { max_workers: 3, submitters: jobs, ..Scenario::default() }) > 1_000);
}

#[test]
fn jobs_that_wait_for_jobs_of_their_pool() {
    let jobs = vec![vec![WaitFor(1), Plain, Plain]];
    assert!(explore(&Scenario { max_workers: 1, submitters: jobs, ..Scenario::default() }) > 100);
    let jobs = vec![vec![WaitFor(2), WaitFor(3)], vec![Plain, Plain]];
    assert!(explore(&Scenario { max_workers: 1, submitters: jobs, ..Scenario::default() }) > 1_000);
}

#[test]
fn waits_with_two_workers() {
    let jobs = vec![vec![WaitFor(2), WaitFor(2)], vec![Plain, Plain]];
    assert!(explore(&Scenario { max_workers: 2, submitters: jobs, ..Scenario::default() }) > 1_000);
}

#[test]
fn jobs_that_must_run_at_once() {
    let jobs = vec![vec![Plain, WorkUntil(2), Plain]];
    assert!(explore(&Scenario { max_workers: 2, submitters: jobs, ..Scenario::default() }) > 100);
    let jobs = vec![vec![WorkUntil(2), WorkUntil(2), Plain, Plain]];
    assert!(explore(&Scenario { max_workers: 3, submitters: jobs, ..Scenario::default() }) > 1_000);
    let jobs = vec![vec![WaitFor(2), WorkUntil(2), Plain], vec![Plain]];
    assert!(explore(&Scenario { max_workers: 2, submitters: jobs, ..Scenario::default() }) > 1_000);
}

#[test]
fn the_end_comes_at_any_time() {
    let jobs = vec![vec![Plain, Plain], vec![Plain]];
    assert!(explore(&Scenario { max_workers: 2, submitters: jobs, closes: true, ..Scenario::default() }) > 1_000);
    // A wait for a job that may have been refused would be one for ever: here it was accepted before.
    let jobs = vec![vec![Plain, WaitFor(0), Plain]];
    assert!(explore(&Scenario { max_workers: 1, submitters: jobs, closes: true, ..Scenario::default() }) > 100);
}

#[test]
fn idle_workers_end_at_any_time() {
    let elastic = |min_workers, max_workers, submitters| Scenario {
        min_workers: Some(min_workers),
        max_workers,
        submitters,
        ..Scenario::default()
    };
    assert!(explore(&elastic(0, 1, vec![vec![Plain, Plain], vec![Plain]])) > 100);
    assert!(explore(&elastic(0, 2, vec![vec![Plain, Plain], vec![Plain]])) > 1_000);
    assert!(explore(&elastic(1, 2, vec![vec![Plain, Plain], vec![Plain]])) > 1_000);
    assert!(explore(&elastic(0, 1, vec![vec![WaitFor(1), Plain, Plain]])) > 100);
    assert!(explore(&elastic(0, 2, vec![vec![WorkUntil(2), Plain], vec![Plain]])) > 1_000);
}

#[test]
fn the_size_changes_at_any_time() {
    let resized = |max_workers, sizes: &[usize], submitters| Scenario {
        max_workers,
        sizes: sizes.to_vec(),
        submitters,
        ..Scenario::default()
    };
    assert!(explore(&resized(1, &[2], vec![vec![Plain, Plain, Plain]])) > 100);
    assert!(explore(&resized(2, &[1], vec![vec![Plain, Plain], vec![Plain]])) > 1_000);
    assert!(explore(&resized(2, &[1, 2], vec![vec![Plain, Plain, Plain]])) > 1_000);
    assert!(explore(&resized(1, &[2, 1], vec![vec![WaitFor(1), Plain, Plain]])) > 1_000);
    // What it was made larger for must run at once.
    assert!(explore(&resized(1, &[2], vec![vec![WorkUntil(1), Plain]])) > 100);
}

#[test]
fn idle_workers_end_while_the_size_changes() {
    for min_workers in 0..=2 {
        let jobs = vec![vec![Plain, Plain]];
        let sizes = vec![1, 2];
        let scenario = Scenario { min_workers: Some(min_workers), ..Scenario::default() };
        assert!(explore(&Scenario { max_workers: 2, sizes, submitters: jobs, ..scenario }) > 1_000);
    }
}

#[test]
fn workers_are_started_ahead_of_the_jobs() {
    for min_workers in [None, Some(0), Some(1)] {
        let jobs = vec![vec![Plain, Plain]];
        let scenario = Scenario { min_workers, warms_up: true, ..Scenario::default() };
        assert!(explore(&Scenario { max_workers: 2, submitters: jobs, ..scenario }) > 100);
    }
    let jobs = vec![vec![Plain, Plain]];
    let scenario = Scenario { sizes: vec![1], closes: true, warms_up: true, ..Scenario::default() };
    assert!(explore(&Scenario { max_workers: 2, submitters: jobs, ..scenario }) > 1_000);
}
