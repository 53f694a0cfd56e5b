//! Growing and shrinking.

use super::*;

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
    assert_eq!(rig.state.is_warm(since), Err(Refusal::NoWorker("no memory".into())));
    rig.state.warmed_up();
    assert_eq!(rig.state.wanted(), 0);
    let since = rig.step(|state, after| state.warm_up(after));
    assert_eq!(rig.state.wanted(), 1);
    drop(rig.step(|state, after| state.close(true, after)));
    assert_eq!(rig.state.is_warm(since), Err(Refusal::ShutDown));
}
