//! Attempts that are ended, and those that follow.

use super::*;

const PAUSING: Wish = Wish { retries: 3, pause: true };

fn pass(rig: &mut Rig, time: Duration) {
    rig.step(|state, after| state.tend(Instant::now() + time, after));
}

/// The item of a task that pauses and whose attempt is over: the pool knows, and nothing more has been done.
fn over(rig: &mut Rig) -> Item {
    rig.submit_with(PAUSING);
    rig.start(true);
    rig.run_next(0);
    let ticket = rig.workers.get_mut(&0).unwrap().running.take().unwrap();
    // The supervisor has looked at everything before.
    pass(rig, Duration::ZERO);
    rig.step(|state, _| state.finished(WorkerId(0), ticket)).unwrap().0
}

#[test]
fn a_task_waits_for_its_next_attempt_and_others_go_on() {
    let mut rig = Rig::new(1, None);
    rig.submit_with(PAUSING);
    rig.submit();
    rig.start(true);
    rig.run_next(0);
    rig.finish_with(0, false);
    rig.run_next(0);
    assert_eq!((rig.running(), rig.futures[0].attempts()), (vec![1], 1));
    rig.finish(0);
    pass(&mut rig, IDLE / 2);
    rig.run_next(0);
    assert_eq!(rig.running(), []);
    pass(&mut rig, IDLE);
    rig.run_next(0);
    assert_eq!((rig.running(), rig.futures[0].attempts()), (vec![0], 2));
    rig.finish(0);
    assert!(rig.futures[0].done());
    assert_eq!(rig.state.finished, 2);
}

#[test]
fn the_supervisor_is_told_of_a_pause_that_another_thread_begins() {
    let mut rig = Rig::new(1, None);
    let item = over(&mut rig);
    let mut after = After::default();
    assert!(rig.state.try_again(item, IDLE, Instant::now(), &rig.stops, &mut after).is_none());
    assert!(after.ring);
    after.carry_out();
}

#[test]
fn a_pause_that_no_clock_can_tell_has_no_end() {
    let mut rig = Rig::new(1, None);
    let item = over(&mut rig);
    assert!(rig.again(item, Some(Duration::MAX)).is_none());
    pass(&mut rig, 1000 * IDLE);
    rig.run_next(0);
    assert_eq!(rig.running(), []);
    assert!(rig.futures[0].cancel());
}

#[test]
fn a_task_that_is_aborted_when_its_attempt_is_over_does_not_pause() {
    let mut rig = Rig::new(1, None);
    rig.submit_with(PAUSING);
    rig.start(true);
    rig.run_next(0);
    let ticket = rig.workers.get_mut(&0).unwrap().running.take().unwrap();
    let item = rig.step(|state, _| state.finished(WorkerId(0), ticket)).unwrap().0;
    let pause = item.task.judge(&Reply {
        status: Status::Value,
        bytes: vec![7].into(),
        parts: vec![],
        again: true,
        handles: None,
    });
    assert!(rig.futures[0].abort());
    assert!(rig.again(item, Some(pause.unwrap())).is_some(), "nobody would ever look for it");
    rig.stop();
    assert_eq!((rig.state.queued(), rig.state.finished), (0, 1));
}

#[test]
fn a_start_is_announced_once_and_when_it_is_one() {
    let mut rig = Rig::new(1, None);
    rig.submit_with(PAUSING);
    rig.start(true);
    let ticket = Ticket { slot: 0, seq: 0 };
    let announce = |rig: &mut Rig| rig.step(|state, _| state.announced(WorkerId(0), ticket));
    announce(&mut rig).unwrap_err();
    rig.run_next(0);
    announce(&mut rig).unwrap_err();
    assert_eq!(rig.futures[0].attempts(), 1);
}

#[test]
fn a_worker_does_not_revoke() {
    let mut rig = Rig::new(1, None);
    rig.submit();
    rig.start(true);
    let ticket = Ticket { slot: 0, seq: 0 };
    assert!(rig.workers[&0].page.revoke(ticket), "the worker can write to the page, too");
    rig.step(|state, after| state.met_revoked(WorkerId(0), ticket, after)).unwrap_err();
    assert!(!rig.state.in_limbo());
    let estate = rig.step(|state, after| state.bury(WorkerId(0), after)).unwrap();
    assert_eq!(estate.lost.len(), 1);
}

#[test]
fn the_end_waits_for_attempts_to_come_but_not_for_cancelled_ones() {
    let mut rig = Rig::new(1, None);
    (0..2).for_each(|_| rig.submit_with(PAUSING));
    rig.start(true);
    for _ in 0..2 {
        rig.run_next(0);
        rig.finish_with(0, false);
    }
    drop(rig.step(|state, after| state.close(false, after)));
    assert!(!rig.step(|state, after| state.tend(Instant::now(), after)));
    assert_eq!(rig.leaving(), [], "there is something to come");
    assert!(rig.futures.iter().all(|future| future.cancel()));
    rig.stop();
    assert!(!rig.step(|state, after| state.tend(Instant::now(), after)));
    assert_eq!(rig.leaving(), [0]);
    rig.run_next(0);
    rig.die(0);
    assert!(rig.step(|state, after| state.tend(Instant::now(), after)));
}

#[test]
fn what_waits_behind_a_task_that_is_to_stop_goes_to_others() {
    let mut rig = Rig::new(2, None);
    (0..4).for_each(|_| rig.submit());
    rig.start(true);
    (0..2).for_each(|id| rig.run_next(id));
    assert!(rig.futures[0].abort());
    rig.stop();
    assert!(rig.state.members[&WorkerId(0)].stopping.is_some());
    rig.finish(1);
    rig.run_next(1);
    rig.finish(1);
    rig.run_next(1);
    assert_eq!(rig.running(), [3], "all the others are the second worker's");
    rig.submit();
    // It has returned in time: it lives on.
    rig.finish(0);
    rig.run_next(0);
    assert_eq!(rig.running(), [3, 4]);
}

#[test]
fn a_worker_that_has_begun_with_the_next_task_is_past_the_one_that_is_to_stop() {
    let mut rig = Rig::new(1, None);
    (0..2).for_each(|_| rig.submit());
    rig.start(true);
    rig.run_next(0);
    let first = rig.workers[&0].running.unwrap();
    // The answer is under way.
    rig.workers.get_mut(&0).unwrap().running = None;
    let past = |rig: &Rig| rig.state.is_past(WorkerId(0), first);
    assert!(!past(&rig));
    rig.run_next(0);
    assert!(past(&rig) && rig.futures[0].abort());
    rig.stop();
    assert!(rig.state.is_stopping(WorkerId(0), first) && past(&rig));
    let second = rig.workers.get_mut(&0).unwrap().running.replace(first);
    rig.finish(0);
    assert!(!rig.state.is_stopping(WorkerId(0), first) && !past(&rig));
    rig.workers.get_mut(&0).unwrap().running = second;
    rig.finish(0);
    assert!(rig.futures[0].exception().unwrap().is_aborted() && rig.futures[1].done());
}

#[test]
fn a_wish_that_comes_too_late_stops_nothing() {
    let mut rig = Rig::new(1, None);
    rig.submit_with(Wish { retries: 1, pause: false });
    rig.submit();
    rig.start(true);
    rig.run_next(0);
    assert!(rig.futures[0].abort());
    rig.finish(0);
    rig.run_next(0);
    rig.stop();
    assert_eq!((rig.running(), rig.state.members[&WorkerId(0)].stopping), (vec![1], None));
}
