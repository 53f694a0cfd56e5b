//! Histories at random.

use super::*;
use crate::pool::stops::StopRequest;
use concurrent_futures_core::task::Stop;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Deed {
    Submit(usize, Wish),
    Start {
        ready: bool,
    },
    Ready(usize),
    Take(usize),
    Finish(usize, bool),
    Die(usize),
    Cancel(prop::sample::Index),
    Abort(prop::sample::Index),
    Stop,
    /// Somebody wants another attempt to end than the one that runs.
    StopAnother(usize, u32),
    Tend,
    /// The supervisor's patience is over.
    Look,
    /// Long enough for all pauses.
    Pass,
    Expire,
    Resize(usize),
    Close {
        cancel: bool,
    },
}

fn wish() -> impl Strategy<Value = Wish> {
    (0..4_u32, any::<bool>()).prop_map(|(retries, pause)| Wish { retries, pause })
}

fn deed() -> impl Strategy<Value = Deed> {
    let worker = 0..4_usize;
    prop_oneof![
        4 => (1..12_usize, wish()).prop_map(|(n, wish)| Deed::Submit(n, wish)),
        4 => any::<bool>().prop_map(|ready| Deed::Start { ready }),
        2 => worker.clone().prop_map(Deed::Ready),
        12 => worker.clone().prop_map(Deed::Take),
        10 => (worker.clone(), any::<bool>()).prop_map(|(n, good)| Deed::Finish(n, good)),
        1 => worker.clone().prop_map(Deed::Die),
        1 => any::<prop::sample::Index>().prop_map(Deed::Abort),
        2 => Just(Deed::Stop),
        1 => (worker, 5..9_u32).prop_map(|(n, attempt)| Deed::StopAnother(n, attempt)),
        3 => any::<prop::sample::Index>().prop_map(Deed::Cancel),
        1 => Just(Deed::Tend),
        1 => Just(Deed::Pass),
        2 => Just(Deed::Look),
        1 => Just(Deed::Expire),
        1 => (1..6_usize).prop_map(Deed::Resize),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

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
                Deed::Submit(n, wish) => (0..n).for_each(|_| rig.submit_with(wish)),
                Deed::Start { ready } => rig.start(ready),
                Deed::Ready(n) => {
                    if let Some(id) = nth(&rig, n).filter(|id| !rig.state.members[&WorkerId(*id)].was_ready) {
                        rig.ready(id);
                    }
                }
                Deed::Take(n) => drop(nth(&rig, n).map(|id| rig.take(id))),
                Deed::Finish(n, good) => drop(nth(&rig, n).map(|id| rig.finish_with(id, good))),
                Deed::Die(n) => drop(nth(&rig, n).map(|id| rig.die(id))),
                Deed::Cancel(at) if !rig.futures.is_empty() => {
                    let n = at.index(rig.futures.len());
                    let runs = rig.futures[n].running();
                    if rig.futures[n].cancel() {
                        prop_assert!(!runs);
                        cancelled.insert(n);
                    }
                }
                Deed::Abort(at) if !rig.futures.is_empty() => {
                    let n = at.index(rig.futures.len());
                    let (runs, done) = (rig.futures[n].running(), rig.futures[n].done());
                    prop_assert!(rig.futures[n].abort() || done);
                    prop_assert!(!runs || !rig.futures[n].cancelled());
                }
                Deed::Cancel(_) | Deed::Abort(_) => {}
                Deed::Stop => rig.stop(),
                Deed::StopAnother(n, attempt) => {
                    let at = nth(&rig, n).and_then(|id| Some((id, rig.workers[&id].running?)));
                    if let Some((id, ticket)) = at {
                        let task = rig.state.members[&WorkerId(id)].items().find(|(_, runs)| *runs);
                        let resolved = task.is_none_or(|(item, _)| item.task.is_done());
                        let request = StopRequest { worker: WorkerId(id), ticket, attempt, why: Stop::Timeout };
                        let patience = rig.step(|state, after| state.stop(request, after));
                        prop_assert!(patience.is_none() || resolved);
                    }
                }
                Deed::Look => rig.look(),
                Deed::Pass => drop(rig.step(|state, after| state.tend(Instant::now() + 2 * IDLE, after))),
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
        prop_assert!(rig.step(|state, after| state.tend(Instant::now() + 2 * IDLE, after)), "the pool comes to its end");
        let (started, done) = (rig.started.len(), rig.finished + rig.lost);
        prop_assert_eq!(started, done + rig.again);
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
