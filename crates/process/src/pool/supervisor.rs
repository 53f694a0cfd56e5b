//! The one thread of a pool that watches: answers, deaths, births, timers. It never waits for anybody but the kernel, and
//! runs no code of the user's.

mod births;
mod deaths;
mod evidence;
mod ladder;
mod printed;

use self::births::Starts;
use self::deaths::Wake;
use self::ladder::Ladder;
use self::printed::Printed;
use super::inner::Inner;
use super::intake::Intake;
use super::news::News;
use super::state::After;
use crate::boot;
use crate::handles::worker_is_gone;
use crate::launch::{LaunchEvent, Launcher, WorkerId};
use crate::link::{Frame, Inflow, Outbound};
use crate::slots::Page;
use crate::sys::oom::OomCounters;
use crate::sys::pidfd;
use crate::sys::poller::{Interest, Poller, Ready};
use crate::wire::{Step, Up};
use concurrent_futures_core::task::decode_error;
use concurrent_futures_core::{BuildError, KilledBy, TaskOutput};
use rustix::process::Signal;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

/// How much is received from one worker before the others have their turn.
const BUDGET: usize = 1 << 20;
/// A worker that has closed its link is given this time to end by itself.
const GRACE: Duration = Duration::from_secs(2);
/// How often a task is looked at that core is about to resolve. Nobody rings when it has.
const LIMBO: Duration = Duration::from_millis(1);

const BELL: u64 = u64::MAX;
const LAUNCHER: u64 = u64::MAX - 1;

struct Supervisor {
    pool: Arc<Inner>,
    poller: Arc<Poller>,
    launcher: Launcher,
    posts: HashMap<WorkerId, Post>,
    /// Dead workers of which it is not yet known how they ended.
    wakes: HashMap<WorkerId, Wake>,
    starts: Starts,
    /// Counted from when the first worker is there: it is not to wait for that.
    oom: Option<OomCounters>,
    /// Ends with the supervisor.
    #[cfg(feature = "chaos")]
    _storm: Option<crate::chaos::Storm>,
    /// Answers when it was last decided whether to be on patrol.
    answers: u64,
    /// So many of them since then were taken in here.
    taken: u64,
    /// Used again for each worker.
    news: News,
}

/// What only the supervisor has of a worker.
#[derive(Debug)]
struct Post {
    name: String,
    intake: Arc<Intake>,
    outbound: Arc<dyn Outbound>,
    page: Arc<Page>,
    /// The end of it tells the worker that nobody needs it any more.
    control: OwnedFd,
    /// What it prints, where that is captured.
    printed: Option<Printed>,
    pidfd: Option<Arc<OwnedFd>>,
    /// The worker has closed its end of the link, or sent garbage: nothing is received any more.
    deaf: Option<Instant>,
    /// When it is too late for it to be ready.
    ready_by: Option<Instant>,
    /// Its task is to end.
    ladder: Option<Ladder>,
    /// Why the pool has killed it.
    verdict: Option<String>,
}

/// Runs a pool's supervisor until the pool is over. Reports first whether it could be set up.
pub(super) fn run(pool: Arc<Inner>, report: &SyncSender<Result<(), BuildError>>) {
    let supervisor = match Supervisor::new(pool.clone()) {
        Ok(supervisor) => supervisor,
        Err(error) => {
            let error = BuildError::system("the process pool could not be set up", error);
            // Somebody waits for the report, by the contract.
            let _ = report.send(Err(error));
            return;
        }
    };
    let _ = report.send(Ok(()));
    // What cannot happen must not leave futures that never resolve: the pool breaks, and its workers end with their links.
    if catch_unwind(AssertUnwindSafe(|| supervisor.supervise())).is_err() {
        pool.break_down("its supervisor panicked; this is a bug of concurrent-futures");
        pool.abandon();
    }
}

impl Supervisor {
    fn new(pool: Arc<Inner>) -> io::Result<Self> {
        let poller = Arc::new(Poller::new()?);
        poller.add(&*pool.bell, BELL, Interest::READ)?;
        let preload = pool.settings.preload.as_ref().map(|preload| preload.for_launcher());
        let launcher = Launcher::new(pool.settings.start_method, preload, boot::depth() + 1)?;
        poller.add(launcher.fd(), LAUNCHER, Interest::READ)?;
        let starts = Starts::default();
        #[cfg(feature = "chaos")]
        let storm = pool.storm()?;
        Ok(Supervisor {
            #[cfg(feature = "chaos")]
            _storm: storm,
            pool,
            poller,
            launcher,
            posts: HashMap::new(),
            wakes: HashMap::new(),
            starts,
            oom: None,
            answers: 0,
            taken: 0,
            news: News::default(),
        })
    }

    fn supervise(mut self) {
        loop {
            self.begin_stops();
            self.climb(Instant::now());
            let mut after = After::default();
            let (mute, over) = {
                let (now, mut state) = (Instant::now(), self.pool.lock());
                (state.look(now, &mut after), state.tend(now, &mut after) && self.pool.settling.is_over())
            };
            self.pool.finish(after);
            if over && self.wakes.is_empty() {
                return;
            }
            mute.into_iter().for_each(|id| self.end_the_mute(id));
            self.start_workers();
            self.end_what_is_due();
            let (timeout, look) = self.before_sleep();
            let mut rung = false;
            match self.poller.wait(timeout) {
                Ok(ready) => {
                    rung = ready.iter().any(|ready| ready.token == BELL);
                    ready.into_iter().for_each(|ready| self.turn(ready));
                }
                Err(error) => self.pool.break_down(&format!("its supervisor cannot wait: {error}")),
            }
            if look || rung {
                self.look_around();
            }
        }
    }

    /// How long to sleep, and whether to look at all links then that nothing tells of.
    fn before_sleep(&mut self) -> (Option<Duration>, bool) {
        let timeout = self.timeout();
        if self.quiet_links().next().is_none() {
            return (timeout, false);
        }
        if let Some(round) = self.pool.watch.decide(&mut self.answers, std::mem::take(&mut self.taken)) {
            return (Some(timeout.map_or(round, |timeout| timeout.min(round))), true);
        }
        // All of them: each one is to ring from now on.
        let found = self.quiet_links().filter(|(_, post)| post.intake.lock().arm()).count();
        if found > 0 { (Some(Duration::ZERO), true) } else { (timeout, false) }
    }

    /// Workers whose link tells of answers only when it is armed.
    fn quiet_links(&self) -> impl Iterator<Item = (WorkerId, &Post)> {
        let quiet = |post: &Post| post.deaf.is_none() && post.intake.is_quiet();
        self.posts.iter().filter(move |(_, post)| quiet(post)).map(|(id, post)| (*id, post))
    }

    fn look_around(&mut self) {
        let quiet: Vec<WorkerId> = self.quiet_links().map(|(id, _)| id).collect();
        for id in quiet {
            if let Some(post) = self.posts.get(&id) {
                post.intake.lock().disarm();
                post.outbound.resume();
            }
            self.receive(id, BUDGET);
        }
    }

    fn turn(&mut self, ready: Ready) {
        match ready.token {
            // `tend` looks at everything that the bell may have been rung for, after this.
            BELL => self.pool.bell.clear(),
            LAUNCHER => {
                for event in self.launcher.poll_events() {
                    self.launched(event);
                }
            }
            token => match Token::parse(token) {
                Token::Link(id) => self.link_ready(id, ready),
                Token::Process(id) => self.bury(id),
                Token::Output(id) => {
                    if let Some(printed) = self.posts.get_mut(&id).and_then(|post| post.printed.as_mut()) {
                        printed.drain(&self.poller);
                    }
                }
            },
        }
    }

    fn launched(&mut self, event: LaunchEvent) {
        match event {
            LaunchEvent::Started { worker, pid, pidfd, born } => self.born(worker, pid, pidfd, born),
            LaunchEvent::Failed { worker, error } => self.not_born(worker, &error),
            LaunchEvent::Exited { worker, exit } => self.ended(worker, exit),
            LaunchEvent::FellBack { why } => {
                eprintln!("concurrent-futures: the workers of a process pool are spawned, not forked: {why}");
            }
            LaunchEvent::PreloadFailed { error } => {
                self.pool.break_down(&format!("its preload {}", error.kind()));
            }
            // Its workers live on, and the launcher starts another one.
            LaunchEvent::ServerDied { .. } => {}
        }
    }

    fn link_ready(&mut self, id: WorkerId, ready: Ready) {
        let Some(post) = self.posts.get(&id) else { return };
        let quiet = post.intake.is_quiet();
        if quiet {
            post.intake.lock().disarm();
        }
        if quiet || ready.writable {
            post.outbound.resume();
        }
        if ready.readable || ready.ended {
            self.receive(id, BUDGET);
        }
    }

    /// Receives and digests what a worker has sent. `true`: there may be more.
    fn receive(&mut self, id: WorkerId, budget: usize) -> bool {
        let Some(post) = self.posts.get(&id).filter(|post| post.deaf.is_none()) else { return false };
        let intake = post.intake.clone();
        let mut news = std::mem::take(&mut self.news);
        let mut desk = intake.lock();
        let wrong = desk.take_wrong();
        let inflow = desk.receive(budget);
        let any = !desk.frames.is_empty();
        let mut sense = Ok(());
        if any {
            news.output = self.output_before(id, &desk.frames);
            sense = news.take(&self.pool, id, desk.frames.drain(..));
        }
        drop(desk);
        self.act(id, &mut news);
        self.news = news;
        match (inflow, wrong.map_or(sense, Err)) {
            (Err(error), _) => self.condemn(id, error.to_string()),
            (_, Err(what)) => self.condemn(id, what),
            (Ok(Inflow::End), Ok(())) => self.deafen(id),
            (Ok(Inflow::Dry), Ok(())) => return any,
        }
        false
    }

    /// Does what frames have left to be done when the state knows of them.
    fn act(&mut self, id: WorkerId, news: &mut News) {
        if std::mem::take(&mut news.ready) {
            self.starts.succeeded();
            if let Some(post) = self.posts.get_mut(&id) {
                post.ready_by = None;
            }
        }
        self.taken += news.settle(&self.pool);
        if std::mem::take(&mut news.lane) {
            self.open_lane(id);
        }
        if let Some((step, error)) = news.setup_failed.take() {
            let why = match step {
                Step::Preload => format!("its preload {}", decode_error(&error).kind()),
                Step::Initializer => format!("its initializer {}", decode_error(&error).kind()),
                Step::Limits => format!("a worker cannot be as it is to be: {}", String::from_utf8_lossy(&error)),
            };
            self.pool.break_down(&why);
        }
    }

    /// What a worker has printed for the task whose result is among these frames: to be taken before it gets another one.
    /// What it has printed before it was ready is no task's.
    fn output_before(&mut self, id: WorkerId, frames: &[Frame<Up>]) -> Option<TaskOutput> {
        let printed = self.posts.get_mut(&id)?.printed.as_mut()?;
        let is_end = |(head, _): &Frame<Up>| matches!(head, Up::Ready | Up::Result { .. });
        frames.iter().any(is_end).then(|| printed.take(&self.poller))
    }

    fn open_lane(&mut self, id: WorkerId) {
        let Some(post) = self.posts.get(&id) else { return };
        let opened = self.pool.lock().open_lane(id, post.control.as_fd());
        match opened {
            Ok(()) => {}
            Err(error) if worker_is_gone(&error) => self.deafen(id),
            Err(error) => self.condemn(id, format!("a request for a lane that could not be opened: {error}")),
        }
    }

    /// The worker does not keep to the protocol: it costs that worker, and nobody else.
    fn condemn(&mut self, id: WorkerId, what: String) {
        self.deafen(id);
        self.pool.lock().suspend(id, KilledBy::Protocol);
        if let Some(post) = self.posts.get_mut(&id) {
            post.verdict.get_or_insert_with(|| format!("it sent {what}"));
            post.kill();
        }
    }

    /// Nothing can be received from the worker any more. It is about to end, or its task has closed what is not its own.
    fn deafen(&mut self, id: WorkerId) {
        let Some(post) = self.posts.get_mut(&id) else { return };
        if post.deaf.is_none() {
            post.deaf = Some(Instant::now());
            post.stop_listening(&self.poller);
            self.pool.lock().suspend(id, KilledBy::Nobody);
        }
    }

    /// It neither takes a task nor leaves, and has none.
    fn end_the_mute(&mut self, id: WorkerId) {
        self.pool.lock().suspend(id, KilledBy::Protocol);
        if let Some(post) = self.posts.get_mut(&id) {
            post.verdict.get_or_insert_with(|| "it took no tasks any more".to_owned());
            post.kill();
        }
    }

    fn end_what_is_due(&mut self) {
        let now = Instant::now();
        for (id, post) in &mut self.posts {
            if post.deaf.is_some_and(|since| since + GRACE <= now) && post.verdict.is_none() {
                post.verdict = Some("it closed its link to the pool".to_owned());
                self.pool.lock().suspend(*id, KilledBy::Protocol);
                post.kill();
            }
        }
        self.end_the_unready(now);
        self.hurry_wakes(now);
    }

    /// Until when nothing has to be done unless something happens.
    fn timeout(&self) -> Option<Duration> {
        let deaf =
            self.posts.values().filter(|post| post.verdict.is_none()).filter_map(|post| Some(post.deaf? + GRACE));
        let ladders = self.posts.values().filter_map(|post| post.ladder.as_ref()?.until());
        let unready = self.posts.values().filter_map(|post| post.ready_by);
        let wakes = self.wakes.values().map(Wake::until);
        let state = self.pool.lock();
        let retry = self.starts.retry_at().filter(|_| state.wanted() > 0);
        let expiry = state.next_expiry();
        let attempt = state.next_attempt();
        let look = state.next_look();
        let limbo = state.in_limbo().then(|| Instant::now() + LIMBO);
        let first = deaf
            .chain(wakes)
            .chain(retry)
            .chain(limbo)
            .chain(expiry)
            .chain(attempt)
            .chain(ladders)
            .chain(unready)
            .chain(look)
            .min()?;
        Some(first.saturating_duration_since(Instant::now()))
    }
}

impl Post {
    fn kill(&self) {
        match &self.pidfd {
            // The process is ours; all that can be is that it has ended.
            Some(pidfd) => drop(pidfd::kill(pidfd)),
            // A worker that speaks has a process that was reported, or soon will be; the end of `control` ends it too.
            None => drop(rustix::net::shutdown(&self.control, rustix::net::Shutdown::Both)),
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(pidfd) = &self.pidfd {
            // The process is ours; all that can be is that it has ended.
            let _ = pidfd::signal(pidfd, signal);
        }
    }

    fn stop_listening(&self, poller: &Poller) {
        let mut desk = self.intake.lock();
        desk.close();
        // An error would mean that it is not watched, which is what is wanted.
        let _ = poller.remove(desk.descriptor());
    }
}

/// What an event of the poller is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Link(WorkerId),
    Process(WorkerId),
    Output(WorkerId),
}

impl Token {
    fn encode(self) -> u64 {
        match self {
            Token::Link(WorkerId(id)) => id << 2,
            Token::Process(WorkerId(id)) => id << 2 | 1,
            Token::Output(WorkerId(id)) => id << 2 | 2,
        }
    }

    fn parse(token: u64) -> Self {
        let id = WorkerId(token >> 2);
        match token & 3 {
            0 => Token::Link(id),
            1 => Token::Process(id),
            _ => Token::Output(id),
        }
    }
}
