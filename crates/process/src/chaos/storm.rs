//! Signals to workers, at random instants.

use super::Chaos;
use super::random::Random;
use crate::launch::WorkerId;
use crate::sys::pidfd;
use rustix::process::Signal;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Who may be struck.
pub(crate) trait Prey: Send + 'static {
    /// Those who may be struck now, always in the same order.
    fn herd(&self) -> Vec<Victim>;
    /// This one is about to be killed.
    fn is_doomed(&self, worker: WorkerId);
}

/// A worker and its process, which cannot be mistaken for another.
pub(crate) type Victim = (WorkerId, Arc<OwnedFd>);

/// The thread that sends the signals. It ends when this is dropped, and lets go on whom it has stopped.
#[derive(Debug)]
pub(crate) struct Storm {
    /// Taken away to end it.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Storm {
    /// `None`: no signals were asked for.
    pub(crate) fn start(chaos: &Chaos, prey: impl Prey) -> io::Result<Option<Storm>> {
        if chaos.kill.is_none() && chaos.stop.is_none() {
            return Ok(None);
        }
        let (end, ended) = mpsc::channel();
        let now = Instant::now();
        let weather = Weather {
            kills: chaos.kill.map(|mean| Strikes::new(mean, Random::of(chaos.seed, u64::MAX), now)),
            stops: chaos.stop.map(|(mean, _)| Strikes::new(mean, Random::of(chaos.seed, u64::MAX - 1), now)),
            pause: chaos.stop.map_or(Duration::ZERO, |(_, time)| time),
            stopped: Vec::new(),
            prey,
        };
        let thread = thread::Builder::new().name("cf-chaos".into()).spawn(move || weather.rage(&ended))?;
        Ok(Some(Storm { end: Some(end), thread: Some(thread) }))
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            // Should it have panicked, it has said so itself, and there is less trouble than there was to be.
            let _ = thread.join();
        }
    }
}

/// Events that know nothing of each other.
struct Strikes {
    mean: Duration,
    random: Random,
    next: Option<Instant>,
}

impl Strikes {
    fn new(mean: Duration, random: Random, now: Instant) -> Self {
        let mut strikes = Strikes { mean, random, next: None };
        strikes.plan(now);
        strikes
    }

    fn plan(&mut self, now: Instant) {
        self.next = self.random.interval(self.mean).and_then(|interval| now.checked_add(interval));
    }

    /// Whom it strikes if it is time, and there is anybody.
    fn strike(&mut self, now: Instant, prey: &impl Prey) -> Option<Victim> {
        self.next.filter(|at| *at <= now)?;
        self.plan(now);
        let mut victims = prey.herd();
        if victims.is_empty() {
            return None;
        }
        let which = self.random.below(victims.len());
        Some(victims.swap_remove(which))
    }
}

struct Weather<P> {
    kills: Option<Strikes>,
    stops: Option<Strikes>,
    pause: Duration,
    /// Who was stopped, and until when.
    stopped: Vec<(Instant, Arc<OwnedFd>)>,
    prey: P,
}

impl<P: Prey> Weather<P> {
    fn rage(mut self, end: &Receiver<()>) {
        loop {
            let waited = match self.next() {
                Some(at) => end.recv_timeout(at.saturating_duration_since(Instant::now())),
                None => end.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            if waited != Err(RecvTimeoutError::Timeout) {
                break;
            }
            self.strike(Instant::now());
        }
        for (_, process) in &self.stopped {
            send(process, Signal::CONT);
        }
    }

    fn next(&self) -> Option<Instant> {
        let strikes = [&self.kills, &self.stops].into_iter().flatten().filter_map(|strikes| strikes.next);
        strikes.chain(self.stopped.iter().map(|(until, _)| *until)).min()
    }

    fn strike(&mut self, now: Instant) {
        for (_, process) in self.stopped.extract_if(.., |(until, _)| *until <= now) {
            send(&process, Signal::CONT);
        }
        if let Some((worker, process)) = self.kills.as_mut().and_then(|kills| kills.strike(now, &self.prey)) {
            self.prey.is_doomed(worker);
            send(&process, Signal::KILL);
        }
        if let Some((_, process)) = self.stops.as_mut().and_then(|stops| stops.strike(now, &self.prey)) {
            // Not for ever, whatever was asked for: a pool whose workers stand still does not end.
            if let Some(until) = now.checked_add(self.pause) {
                send(&process, Signal::STOP);
                self.stopped.push((until, process));
            }
        }
    }
}

fn send(process: &OwnedFd, signal: Signal) {
    // The process is a worker of ours: all that can be is that it has ended.
    let _ = pidfd::signal(process, signal);
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use std::process::{Child, Command, Stdio};

    /// A process that does nothing, and its descriptor.
    fn victim() -> (Child, Arc<OwnedFd>) {
        let child = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
        let pidfd = pidfd::open_child(child.id().cast_signed()).unwrap();
        (child, Arc::new(pidfd))
    }

    #[derive(Clone, Default)]
    struct Herd {
        alive: Arc<Mutex<Vec<Victim>>>,
        doomed: Arc<Mutex<Vec<WorkerId>>>,
    }

    impl Herd {
        fn of<'a>(processes: impl Iterator<Item = &'a Arc<OwnedFd>>) -> Herd {
            let alive = processes.cloned().zip(0..).map(|(process, id)| (WorkerId(id), process)).collect();
            Herd { alive: Arc::new(Mutex::new(alive)), doomed: Arc::default() }
        }
    }

    impl Prey for Herd {
        fn herd(&self) -> Vec<Victim> {
            self.alive.lock().clone()
        }

        fn is_doomed(&self, worker: WorkerId) {
            self.doomed.lock().push(worker);
        }
    }

    #[test]
    fn nothing_asked_for_is_nothing() {
        assert!(Storm::start(&Chaos::new(1).tear(0.5), Herd::default()).unwrap().is_none());
    }

    #[test]
    fn one_after_the_other_is_killed_and_nobody_else() {
        let (mut spared, _) = victim();
        let mut children: Vec<_> = (0..3).map(|_| victim()).collect();
        let herd = Herd::of(children.iter().map(|(_, process)| process));
        let storm = Storm::start(&Chaos::new(3).kill_every(Duration::from_millis(1)), herd.clone()).unwrap();
        for (child, _) in &mut children {
            assert!(!child.wait().unwrap().success());
        }
        drop(storm);
        assert!((0..3).all(|id| herd.doomed.lock().contains(&WorkerId(id))));
        assert!(spared.try_wait().unwrap().is_none());
        spared.kill().unwrap();
        spared.wait().unwrap();
    }

    #[test]
    fn who_is_stopped_goes_on_at_the_latest_with_the_end() {
        let (mut child, process) = victim();
        let chaos = Chaos::new(3).stop_every(Duration::from_millis(1), Duration::from_secs(3600));
        let storm = Storm::start(&chaos, Herd::of([&process].into_iter())).unwrap();
        let state = |wanted: char| {
            let give_up = Instant::now() + Duration::from_secs(60);
            while state_of(child.id()) != wanted {
                assert!(Instant::now() < give_up, "not in the state {wanted}");
                thread::yield_now();
            }
        };
        state('T');
        drop(storm);
        state('S');
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn state_of(pid: u32) -> char {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let after_name = stat.rsplit_once(") ").unwrap().1;
        after_name.chars().next().unwrap()
    }
}
