//! Trouble on purpose, so that users can see whether their programs bear it. Only with the feature `chaos`.
//!
//! Two parts that know nothing of each other: [`storm`] is a thread beside the supervisor, which sends signals to workers
//! like somebody outside; [`mishap`] is in the worker and spoils its answers. The pool is told of neither beforehand: it has to
//! find out as it would in earnest. Only who asks for the cause of a death is told the truth.

mod mishap;
mod random;
mod storm;

pub(crate) use mishap::{Mishaps, TORN, befall, expect};
pub(crate) use storm::{Prey, Storm, Victim};

use crate::launch::WorkerId;
use concurrent_futures_core::BuildError;
use random::Random;
use std::time::Duration;

/// Trouble for a pool's workers, for tests of programs that use pools: workers are killed or stopped at random instants, their
/// answers come late, or break off in the middle. Given to
/// [`ProcessPoolBuilder::chaos`](crate::ProcessPoolBuilder::chaos); needs the feature `chaos`.
///
/// Errors are those of real accidents (a worker that died of SIGKILL), save that the death says that it was
/// [chaos](concurrent_futures_core::KilledBy::Chaos); and so are the remedies: retries, timeouts. Deaths count against
/// `max_deaths_per_task` and `max_restarts` as those of accidents do. Signals reach live workers of this pool that are ready
/// for tasks, and nobody else. The same seed gives the same sequence of accidents; at which task
/// each of them happens is up to the time.
///
/// ```
/// use concurrent_futures_core::ExecutorExt;
/// use concurrent_futures_process::{Chaos, ProcessPoolExecutor};
/// use std::time::Duration;
///
/// let chaos = Chaos::new(7).kill_every(Duration::from_millis(50)).delay(0.1, Duration::from_millis(5)).tear(0.05);
/// let pool = ProcessPoolExecutor::builder().max_workers(2).chaos(chaos).build()?;
/// let futures: Vec<_> = (0..100).map(|x: u64| pool.task(|x: u64| x * x, x).retries(50).submit()).collect();
/// for (future, x) in futures.into_iter().zip(0..) {
///     assert_eq!(future.result()?, x * x);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "it is for `ProcessPoolBuilder::chaos`"]
pub struct Chaos {
    seed: u64,
    kill: Option<Duration>,
    stop: Option<(Duration, Duration)>,
    delay: Option<(f64, Duration)>,
    tear: f64,
}

impl Chaos {
    /// No trouble yet. What comes of the methods below depends on `seed`.
    pub fn new(seed: u64) -> Self {
        Chaos { seed, kill: None, stop: None, delay: None, tear: 0.0 }
    }

    /// Kills a worker now and then: at intervals of `mean` on average, as independent of each other as accidents are.
    pub fn kill_every(mut self, mean: Duration) -> Self {
        self.kill = Some(mean);
        self
    }

    /// Stops a worker now and then, as SIGSTOP does, and lets it go on after `time`.
    pub fn stop_every(mut self, mean: Duration, time: Duration) -> Self {
        self.stop = Some((mean, time));
        self
    }

    /// Holds an answer back in the worker, with this probability (0 to 1) and for up to `max`. The worker does nothing
    /// meanwhile, and may be killed: then the task has run, and nobody knows.
    pub fn delay(mut self, probability: f64, max: Duration) -> Self {
        self.delay = Some((probability, max));
        self
    }

    /// Breaks an answer off somewhere in the middle, with this probability (0 to 1): the worker dies while it writes it.
    pub fn tear(mut self, probability: f64) -> Self {
        self.tear = probability;
        self
    }

    /// # Errors
    /// What cannot be done.
    pub(crate) fn check(&self) -> Result<(), BuildError> {
        let means = [(self.kill, "kill_every"), (self.stop.map(|(mean, _)| mean), "stop_every")];
        if let Some((_, what)) = means.iter().find(|(mean, _)| mean.is_some_and(|mean| mean.is_zero())) {
            return Err(BuildError::invalid(format!("{what} needs a mean time above zero")));
        }
        let odds = [(self.delay.map_or(0.0, |(odds, _)| odds), "delay"), (self.tear, "tear")];
        match odds.iter().find(|(odds, _)| !(0.0..=1.0).contains(odds)) {
            Some((odds, what)) => {
                Err(BuildError::invalid(format!("{what} needs a probability from 0 to 1, not {odds}")))
            }
            None => Ok(()),
        }
    }

    /// What worker `id` is to expect, if anything.
    pub(crate) fn mishaps(&self, WorkerId(id): WorkerId) -> Option<Mishaps> {
        let any = self.delay.is_some() || self.tear > 0.0;
        any.then(|| Mishaps { seed: Random::of(self.seed, id + 1).next(), delay: self.delay, tear: self.tear })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_settings_are_refused_with_their_names() {
        let says = |chaos: Chaos, what: &str| chaos.check().unwrap_err().to_string().contains(what);
        assert!(says(Chaos::new(1).kill_every(Duration::ZERO), "kill_every"));
        assert!(says(Chaos::new(1).stop_every(Duration::ZERO, Duration::ZERO), "stop_every"));
        assert!(says(Chaos::new(1).delay(1.5, Duration::ZERO), "delay"));
        assert!(says(Chaos::new(1).tear(-0.1), "tear"));
        assert!(says(Chaos::new(1).tear(f64::NAN), "tear"));
        assert!(Chaos::new(1).tear(1.0).delay(0.0, Duration::MAX).kill_every(Duration::MAX).check().is_ok());
    }

    #[test]
    fn each_worker_has_mishaps_of_its_own_and_the_same_each_time() {
        let chaos = Chaos::new(5).tear(0.5);
        let seeds: Vec<_> = (0..4).map(|id| chaos.mishaps(WorkerId(id)).unwrap().seed).collect();
        assert_eq!(seeds, (0..4).map(|id| chaos.mishaps(WorkerId(id)).unwrap().seed).collect::<Vec<_>>());
        assert!(seeds.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(Chaos::new(5).kill_every(Duration::from_secs(1)).mishaps(WorkerId(0)).is_none());
    }
}
