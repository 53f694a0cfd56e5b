//! The state with workers that exist only here: every interleaving of what users, workers and deaths can do, without a process.

use super::*;
use crate::link::Bytes;
use crate::pool::member::Stage;
use crate::pool::stops::Stops;
use crate::slots::Page;
use crate::sys::bell::Bell;
use crate::wire::{Down, Ticket};
use concurrent_futures_core::task::{Reply, Status};
use concurrent_futures_core::{
    Executor, ExecutorExt, Future, Handle, Refusal, Shutdown, Task, TaskError, TaskErrorKind,
};
use parking_lot::Mutex;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

/// Longer than a test takes: time passes when a test says so.
const IDLE: Duration = Duration::from_secs(3600);

fn number(n: u64) -> u64 {
    n
}

/// Takes tasks for the rig to submit.
#[derive(Debug, Default)]
struct Capture(Mutex<Vec<Task>>);

impl Executor for Capture {
    fn submit_task(&self, task: Task) {
        self.0.lock().push(task);
    }

    fn try_submit_task(&self, task: Task) -> Result<(), (Task, Refusal)> {
        self.submit_task(task);
        Ok(())
    }

    fn num_workers(&self) -> usize {
        1
    }

    fn shutdown(&self, _: Shutdown) {}

    fn handle(&self) -> Handle {
        Handle::new(Capture::default())
    }
}

/// A link that keeps what is posted.
#[derive(Debug, Default)]
struct Posted(Mutex<VecDeque<Down>>);

impl Outbound for Posted {
    fn post(&self, head: Down, _: Option<&Bytes>) {
        self.0.lock().push_back(head);
    }

    fn flush(&self) {}

    fn resume(&self) {}

    fn close(&self) {}
}

/// A worker that does what it is told, one step at a time.
struct Worker {
    posted: Arc<Posted>,
    page: Arc<Page>,
    running: Option<Ticket>,
    served: usize,
    leaving: bool,
}

struct Rig {
    state: State,
    stops: Arc<Stops>,
    workers: BTreeMap<u64, Worker>,
    born: u64,
    futures: Vec<Future<u64>>,
    /// Which task a ticket of a worker stood for, as the frames say.
    started: HashSet<(u64, Ticket)>,
    finished: usize,
    lost: usize,
}

impl Rig {
    fn new(workers: usize, tasks: Option<usize>) -> Self {
        Self::with(Limits { workers, min_workers: 0, idle_timeout: Some(IDLE), tasks })
    }

    fn with(limits: Limits) -> Self {
        Rig {
            state: State::new(limits),
            stops: Arc::new(Stops::new(Arc::new(Bell::new().unwrap()))),
            workers: BTreeMap::new(),
            born: 0,
            futures: Vec::new(),
            started: HashSet::new(),
            finished: 0,
            lost: 0,
        }
    }

    /// A step of the state, and what follows from it.
    fn step<T>(&mut self, step: impl FnOnce(&mut State, &mut After) -> T) -> T {
        let mut after = After::default();
        let outcome = step(&mut self.state, &mut after);
        after.carry_out();
        self.check();
        outcome
    }

    fn submit(&mut self) {
        let capture = Capture::default();
        self.futures.push(capture.submit(number, self.futures.len() as u64));
        let task = capture.0.lock().pop().unwrap();
        let item = Item::encode(task).unwrap();
        item.task.release_work();
        match self.state.open() {
            Ok(()) => self.step(|state, after| state.submit(item, after)),
            Err(refusal) => item.task.fail(refusal.into()),
        }
    }

    /// The supervisor starts what is wanted; the new workers are ready at once if `ready`.
    fn start(&mut self, ready: bool) {
        for _ in 0..self.state.wanted() {
            let id = self.born;
            self.born += 1;
            let (posted, page) = (Arc::new(Posted::default()), Arc::new(Page::create().unwrap()));
            self.state.add(Member::new(WorkerId(id), posted.clone(), page.clone(), self.stops.clone()));
            self.workers.insert(id, Worker { posted, page, running: None, served: 0, leaving: false });
            if ready {
                self.ready(id);
            }
        }
    }

    fn ready(&mut self, id: u64) {
        assert!(self.step(|state, after| state.ready(WorkerId(id), after)));
    }

    fn all_ready(&mut self) {
        let starting: Vec<u64> =
            self.workers.keys().copied().filter(|id| !self.state.members[&WorkerId(*id)].was_ready).collect();
        starting.into_iter().for_each(|id| self.ready(id));
    }

    /// The worker takes its next frame, if it is free. `false`: there was nothing to do.
    fn take(&mut self, id: u64) -> bool {
        let Some(worker) = self.workers.get_mut(&id).filter(|worker| worker.running.is_none()) else { return false };
        let frame = worker.posted.0.lock().pop_front();
        assert!(!worker.leaving || !matches!(frame, Some(Down::Task(_))), "a task for one that was told to leave");
        match frame {
            Some(Down::Task(task)) if worker.page.start(task.ticket) => {
                assert!(self.started.insert((id, task.ticket)), "a use of a slot has one task");
                worker.running = Some(task.ticket);
                worker.served += 1;
                assert!(self.state.limits.tasks.is_none_or(|limit| worker.served <= limit), "more than its share");
            }
            Some(Down::Task(task)) => {
                self.step(|state, after| {
                    state.met_revoked(WorkerId(id), task.ticket, after).unwrap();
                    state.employ(WorkerId(id), 0, after);
                });
            }
            Some(Down::End) => worker.leaving = true,
            Some(_) => {}
            None => return false,
        }
        true
    }

    /// The worker takes frames until it runs a task or there are no more.
    fn run_next(&mut self, id: u64) {
        while self.take(id) {}
    }

    /// The worker's task is done.
    fn finish(&mut self, id: u64) -> bool {
        let Some(ticket) = self.workers.get_mut(&id).and_then(|worker| worker.running.take()) else { return false };
        let item = self.step(|state, after| {
            let item = state.finished(WorkerId(id), ticket).unwrap();
            state.employ(WorkerId(id), 1, after);
            item
        });
        item.task.complete(Reply { status: Status::Value, bytes: vec![7], again: false, handles: None });
        self.finished += 1;
        true
    }

    fn die(&mut self, id: u64) {
        let Some(worker) = self.workers.remove(&id) else { return };
        let estate = self.step(|state, after| state.bury(WorkerId(id), after)).unwrap();
        assert_eq!(estate.lost.len(), usize::from(worker.running.is_some()), "it costs the task that it had started");
        for (ticket, item) in estate.lost {
            assert_eq!(Some(ticket), worker.running);
            item.task.fail(TaskError::new(TaskErrorKind::Abandoned));
            self.lost += 1;
        }
    }

    fn staying(&self) -> usize {
        self.state.members.values().filter(|member| member.stage != Stage::Leaving).count()
    }

    /// All who are idle have been so for long enough.
    fn expire(&mut self) {
        let kept = self.state.limits.min_workers.min(self.state.limits.workers).min(self.staying());
        self.step(|state, after| state.expire_idle(Instant::now() + IDLE, after));
        assert!(self.staying() >= kept || self.state.closing);
        assert!(self.state.next_expiry().is_none());
    }

    fn leaving(&self) -> Vec<u64> {
        let leaving = |id: &u64| self.state.members[&WorkerId(*id)].stage == Stage::Leaving;
        self.workers.keys().copied().filter(leaving).collect()
    }

    fn running(&self) -> Vec<usize> {
        (0..self.futures.len()).filter(|n| self.futures[*n].running()).collect()
    }

    fn check(&self) {
        let state = &self.state;
        let full = |id: &WorkerId| !state.members[id].has_room_for_another();
        assert!(state.queue.is_empty() || state.idle.iter().all(full), "somebody is idle and there is work");
        let idle: HashSet<_> = state.idle.iter().collect();
        assert_eq!(idle.len(), state.idle.len());
        assert!(idle.iter().all(|id| state.members[id].is_idle()));
        assert!(self.staying() <= state.limits.workers);
        assert!(state.queue.iter().zip(state.queue.iter().skip(1)).all(|(a, b)| a.number < b.number), "out of order");
    }

    /// Everything that can happen by itself happens.
    fn drain(&mut self) {
        // A worker that comes up moves nothing by itself: what it changes shows in the round after.
        let mut still = 0;
        while still < 2 {
            let over = self.step(|state, after| state.tend(Instant::now(), after));
            self.start(true);
            self.all_ready();
            let ids: Vec<u64> = self.workers.keys().copied().collect();
            let mut moved = false;
            for id in ids {
                moved |= self.take(id) | self.finish(id);
                if self.workers[&id].leaving {
                    self.die(id);
                    moved = true;
                }
            }
            still = if moved { 0 } else { still + 1 };
            if over {
                break;
            }
        }
    }
}

#[test]
fn tasks_start_in_their_order_also_while_workers_come_up() {
    let mut rig = Rig::new(3, None);
    (0..9).for_each(|_| rig.submit());
    rig.start(false);
    for id in 0..3 {
        rig.ready(id);
        rig.take(id);
    }
    // The first one may have been given the second task; whoever came up then fetched it.
    (0..3).for_each(|id| rig.run_next(id));
    assert_eq!(rig.running(), [0, 1, 2]);
}

#[test]
fn a_worker_is_given_more_only_when_it_is_quick() {
    let mut rig = Rig::new(1, None);
    (0..300).for_each(|_| rig.submit());
    rig.start(true);
    let waiting = |rig: &Rig| rig.workers[&0].posted.0.lock().len();
    assert_eq!(waiting(&rig), 2);
    for _ in 0..50 {
        // One answer at a time: the supervisor is quicker.
        assert!(rig.take(0) && rig.finish(0));
        assert_eq!(waiting(&rig), 2);
    }
    let mut most = 0;
    for _ in 0..8 {
        // All answers at once: the worker is quicker.
        let mut tickets = Vec::new();
        while rig.take(0) {
            tickets.extend(rig.workers.get_mut(&0).unwrap().running.take());
        }
        let done = tickets.len();
        rig.step(|state, after| {
            for ticket in tickets {
                state.finished(WorkerId(0), ticket).unwrap().task.complete(Reply {
                    status: Status::Value,
                    bytes: vec![7],
                    again: false,
                    handles: None,
                });
            }
            state.employ(WorkerId(0), done, after);
        });
        most = most.max(waiting(&rig));
    }
    assert!((16..=64).contains(&most), "{most}");
}

#[test]
fn an_idle_worker_fetches_what_waits_behind_a_long_task() {
    let mut rig = Rig::new(2, None);
    (0..4).for_each(|_| rig.submit());
    rig.start(true);
    rig.take(0);
    rig.take(1);
    assert_eq!(rig.running(), [0, 1]);
    // The second worker does all the rest, the first one sticks to its task.
    for n in 2..4 {
        rig.finish(1);
        rig.run_next(1);
        assert_eq!(rig.running(), [0, n]);
    }
}

#[test]
fn what_is_overtaken_by_far_is_fetched_also_where_workers_are_quick() {
    let mut rig = Rig::new(2, None);
    (0..2000).for_each(|_| rig.submit());
    rig.start(true);
    for member in rig.state.members.values_mut() {
        (0..5).for_each(|_| member.starved(1000));
    }
    // The first worker is given many, and starts the first of them for ever.
    rig.take(0);
    rig.finish(0);
    rig.run_next(0);
    let stuck = rig.running()[0];
    for _ in 0..1000 {
        rig.run_next(1);
        rig.finish(1);
    }
    let overtaken = (0..500).filter(|n| *n != stuck && !rig.futures[*n].done()).count();
    assert_eq!(overtaken, 0, "of the first 500 tasks only the one that runs is left");
}

#[test]
fn a_death_puts_tasks_back_in_their_order() {
    let mut rig = Rig::new(1, None);
    (0..10).for_each(|_| rig.submit());
    rig.start(true);
    rig.take(0);
    rig.die(0);
    assert_eq!(rig.state.queue.iter().map(|item| item.number).collect::<Vec<_>>(), (1..10).collect::<Vec<_>>());
    rig.start(true);
    rig.take(1);
    assert_eq!(rig.running(), [1]);
}

#[test]
fn an_answer_to_another_task_is_a_misfit() {
    let mut rig = Rig::new(1, None);
    (0..3).for_each(|_| rig.submit());
    rig.start(true);
    rig.take(0);
    let ticket = rig.workers[&0].running.unwrap();
    let id = WorkerId(0);
    let other = Ticket { seq: ticket.seq + 1, ..ticket };
    assert!(rig.state.finished(id, other).is_err());
    assert!(rig.state.announced(id, other).is_err());
    assert!(rig.state.announced(id, ticket).is_ok());
    assert!(rig.state.finished(WorkerId(9), ticket).is_err());
    assert!(rig.state.finished(id, ticket).is_ok());
    assert!(rig.state.finished(id, ticket).is_err(), "twice");
    assert!(!rig.step(|state, after| state.ready(id, after)), "ready twice");
}

#[test]
fn workers_that_are_idle_for_long_leave_the_oldest_first() {
    let mut rig = Rig::with(Limits { workers: 4, min_workers: 1, idle_timeout: Some(IDLE), tasks: None });
    rig.start(true);
    assert_eq!(rig.workers.len(), 1, "those that are kept come up without work");
    (0..4).for_each(|_| rig.submit());
    rig.start(true);
    (0..4).for_each(|id| rig.run_next(id));
    [2, 0, 1].into_iter().for_each(|id| assert!(rig.finish(id)));
    let first = rig.state.members[&WorkerId(2)].idle_since.unwrap();
    rig.step(|state, after| state.expire_idle(first + IDLE - Duration::from_nanos(1), after));
    assert_eq!(rig.leaving(), []);
    rig.step(|state, after| state.expire_idle(first + IDLE, after));
    assert_eq!(rig.leaving(), [2]);
    assert!(rig.state.next_expiry().is_some());
    // The one that runs is among those that are kept.
    rig.expire();
    assert_eq!(rig.leaving(), [0, 1, 2]);
    rig.finish(3);
    rig.expire();
    assert_eq!(rig.leaving(), [0, 1, 2], "the last one is kept");
}

#[test]
fn a_task_that_comes_while_workers_leave_starts_another() {
    let mut rig = Rig::new(1, None);
    rig.submit();
    rig.start(true);
    rig.take(0);
    rig.finish(0);
    rig.expire();
    rig.submit();
    assert_eq!(rig.state.wanted(), 0, "there is no room before it is gone");
    rig.run_next(0);
    rig.die(0);
    rig.start(true);
    rig.run_next(1);
    assert_eq!(rig.running(), [1]);
}

#[test]
fn shrinking_spares_those_that_work() {
    let mut rig = Rig::new(4, None);
    (0..3).for_each(|_| rig.submit());
    rig.start(true);
    (0..3).for_each(|id| rig.run_next(id));
    rig.submit();
    rig.start(false);
    rig.finish(1);
    rig.run_next(1);
    rig.finish(1);
    // 0 and 2 work, 1 is idle, 3 is not up yet.
    let resize = |rig: &mut Rig, n| rig.step(|state, after| state.resize(n, after));
    resize(&mut rig, 3);
    assert_eq!(rig.leaving(), [1]);
    resize(&mut rig, 2);
    assert_eq!(rig.leaving(), [1, 3]);
    resize(&mut rig, 1);
    assert_eq!(rig.leaving(), [0, 1, 3]);
    assert!(rig.finish(0), "it does what it has begun");
    rig.run_next(0);
    assert!(rig.workers[&0].leaving);
}

#[test]
fn what_waits_behind_a_long_task_is_demand_where_there_is_room() {
    let mut rig = Rig::new(1, None);
    (0..2).for_each(|_| rig.submit());
    rig.start(true);
    rig.take(0);
    assert!(rig.state.queue.is_empty() && rig.running() == [0]);
    rig.step(|state, after| state.resize(2, after));
    rig.start(true);
    rig.run_next(1);
    assert_eq!(rig.running(), [0, 1]);
}

#[test]
fn a_pool_is_warm_when_all_are_ready_or_it_never_will() {
    let mut rig = Rig::new(3, None);
    let since = rig.step(|state, after| state.warm_up(after));
    rig.start(true);
    assert!(rig.state.is_warm(since) == Ok(true) && rig.workers.len() == 3);
    rig.expire();
    assert_eq!(rig.leaving(), [], "nobody leaves while somebody waits for all");
    rig.die(1);
    assert_eq!(rig.state.is_warm(since), Ok(false));
    rig.step(|state, after| state.gave_up("no memory", after));
    assert_eq!(rig.state.is_warm(since), Err(Refusal::Broken("no memory".into())));
    rig.state.warmed_up();
    assert_eq!(rig.state.wanted(), 0);
    let since = rig.step(|state, after| state.warm_up(after));
    assert_eq!(rig.state.wanted(), 1);
    drop(rig.step(|state, after| state.close(true, after)));
    assert_eq!(rig.state.is_warm(since), Err(Refusal::ShutDown));
}

#[derive(Clone, Debug)]
enum Deed {
    Submit(usize),
    Start { ready: bool },
    Ready(usize),
    Take(usize),
    Finish(usize),
    Die(usize),
    Cancel(prop::sample::Index),
    Tend,
    Expire,
    Resize(usize),
    Close { cancel: bool },
}

fn deed() -> impl Strategy<Value = Deed> {
    let worker = 0..4_usize;
    prop_oneof![
        4 => (1..12_usize).prop_map(Deed::Submit),
        4 => any::<bool>().prop_map(|ready| Deed::Start { ready }),
        2 => worker.clone().prop_map(Deed::Ready),
        12 => worker.clone().prop_map(Deed::Take),
        10 => worker.clone().prop_map(Deed::Finish),
        1 => worker.prop_map(Deed::Die),
        3 => any::<prop::sample::Index>().prop_map(Deed::Cancel),
        1 => Just(Deed::Tend),
        1 => Just(Deed::Expire),
        1 => (1..6_usize).prop_map(Deed::Resize),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn every_task_ends_once_whatever_happens(
        workers in 1..4_usize,
        min_workers in 0..4_usize,
        share in proptest::option::of(1..5_usize),
        deeds in proptest::collection::vec(deed(), 0..150),
        end in any::<bool>().prop_map(|cancel| Deed::Close { cancel }),
    ) {
        let idle_timeout = Some(IDLE);
        let mut rig = Rig::with(Limits { workers, min_workers: min_workers.min(workers), idle_timeout, tasks: share });
        let mut cancelled = HashSet::new();
        for deed in deeds.into_iter().chain([end]) {
            let nth = |rig: &Rig, n: usize| rig.workers.keys().nth(n % rig.workers.len().max(1)).copied();
            match deed {
                Deed::Submit(n) => (0..n).for_each(|_| rig.submit()),
                Deed::Start { ready } => rig.start(ready),
                Deed::Ready(n) => {
                    if let Some(id) = nth(&rig, n).filter(|id| !rig.state.members[&WorkerId(*id)].was_ready) {
                        rig.ready(id);
                    }
                }
                Deed::Take(n) => drop(nth(&rig, n).map(|id| rig.take(id))),
                Deed::Finish(n) => drop(nth(&rig, n).map(|id| rig.finish(id))),
                Deed::Die(n) => drop(nth(&rig, n).map(|id| rig.die(id))),
                Deed::Cancel(at) if !rig.futures.is_empty() => {
                    let n = at.index(rig.futures.len());
                    let runs = rig.futures[n].running();
                    if rig.futures[n].cancel() {
                        prop_assert!(!runs);
                        cancelled.insert(n);
                    }
                }
                Deed::Cancel(_) => {}
                Deed::Expire => rig.expire(),
                Deed::Resize(n) => rig.step(|state, after| state.resize(n, after)),
                Deed::Tend => drop(rig.step(|state, after| state.tend(Instant::now(), after))),
                Deed::Close { cancel } => {
                    let items = rig.step(|state, after| state.close(cancel, after));
                    if cancel {
                        for item in items {
                            item.task.cancel();
                        }
                        rig.step(|state, after| state.resolved(after));
                    }
                }
            }
        }
        rig.drain();
        prop_assert!(rig.step(|state, after| state.tend(Instant::now(), after)), "the pool comes to its end");
        let (started, done) = (rig.started.len(), rig.finished + rig.lost);
        prop_assert_eq!(started, done);
        let mut by_cancel = 0;
        for (n, future) in rig.futures.into_iter().enumerate() {
            prop_assert!(future.done(), "task {} has no outcome", n);
            let was_cancelled = future.cancelled();
            prop_assert!(was_cancelled || !cancelled.contains(&n));
            by_cancel += usize::from(was_cancelled);
        }
        // Nothing ran twice, and nothing ran that was cancelled.
        prop_assert_eq!(rig.state.submitted as usize, done + by_cancel);
        prop_assert_eq!(rig.state.finished as usize, done + by_cancel);
    }
}
